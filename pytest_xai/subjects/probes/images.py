"""Probes with images as inputs: closed forms by matrices, and class activation maps."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pytest_xai.core.subject import Subject
from pytest_xai.subjects.probes.chains import Chain
from pytest_xai.subjects.probes.class_maps import activation_maps
from pytest_xai.subjects.probes.lrp_rules import relevances
from pytest_xai.subjects.probes.points import any_draw, linear, probe, rows, vector
from pytest_xai.subjects.probes.truths import of_gradient, of_one_hidden

__all__ = ["IMAGES"]

_KERNELS = torch.tensor(
    [
        [[[1, 0.5, -0.25], [0.75, 2, 1], [-0.5, 0.25, -1]]],
        [[[-1, 1, 0.5], [0.5, -0.75, 1], [0.25, 1, -0.5]]],
    ],
    dtype=torch.float64,
)


def scene(*shape: int, step: int) -> Tensor:
    """Return distinct numbers from 0 to 1 in each image, including both ends.

    Args:
        *shape: (N, C, H, W).
        step: step between neighbours, coprime to the number of elements of an image.
    """
    count = math.prod(shape[1:])
    places = torch.arange(count, dtype=torch.float64)
    images = [(places * step + 3 * image) % count / (count - 1) for image in range(shape[0])]
    return torch.stack(images).reshape(shape)


def convolution(kernels: Tensor, bias: Tensor | None = None, *, padding: int = 0) -> nn.Conv2d:
    """Return a convolution with these kernels (out, in, k, k) and this bias (out,), or no bias."""
    out, channels, size, _ = kernels.shape
    # Skips the default initialisation, which would use the global generator.
    layer: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d,
        channels,
        out,
        size,
        padding=padding,
        bias=bias is not None,
        dtype=kernels.dtype,
    )
    with torch.no_grad():
        layer.weight.copy_(kernels)
        if layer.bias is not None and bias is not None:
            layer.bias.copy_(bias)
    return layer


def matrix(kernels: Tensor, height: int, width: int, *, padding: int = 0) -> Tensor:
    """Return the matrix of a convolution of stride 1, (out H' W', in H W)."""
    out, channels, size, _ = kernels.shape
    rows_, columns = height + 2 * padding - size + 1, width + 2 * padding - size + 1
    found = kernels.new_zeros(out, rows_, columns, channels, height, width)
    for row in range(rows_):
        for column in range(columns):
            for down in range(size):
                for right in range(size):
                    at = row + down - padding, column + right - padding
                    if 0 <= at[0] < height and 0 <= at[1] < width:
                        found[:, row, column, :, at[0], at[1]] = kernels[:, :, down, right]
    return found.reshape(out * rows_ * columns, channels * height * width)


def _image_linear() -> Subject:
    """W x + b of two channels; methods with one value per position sum over the channels."""
    inputs, baseline = scene(3, 2, 4, 4, step=7), scene(3, 2, 4, 4, step=11).flip(0)
    weight = torch.cat([scene(1, 1, 4, 8, step=5), -scene(1, 1, 4, 8, step=3)]).flatten(1) * 3 - 1
    targets = torch.tensor([0, 1, 0])
    own = weight[targets].view_as(inputs)
    parts = own * (inputs - baseline)
    places = parts.sum(1, keepdim=True)
    truths = {
        **of_gradient(own, inputs),
        "largest_gradient": own.abs().amax(1, keepdim=True),
        "guided_backprop": own,
        "deconvolution": own,
        "lrp_zero": own * inputs,
        "integrated_gradients": parts,
        "deep_lift_rescale": parts,
        "deep_lift_reveal_cancel": parts,
        "occlusion": places,
        **any_draw("smooth_grad", truth=own),
        **any_draw("expected_gradients", truth=parts),
    }
    model = nn.Sequential(nn.Flatten(), linear(weight, vector(0.5, -0.25)))
    return probe("image-linear", model, inputs, truths, targets=targets, baseline=baseline)


def _of_dense(found: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    return {method: truth.view_as(inputs) for method, truth in found.items()}


def _image_hidden() -> Subject:
    """A convolution, ReLU and a linear layer without biases, with the baseline -x / 3.

    Every unit switches at a quarter of the path, so that a midpoint rule of 4 n nodes is exact.
    """
    inputs = scene(3, 1, 5, 5, step=7)
    return _convolved("image-hidden", inputs, -inputs / 3)


def _image_rules() -> Subject:
    """The same with baseline 0, for all rules of LRP."""
    inputs = scene(3, 1, 5, 5, step=7)
    return _convolved("image-rules", inputs, torch.zeros_like(inputs))


def _convolved(name: str, inputs: Tensor, baseline: Tensor) -> Subject:
    head = scene(1, 1, 2, 9, step=5).flatten(1) * 2 - 0.75
    form = Chain(
        weights=[matrix(_KERNELS, 5, 5), head],
        biases=[torch.zeros(18, dtype=torch.float64), vector(0)],
        inputs=inputs.flatten(1),
        baseline=baseline.flatten(1),
        targets=torch.zeros(len(inputs), dtype=torch.long),
    )
    found = of_one_hidden(form)
    if not baseline.any():
        found = {**found, **relevances(form)}
    model = nn.Sequential(convolution(_KERNELS), nn.ReLU(), nn.Flatten(), linear(head))
    return probe(name, model, inputs, _of_dense(found, inputs), baseline=baseline)


def _pooled(name: str, kernels: Tensor, inputs: Tensor, *, rectified: bool) -> Subject:
    weight, bias = rows([8, -3], [-2, 6]), vector(0.5, -0.25)
    targets = torch.tensor([0, 1, 0])
    dense = matrix(kernels, 4, 4, padding=1)
    # Global average pooling and the linear layer as one matrix.
    head = weight.repeat_interleave(16, 1) / 16
    flat = inputs.flatten(1)
    form = Chain(
        weights=[dense, head] if rectified else [head @ dense],
        biases=[torch.zeros(32, dtype=torch.float64), bias] if rectified else [bias],
        inputs=flat,
        baseline=torch.zeros_like(flat),
        targets=targets,
    )
    activations = (flat @ dense.T).view(-1, 2, 4, 4)
    found = activation_maps(activations, weight[targets], bias[targets])
    if not rectified:
        # With a ReLU, no unit has a derivative at the start of the path.
        found["conductance"] = found["cam"] / 16
    guided = form.guided().view_as(inputs)
    if rectified:
        spread = _of_dense(of_one_hidden(form), inputs)
    else:
        own = form.gradient().view_as(inputs)
        parts = own * inputs
        spread = {
            **of_gradient(own, inputs),
            "integrated_gradients": parts,
            "deep_lift_rescale": parts,
            "lrp_zero": parts,
            "guided_backprop": guided,
        }
    truths = {**spread, **found, "guided_grad_cam": found["grad_cam"] * guided}
    modules = [
        convolution(kernels, padding=1),
        *([nn.ReLU()] if rectified else []),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        linear(weight, bias),
    ]
    return probe(name, nn.Sequential(*modules), inputs, truths, targets=targets)


def _image_pool() -> Subject:
    """Convolution, max-pooling, ReLU and linear layer, with a baseline with the same maxima.

    With x' = x / 2 the outputs of a channel keep their order. The change of a window is therefore
    that of one unit, for which the multiplier of Rescale is 1 (Shrikumar 2017).
    """
    inputs = scene(3, 1, 5, 5, step=7)
    kernels = torch.cat([_KERNELS[:, :, :2, :2], -_KERNELS[:1, :, :2, 1:]])
    bias, head = vector(-1.5, -0.25, 1), scene(1, 1, 1, 12, step=5).flatten(1) * 4 - 1.5
    dense, offset = matrix(kernels, 5, 5), bias.repeat_interleave(16)
    z = (inputs.flatten(1) @ dense.T + offset).view(-1, 3, 4, 4)
    half = (z + bias[:, None, None]) / 2
    wins, above, below = _winners(z), z.relu(), half.relu()

    def back(signal: Tensor) -> Tensor:
        return ((wins * signal).flatten(1) @ dense).view_as(inputs)

    weight = head.view(1, 3, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    own = back(weight * (z > 0))
    truths = {
        **of_gradient(own, inputs),
        "lrp_zero": own * inputs,
        "guided_backprop": back(weight.relu() * (z > 0)),
        "deconvolution": back(weight.relu()),
        "deep_lift_rescale": back(weight * (above - below) / (z - half)) * inputs / 2,
    }
    model = nn.Sequential(
        convolution(kernels, bias), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), linear(head)
    )
    return probe("image-pool", model, inputs, truths, baseline=inputs / 2)


def _winners(maps: Tensor) -> Tensor:
    """Return 1 at the maximum of each 2 x 2 window and 0 elsewhere, (N, C, H, W)."""
    largest = maps.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    return (maps == largest.repeat_interleave(2, 2).repeat_interleave(2, 3)).to(maps)


def _gap_cam() -> Subject:
    """Convolution, ReLU, global average pooling and linear layer; all units are active."""
    return _pooled("gap-cam", _KERNELS.abs() + 0.125, scene(3, 1, 4, 4, step=7), rectified=True)


def _gap_linear() -> Subject:
    """The same without a ReLU, so that activations have both signs."""
    return _pooled("gap-linear", _KERNELS, scene(3, 1, 4, 4, step=7) * 2 - 1, rectified=False)


IMAGES = {
    "image-linear": _image_linear,
    "image-hidden": _image_hidden,
    "image-rules": _image_rules,
    "image-pool": _image_pool,
    "gap-cam": _gap_cam,
    "gap-linear": _gap_linear,
}
