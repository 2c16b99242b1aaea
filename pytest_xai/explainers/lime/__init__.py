"""Explainers of lime, and its selection of images to inspect."""

from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.lime import image
from pytest_xai.explainers.lime.pick import submodular_pick

__all__ = ["ENTRIES", "submodular_pick"]

ENTRIES: dict[str, Entry] = {**image.ENTRIES}
