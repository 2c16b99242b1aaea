"""Checks of complexity: how concentrated a map is. There are none yet."""
