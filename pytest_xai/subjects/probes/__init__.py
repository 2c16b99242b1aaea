"""Small networks whose right map is known in closed form, by method."""

from collections.abc import Callable, Mapping

from pytest_xai.core.subject import Subject
from pytest_xai.subjects.probes.curves import CURVES
from pytest_xai.subjects.probes.images import IMAGES
from pytest_xai.subjects.probes.relu_networks import NETWORKS
from pytest_xai.subjects.probes.tables import TABLES

__all__ = ["probes"]


def probes() -> Mapping[str, Callable[[], Subject]]:
    """Functions that make the probes by name, in a fixed order.

    A probe is a float64 subject of few small inputs, called "probe-<name>", with the right maps in
    `Subject.truths`. It has a truth for a method where the closed form is for its very
    architecture: rules of back-propagation follow the graph, not the function.
    """
    return {**TABLES, **NETWORKS, **CURVES, **IMAGES}
