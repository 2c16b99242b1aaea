"""Basic types and helpers: subjects, findings, verdicts, maps, seeds, layers of a model."""
