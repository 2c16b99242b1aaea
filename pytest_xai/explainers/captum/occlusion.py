"""Occlusion of captum: a sliding window replaces parts of the input by the baseline."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import flag, whole
from pytest_xai.explainers.adapting.entry import Claim, Entry, claims
from pytest_xai.explainers.adapting.passes import fresh, images_per_pass

__all__ = ["ENTRIES", "occlusion"]


def occlusion(
    *, window: int | None = None, stride: int | None = None, per_channel: bool = False
) -> Callable[..., Tensor]:
    """The drop of the output when a window is set to the baseline (Zeiler 2014, sec. 4.2).

    The score of a pixel is the mean drop over all windows that cover it. The drop is not divided
    among the pixels of the window, so maps do not sum to a difference of outputs if a window has
    more than one pixel. All channels are occluded together, and the map is (N, 1, *spatial); a
    channel that the model ignores then has no separate score. Inputs (N, features) give a map
    (N, features).

    Args:
        window: side of the window in each spatial dimension. None takes an eighth of each side, at
            least 1, and a single feature of inputs (N, features).
        stride: step of the window; None takes the side of the window.
        per_channel: True occludes one channel at a time; the map then has the inputs' shape.

    Raises:
        InvalidArgument: ``window`` or ``stride`` is not a positive integer, ``stride`` exceeds
            ``window``, or ``per_channel`` is not a boolean. When called: the window is larger than
            the input, or the stride is larger than the default window.
    """
    per_channel = flag("per_channel", per_channel)
    window = None if window is None else whole("window", window)
    stride = None if stride is None else whole("stride", stride)
    if window is not None and stride is not None:
        _require_no_gaps(stride, window)

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        captum = require("captum.attr", extra="captum")
        spatial = tuple(inputs.shape[2:]) or tuple(inputs.shape[1:])
        channels = () if inputs.ndim == 2 else (1 if per_channel else inputs.shape[1],)
        windows = _windows(inputs, spatial, window)
        strides = windows if stride is None else (stride,) * len(spatial)
        _require_no_gaps(min(strides), min(windows))
        slider = captum.Occlusion(model)
        # captum divides in float32 for every dtype of the inputs, so the sums are divided here.
        slider.use_weights = False
        sums: Tensor = slider.attribute(
            fresh(inputs),
            sliding_window_shapes=(*channels, *windows),
            strides=(*channels, *strides),
            baselines=baseline.detach(),
            target=targets,
            perturbations_per_eval=max(1, images_per_pass(inputs) // len(inputs)),
        )
        maps = sums / _coverage(spatial, windows, strides).to(sums)
        return maps if inputs.ndim == 2 or per_channel else maps[:, :1]

    return explain


def _windows(inputs: Tensor, spatial: tuple[int, ...], window: int | None) -> tuple[int, ...]:
    if window is None:
        return tuple(1 if inputs.ndim == 2 else max(1, side // 8) for side in spatial)
    if window > min(spatial):
        raise InvalidArgument.of(
            "window", got=str(window), expected=f"at most the smallest side of {spatial}"
        )
    return (window,) * len(spatial)


def _require_no_gaps(stride: int, window: int) -> None:
    if stride > window:
        raise InvalidArgument.of(
            "stride", got=str(stride), expected=f"at most the window's side, {window}"
        )


def _coverage(
    spatial: tuple[int, ...], windows: tuple[int, ...], strides: tuple[int, ...]
) -> Tensor:
    """Count the windows that cover each position. The last window may extend beyond the edge."""
    coverage = torch.ones(())
    for side, window, stride in zip(spatial, windows, strides, strict=True):
        starts = torch.arange(math.ceil((side - window) / stride) + 1) * stride
        offsets = torch.arange(side).unsqueeze(1) - starts
        covered = ((offsets >= 0) & (offsets < window)).sum(1)
        coverage = coverage.unsqueeze(-1) * covered
    return coverage


ENTRIES = {
    "captum:Occlusion": Entry(
        factory=occlusion,
        method="occlusion",
        source="zeiler2014",
        cost="1 forward + 1 for each window position",
        claims=(
            *claims("zeiler2014", "implementation_invariance", "linearity", "sensitivity_a"),
            *claims("kindermans2019", "shift_invariance"),
            *claims("ancona2018", "positive_homogeneity", "sign_convention"),
            # The positions of larger windows are not symmetric if they do not divide the side.
            Claim(check="symmetry", source="sundararajan2017", when={"window": 1}),
            Claim(check="translation_equivariance", source="montavon2018", when={"window": 1}),
            # With windows over all channels, an ignored channel gets the drop of the others.
            Claim(check="dummy_feature", source="ancona2018", when={"per_channel": True}),
        ),
        sign="evidence",
        needs_baseline=True,
    ),
}
