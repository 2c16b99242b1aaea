"""Sanity checks: the map must depend on the trained weights."""
