"""What adapters to libraries have in common."""
