"""Subjects that come with pytest-xai: ready to be explained, nothing to download."""

from pytest_xai.subjects.digits import DigitsNet, load_digits, load_digits_images, load_digits_model

__all__ = ["DigitsNet", "load_digits", "load_digits_images", "load_digits_model"]
