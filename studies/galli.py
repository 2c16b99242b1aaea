"""Measures how maps change under attacks on the prediction, after Galli et al. 2021.

    python -m studies.galli [--write docs/evidence/adversarial-stability.md]

Prints tables in Markdown. For each bundled subject and attack: the mean Dice of the largest 10 % of
each method's maps before and after, for the original and for the new class, after noise of the same
size, and of the maps of two images, with intervals by bootstrap over the images. Then the verdicts
of the checks on the same methods. The tests compare the page with this file, and some of its
figures with a run (tests/checks/adversarial/test_galli.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor

from pytest_xai import Verdict, attacks, checks, explainers
from pytest_xai.attacks import Attacked
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._dice import EPSILON, dice_under_attack
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.protocol import NamedExplainer, named
from pytest_xai.subjects import load_digits, load_shapes
from studies.page import page_asked_for, print_or_write

FIRST = "guided Grad-CAM"
# The specification and the options of each method.
METHODS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    FIRST: ("captum:GuidedGradCam", {}),
    "guided backpropagation": ("zennit:GuidedBackprop", {}),
    "Grad-CAM": ("captum:LayerGradCam", {}),
    "gradient": ("captum:Saliency", {"absolute": False}),
    "gradient, absolute values": ("captum:Saliency", {}),
    "SmoothGrad": ("captum:SmoothGrad", {"draws": 10}),
    "Integrated Gradients": ("captum:IntegratedGradients", {"steps": 10}),
    "LRP-epsilon": ("zennit:LRPEpsilon", {}),
    "LRP-z-plus": ("zennit:ZPlus", {}),
    "DeepLIFT": ("xai:DeepLiftRescale", {}),
    "FEM": ("xai:FEM", {}),
}
# What the surveys say falls less than guided Grad-CAM.
SAID_TO_HOLD = ("LRP-epsilon", "LRP-z-plus", "DeepLIFT", "FEM")
# The network of the digits hardly changes a prediction at 8/255: two of 126.
SIZES = {"digits": (0.2, "0.2"), "shapes": (EPSILON, "8/255")}
ATTACKS: Mapping[str, Callable[[Bench, float], Attacked]] = {
    "FGSM": lambda bench, size: attacks.fgsm(bench, epsilon=size),
    "PGD": lambda bench, size: attacks.pgd(bench, epsilon=size),
    "DeepFool": lambda bench, size: attacks.deepfool(bench),
}
COLUMNS = (
    "method",
    "original class",
    "new class",
    "noise",
    "two images",
    "original less noise",
    "original less guided Grad-CAM",
    "new less guided Grad-CAM",
    "images",
)
CHECKS = ("fgsm_dice", "pgd_dice", "deepfool_dice")
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What an attack does to one method's maps: Dice per image whose prediction it changed, (n,).

    Attributes:
        own: of the maps for the original class before and after; NaN: a map is constant.
        new: of the map for the original class before and that for the new class after.
        noise: after noise of the same size.
        null: of two images' maps.
    """

    own: Tensor
    new: Tensor
    noise: Tensor
    null: Tensor


@cache
def bench_of(subject: str) -> Bench:
    """All images of a bundled subject that are looked at; attacks are made on it once."""
    return Bench(load_digits(128) if subject == "digits" else load_shapes(64))


@cache
def explainer_of(method: str) -> NamedExplainer:
    """Return the explainer of a name of the tables."""
    spec, options = METHODS[method]
    return named(explainers.get(spec, **options))


@cache
def moved(subject: str, attack: str, method: str) -> Moved:
    """What one attack does to the maps of one method."""
    bench = bench_of(subject)
    found = ATTACKS[attack](bench, SIZES[subject][0])
    finding = dice_under_attack(bench, explainer_of(method), found, protocol="galli")
    changed = found.correct & found.within & found.flipped
    return Moved(
        own=finding.facts["Dice for the original class where the prediction changed"][changed],
        new=finding.facts["Dice for the new class where the prediction changed"][changed],
        noise=finding.facts["Dice after noise of the same size"][changed],
        null=finding.facts["Dice of unrelated maps"][changed],
    )


def interval(values: Tensor) -> tuple[float, float]:
    """Interval of the mean: percentiles of the means of 2000 bootstrap samples of the images."""
    known = values[~values.isnan()].numpy()
    if len(set(known.tolist())) < 2:
        return float(known.mean()), float(known.mean())
    drawn = bootstrap(
        (known,),
        np.mean,
        n_resamples=2000,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def mean(values: Tensor) -> str:
    """The mean of those that are defined."""
    return f"{float(values.nanmean()):.2f}"


def with_interval(values: Tensor, *, signed: bool = False) -> str:
    """A mean and its interval."""
    low, high = interval(values)
    sign = "+" if signed else ""
    return f"{float(values.nanmean()):{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


def row(subject: str, attack: str, method: str) -> str:
    """A row of a table."""
    here, first = moved(subject, attack, method), moved(subject, attack, FIRST)
    cells = [
        method,
        with_interval(here.own),
        with_interval(here.new),
        mean(here.noise),
        mean(here.null),
        with_interval(here.own - here.noise, signed=True),
        "" if method == FIRST else with_interval(here.own - first.own, signed=True),
        "" if method == FIRST else with_interval(here.new - first.new, signed=True),
        str(int((~here.own.isnan()).sum())),
    ]
    return f"| {' | '.join(cells)} |"


def compared(values: Tensor) -> str:
    """What paired differences to guided Grad-CAM say of a method's fall."""
    low, high = interval(values)
    return "falls less" if low > 0 else "falls more" if high < 0 else "cannot be told apart"


def claims(subject: str, attack: str) -> Iterator[str]:
    """What the surveys say, next to what is measured."""
    first = moved(subject, attack, FIRST)
    below = interval(first.own - first.noise)[1] < 0
    yield (
        f"- {FIRST}: Dice falls to {mean(first.own)} for the original class and to "
        f"{mean(first.new)} for the new one; noise of the same size leaves {mean(first.noise)}, "
        f"and the attack leaves {'less' if below else 'no less, as far as can be told'}."
    )
    for method in SAID_TO_HOLD:
        here = moved(subject, attack, method)
        yield (
            f"- {method}: {compared(here.own - first.own)} for the original class, "
            f"{compared(here.new - first.new)} for the new one."
        )


@cache
def verdict_of(subject: str, check: str, method: str) -> Verdict:
    """The verdict of a check at the default level."""
    task = Task(check=checks.get(check), explainer=explainer_of(method), asserted=True)
    return run_check(bench_of(subject), task)


def judged(subject: str, method: str) -> str:
    """A row of the verdicts: the share of images above their own limits, and the outcome."""
    cells = [method]
    for check in CHECKS:
        verdict = verdict_of(subject, check, method)
        figure = "" if verdict.figure is None else f"{verdict.figure:.2f}, "
        cells.append(f"{figure}{verdict.outcome} ({verdict.images})")
    return f"| {' | '.join(cells)} |"


def tables() -> str:
    """All tables."""
    parts: list[str] = []
    for subject, (_, size) in SIZES.items():
        for attack in ATTACKS:
            budget = "" if attack == "DeepFool" else f" by {size} of the range"
            parts += [f"## {attack}{budget}, {subject}", ""]
            parts += [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
            parts += [row(subject, attack, method) for method in METHODS]
            parts += ["", "What the surveys say, and what is measured:", ""]
            parts += [*claims(subject, attack), ""]
        parts += [f"## While the prediction holds, {subject}", ""]
        parts += [f"| method | {' | '.join(CHECKS)} |", f"|{' --- |' * (1 + len(CHECKS))}"]
        parts += [*(judged(subject, method) for method in METHODS), ""]
    return "\n".join(parts).strip()


def main() -> None:
    """Print the tables, or write them between the marks of a page."""
    page = page_asked_for(__doc__)
    torch.set_num_threads(1)
    print_or_write(page, tables())


if __name__ == "__main__":
    main()
