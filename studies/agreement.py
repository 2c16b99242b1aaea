"""Compares the maps of two libraries that implement the same method.

    python -m studies.agreement [--write docs/evidence/agreement.md]

Prints a table in Markdown: the largest difference of two maps divided by the largest value of the
first, and the mean Spearman correlation, over 16 images in float64. The tests compare the figures
with the expected ones in this file (tests/explainers/test_agreement.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pytest_xai import explainers, measures
from pytest_xai.core.seeds import seeded
from pytest_xai.measures import spatial
from pytest_xai.subjects import load_digits, load_shapes
from studies.page import page_asked_for, print_or_write

IMAGES = 16


class Plain(nn.Module):
    """Two convolutions, each with a ReLU, average pooling, a head: what all rules understand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits (N, 4) of images (N, 1, H, W)."""
        hidden = self.relu2(self.conv2(self.relu1(self.conv1(inputs))))
        logits: Tensor = self.head(self.pool(hidden).flatten(1))
        return logits


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A network, its inputs, and what is explained."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    baseline: Tensor


def scene(name: str) -> Scene:
    """Return the network and images of a name: "plain", "digits" or "shapes", in float64."""
    if name == "plain":
        torch.manual_seed(0)
        model = Plain().double().eval()
        inputs = torch.rand(IMAGES, 1, 10, 10, dtype=torch.float64)
        baseline = torch.rand(1, 1, 10, 10, dtype=torch.float64)
        return Scene(
            model=model, inputs=inputs, targets=torch.arange(IMAGES) % 4, baseline=baseline
        )
    subject = (load_digits if name == "digits" else load_shapes)(IMAGES).double()
    return Scene(
        model=subject.model.eval(),
        inputs=subject.inputs,
        targets=subject.targets,
        baseline=subject.baseline,
    )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One method of two libraries on one network.

    Attributes:
        first, second: names in the gallery; options go with them.
        scene: the network.
        difference: at most this, as a share of the largest value; None: not held to one.
        correlation: at least this, mean Spearman of the maps.
        why: what explains that they differ, where they do.
    """

    method: str
    first: str
    second: str
    scene: str
    difference: float | None
    correlation: float
    why: str = ""
    options: tuple[Mapping[str, object], Mapping[str, object]] = field(default=({}, {}))


_GRID = {"blocks": 4, "samples": 2000}
PAIRS: tuple[Pair, ...] = (
    Pair(
        method="LRP-epsilon",
        first="captum:LRP",
        second="zennit:LRPEpsilon",
        options=({"epsilon": 1e-9}, {"epsilon": 1e-9}),
        scene="plain",
        difference=1e-12,
        correlation=0.999,
    ),
    Pair(
        method="LRP-gamma",
        first="captum:LRP",
        second="zennit:LRPGamma",
        options=({"rule": "gamma"}, {}),
        scene="plain",
        difference=None,
        correlation=0.5,
        why="zennit's rule raises biases as well, captum's the weights alone",
    ),
    *(
        Pair(
            method="Grad-CAM, scaled to [0, 1]",
            first="captum:LayerGradCam",
            second="gradcam:GradCAM",
            scene=network,
            difference=1e-5,
            correlation=0.99,
            why="grad-cam computes in float32 and resizes after scaling",
        )
        for network in ("plain", "digits", "shapes")
    ),
    Pair(
        method="HiResCAM and Grad-CAM of the pooled layer, scaled to [0, 1]",
        first="captum:LayerGradCam",
        second="gradcam:HiResCAM",
        options=({"layer": "relu2"}, {"layer": "relu2"}),
        scene="shapes",
        difference=1e-5,
        correlation=0.99,
    ),
    *(
        Pair(
            method="DeepLIFT Rescale",
            first=first,
            second=second,
            scene="plain",
            difference=1e-6,
            correlation=0.999,
        )
        for first, second in (
            ("captum:DeepLift", "shap:DeepExplainer"),
            ("captum:DeepLift", "xai:DeepLiftRescale"),
        )
    ),
    Pair(
        method="DeepLIFT Rescale",
        first="captum:DeepLift",
        second="shap:DeepExplainer",
        scene="digits",
        difference=None,
        correlation=0.5,
        why="captum is wrong where a ReLU feeds a max-pool (pytorch/captum issue 1104)",
    ),
    Pair(
        method="DeepLIFT Rescale",
        first="shap:DeepExplainer",
        second="xai:DeepLiftRescale",
        scene="digits",
        difference=1e-6,
        correlation=0.999,
    ),
    *(
        Pair(
            method="guided backpropagation",
            first="captum:GuidedBackprop",
            second="zennit:GuidedBackprop",
            scene=network,
            difference=1e-9,
            correlation=0.999,
        )
        for network in ("digits", "shapes")
    ),
    *(
        Pair(
            method="deconvolution",
            first="captum:Deconvolution",
            second="zennit:Deconvnet",
            scene=network,
            difference=1e-9,
            correlation=0.999,
        )
        for network in ("digits", "shapes")
    ),
    Pair(
        method="Kernel SHAP on 16 blocks",
        first="captum:KernelShap",
        second="shap:KernelExplainer",
        options=(_GRID, {"per_side": 4, "samples": 2000}),
        scene="plain",
        difference=None,
        correlation=0.9,
        why="both sample coalitions",
    ),
    Pair(
        method="LIME on 16 blocks",
        first="captum:Lime",
        second="lime:LimeImage",
        options=(_GRID, {"segments": "grid", "per_side": 4, "samples": 2000, "hidden": "baseline"}),
        scene="plain",
        difference=None,
        correlation=0.5,
        why="both sample, with other kernels and regularisation",
    ),
    Pair(
        method="expected gradients",
        first="captum:GradientShap",
        second="shap:GradientExplainer",
        options=({"draws": 200}, {"samples": 200}),
        scene="plain",
        difference=None,
        correlation=0.9,
        why="both sample the way from the baseline",
    ),
    Pair(
        method="FEM",
        first="xai:FEM",
        second="gradcam:FEM",
        scene="digits",
        difference=None,
        correlation=0.0,
        why="grad-cam weights a channel by how many places are large, not by its mean",
    ),
)


def explained(spec: str, options: Mapping[str, object], on: Scene) -> Tensor:
    """Maps (N, H, W) of one explainer, float64, always with the same seed."""
    explainer = explainers.get(spec, **options)
    baseline = {"baseline": on.baseline} if explainer.traits.needs_baseline else {}
    with seeded(0):
        maps = explainer.call(on.model, on.inputs, on.targets, **baseline)
    assert isinstance(maps, Tensor)
    return spatial(maps)


def compare(pair: Pair) -> tuple[float, float]:
    """Largest difference over the largest value, and mean Spearman correlation."""
    on = scene(pair.scene)
    first = explained(pair.first, pair.options[0], on)
    second = explained(pair.second, pair.options[1], on)
    # A map whose scale the library throws away is compared in its own scale.
    rescaled = _unit(first) if pair.method.endswith("scaled to [0, 1]") else first
    difference = float((rescaled - second).abs().max() / rescaled.abs().max())
    return difference, float(measures.spearman(first, second).nanmean())


def _unit(maps: Tensor) -> Tensor:
    low = maps.flatten(1).amin(1)[:, None, None]
    return (maps - low) / (maps.flatten(1).amax(1)[:, None, None] - low).clamp_min(1e-12)


def table() -> str:
    """The table in Markdown."""
    lines = [
        "| method, network | implementations | difference | Spearman | why they differ |",
        "| --- | --- | --- | --- | --- |",
    ]
    for pair in PAIRS:
        difference, correlation = compare(pair)
        lines.append(
            f"| {pair.method}, {pair.scene} | `{pair.first}` `{pair.second}` "
            f"| {difference:.1e} | {correlation:.3f} | {pair.why or 'they agree'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table, or write it between the marks of a page."""
    print_or_write(page_asked_for(__doc__, several=False), table())


if __name__ == "__main__":
    main()
