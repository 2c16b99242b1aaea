"""Small networks whose correct maps are known in closed form, by method."""

from collections.abc import Callable, Mapping

from pytest_xai.core.subject import Subject
from pytest_xai.subjects.probes.curves import CURVES
from pytest_xai.subjects.probes.images import IMAGES
from pytest_xai.subjects.probes.relu_networks import NETWORKS
from pytest_xai.subjects.probes.tables import TABLES

__all__ = ["probes"]


def probes() -> Mapping[str, Callable[[], Subject]]:
    """Return functions that create the probes by name, in a fixed order.

    A probe is a float64 subject with few small inputs, named "probe-<name>", with the correct maps
    in `Subject.truths`. It has a truth for a method if the closed form is valid for its
    architecture, since back-propagation rules depend on the graph, not only on the function.
    """
    return {**TABLES, **NETWORKS, **CURVES, **IMAGES}
