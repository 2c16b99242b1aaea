"""Checks an explainer without a model of the user's: on probes and on generated networks."""

from collections.abc import Callable, Mapping

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.exploration_task import Wanted
from pytest_xai.engine.exploration.generated_networks import on_networks
from pytest_xai.engine.exploration.known_maps import on_probes

__all__ = ["FIELDS", "Wanted", "on_networks", "on_probes"]

# What checks each field, by its name, with a budget for each check.
FIELDS: dict[str, Callable[[Wanted, Mapping[str, int | None]], list[Verdict]]] = {
    "probes": on_probes,
    "networks": on_networks,
}
