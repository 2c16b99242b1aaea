"""Runs the model and the explainer of one subject: batched, guarded, counted, within a budget."""
