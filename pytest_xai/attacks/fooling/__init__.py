"""Attacks on the map, which change the explanation and keep the prediction.

`fool` searches a ball for the perturbation that changes an explainer's map most while the network
keeps its prediction. It differentiates the explainer's own computation if possible, otherwise the
most similar differentiable method, and otherwise it works without gradients. In all cases the
result is measured on the explainer and on the network themselves.
"""

from pytest_xai.attacks.fooling.attack import Fooled, fool
from pytest_xai.attacks.fooling.goals import (
    Goal,
    mass_centre,
    one_channel,
    target_map,
    top_values,
)
from pytest_xai.attacks.fooling.softened import softened
from pytest_xai.attacks.fooling.worst import TOLERANCE, keeps_prediction

__all__ = [
    "TOLERANCE",
    "Fooled",
    "Goal",
    "fool",
    "keeps_prediction",
    "mass_centre",
    "one_channel",
    "softened",
    "target_map",
    "top_values",
]
