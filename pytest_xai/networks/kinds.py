"""All kinds of steps, and the functions that write them."""

from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.networks import layers, windows, wiring
from pytest_xai.networks.draft import Draft
from pytest_xai.networks.step import Step

__all__ = ["KINDS", "fits", "write"]


def write(step: Step, draft: Draft) -> None:
    """Write one step to a draft: its modules, its lines and the new shape.

    Raises:
        UnknownName: the kind of step is unknown.
        InvalidArgument: the step does not fit the shape.
    """
    if step.kind not in KINDS:
        raise UnknownName.among("kind of step", step.kind, KINDS)
    if step.inner and step.kind not in _FORKS:
        raise InvalidArgument.of("steps", got=repr(step), expected="steps inside forks only")
    KINDS[step.kind](step, draft)
    draft.last = step.kind


def fits(step: Step, draft: Draft) -> Draft | None:
    """Return a copy of the draft with one more step; None if the step does not fit."""
    longer = draft.copy()
    try:
        write(step, longer)
    except InvalidArgument:
        return None
    return longer


_FORKS = wiring.forks(write)

KINDS = {
    **layers.ACTIVATIONS,
    "linear": layers.linear,
    "conv": windows.conv,
    "flatten": wiring.flatten,
    "max-pool": windows.max_pool,
    "avg-pool": windows.avg_pool,
    "adaptive-avg-pool": windows.adaptive_avg_pool,
    "adaptive-max-pool": windows.adaptive_max_pool,
    "shared-relu": layers.shared_relu,
    "functional-relu": layers.functional_relu,
    "inplace-relu": layers.inplace_relu,
    "shared-linear": layers.shared_linear,
    "shared-conv": windows.shared_conv,
    "transposed-conv": windows.conv_transpose,
    "batch-norm": layers.batch_norm,
    "group-norm": layers.group_norm,
    "layer-norm": layers.layer_norm,
    "instance-norm": layers.instance_norm,
    "dropout": layers.dropout,
    "exp": layers.exp,
    "buffer": layers.buffer,
    "unused-module": layers.unused,
    "view": wiring.view,
    "permute": wiring.permute,
    "attention": wiring.attention,
    **_FORKS,
}
