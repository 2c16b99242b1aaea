"""Detection of networks that captum's DeepLift does not support.

captum uses the gradient of every operation without a rule, which is right only for linear ones.
After a GELU, a product of two activations or a group normalisation, the contributions no longer
add up to the difference of the outputs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_xai.errors import NotApplicable

__all__ = ["hook_data_removed", "linear_between"]

# Attributes that captum's hooks set on modules; a backward pass removes them unless it fails.
_HOOK_DATA = ("input", "output", "input_ref")
_ASK = frozenset({
    *("__get__", "__len__", "dim", "is_contiguous", "is_floating_point", "ndimension", "numel"),
    *("register_hook", "requires_grad_", "size", "stride"),
    *("empty_like", "full_like", "new_empty", "new_full", "new_ones", "new_zeros"),
    *("ones_like", "rand_like", "randn_like", "zeros_like"),
})  # fmt: skip
_MOVE = frozenset({
    *("__getitem__", "alpha_dropout", "cat", "chunk", "clone", "concat", "contiguous", "cpu"),
    *("cuda", "detach", "double", "dropout", "dropout1d", "dropout2d", "dropout3d", "dropout_"),
    *("expand", "expand_as", "feature_alpha_dropout", "flatten", "flip", "float", "fold"),
    *("gather", "index_select", "movedim", "narrow", "pad", "permute", "pixel_shuffle"),
    *("pixel_unshuffle", "repeat", "repeat_interleave", "reshape", "roll", "select", "split"),
    *("squeeze", "stack", "swapaxes", "t", "tile", "to", "transpose", "type", "type_as"),
    *("unbind", "unflatten", "unfold", "unsqueeze", "view", "view_as"),
})  # fmt: skip
_LINEAR = frozenset({
    *("conv1d", "conv2d", "conv3d"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "channel_shuffle", "interpolate"),
    *("__add__", "__iadd__", "__isub__", "__neg__", "__radd__", "__rsub__", "__sub__"),
    *("add", "add_", "cumsum", "mean", "neg", "rsub", "sub", "sub_", "subtract", "sum"),
})  # fmt: skip
# Linear if only one of the factors is an activation.
_PRODUCTS = frozenset({
    *("__imul__", "__matmul__", "__mul__", "__rmatmul__", "__rmul__", "addmm", "bilinear", "bmm"),
    *("einsum", "matmul", "mm", "mul", "mul_", "multiply", "tensordot"),
})  # fmt: skip
_QUOTIENTS = frozenset(("__itruediv__", "__truediv__", "div", "div_", "divide", "true_divide"))


@contextmanager
def linear_between(model: nn.Module, rules: Sequence[str]) -> Iterator[None]:
    """Check that a model which runs inside applies only linear functions and those with a rule.

    Args:
        model: the model, whose forward passes are watched.
        rules: names of the functions for which the explainer has a rule.

    Raises:
        NotApplicable: inside the context, when the model applies another function to activations.
    """
    watch = _Watch(frozenset(rules))
    handles = [
        model.register_forward_pre_hook(lambda *_: watch.run(running=True)),
        model.register_forward_hook(lambda *_: watch.run(running=False)),
    ]
    try:
        with watch:
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def hook_data_removed(model: nn.Module) -> Iterator[None]:
    """Remove what captum's hooks store on modules, which they leave there if a pass fails."""
    before = {module: _hook_data(module) for module in model.modules()}
    try:
        yield
    finally:
        for module, own in before.items():
            for name in _hook_data(module):
                delattr(module, name)
            vars(module).update(own)


def _hook_data(module: nn.Module) -> dict[str, Any]:
    return {name: vars(module)[name] for name in _HOOK_DATA if name in vars(module)}


class _Watch(TorchFunctionMode):
    def __init__(self, rules: frozenset[str]) -> None:
        super().__init__()
        self.harmless = rules | _ASK | _MOVE | _LINEAR
        self.running = False

    def run(self, *, running: bool) -> None:
        self.running = running

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        name, options = getattr(func, "__name__", str(func)), kwargs or {}
        if self.running and name.startswith("max_pool") and _is_dilated(args, options):
            raise NotApplicable("captum's DeepLift does not support dilated max-pools")
        known = not self.running or name in self.harmless
        if not (known or _is_linear(name, args, options)):
            raise NotApplicable(
                f"captum's DeepLift has no rule for {name}, which the model applies to its "
                "activations, and would silently take its gradient"
            )
        return func(*args, **options)


def _is_dilated(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    dilation = options.get("dilation", args[4] if len(args) > 4 else 1)
    return any(step != 1 for step in (dilation if isinstance(dilation, tuple) else (dilation,)))


def _is_linear(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Return whether a function of these arguments is linear in the activations among them."""
    if name == "batch_norm":
        return not options.get("training", args[5] if len(args) > 5 else False)
    activations = sum(map(_is_activation, _tensors([args, list(options.values())])))
    if name in _PRODUCTS:
        return activations <= 1
    if name in _QUOTIENTS:
        return not any(map(_is_activation, _tensors(args[1:])))
    return activations == 0


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for each in values:
            yield from _tensors(each)


def _is_activation(tensor: Tensor) -> bool:
    """Return whether a tensor depends on the inputs, that is on a leaf that is not a parameter."""
    if tensor.grad_fn is None:
        return tensor.requires_grad and not isinstance(tensor, nn.Parameter)
    seen, waiting = {tensor.grad_fn}, [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        leaf = getattr(node, "variable", None)
        if leaf is not None and not isinstance(leaf, nn.Parameter):
            return True
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)
    return False
