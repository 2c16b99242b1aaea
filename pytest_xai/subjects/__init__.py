"""Subjects that are bundled with pytest-xai; nothing has to be downloaded."""

from pytest_xai.subjects.digits import DigitsNet, load_digits, load_digits_images, load_digits_model
from pytest_xai.subjects.shapes import (
    ShapesImages,
    load_shapes,
    load_shapes_images,
    load_shapes_model,
)
from pytest_xai.subjects.shapes_images import ShapesDataset, ShapesItem
from pytest_xai.subjects.shapes_net import ShapesNet
from pytest_xai.subjects.shapes_watermark import paste_watermark

__all__ = [
    "DigitsNet",
    "ShapesDataset",
    "ShapesImages",
    "ShapesItem",
    "ShapesNet",
    "load_digits",
    "load_digits_images",
    "load_digits_model",
    "load_shapes",
    "load_shapes_images",
    "load_shapes_model",
    "paste_watermark",
]
