"""Explainers of our own, for methods that no library of the gallery has."""

from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.own import (
    cam,
    fem,
    generators,
    meaningful_perturbation,
    reveal_cancel,
    rise,
    sidu,
    time_reise,
)

__all__ = ["ENTRIES"]

ENTRIES: dict[str, Entry] = {
    **cam.ENTRIES,
    **reveal_cancel.ENTRIES,
    **meaningful_perturbation.ENTRIES,
    **rise.ENTRIES,
    **sidu.ENTRIES,
    **time_reise.ENTRIES,
    **fem.ENTRIES,
    **generators.ENTRIES,
}
