"""Counts the evaluations that early stopping saves, and those that sharing saves.

    python -m studies.decisions [--alpha 0.001] [--seed 0]

The first table is for the plan of the demo. Every check runs twice, each time on a new bench: in
rounds until the verdict is certain, as in a session; and to the end, on all images that it uses.
The two columns are model evaluations, forward and backward, one per image. The first sum must be
at most half of the second, and a verdict that was certain must be the same at the end. Axiomatic
checks and contract checks use at most 32 images in both cases, and save nothing here.

The second table is for sharing: mprt_cascading for eight explainers in one session. The number of
all forward evaluations must be at most 1.1 times those of the explainers' own calls, plus every
image once on each of the models with re-initialised weights. Exits with 1 if a limit is exceeded.
"""

import argparse
import sys
from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor, nn

from pytest_xai import checks
from pytest_xai.bench.bench import Bench
from pytest_xai.core.model_layers import layers
from pytest_xai.core.run import Run
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.decision import Decision
from pytest_xai.engine.run_check import as_expected, finding_on, rounds, run_check
from pytest_xai.engine.task import Task
from pytest_xai.errors import NotApplicable
from pytest_xai.plugin.demo import fill
from pytest_xai.plugin.model_repo import ModelRepo
from pytest_xai.plugin.options import Options
from pytest_xai.plugin.plan import plan_tasks
from pytest_xai.protocol import NamedExplainer
from pytest_xai.subjects import load_digits

STOPPING = 0.5
SHARING = 1.1
EXPLAINERS = 8
_CERTAIN = {"passed", "failed", "xfailed", "xpassed"}


def demo() -> ModelRepo:
    """The installed part of the subjects and explainers of ``pytest --xai-demo``."""
    repo = ModelRepo()
    fill(repo, gallery=False)
    return repo


def run_to_the_end(bench: Bench, task: Task) -> Verdict:
    """Run a check on all images that it looks at, even after its verdict is certain."""
    check, before = task.check, bench.counter.spent
    decision = Decision(check=check, alpha=task.alpha)
    try:
        for start, stop in rounds(min(len(bench), check.max_images or len(bench))):
            view = bench.view(start, stop)
            decision.add(view.images, finding_on(view, task.explainer, check))
        fields = decision.fields()
    except NotApplicable as reason:
        fields = {"outcome": "not_applicable", "summary": str(reason)}
    verdict = task.verdict(**fields, evaluations=bench.counter.spent - before)
    return verdict if task.expected is None else as_expected(verdict, task.expected)


def verdicts(tasks: list[Task], *, seed: int, to_the_end: bool) -> list[Verdict]:
    """The verdicts of a plan on the digits, on one new bench."""
    bench = Bench(load_digits(), seed=seed)
    run = run_to_the_end if to_the_end else run_check
    try:
        return [run(bench, task) for task in tasks]
    finally:
        bench.close()


def spent(found: list[Verdict]) -> Counter[str]:
    """Model evaluations by check."""
    total: Counter[str] = Counter()
    for verdict in found:
        total[verdict.check] += verdict.evaluations.model
    return total


def stopping(alpha: float, seed: int) -> bool:
    """Print the first table; return whether its limits hold."""
    tasks = plan_tasks(demo(), Options(run=Run(demo=True, alpha=alpha, seed=seed)))
    stopped = verdicts(tasks, seed=seed, to_the_end=False)
    ended = verdicts(tasks, seed=seed, to_the_end=True)
    few, many = spent(stopped), spent(ended)
    print(f"the demo, {len(tasks)} checks, seed {seed}, alpha {alpha:g}: model evaluations")
    print(f"{'check':<28}{'in rounds':>12}{'to the end':>12}{'ratio':>8}")
    for name in filter(many.get, few):
        print(f"{name:<28}{few[name]:>12,}{many[name]:>12,}{few[name] / many[name]:>8.2f}")
    ratio = few.total() / many.total()
    print(f"{'all':<28}{few.total():>12,}{many.total():>12,}{ratio:>8.2f}  at most {STOPPING}")
    changed = [
        f"{a.explainer}::{a.check} is {a.outcome} and at the end {b.outcome}"
        for a, b in zip(stopped, ended, strict=True)
        if a.outcome in _CERTAIN and a.outcome != b.outcome
    ]
    print(
        f"verdicts that were certain, and others at the end: {len(changed)}", *changed, sep="\n  "
    )
    settled = sum(
        a.outcome == "undecided" and b.outcome != "undecided"
        for a, b in zip(stopped, ended, strict=True)
    )
    print(f"verdicts that only the end settles: {settled}")
    return ratio <= STOPPING and not changed and not settled


def sharing(seed: int) -> bool:
    """Print the second table; return whether its limit holds."""
    bench = Bench(load_digits(32), seed=seed)
    names = list(demo().explainers.values())[:EXPLAINERS]
    models = len(layers(bench.subject.model, bench.inputs[:1]))
    own: Counter[str] = Counter()
    print(f"\nmprt_cascading of {len(names)} explainers, {len(bench)} images, {models} layers")
    print(f"{'explainer':<28}{'own calls':>12}{'in all':>12}")
    try:
        for explainer in names:
            counted = _counted(explainer, bench, own)
            task = Task(check=checks.get("mprt_cascading"), explainer=counted, asserted=True)
            verdict = run_check(bench, task)
            together = verdict.evaluations.forward
            print(f"{explainer.name:<28}{own[explainer.name]:>12,}{together:>12,}")
        total = bench.counter.spent.forward
    finally:
        bench.close()
    limit = SHARING * own.total() + models * 32
    print(f"{'all':<28}{own.total():>12,}{total:>12,}  at most {limit:,.0f}")
    return total <= limit


def _counted(explainer: NamedExplainer, bench: Bench, own: Counter[str]) -> NamedExplainer:
    """The explainer, with a count of its own forward evaluations."""

    def call(model: nn.Module, inputs: Tensor, targets: Tensor, **options: Tensor) -> object:
        before = bench.counter.spent.forward
        try:
            return explainer.call(model, inputs, targets, **options)
        finally:
            own[explainer.name] += bench.counter.spent.forward - before

    return replace(explainer, call=call)


def main() -> int:
    """Print both tables; 0 if both hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    held = [stopping(arguments.alpha, arguments.seed), sharing(arguments.seed)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
