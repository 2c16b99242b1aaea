"""Helpers that the explainers of several libraries share."""
