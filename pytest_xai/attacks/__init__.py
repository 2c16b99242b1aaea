"""Adversarial inputs: foolbox's attacks behind one door, and what of their results counts."""
