"""The gallery: the table of all explainers, and functions that find one by name."""
