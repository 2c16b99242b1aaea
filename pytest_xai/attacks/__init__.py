"""Adversarial attacks on the prediction, whose results are verified.

An attack is a function of a bench and its own options. It returns an `Attacked`, whose predictions,
sizes and bounds are measured by this package. foolbox is imported by the first attack that uses it.
"""

from pytest_xai.attacks.boundary import before_the_boundary
from pytest_xai.attacks.carlini_wagner import carlini_wagner
from pytest_xai.attacks.deepfool import deepfool
from pytest_xai.attacks.hop_skip_jump import hop_skip_jump
from pytest_xai.attacks.jsma import jsma
from pytest_xai.attacks.lbfgs import lbfgs
from pytest_xai.attacks.nes import nes
from pytest_xai.attacks.one_pixel import one_pixel
from pytest_xai.attacks.prediction import fgsm, ifgsm, pgd
from pytest_xai.attacks.verified import Attacked
from pytest_xai.attacks.zoo_attack import zoo

__all__ = [
    "Attacked",
    "before_the_boundary",
    "carlini_wagner",
    "deepfool",
    "fgsm",
    "hop_skip_jump",
    "ifgsm",
    "jsma",
    "lbfgs",
    "nes",
    "one_pixel",
    "pgd",
    "zoo",
]
