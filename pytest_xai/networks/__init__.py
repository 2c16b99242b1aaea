"""A grammar of small networks with structures that cause errors in explainers."""

from pytest_xai.networks.by_structure import STRUCTURES
from pytest_xai.networks.draft import Draft, kind_of_input
from pytest_xai.networks.growth import grow
from pytest_xai.networks.kinds import KINDS, fits
from pytest_xai.networks.network_plan import Plan
from pytest_xai.networks.step import Step
from pytest_xai.networks.weights import WEIGHTS

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
