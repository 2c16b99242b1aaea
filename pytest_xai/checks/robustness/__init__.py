"""Checks of maps of nearly equal inputs."""
