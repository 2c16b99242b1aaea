"""Networks that DeepLift of captum can follow: between the modules with a rule, linear maps only.

captum takes the gradient of whatever it has no rule for. That is right for linear maps and for
nothing else: behind a GELU, a product of two activations or a group normalisation, the
contributions no longer add up to the difference of the outputs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pytest_xai.errors import NotApplicable

__all__ = ["linear_between", "nothing_left"]

# What captum's hooks remember on a module, and forget in a backward pass that gets so far.
_REMEMBERED = ("input", "output", "input_ref")
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
# Linear in one activation, a product or a quotient of two.
_PRODUCTS = frozenset({
    *("__imul__", "__matmul__", "__mul__", "__rmatmul__", "__rmul__", "addmm", "bilinear", "bmm"),
    *("einsum", "matmul", "mm", "mul", "mul_", "multiply", "tensordot"),
})  # fmt: skip
_QUOTIENTS = frozenset(("__itruediv__", "__truediv__", "div", "div_", "divide", "true_divide"))


@contextmanager
def linear_between(model: nn.Module, rules: Sequence[str]) -> Iterator[None]:
    """Run a model inside that is linear but for functions that the explainer has a rule for.

    Args:
        model: what it does in its forward pass is watched.
        rules: names of these functions, whoever calls them.

    Raises:
        NotApplicable: inside, where the model does something else with its activations.
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
def nothing_left(model: nn.Module) -> Iterator[None]:
    """Take back what captum's hooks remember on modules, and forget only where all goes well."""
    before = {module: _remembered(module) for module in model.modules()}
    try:
        yield
    finally:
        for module, own in before.items():
            for name in _remembered(module):
                delattr(module, name)
            vars(module).update(own)


def _remembered(module: nn.Module) -> dict[str, Any]:
    return {name: vars(module)[name] for name in _REMEMBERED if name in vars(module)}


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
            raise NotApplicable("captum's DeepLift cannot follow a max-pool that is dilated")
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
    """Whether a function of these arguments is linear in the activations among them."""
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
    """Whether it was computed from the inputs: from a tensor with a gradient that is no weight."""
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
