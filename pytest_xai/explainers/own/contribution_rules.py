"""Rules of DeepLIFT for operations of torch, by the name of the operation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.own.multipliers import activated, linearly, max_pooled, scaled

__all__ = ["IDENTITIES", "Call", "no_rule", "rule_of"]

# Interpolation modes without negative weights.
_INTERPOLATIONS = frozenset({"nearest", "nearest-exact", "linear", "bilinear", "trilinear", "area"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One call of an operation, on activations (2 N, ...) with the parts of their differences.

    Attributes:
        name: name of the operation, the same for its function, its method and its in-place form.
        function: function that computes it, not in place.
        args: positional arguments.
        parts: for each argument, the parts of an activation, a list of parts for a list, or None.
        options: keyword arguments.
        cancelling: True if elementwise functions follow RevealCancel, False for Rescale.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    parts: tuple[Any, ...]
    options: dict[str, Any]
    cancelling: bool

    def values(self) -> Any:
        """Return the result of the operation on the activations."""
        with torch.no_grad():
            return self.function(*self.args, **self.options)


Result = tuple[Any, Any]


def no_rule(operation: str) -> NotApplicable:
    """Return the error for an operation without a rule."""
    return NotApplicable(f"DeepLIFT has no rule for {operation}, which the model uses")


def _positive(call: Call) -> Result:
    """Linear with weights >= 0: the operation is applied to both parts."""
    if call.options.get("mode", "nearest") not in _INTERPOLATIONS:
        raise no_rule(f"{call.name} of the mode {call.options['mode']!r}")
    return call.values(), call.function(call.parts[0], *call.args[1:], **call.options)


def _padded(call: Call) -> Result:
    """Padding: a constant border has no difference, other borders are applied to the parts."""
    options = {"mode": "constant", **dict(zip(("mode", "value"), call.args[2:], strict=False))}
    options |= call.options
    options["value"] = 0.0 if options["mode"] == "constant" else None
    return call.values(), call.function(call.parts[0], call.args[1], **options)


def _layer(call: Call) -> Result:
    named = dict(zip(("weight", "bias"), call.args[1:3], strict=False))
    options = {**named, **call.options}
    weight = options.pop("weight")
    options.pop("bias", None)

    def layer(arguments: Tensor, weight: Tensor) -> Tensor:
        made: Tensor = call.function(arguments, weight, None, *call.args[3:], **options)
        return made

    return call.values(), linearly(layer, call.args[0], call.parts[0], weight)


def _product(call: Call) -> Result:
    """The product of activations and a matrix of weights."""
    return call.values(), linearly(call.function, call.args[0], call.parts[0], call.args[1])


def _normalised(call: Call) -> Result:
    names = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    options: dict[str, Any] = {"weight": None, "training": False, "eps": 1e-5}
    options |= {**dict(zip(names, call.args[1:], strict=False)), **call.options}
    if options["training"] or options["running_var"] is None:
        raise no_rule("a batch normalisation with the statistics of the batch")
    factor = (options["running_var"] + options["eps"]).rsqrt()
    factor = factor if options["weight"] is None else factor * options["weight"]
    shape = (1, -1, *(1,) * (call.args[0].ndim - 2))
    return call.values(), scaled(call.parts[0], factor.view(shape))


def _activation(call: Call) -> Result:
    def function(values: Tensor) -> Tensor:
        made: Tensor = call.function(values, *call.args[1:], **call.options)
        return made

    values, parts = call.args[0], call.parts[0]
    return call.values(), activated(function, values, parts, cancelling=call.cancelling)


def _max_pool(call: Call) -> Result:
    return max_pooled(call.name, call.args[0], call.parts[0], *call.args[1:], **call.options)


def _sum(call: Call) -> Result:
    """Sums and differences of activations and constants."""
    if call.options:
        raise no_rule(f"{call.name} with {', '.join(call.options)}")
    signs = {"add": (1, 1), "sub": (1, -1)}.get(call.name, (-1, 1))
    values = call.values()
    terms = [
        scaled(parts, torch.tensor(float(sign)).to(parts))
        for sign, parts in zip(signs, call.parts, strict=True)
        if parts is not None
    ]
    return values, sum(terms[1:], terms[0]).expand_as(values)


def _multiple(call: Call) -> Result:
    """Multiplication or division of activations by a constant, and negation."""
    places = [place for place, parts in enumerate(call.parts) if parts is not None]
    if call.options or len(places) > 1:
        raise no_rule("a product or quotient of two activations, or a rounded quotient")
    (place,) = places
    if call.name == "div" and place == 1:
        raise no_rule("a division by an activation")
    other = -1.0 if call.name == "neg" else call.args[1 - place]
    parts: Tensor = call.parts[place]
    factor = torch.as_tensor(other).to(parts)
    return call.values(), scaled(parts, 1 / factor if call.name == "div" else factor)


def _joined(call: Call) -> Result:
    """Concatenation of activations and constants."""
    parts = [
        torch.zeros_like(values) if own is None else own
        for values, own in zip(call.args[0], call.parts[0], strict=True)
    ]
    return call.values(), call.function(parts, *call.args[1:], **call.options)


IDENTITIES = frozenset({
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
    *("detach", "requires_grad_"),
})  # fmt: skip

_NAMES = {
    _positive: (
        *("view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze", "permute"),
        *("transpose", "movedim", "contiguous", "clone", "expand", "__getitem__", "narrow"),
        *("select", "chunk", "split", "unbind", "float", "double", "to", "mean", "sum"),
        *("pixel_shuffle", "interpolate", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
        *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    ),
    _padded: ("pad",),
    _layer: (
        *("linear", "conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    ),
    _product: ("matmul",),
    _normalised: ("batch_norm",),
    _activation: (
        *("relu", "relu6", "leaky_relu", "prelu", "hardtanh", "clamp", "clamp_min", "elu"),
        *("celu", "selu", "sigmoid", "tanh", "softplus", "silu", "mish", "gelu", "hardswish"),
    ),
    _max_pool: (
        *("max_pool1d", "max_pool2d", "max_pool3d"),
        *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
    ),
    _sum: ("add", "sub", "rsub", "__rsub__"),
    _multiple: ("mul", "div", "neg"),
    _joined: ("cat", "concat", "stack"),
}  # fmt: skip
_RULES = {name: rule for rule, names in _NAMES.items() for name in names}


def rule_of(name: str, parts: tuple[Any, ...]) -> Callable[[Call], Result] | None:
    """Return the rule of an operation, or None if it has none with these activations.

    Args:
        name: name of the operation.
        parts: the parts of each argument, as in a `Call`.
    """
    rule = _RULES.get(name)
    if rule is _joined:
        return rule if isinstance(parts[0], list) else None
    if any(isinstance(each, list) for each in parts):
        return None
    alone = parts[0] is not None and all(each is None for each in parts[1:])
    return rule if alone or rule in {_sum, _multiple} else None
