"""Changed inputs: all randomness from the generator that the caller gives."""

from pytest_xai.perturbations.noise import random_direction, same_size_noise

__all__ = ["random_direction", "same_size_noise"]
