"""Checks of localisation: whether a map lies on the object. There are none yet."""
