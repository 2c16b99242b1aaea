"""Where it breaks: the module at fault, found by explaining the parts of a network behind each."""

from pytest_xai.diagnosis.fault import beyond, is_last, with_place
from pytest_xai.diagnosis.location import locate
from pytest_xai.diagnosis.relevance_loss import Shares, by_layer, follows, shares, unbiased_sums

__all__ = [
    "Shares",
    "beyond",
    "by_layer",
    "follows",
    "is_last",
    "locate",
    "shares",
    "unbiased_sums",
    "with_place",
]
