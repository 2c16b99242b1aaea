"""Hygiene that every explainer owes: shapes, finite numbers, determinism, no side effects."""
