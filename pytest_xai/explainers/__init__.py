"""The gallery: explainers of several libraries with one interface, and controls, found by name.

    >>> from pytest_xai import explainers
    >>> ig = explainers.get("captum:IntegratedGradients", steps=20)
    >>> ig.traits.cost
    '20 forward + 20 backward'

A library is imported when one of its explainers is called. Names and descriptions are available
without any library.
"""

from pytest_xai.explainers.gallery.inheritance import like
from pytest_xai.explainers.gallery.lookup import GalleryEntry, describe, get, methods, names
from pytest_xai.explainers.gallery.methods import Method
from pytest_xai.explainers.lime.pick import submodular_pick
from pytest_xai.explainers.stored import from_maps

__all__ = [
    "GalleryEntry",
    "Method",
    "describe",
    "from_maps",
    "get",
    "like",
    "methods",
    "names",
    "submodular_pick",
]
