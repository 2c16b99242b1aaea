"""One small network for every structure that causes errors in explainers."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from pytest_xai.networks.network_plan import Plan
from pytest_xai.networks.step import Step

__all__ = ["STRUCTURES"]

_TABLE, _SIGNAL, _IMAGE, _VOLUME = (3,), (1, 6), (1, 4, 4), (1, 3, 3, 3)
_LINEAR = Step("linear", width=2)
_CONV = Step("conv", width=2, kernel=3)
_KEEPING = Step("conv", width=2, kernel=3, padding=1)
_RELU = Step("relu")
_FLAT = Step("flatten")
_HEAD = (_FLAT, _LINEAR)
_OVERLAPPING = Step("max-pool", kernel=2, stride=1)


def _table(*steps: Step) -> Plan:
    return Plan(_TABLE, steps)


def _inside(*steps: Step) -> Plan:
    return Plan(_TABLE, (Step("linear", width=3), *steps, _LINEAR))


def _signal(*steps: Step) -> Plan:
    return Plan(_SIGNAL, (*steps, *_HEAD))


def _image(*steps: Step) -> Plan:
    return Plan(_IMAGE, (*steps, *_HEAD))


_LAYERS = {
    "linear": _table(_LINEAR),
    "conv": _image(_CONV),
    "grouped-conv": _image(Step("conv", width=4), Step("conv", width=4, kernel=3, groups=2), _RELU),
    "depthwise-conv": _image(_CONV, _RELU, Step("conv", width=2, kernel=2, groups=2)),
    "dilated-conv": _image(Step("conv", width=2, kernel=2, dilation=2), _RELU),
    "transposed-conv": _image(Step("transposed-conv", width=2, kernel=2, stride=2), _RELU),
    "shared-weights": _table(
        Step("shared-linear"), _RELU, Step("shared-linear"), Step("relu"), _LINEAR
    ),
    "attention": Plan((2, 3), (Step("attention"), *_HEAD)),
    "buffer": _inside(Step("buffer"), _RELU),
    "unused-module": _inside(_RELU, Step("unused-module")),
    "dropout": _inside(_RELU, Step("dropout")),
}
_ACTIVATIONS = {
    "relu": _inside(_RELU),
    "relu-used-twice": _inside(Step("shared-relu"), Step("linear", width=3), Step("shared-relu")),
    "functional-relu": _inside(Step("functional-relu")),
    "inplace-relu": _inside(Step("inplace-relu")),
    **{
        name: _inside(Step(name))
        for name in ("gelu", "silu", "sigmoid", "tanh", "softmax", "log-softmax", "exp")
    },
}
_NORMS = {
    "batch-norm": _image(_CONV, Step("batch-norm"), _RELU),
    "group-norm": _image(_CONV, Step("group-norm", groups=2), _RELU),
    # With the weights of seed 0, the ReLU never switches.
    "layer-norm": replace(_inside(Step("layer-norm"), _RELU), seed=1),
    "instance-norm": _image(_CONV, Step("instance-norm"), _RELU),
}
_POOLS = {
    "max-pool": _image(Step("max-pool", kernel=2, stride=2)),
    "max-pool-1d": _signal(Step("max-pool", kernel=2, stride=2)),
    "max-pool-2d": _image(_KEEPING, Step("max-pool", kernel=2, stride=2)),
    "max-pool-3d": Plan(_VOLUME, (_KEEPING, Step("max-pool", kernel=3, stride=3), _FLAT)),
    "max-pool-overlapping": _signal(_OVERLAPPING),
    "max-pool-ties": _image(_KEEPING, _RELU, Step("max-pool", kernel=2, stride=2)),
    "max-pool-padded": _signal(Step("max-pool", kernel=3, stride=3, padding=1)),
    "max-pool-dilated": _signal(Step("max-pool", kernel=2, stride=2, dilation=2)),
    "avg-pool": _image(_KEEPING, _RELU, Step("avg-pool", kernel=2, stride=2)),
    "adaptive-avg-pool": _image(_CONV, _RELU, Step("adaptive-avg-pool")),
    "adaptive-max-pool": _image(_CONV, _RELU, Step("adaptive-max-pool")),
}
_WIRING = {
    "flatten": _image(_CONV, _RELU),
    "view": _signal(_KEEPING, _RELU, Step("view"), Step("view")),
    "permute": _image(_CONV, _RELU, Step("permute")),
    "residual": _inside(Step("residual", inner=(_RELU, Step("linear", width=3))), _RELU),
    "product": _inside(Step("product", inner=(Step("sigmoid"),))),
    "concat": _inside(Step("concat", inner=(_RELU,))),
    "branches": _table(Step("branches", inner=(Step("linear", width=3), _RELU)), _RELU, _LINEAR),
    "skip-around-pool": _signal(
        Step("residual", inner=(Step("max-pool", kernel=3, stride=1, padding=1),))
    ),
}
_FORMATS = {
    "float64": Plan(_TABLE, (Step("linear", width=3), _RELU, _LINEAR), dtype="float64"),
    "channels-last": Plan((2, 4, 4), (_CONV, _RELU, *_HEAD), channels_last=True),
}

STRUCTURES: Mapping[str, Plan] = MappingProxyType(
    {**_LAYERS, **_ACTIVATIONS, **_NORMS, **_POOLS, **_WIRING, **_FORMATS}
)
"""A plan for every structure, by the names in `Plan.structures`."""
