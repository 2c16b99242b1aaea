"""Measures the time of adversarial checks in addition to attack and explainers, on a ResNet-18.

    python benchmarks/adversarial_cost.py [--checks fgsm_dice deepfool_dice] [--images 8]

Eight explainers of the gallery are checked on one bench with images of 224 x 224, as in a session.
Each call of an explainer is recorded with its images. Then the same work is done by hand: the
attack functions of the checks run once, on another bench, and the recorded calls of the explainers
run on the model itself, without side-effect search, measures or cache. Both times are process CPU
seconds. They alternate explainer by explainer, so a machine that gets slower affects both.

How to read it: the column "others" has the evaluations of the model that are not the explainer's
own. The first row has all of the attack; later explainers use its results on the bench, and the
column has zeros. The first line has the attacks by hand, with the bisection to the point before the
boundary. The ratio shows what the gate adds: noise of the same size and its predictions, the
measures, and the search for side effects. Exits with 1 above the limit, or if an attack was made
twice.

The weights are random, and the targets are the predictions, so no image is left out. The model is
torchvision's ResNet-18, or, without torchvision, the ResNet of the bundled shapes.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from pytest_xai import Subject, attacks, checks, explainers
from pytest_xai.attacks import before_the_boundary
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._dice import EPSILON
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.protocol import NamedExplainer, named

_EXPLAINERS = (
    "captum:Saliency",
    "captum:InputXGradient",
    "captum:GuidedBackprop",
    "captum:Deconvolution",
    "captum:LayerGradCam",
    "captum:GuidedGradCam",
    "captum:SmoothGrad",
    "gradcam:GradCAM",
)
_OPTIONS: dict[str, dict[str, object]] = {"captum:SmoothGrad": {"draws": 2}}
# What a check attacks with.
_ATTACKS: dict[str, Callable[[Bench], attacks.Attacked]] = {
    "fgsm_dice": lambda bench: attacks.fgsm(bench, epsilon=EPSILON),
    "pgd_dice": lambda bench: attacks.pgd(bench, epsilon=EPSILON),
    "deepfool_dice": attacks.deepfool,
}


@dataclass(slots=True)
class Noted:
    """An explainer whose calls are kept, and the evaluations that were its own."""

    call: Callable[..., object]
    bench: Bench
    calls: list[tuple[Tensor, Tensor, dict[str, Any]]] = field(default_factory=list)
    own: int = 0

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor, **options: Any) -> object:
        """Explain, and remember what."""
        self.calls.append((inputs.clone(), targets.clone(), options))
        before = self.bench.counter.spent
        try:
            return self.call(model, inputs, targets, **options)
        finally:
            self.own += (self.bench.counter.spent - before).model

    def again(self, model: nn.Module) -> None:
        """The same calls, by hand."""
        for inputs, targets, options in self.calls:
            self.call(model, inputs, targets, **options)


def make_subject(images: int, side: int) -> Subject:
    """A ResNet with seeded random weights, and noise that it is right about."""
    torch.manual_seed(0)
    try:
        from torchvision.models import resnet18
    except ImportError:
        from pytest_xai.subjects import load_shapes

        model = load_shapes(2).model
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    else:
        model = resnet18()
    inputs = torch.rand(images, 3, side, side)
    with torch.no_grad():
        targets = model.eval()(inputs).argmax(1)
    return Subject(model, inputs, targets, bounds=(0.0, 1.0))


def in_the_gate(bench: Bench, explainer: NamedExplainer, names: Sequence[str]) -> None:
    """The checks as in a session; an error ends the benchmark."""
    for name in names:
        task = Task(check=checks.get(name), explainer=explainer, asserted=True)
        verdict = run_check(bench, task)
        if verdict.outcome in {"error", "not_applicable"}:
            sys.exit(f"{name}: {verdict.outcome}: {verdict.reason}\n{verdict.traceback or ''}")


def by_hand(subject: Subject, names: Sequence[str]) -> tuple[float, int]:
    """The attacks, once: CPU seconds, and evaluations of the model."""
    bench = Bench(subject)
    spent = seconds(lambda: [before_the_boundary(bench, _ATTACKS[name](bench)) for name in names])
    evaluations = bench.counter.spent.model
    bench.close()
    return spent, evaluations


def seconds(function: Callable[[], object]) -> float:
    """Process CPU time of a call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def compare(subject: Subject, names: Sequence[str]) -> tuple[float, list[int]]:
    """Print both times by explainer; return their ratio, and the evaluations of the checks."""
    bench = Bench(subject)
    hand, evaluations = by_hand(subject, names)
    gate, others = 0.0, list[int]()
    print(f"{'the attacks':<24}{'':>8}{evaluations:>10}{'':>10}{hand:>10.2f}", flush=True)
    for spec in _EXPLAINERS:
        explainer = named(explainers.get(spec, **_OPTIONS.get(spec, {})))
        noted = Noted(explainer.call, bench)
        watched = replace(explainer, call=noted)
        before = bench.counter.spent
        theirs = seconds(lambda watched=watched: in_the_gate(bench, watched, names))
        spent = bench.counter.spent - before
        others.append(spent.model - noted.own)
        ours = seconds(lambda noted=noted: noted.again(subject.model))
        gate, hand = gate + theirs, hand + ours
        print(
            f"{spec:<24}{len(noted.calls):>8}{spent.model:>10}{others[-1]:>10}"
            f"{ours:>10.2f}{theirs:>10.2f}",
            flush=True,
        )
    bench.close()
    print(f"{'together':<24}{'':>8}{'':>10}{sum(others):>10}{hand:>10.2f}{gate:>10.2f}")
    return gate / hand, others


def main() -> int:
    """Measure, print a table, and compare with the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--checks", nargs="+", default=["fgsm_dice", "deepfool_dice"], choices=list(_ATTACKS)
    )
    parser.add_argument("--images", type=int, default=8, help="2 to 16: one batch of the bench")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1.15, help="largest ratio accepted")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # Import what is imported late.
    small = make_subject(2, 32)
    bench = Bench(small)
    in_the_gate(bench, named(explainers.get("captum:Saliency")), arguments.checks)
    bench.close()
    subject = make_subject(arguments.images, arguments.side)
    print(
        f"ResNet-18, {len(subject)} images of {arguments.side} x {arguments.side}, "
        f"{torch.get_num_threads()} thread(s), {', '.join(arguments.checks)}, CPU seconds"
    )
    print(
        f"{'explainer':<24}{'calls':>8}{'model':>10}{'others':>10}{'by hand':>10}{'gate':>10}",
        flush=True,
    )
    ratio, others = compare(subject, arguments.checks)
    print(f"ratio {ratio:.3f} (limit {arguments.limit:g})")
    once = not any(others[1:])
    print("attacks were made once" if once else "attacks were made again for a later explainer")
    return 0 if ratio <= arguments.limit and once else 1


if __name__ == "__main__":
    sys.exit(main())
