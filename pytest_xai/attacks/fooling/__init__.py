"""Attacks on the map: the prediction stays, the explanation goes elsewhere.

`fool` looks for the perturbation within a ball that leaves least of an explainer's map while the
network itself predicts as before. It goes through the explainer's own computation where that can
be differentiated, else through the differentiable method most like it, else it needs no gradient
at all; whatever the way, only what is seen on the explainer and the network themselves counts.
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
