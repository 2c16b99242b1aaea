"""What stopping at a certain verdict saves, and what sharing saves.

    python -m studies.decisions [--alpha 0.001] [--seed 0]

The first table is of the demo's plan. Every check runs twice, each time on a bench of its own: in
rounds that end with the verdict, as in a session; and to the end, on all images that it looks at.
The two columns are model evaluations, forward and backward, one per image. The first sum must be
at most half the second one, and no verdict that was certain may be another one at the end. Checks
of axioms and manners look at 32 images at the most either way, and save nothing here.

The second table is of sharing: mprt_cascading for eight explainers in one session. What they
evaluate forward in all must be at most 1.1 times their own calls and one model's set: every image
once on each of the models with weights drawn anew. Exits with 1 where either does not hold.
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
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.run_check import Assignment, judge
from pytest_xai.plugin.demo import fill
from pytest_xai.plugin.model_repo import Registry
from pytest_xai.plugin.options import Options
from pytest_xai.plugin.plan import Case, plan_cases
from pytest_xai.protocol import NamedExplainer
from pytest_xai.subjects import load_digits

STOPPING = 0.5
SHARING = 1.1
EXPLAINERS = 8
_CERTAIN = {"passed", "failed", "xfailed", "xpassed"}


def demo() -> Registry:
    """What ``pytest --xai-demo`` checks, of what is installed."""
    registry = Registry()
    fill(registry, gallery=False)
    return registry


def verdicts(cases: list[Case], *, seed: int, to_the_end: bool) -> list[Verdict]:
    """The verdicts of a plan on the digits, on one new bench."""
    bench = Bench(load_digits(), seed=seed)
    try:
        return [
            judge(bench, case.explainer, replace(case.assignment, to_the_end=to_the_end))
            for case in cases
        ]
    finally:
        bench.close()


def spent(found: list[Verdict]) -> Counter[str]:
    """Model evaluations by check."""
    total: Counter[str] = Counter()
    for verdict in found:
        total[verdict.check] += verdict.evaluations.model
    return total


def stopping(alpha: float, seed: int) -> bool:
    """Print the first table; whether it holds."""
    cases = plan_cases(demo(), Options(demo=True, alpha=alpha, seed=seed))
    stopped = verdicts(cases, seed=seed, to_the_end=False)
    ended = verdicts(cases, seed=seed, to_the_end=True)
    few, many = spent(stopped), spent(ended)
    print(f"the demo, {len(cases)} checks, seed {seed}, alpha {alpha:g}: model evaluations")
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
    """Print the second table; whether it holds."""
    bench = Bench(load_digits(32), seed=seed)
    names = list(demo().explainers.values())[:EXPLAINERS]
    models = len(layers(bench.subject.model, bench.inputs[:1]))
    own: Counter[str] = Counter()
    print(f"\nmprt_cascading of {len(names)} explainers, {len(bench)} images, {models} layers")
    print(f"{'explainer':<28}{'own calls':>12}{'in all':>12}")
    try:
        for explainer in names:
            task = Assignment(check=checks.get("mprt_cascading"), asserted=True)
            verdict = judge(bench, _counted(explainer, bench, own), task)
            together = verdict.evaluations.forward
            print(f"{explainer.name:<28}{own[explainer.name]:>12,}{together:>12,}")
        total = bench.counter.spent.forward
    finally:
        bench.close()
    limit = SHARING * own.total() + models * 32
    print(f"{'all':<28}{own.total():>12,}{total:>12,}  at most {limit:,.0f}")
    return total <= limit


def _counted(explainer: NamedExplainer, bench: Bench, own: Counter[str]) -> NamedExplainer:
    """The explainer; its own forward evaluations are added up."""

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
