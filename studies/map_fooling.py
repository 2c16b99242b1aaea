"""Measures the part of a map that is left under an attack on the map, and under noise.

    python -m studies.map_fooling [--images 100] [--others 32]
        [--write docs/evidence/map-fooling.md]

Prints one table for each size of the attack in Markdown: explainers of the gallery on the digits,
each attacked for its top values, its centre of mass and another image's map. Rows for which the
page states a margin are measured on more images. Plain torch verifies the class, confidence, bounds
and size of every adversarial input. Exits with 1 if one of them is invalid, or if a margin that the
page states is not reached.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pytest_xai import Subject, explainers
from pytest_xai.attacks.fooling import (
    TOLERANCE,
    Fooled,
    Goal,
    fool,
    keeps_prediction,
    mass_centre,
    one_channel,
    target_map,
    top_values,
)
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._map_fooling import kept_under_noise
from pytest_xai.protocol import NamedExplainer
from pytest_xai.subjects import load_digits
from studies.page import print_or_write

SIZES = {"8/255": 8 / 255, "0.2": 0.2}
GOALS: Mapping[str, Callable[[Tensor, Tensor], Goal]] = {
    "top 20 %": top_values,
    "centre": mass_centre,
    "target": target_map,
}
# By how much less than after sign noise is left of the top 20 % of the plain gradient.
PROMISED = {"8/255": 0.10, "0.2": 0.20}
# The plain gradient, of which that is promised, and the smoothed one, which holds better.
COMPARED = ("captum:Saliency", "captum:SmoothGrad")
_SIGN_DRAWS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Attacked:
    """An explainer of the table, with its options and the attacks that it is put through.

    Attributes:
        spec: its name in the gallery.
        options: its options.
        gradients: whether there is a way to its maps for gradients.
        searched: whether it is cheap enough for the attack without gradients as well.
    """

    spec: str
    options: Mapping[str, object] = field(default_factory=dict)
    gradients: bool = True
    searched: bool = True


EXPLAINERS = (
    Attacked(spec="captum:Saliency"),
    Attacked(spec="captum:SmoothGrad", options={"draws": 10}, searched=False),
    Attacked(spec="captum:IntegratedGradients", options={"steps": 10}, searched=False),
    Attacked(spec="captum:LayerGradCam"),
    Attacked(spec="zennit:LRPEpsilon", searched=False),
    Attacked(spec="captum:GuidedBackprop"),
    Attacked(spec="captum:Occlusion", gradients=False),
    Attacked(spec="xai:RISE", options={"masks": 50}, gradients=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What one attack came to.

    Attributes:
        fooled: what it found.
        kept: mean of what is left of the maps, of the images that noise leaves a prediction.
        sign: the same after one draw of sign noise of the whole size, kept within the bounds.
        noise: the same after one draw of the attack's own perturbation shuffled.
        least: the same after the worst of as many draws of that as the attack has candidates.
        evaluations: of the model per image that the attack took, forward and backward, its own
            and the explainer's.
        broken: adversarial inputs that break their word.
    """

    fooled: Fooled
    kept: float
    sign: float
    noise: float
    least: float
    evaluations: float
    broken: int


def measured(
    subject: Subject, explainer: NamedExplainer, goal: str, epsilon: float, *, gradients: bool
) -> Result:
    """Attack the maps of all images, and shake them as much."""
    bench = Bench(subject)
    try:
        aim = GOALS[goal](bench.maps(explainer), bench.targets)
        before = bench.counter.spent
        fooled = fool(bench, explainer, aim, epsilon=epsilon, gradients=gradients)
        spent = (bench.counter.spent - before).model / len(bench)
        noise = kept_under_noise(bench, explainer, aim, fooled)
        sign = _under_signs(bench, explainer, aim, epsilon)
        broken = int((~_as_promised(bench, fooled.inputs, epsilon)).sum())
    finally:
        bench.close()
    counts = ~(noise.isnan().all(0) | sign.isnan().all(0) | fooled.kept.isnan())
    return Result(
        fooled=fooled,
        kept=float(fooled.kept[counts].mean()),
        sign=float(sign.nanmean(0)[counts].mean()),
        noise=float(noise.nanmean(0)[counts].mean()),
        least=float(noise.nan_to_num(torch.inf).amin(0)[counts].mean()),
        evaluations=spent,
        broken=broken,
    )


def _under_signs(bench: Bench, explainer: NamedExplainer, goal: Goal, epsilon: float) -> Tensor:
    """What sign noise leaves of the maps, (draws, n); NaN where it changes the prediction."""
    random, (low, high) = bench.generator("sign noise"), bench.bounds
    kept = []
    for _ in range(_SIGN_DRAWS):
        signs = 2 * torch.randint(2, bench.inputs.shape, generator=random).to(bench.inputs) - 1
        noisy = (bench.inputs + epsilon * (high - low) * signs).clamp(low, high)
        left = goal.kept(one_channel(bench.explain(explainer, noisy)), goal.reference)
        kept.append(left.where(keeps_prediction(bench, noisy), torch.nan))
    return torch.stack(kept)


def _as_promised(bench: Bench, inputs: Tensor, epsilon: float) -> Tensor:
    """Whether class, confidence, bounds and size are kept, in plain torch, BoolTensor (n,)."""
    (low, high), model = bench.bounds, bench.subject.model
    with torch.no_grad():
        before, after = model(bench.inputs).softmax(1), model(inputs).softmax(1)
    chosen = before.argmax(1, keepdim=True)
    same = after.argmax(1) == chosen[:, 0]
    sure = (after.gather(1, chosen) - before.gather(1, chosen)).abs()[:, 0] <= TOLERANCE + 1e-6
    near = ((inputs - bench.inputs).abs() <= epsilon * (high - low) + 1e-6).flatten(1).all(1)
    inside = ((inputs >= low) & (inputs <= high)).flatten(1).all(1)
    return same & sure & near & inside


def table(size: str, images: int, others: int) -> tuple[str, bool]:
    """The rows of one size, and whether they keep what the page promises."""
    heading = (
        "explainer | images | attack on | way | left | sign noise | shuffled | worst of as many",
        "less than sign noise | evaluations",
    )
    lines = [
        f"Sizes up to {size} of the input range.",
        "",
        f"| {' | '.join(heading)} |",
        f"|{' --- |' * 10}",
    ]
    kept_word = True
    for each in EXPLAINERS:
        explainer = explainers.get(each.spec, **each.options)
        runs = [(goal, True) for goal in GOALS] if each.gradients else []
        runs += [("top 20 %", False)] if each.searched else []
        for goal, gradients in runs:
            many = each.spec in COMPARED and goal == "top 20 %" and gradients
            subject = load_digits(images if many else others)
            found = measured(subject, explainer, goal, SIZES[size], gradients=gradients)
            less = found.sign - found.kept
            way = found.fooled.way.removeprefix("through a surrogate: ")
            means = (found.kept, found.sign, found.noise, found.least, less)
            cells = [f"`{each.spec}`", str(len(subject)), goal, way, *(f"{m:.2f}" for m in means)]
            lines.append(f"| {' | '.join(cells)} | {found.evaluations:.0f} |")
            kept_word &= found.broken == 0
            if each.spec == COMPARED[0] and many:
                kept_word &= less >= PROMISED[size]
    return "\n".join(lines), kept_word


def main() -> int:
    """Print the tables, or write them between the marks of a page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--others", type=int, default=32, help="images of the other rows")
    parser.add_argument("--write", type=Path, help="the page whose tables are replaced")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    made = [table(size, arguments.images, arguments.others) for size in SIZES]
    text = "\n\n".join(rows for rows, _ in made)
    print_or_write(arguments.write, text)
    return 0 if all(kept for _, kept in made) else 1


if __name__ == "__main__":
    sys.exit(main())
