"""Checks of maps under adversarial attacks, with noise of the same size as the reference."""
