"""Steps with sliding windows: convolutions and pooling in one, two and three dimensions."""

import math

from pytest_xai.networks.draft import Draft
from pytest_xai.networks.step import Step

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "conv",
    "conv_transpose",
    "max_pool",
    "shared_conv",
]

_CLIPPED = frozenset({"relu", "shared-relu", "functional-relu", "inplace-relu"})


def conv(step: Step, draft: Draft) -> None:
    """Write a convolution, which may be grouped, depthwise, dilated or strided."""
    source = _convolution(step, draft)
    draft.apply("conv", source)


def shared_conv(step: Step, draft: Draft) -> None:
    """Write a convolution that keeps the shape; such steps of one shape share their weights."""
    channels = draft.shape[0]
    same = Step("conv", width=channels, kernel=3, padding=1)
    if draft.reuse("conv", _convolution(same, draft)):
        draft.structures.add("shared-weights")


def _convolution(step: Step, draft: Draft) -> str:
    channels = draft.shape[0]
    draft.require(draft.rank, step, "a signal, an image or a volume")
    draft.require(
        channels % step.groups == 0 == step.width % step.groups, step, "groups that divide channels"
    )
    draft.fan_in = max(draft.fan_in, channels // step.groups * step.kernel**draft.rank)
    draft.structures.add("conv")
    if step.groups > 1:
        draft.structures.add("depthwise-conv" if step.groups == channels else "grouped-conv")
    if step.dilation > 1 and step.kernel > 1:
        draft.structures.add("dilated-conv")
    source = (
        f"nn.Conv{draft.rank}d({channels}, {step.width}, {step.kernel}"
        f"{_given(step, 'stride', 'padding', 'dilation', 'groups')})"
    )
    draft.shape = (step.width, *_slid(step, draft))
    return source


def conv_transpose(step: Step, draft: Draft) -> None:
    """Write a transposed convolution."""
    channels = draft.shape[0]
    draft.require(draft.rank, step, "a signal, an image or a volume")
    sizes = tuple(
        (size - 1) * step.stride - 2 * step.padding + step.kernel for size in draft.shape[1:]
    )
    draft.require(min(sizes) > 0, step, "an output with elements")
    draft.fan_in = max(draft.fan_in, channels * math.ceil(step.kernel / step.stride) ** draft.rank)
    draft.structures.add("transposed-conv")
    draft.apply(
        "upconv",
        f"nn.ConvTranspose{draft.rank}d({channels}, {step.width}, {step.kernel}"
        f"{_given(step, 'stride', 'padding')})",
    )
    draft.shape = (step.width, *sizes)


def max_pool(step: Step, draft: Draft) -> None:
    """Write a max-pooling."""
    draft.require(draft.rank, step, "a signal, an image or a volume")
    _require_padding(step, draft)
    draft.structures.add("max-pool")
    traits = {
        f"max-pool-{draft.rank}d": True,
        "max-pool-overlapping": step.stride < step.kernel,
        "max-pool-padded": step.padding > 0,
        "max-pool-dilated": step.dilation > 1,
        # After a ReLU, several zeros can be the maximum of a window.
        "max-pool-ties": draft.last in _CLIPPED,
    }
    draft.structures.update(name for name, present in traits.items() if present)
    sizes = _slid(step, draft)
    draft.apply("pool", f"nn.MaxPool{draft.rank}d({_window(step, 'padding', 'dilation')})")
    draft.shape = (draft.shape[0], *sizes)


def avg_pool(step: Step, draft: Draft) -> None:
    """Write an average pooling, which includes the zeros of the padding."""
    draft.require(draft.rank, step, "a signal, an image or a volume")
    _require_padding(step, draft)
    draft.require(step.kernel <= min(draft.shape[1:]), step, "a window within the shape")
    draft.structures.add("avg-pool")
    sizes = _slid(step, draft)
    draft.apply("pool", f"nn.AvgPool{draft.rank}d({_window(step, 'padding')})")
    draft.shape = (draft.shape[0], *sizes)


def adaptive_avg_pool(step: Step, draft: Draft) -> None:
    """Write an adaptive average pooling."""
    _adaptive(step, draft, "Avg")


def adaptive_max_pool(step: Step, draft: Draft) -> None:
    """Write an adaptive max-pooling."""
    _adaptive(step, draft, "Max")


def _adaptive(step: Step, draft: Draft, what: str) -> None:
    draft.require(draft.rank, step, "a signal, an image or a volume")
    draft.require(step.width <= min(draft.shape[1:]), step, "a width within the shape")
    draft.structures.add(f"adaptive-{what.lower()}-pool")
    draft.apply("pool", f"nn.Adaptive{what}Pool{draft.rank}d({step.width})")
    draft.shape = (draft.shape[0], *[step.width] * draft.rank)


def _require_padding(step: Step, draft: Draft) -> None:
    draft.require(
        step.kernel > 1 and 2 * step.padding <= step.kernel,
        step,
        "padding of at most half a window",
    )


def _slid(step: Step, draft: Draft) -> tuple[int, ...]:
    reach = step.dilation * (step.kernel - 1) + 1
    sizes = tuple((size + 2 * step.padding - reach) // step.stride + 1 for size in draft.shape[1:])
    draft.require(min(sizes) > 0, step, "an output with elements")
    return sizes


def _window(step: Step, *names: str) -> str:
    stride = f", stride={step.stride}" if step.stride != step.kernel else ""
    return f"{step.kernel}{stride}{_given(step, *names)}"


def _given(step: Step, *names: str) -> str:
    plain = Step(step.kind)
    values = {name: getattr(step, name) for name in names}
    changed = (name for name in names if values[name] != getattr(plain, name))
    return "".join(f", {name}={values[name]}" for name in changed)
