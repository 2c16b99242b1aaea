"""Sequential tests of a mean that are valid at any stopping time."""
