"""Find the wrong module of a failed sum check by explaining the rest of the network after it."""

from pytest_xai.diagnosis.fault import exceeding, is_final, with_location
from pytest_xai.diagnosis.location import locate
from pytest_xai.diagnosis.relevance_loss import (
    Shares,
    by_layer,
    scales_with_units,
    shares,
    unbiased_sums,
)

__all__ = [
    "Shares",
    "by_layer",
    "exceeding",
    "is_final",
    "locate",
    "scales_with_units",
    "shares",
    "unbiased_sums",
    "with_location",
]
