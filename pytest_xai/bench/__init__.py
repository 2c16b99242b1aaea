"""Runs the model and the explainers of one subject: in batches, guarded, counted, on a budget."""
