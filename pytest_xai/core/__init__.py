"""What everything is about: subjects, findings and verdicts, seeds, layers of a model."""
