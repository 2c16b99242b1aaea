"""A grammar of small networks, with the structures that explainers stumble over."""

from pytest_xai.structures.catalogue import STRUCTURES
from pytest_xai.structures.draft import Draft, kind_of_input
from pytest_xai.structures.growth import grow
from pytest_xai.structures.kinds import KINDS, fits
from pytest_xai.structures.plan import Plan
from pytest_xai.structures.step import Step
from pytest_xai.structures.weights import WEIGHTS

__all__ = [
    "KINDS",
    "STRUCTURES",
    "WEIGHTS",
    "Draft",
    "Plan",
    "Step",
    "fits",
    "grow",
    "kind_of_input",
]
