"""Checks all right explainers of the gallery on the probes and on generated networks.

    python -m studies.sweep [--explainers captum: xai:RISE] [--networks 300] [--write] [--again]

Prints a line for every explainer and field when it is done, and one for every check that fails on
it: its figure, its limit, and the smallest network. A check that fails must be a known defect
(pytest_xai/explainers/gallery/defects.py), and a known defect must fail; the exit status is 1
otherwise.

With --write the results are kept in studies/sweep/, one file for each explainer, and the page
docs/evidence/library-defects.md is made from all of these files. An explainer whose file has
results for as many networks is not run again unless --again is given, so an interrupted sweep
continues where it stopped.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from pytest_xai import explainers
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.check_explainer import check_explainer, fitting
from pytest_xai.engine.exploration import on_networks, on_probes
from pytest_xai.engine.selection import select
from pytest_xai.explainers.gallery.defects import KNOWN_DEFECTS, expected_failures
from pytest_xai.explainers.gallery.demo_entries import GALLERY
from pytest_xai.subjects.probes import probes
from studies.page import put_into

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "studies" / "sweep"
PAGE = ROOT / "docs" / "evidence" / "library-defects.md"
NETWORKS = 300
BROKEN = ("failed", "error")
OPTIONS = {each.spec: each.options for each in GALLERY}
# Those of the gallery are for images of 4 x 4 blocks; a volume may have 27, or 64.
OPTIONS["shap:KernelExplainer"] = {"samples": 512, "per_side": 4}
# What has no right answer, and what needs a file of maps.
RIGHT = tuple(spec for spec in OPTIONS if not spec.startswith("control:"))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A check that fails on a field.

    Attributes:
        check: its name.
        outcome: "failed" or "error".
        figure: of the smallest network.
        limit: of the same.
        direction: which side of the limit is right.
        network: the smallest, in words.
        snippet: Python that builds it and shows the failure.
        reason: what the verdict says.
    """

    check: str
    outcome: str
    figure: float | None
    limit: float | None
    direction: str
    network: str
    snippet: str
    reason: str

    def __str__(self) -> str:
        return f"{self.check}: {self.figures} on {self.network}"

    @property
    def figures(self) -> str:
        """The figure and its limit."""
        if self.figure is None or self.limit is None:
            return self.outcome
        bound = "at most" if self.direction == "<=" else "at least"
        return f"{self.figure:.3g}, must be {bound} {self.limit:.3g}"


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What the checks said of an explainer on a field.

    Attributes:
        explainer: its name in the gallery.
        field: "probes" or "networks".
        networks: how many random ones were tried; 0 for the probes.
        passed: names of checks that hold on all networks that can tell.
        silent: names of checks to which no network applies.
        failures: those that fail.
        seconds: what it took.
    """

    explainer: str
    field: str
    networks: int
    passed: list[str]
    silent: list[str]
    failures: list[Failure]
    seconds: float

    @property
    def unexpected(self) -> list[Failure]:
        """Failures that are no known defects of a library."""
        known = expected_failures(self.explainer)
        return [each for each in self.failures if each.check not in known]


def sweep(
    spec: str, *, networks: int = NETWORKS, checks: Sequence[str] = ()
) -> tuple[Swept, Swept]:
    """Run an explainer on the probes, and on generated networks.

    Args:
        spec: its name in the gallery.
        networks: number of random networks, besides one for every structure.
        checks: those to run; none named: all that are asserted.
    """
    torch.set_num_threads(1)
    explainer = explainers.get(spec, **OPTIONS[spec])
    tasks = select(explainer, select=tuple(checks), probes=True)
    found = []
    for field in ("probes", "networks"):
        started = time.perf_counter()
        chosen = fitting(tasks, field)
        random = networks if field == "networks" else 0
        verdicts = on_networks(chosen, networks=networks) if random else on_probes(chosen)
        found.append(
            Swept(
                explainer=spec,
                field=field,
                networks=random,
                passed=[each.check for each in verdicts if each.outcome == "passed"],
                silent=[each.check for each in verdicts if each.outcome not in ("passed", *BROKEN)],
                failures=[_failure(each, spec) for each in verdicts if each.outcome in BROKEN],
                seconds=round(time.perf_counter() - started, 1),
            )
        )
    return found[0], found[1]


def _failure(verdict: Verdict, spec: str) -> Failure:
    shown = dict(verdict.counterexample or {})
    network, snippet = str(shown.get("network", "")), str(shown.get("snippet", ""))
    if not snippet:
        network, snippet = _on_a_probe(verdict, spec)
    return Failure(
        check=verdict.check,
        outcome=verdict.outcome,
        figure=verdict.figure,
        limit=verdict.limit,
        direction=verdict.direction,
        network=network,
        snippet=snippet,
        reason=verdict.reason,
    )


def _on_a_probe(verdict: Verdict, spec: str) -> tuple[str, str]:
    """The probes on which it fails, and Python that shows it on the first."""
    explainer = explainers.get(spec, **OPTIONS[spec])
    there = [
        name
        for name, make in probes().items()
        if check_explainer(explainer, make(), checks=[verdict.check], on_fail="ignore").failed
    ]
    if not there:
        return "probes", ""
    snippet = (
        "import pytest_xai as xai\n"
        "from pytest_xai.subjects.probes import probes\n\n"
        f'subject = probes()["{there[0]}"]()\n'
        f"explainer = {explainer.origin}\n"
        f'xai.check_explainer(explainer, subject, checks=["{verdict.check}"])'
    )
    return f"the probes {', '.join(there)}", snippet


def kept() -> dict[str, list[Swept]]:
    """What is kept of earlier sweeps, by explainer."""
    found = {}
    for spec in RIGHT:
        path = _path(spec)
        if path.exists():
            rows = json.loads(path.read_text("utf-8"))
            found[spec] = [
                Swept(**{**row, "failures": [Failure(**each) for each in row["failures"]]})
                for row in rows
            ]
    return found


def _path(spec: str) -> Path:
    return KEPT / f"{spec.replace(':', '.')}.json"


def keep(rows: Sequence[Swept]) -> None:
    """Write down what was found of one explainer."""
    KEPT.mkdir(exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=1)
    _path(rows[0].explainer).write_text(f"{text}\n", "utf-8")


def table(found: Mapping[str, Sequence[Swept]]) -> str:
    """What passed and what fails, in Markdown."""
    rows = [row for both in found.values() for row in both]
    networks = sorted({row.networks for row in rows if row.networks})
    passed = sum(len(row.passed) for row in rows)
    failing = [(row, failure) for row in rows for failure in row.failures]
    silent = sum(len(row.silent) for row in rows)
    tried = " or ".join(map(str, networks))
    summary = (
        f"{len(found)} explainers, on {len(probes())} probes and on {tried} random networks and "
        f"one for every structure: {passed} cells (explainer, check, field) passed, {len(failing)} "
        f"fail, and in {silent} no network applies or decides."
    )
    lines = [
        summary,
        "",
        "| explainer | check | field | figure | smallest network | cause |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row, each in failing:
        cause = expected_failures(row.explainer).get(each.check, "not known")
        cells = (f"`{row.explainer}`", each.check, row.field, each.figures, each.network, cause)
        lines.append(f"| {' | '.join(cells)} |")
    for row, each in failing:
        lines += ["", f"## {row.explainer}, {each.check}, {row.field}", ""]
        lines += ["```python", each.snippet, "```"]
    lines += [
        "",
        "## What passed",
        "",
        "| explainer | field | passed | fail | no network applies |",
    ]
    lines.append("| --- | --- | --- | --- | --- |")
    lines += [
        f"| `{row.explainer}` | {row.field} | {len(row.passed)} | {len(row.failures)} | "
        f"{', '.join(row.silent)} |"
        for row in rows
    ]
    missing = [f"`{spec}`" for spec in RIGHT if spec not in found]
    if missing:
        lines += ["", f"Not run on {tried} networks so far: {', '.join(missing)}."]
    return "\n".join(lines)


def surprises(found: Mapping[str, Sequence[Swept]]) -> Iterator[str]:
    """Failures that are no known defects, and known defects that do not fail."""
    for spec, rows in found.items():
        for row in rows:
            for failure in row.unexpected:
                yield f"{spec} fails {failure} ({row.field}), which is no known defect"
        failing = {failure.check for row in rows for failure in row.failures}
        for defect in KNOWN_DEFECTS:
            if defect.explainer == spec and defect.check not in failing:
                yield f"{spec} does not fail {defect.check}, a known defect"


def main() -> int:
    """Sweep, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--explainers", nargs="+", default=[""], help="names, or how they begin")
    parser.add_argument("--networks", type=int, default=NETWORKS, help="random networks")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--write", action="store_true", help="keep what is found, write the page")
    parser.add_argument("--again", action="store_true", help="run those that are kept as well")
    given = parser.parse_args()
    there = {} if given.again or not given.write else kept()
    done = {spec for spec, rows in there.items() if rows[-1].networks == given.networks}
    chosen = [spec for spec in RIGHT if spec.startswith(tuple(given.explainers))]
    found = {spec: there[spec] for spec in chosen if spec in done}
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(sweep, spec, networks=given.networks): spec
            for spec in chosen
            if spec not in done
        }
        for future in as_completed(waiting):
            found[waiting[future]] = rows = list(future.result())
            for row in rows:
                print(f"{row.explainer} {row.field}: {len(row.passed)} passed, {row.seconds:.0f} s")
                for failure in row.failures:
                    print(f"  {failure}")
            sys.stdout.flush()
            if given.write:
                keep(rows)
                put_into(PAGE, table(kept()))
    odd = list(surprises(found))
    print(*odd, sep="\n")
    return 1 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
