"""Changed inputs and changed models for the checks."""

from pytest_xai.perturbations.noise import random_direction, same_size_noise

__all__ = ["random_direction", "same_size_noise"]
