"""Maps of nearly equal inputs."""
