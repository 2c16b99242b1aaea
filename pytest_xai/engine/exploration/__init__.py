"""Checks an explainer without a model of the user's: on probes and on generated networks."""

from collections.abc import Callable, Sequence

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.generated_networks import on_networks
from pytest_xai.engine.exploration.known_maps import on_probes
from pytest_xai.engine.task import Task

__all__ = ["COLLECTIONS", "on_networks", "on_probes"]

# The function that checks each collection of networks, by the name that reports use. It takes
# tasks of one explainer and the seed of the run.
COLLECTIONS: dict[str, Callable[[Sequence[Task], int], list[Verdict]]] = {
    "probes": on_probes,
    "networks": on_networks,
}
