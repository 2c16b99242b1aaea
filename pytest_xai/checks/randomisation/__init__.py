"""Sanity checks: the map must depend on what the model has learned."""
