"""Runs checks and makes verdicts: one check, all checks of an explainer, generated networks."""
