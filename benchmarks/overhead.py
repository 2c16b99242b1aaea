"""Measures the time of the checks in addition to the model's own, on a ResNet-18.

    python benchmarks/overhead.py [--checks fgsm_dice continuity mprt_cascading] [--repeats 3]

The model has random weights, and the images are 224 x 224.

For each check two process CPU times in seconds: that of the check on a saliency explainer, run as
in a session, and that of the same number of evaluations of the model alone, in the same batches. A
forward and a backward evaluation of the check are one forward pass with the gradient of the input;
the others are forward passes without gradients. The two alternate, after a warm-up that imports
modules, and their medians are divided.

How to read it: a ratio of 1.10 means that everything except the model (attack, maps, similarities,
re-initialised weights, the search for side effects) takes 10 % of the model's time. The first line
is the time that makes a bench, once per subject of a session. One thread is the default, because
several threads wait for each other and process time counts the waiting. Exits with 1 above the
limit.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytest_xai import Subject, checks
from pytest_xai.bench.bench import Bench
from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.protocol import named

_CHECKS = ("fgsm_dice", "continuity", "mprt_cascading")


def saliency(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Absolute gradient of the target's logit."""
    return input_gradient(model, inputs, targets).abs()


def input_gradient(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """One evaluation forward and backward."""
    inputs = inputs.detach().requires_grad_()
    scores = model(inputs).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(scores, inputs)[0]


def make_subject(images: int, side: int) -> Subject:
    """ResNet-18 of torchvision with seeded random weights, and noise to look at."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return Subject(resnet18().eval(), torch.rand(images, 3, side, side), bounds=(0.0, 1.0))


def verdict_of(bench: Bench, name: str) -> Verdict:
    """One check as in a session; anything but a verdict on figures ends the benchmark."""
    task = Task(check=checks.get(name), explainer=named(saliency), asserted=True)
    verdict = run_check(bench, task)
    if verdict.outcome in {"error", "not_applicable"}:
        sys.exit(f"{name}: {verdict.outcome}: {verdict.reason}\n{verdict.traceback or ''}")
    return verdict


def run_bare(subject: Subject, spent: Evaluations) -> None:
    """As many evaluations of the model and nothing else, all images in one batch."""
    images = len(subject)
    for _ in range(spent.backward // images):
        input_gradient(subject.model, subject.inputs, subject.targets)
    with torch.no_grad():
        for _ in range((spent.forward - spent.backward) // images):
            subject.model(subject.inputs)


def compare(subject: Subject, name: str, repeats: int) -> float:
    """Measure one check, print its row; the ratio."""
    whole, bare = [], []
    for _ in range(repeats):
        # A bench of its own: on a shared one, the second run would find everything computed.
        bench = Bench(subject)
        started = time.process_time()
        verdict = verdict_of(bench, name)
        whole.append(time.process_time() - started)
        bench.close()
        bare.append(seconds(lambda spent=verdict.evaluations: run_bare(subject, spent)))
    ratio = statistics.median(whole) / statistics.median(bare)
    spent = verdict.evaluations
    print(
        f"{name:<16}{spent.forward:>9}{spent.backward:>10}{statistics.median(whole):>10.2f}"
        f"{statistics.median(bare):>10.2f}{ratio:>8.2f}",
        flush=True,
    )
    return ratio


def seconds(function: Callable[[], object]) -> float:
    """Process CPU time of a call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def warm_up(subject: Subject, names: list[str]) -> None:
    """Import what the checks import, and run the model at its size."""
    bench = Bench(make_subject(2, 64))
    for name in names:
        verdict_of(bench, name)
    bench.close()
    run_bare(subject, Evaluations(forward=2 * len(subject), backward=len(subject)))


def main() -> int:
    """Measure all checks, print a table, and compare with the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checks", nargs="+", default=list(_CHECKS), metavar="NAME")
    parser.add_argument("--images", type=int, default=4, help="2 to 16: one batch of the bench")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1.25, help="largest ratio accepted")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    subject = make_subject(arguments.images, 224)
    warm_up(subject, arguments.checks)
    print(
        f"ResNet-18, {len(subject)} images of 224 x 224, {torch.get_num_threads()} thread(s), "
        f"median of {arguments.repeats} alternating runs, CPU seconds"
    )
    print(f"making a bench: {seconds(lambda: Bench(subject).close()):.2f}", flush=True)
    print(f"{'check':<16}{'forward':>9}{'backward':>10}{'check':>10}{'bare':>10}{'ratio':>8}")
    ratios = [compare(subject, name, arguments.repeats) for name in arguments.checks]
    worst = max(ratios)
    print(f"largest ratio {worst:.2f} (limit {arguments.limit:g})")
    return 0 if worst <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(main())
