"""What is asked of an explainer on networks that are made for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Check

__all__ = ["Wanted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """An explainer and the checks that it must pass on every network.

    Attributes:
        explainer: whom to check.
        checks: by name, all of them asserted and judged by single images.
        seed: of the run.
    """

    explainer: NamedExplainer
    checks: Mapping[str, Check]
    seed: int
