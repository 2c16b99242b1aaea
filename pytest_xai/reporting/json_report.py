"""The JSON report, schema_version 1; `schema.json` beside this file describes it."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from pytest_xai.reporting import OUTCOMES, HasRow, Row, as_row, fails_run, finite, sampled

__all__ = ["report_json", "write_json"]

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


def report_json(verdicts: Iterable[HasRow | Row], *, run: Mapping[str, object]) -> dict[str, Any]:
    """Build the report of a run.

    Args:
        verdicts: verdicts or their rows, in the order in which they are to stand.
        run: what the run was asked for (seed, alpha, budget, ...); ``device`` is None where
            subjects ran where their inputs are.

    Returns:
        Values that JSON knows; numbers that are not finite are None.
    """
    rows = [as_row(verdict) for verdict in verdicts]
    report = {
        "schema_version": 1,
        "environment": _environment(run.get("device")),
        "run": dict(run),
        "results": rows,
        "summary": {
            "verdicts": len(rows),
            "asserted": sum(row["asserted"] for row in rows),
            "failing": sum(fails_run(row) for row in rows),
            "sampled": {
                "verdicts": sum(sampled(row) for row in rows),
                "any_wrong_at_most": run["alpha"],
            },
            "outcomes": {o: sum(row["outcome"] == o for row in rows) for o in OUTCOMES},
            "evaluations": {
                "forward": sum(row["evaluations"]["forward"] for row in rows),
                "backward": sum(row["evaluations"]["backward"] for row in rows),
                "explainer_calls": sum(row["evaluations"]["explainer_calls"] for row in rows),
            },
            "seconds": sum(row["seconds"] for row in rows),
        },
    }
    return {key: finite(value) for key, value in report.items()}


def write_json(path: Path, payload: Mapping[str, Any]) -> None:
    """Write the report whole or not at all; folders on the way are made.

    Raises:
        OSError: the file cannot be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(payload, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(text)
    try:
        # A temporary file is its owner's alone; a report has the rights of any new file.
        umask = os.umask(0)
        os.umask(umask)
        Path(file.name).chmod(0o666 & ~umask)
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise


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
