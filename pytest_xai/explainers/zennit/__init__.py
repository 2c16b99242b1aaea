"""Explainers that apply zennit's rules to every call of a forward pass (see `calls`)."""

from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.zennit.composites import ENTRIES as COMPOSITES
from pytest_xai.explainers.zennit.relus import ENTRIES as RELUS
from pytest_xai.explainers.zennit.single import ENTRIES as SINGLE

__all__ = ["ENTRIES"]

ENTRIES: dict[str, Entry] = {**SINGLE, **COMPOSITES, **RELUS}
