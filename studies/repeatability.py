"""Counts verdicts that differ between runs, orders, selections, workers and seeds.

    python -m studies.repeatability [repeats] [orders] [seeds] [--repeats 1000] [--seeds 200]

There are three parts; all run if none is named. Exits with 1 if a limit is exceeded.

repeats
    The same run many times in one process, then in two new processes with other hash seeds. Before
    each run the global generators get another state, which the run must not change. The number of
    different JSON reports, without times, must be 1.
orders
    The same run under pytest: in the normal order, backwards, in random orders, with one check
    (-k), with one item, on two workers, without pytest-randomly; then the same with a budget that
    is too small for all. The number of verdicts that differ from those of the first run must be 0.
    Counts of evaluations are not compared, because they depend on the order.
seeds
    Right explainers with many seeds; all random numbers follow from the seed. The number of failed
    verdicts must be at most alpha times the number of runs.

The runs are small: digits, four explainers of which two draw random numbers, exact and sampled
checks.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from pytest_xai.core.run import Run
from pytest_xai.core.seeds import RandomState
from pytest_xai.core.verdict import Verdict
from pytest_xai.plugin.benches import Benches, run_task
from pytest_xai.plugin.model_repo import ModelRepo
from pytest_xai.plugin.options import Options
from pytest_xai.plugin.plan import plan_tasks
from pytest_xai.reporting.json_report import report as json_report
from pytest_xai.subjects import load_digits

ALPHAS = (0.05, 0.001)
# Holds some of the run and not all of it.
BUDGET = 30_000
# Of a run that is repeated often.
_IMAGES = 8
_FEW_CHECKS = ("shape", "deterministic", "fgsm_dice", "random_logit")
CHECKS = (
    "shape",
    "deterministic",
    "target_sensitive",
    "fgsm_dice",
    "random_logit",
    "mprt_cascading",
)
_SPECS = {
    "saliency": ("captum:Saliency", {}),
    "integrated": ("captum:IntegratedGradients", {"steps": 4}),
    "smooth": ("captum:SmoothGrad", {"draws": 2}),
    "noise": ("control:RandomMap", {}),
}
RIGHT = ("saliency", "integrated")
_CONFTEST = """
import os
import random

import torch

from studies.repeatability import fill

torch.set_num_threads(1)


def pytest_xai_register(registry):
    fill(registry, images=32)


def pytest_collection_modifyitems(items):
    order = os.environ.get("ORDER", "")
    if order == "backwards":
        items.reverse()
    elif order:
        random.Random(order).shuffle(items)
"""
# Name, order, further arguments.
ORDERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("backwards", "backwards", ()),
    ("random order 1", "1", ()),
    ("random order 2", "2", ()),
    ("-k mprt_cascading", "", ("-k", "mprt_cascading")),
    ("one case", "", ("xai::digits::integrated::fgsm_dice",)),
    ("-n 2", "", ("-n", "2")),
    ("-n 2, backwards", "backwards", ("-n", "2")),
    ("-p no:randomly", "", ("-p", "no:randomly")),
)


def fill(repo: ModelRepo, *, images: int | None, names: Sequence[str] = tuple(_SPECS)) -> None:
    """Register the digits and some of the explainers."""
    repo.subject("digits", lambda: load_digits(images))
    for name in names:
        spec, options = _SPECS[name]
        repo.explainer(name, spec, **options)


def verdicts(repo: ModelRepo, run: Run, benches: Benches) -> list[Verdict]:
    """The verdicts of a run without pytest."""
    tasks = plan_tasks(repo, Options(run=run))
    return [run_task(task, benches, seed=run.seed) for task in tasks]


def digest() -> str:
    """A hash of a run's JSON report without times."""
    repo = ModelRepo()
    fill(repo, images=_IMAGES)
    run = Run(select=_FEW_CHECKS, alpha=0.05)
    benches = Benches(repo.subjects)
    found = verdicts(repo, run, benches)
    benches.close()
    report = json.loads(json_report(found, run))
    for part in (*report["results"], report["summary"]):
        del part["seconds"]
    return hashlib.sha256(json.dumps(report).encode()).hexdigest()


def poisoned(number: int) -> RandomState:
    """Give the global generators a state of that number, and read it."""
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002  # the global generator is what this is about
    random.seed(number)
    return RandomState.now()


def repeats(count: int, hashings: Sequence[str] = ("1", "2")) -> bool:
    """Part 1; return whether its limit holds.

    Args:
        count: runs in this process.
        hashings: PYTHONHASHSEED of each of the new processes.
    """
    found: set[str] = set()
    moved: set[str] = set()
    for number in range(count):
        state = poisoned(number)
        found.add(digest())
        moved |= state.differing(RandomState.now())
        if (number + 1) % 100 == 0 or number + 1 == count:
            print(f"{number + 1:>6} runs: {len(found)} different reports", *found, flush=True)
    command = "import torch; torch.set_num_threads(1); import studies.repeatability as r; "
    for hashing in hashings:
        words = [sys.executable, "-c", command + "print(r.digest())"]
        new = subprocess.run(  # noqa: S603  # our own command
            words,
            env=_environment(PYTHONHASHSEED=hashing),
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(new.stdout.strip())
    print(f"with {len(hashings)} new processes: {len(found)} different reports; must be 1")
    print(f"global generators that were moved: {', '.join(sorted(moved)) or 'none'}")
    return len(found) == 1 and not moved


def orders(variants: Sequence[tuple[str, str, tuple[str, ...]]] = ORDERS) -> bool:
    """Part 2; return whether its limit holds."""
    held = True
    for budget in ((), (f"--xai-budget={BUDGET}",)):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "conftest.py").write_text(_CONFTEST)
            first = _pytest(folder, "", budget)
            outcomes = sorted({row["outcome"] for row in first.values()})
            print(f"{len(first)} verdicts {' '.join(budget) or 'without a budget'}: {outcomes}")
            for name, order, arguments in variants:
                other = _pytest(folder, order, (*budget, *arguments))
                differing = [key for key, row in other.items() if row != first[key]]
                print(f"{name:<20}{len(other):>4} verdicts, {len(differing)} differ", *differing)
                held = held and bool(other) and not differing
    return held


def _pytest(folder: str, order: str, arguments: Sequence[str]) -> dict[str, dict[str, object]]:
    """Rows of a run of pytest, by explainer and check, without times and counts."""
    select = f"--xai-select={','.join(CHECKS)}"
    words = [sys.executable, "-m", "pytest", "-q", "--xai", select, "--xai-alpha=0.05"]
    words += ["--xai-json=report.json", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(  # noqa: S603  # our own command
        words,
        cwd=folder,
        env=_environment(ORDER=order),
        capture_output=True,
        text=True,
        check=False,
    )
    path = Path(folder, "report.json")
    if not path.is_file():
        sys.exit(f"{' '.join(words)} gave no report:\n{done.stdout}{done.stderr}")
    report = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    rows = {f"{row['explainer']}::{row['check']}": row for row in report["results"]}
    for row in rows.values():
        del row["seconds"], row["evaluations"]
    return rows


def _environment(**more: str) -> dict[str, str]:
    """That of this process, with the folder above this one to import from, and one thread."""
    above = str(Path(__file__).resolve().parents[1])
    paths = [above, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **more}


def seeds(count: int, alphas: Sequence[float] = ALPHAS) -> bool:
    """Part 3; return whether its limit holds."""
    repo = ModelRepo()
    fill(repo, images=None, names=RIGHT)
    outcomes = {alpha: Counter[str]() for alpha in alphas}
    failed: dict[float, list[str]] = {alpha: [] for alpha in alphas}
    for seed in range(count):
        # What does not depend on alpha is made once.
        benches = Benches(repo.subjects, seed=seed)
        for alpha in alphas:
            run = Run(select=CHECKS, alpha=alpha, seed=seed)
            for verdict in verdicts(repo, run, benches):
                outcomes[alpha][verdict.outcome] += 1
                if verdict.fails_run:
                    failed[alpha].append(f"seed {seed}: {verdict.explainer}::{verdict.check}")
        benches.close()
    for alpha in alphas:
        print(f"{count} runs at alpha {alpha:g}: {dict(outcomes[alpha])}")
        print(f"failed: {len(failed[alpha])} verdicts, at most {count * alpha:g}", *failed[alpha])
    return all(len(failed[alpha]) <= count * alpha for alpha in alphas)


def main() -> int:
    """Print the parts that were asked for; 0 if all of them hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = ("repeats", "orders", "seeds")
    parser.add_argument("parts", nargs="*", choices=(*names, []), default=names)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts: dict[str, Callable[[], bool]] = {
        "repeats": lambda: repeats(arguments.repeats),
        "orders": orders,
        "seeds": lambda: seeds(arguments.seeds),
    }
    held = [parts[name]() for name in arguments.parts]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
