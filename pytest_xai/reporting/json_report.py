"""The JSON report, schema_version 1; `schema.json` beside this file describes it."""

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pytest_xai.core.run import Run
from pytest_xai.core.verdict import OUTCOMES, Evaluations, Verdict, finite

__all__ = ["report"]

_PACKAGES = (
    "pytest-xai",
    "pytest",
    "torch",
    "numpy",
    "scipy",
    "foolbox",
    "captum",
    "zennit",
    "grad-cam",
    "shap",
    "lime",
)


def report(verdicts: Sequence[Verdict], run: Run) -> str:
    """Return the report of a run as JSON; numbers that are not finite are null.

    Args:
        verdicts: in the order in which they are reported.
        run: what holds for all of them.
    """
    spent = sum((verdict.evaluations for verdict in verdicts), Evaluations())
    content = {
        "schema_version": 1,
        "environment": _environment(run.device),
        "run": _run(run),
        "results": [verdict.row() for verdict in verdicts],
        "summary": {
            "verdicts": len(verdicts),
            "asserted": sum(verdict.asserted for verdict in verdicts),
            "failing": sum(verdict.fails_run for verdict in verdicts),
            "sampled": {
                "verdicts": sum(verdict.sampled for verdict in verdicts),
                "any_wrong_at_most": run.alpha,
            },
            "outcomes": {o: sum(v.outcome == o for v in verdicts) for o in OUTCOMES},
            "evaluations": {
                "forward": spent.forward,
                "backward": spent.backward,
                "explainer_calls": spent.explainer_calls,
            },
            "seconds": sum(verdict.seconds for verdict in verdicts),
        },
    }
    return json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _run(run: Run) -> dict[str, Any]:
    left = None if run.budget is None else run.budget - run.spent
    return {
        "seed": run.seed,
        "alpha": run.alpha,
        "budget": run.budget,
        "spent": run.spent,
        "left": left,
        "shares": None if run.budget is None else dict(run.shares),
        "undecided": run.undecided,
        "device": run.device,
        "demo": run.demo or run.gallery,
        "gallery": run.gallery,
        "select": run.select,
        "ignore": run.ignore,
        "planned": run.planned,
        "selected": run.selected,
    }


def _environment(device: object) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": _device(device),
        "versions": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
    }


def _device(device: object) -> str | None:
    if device is None:
        return None
    name = str(device)
    if not name.startswith("cuda"):
        return name
    import torch

    return f"{name} ({torch.cuda.get_device_name(name)})"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
