"""Decisions about a mean that are valid whenever they stop."""
