"""Writes a failure on a small network as Python that a user can run."""

import sys

from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.exploration.example import Example
from pytest_xai.protocol import NamedExplainer

__all__ = ["snippet"]

_IMPORTS = "import torch\nfrom torch import nn\n"


def snippet(example: Example, explainer: NamedExplainer, verdict: Verdict, *, seed: int) -> str:
    """Return source that builds a network and its inputs, and raises the failure of the verdict.

    Args:
        example: the network and its inputs.
        explainer: the explainer that was checked.
        verdict: of the check that fails.
        seed: of the run.
    """
    source, line = _explainer(explainer)
    head = f"{_IMPORTS}\nimport pytest_xai as xai\n{source}"
    seeded = f", seed={seed}" if seed else ""
    return "\n".join(
        [
            head + example.script().removeprefix(_IMPORTS),
            line,
            f"# {_result(verdict)}",
            f'xai.check_explainer(explainer, subject, checks=["{verdict.check}"]{seeded})',
        ]
    )


def _explainer(explainer: NamedExplainer) -> tuple[str, str]:
    """Return the import of the explainer, and the line that names it ``explainer``."""
    if explainer.origin:
        return "", f"explainer = {explainer.origin}"
    module = getattr(explainer.call, "__module__", None) or ""
    name = getattr(explainer.call, "__qualname__", "").rpartition(".")[2]
    if _can_be_imported(explainer.call, module, name):
        return f"from {module} import {name}\n", f"explainer = {name}"
    if name.isidentifier():
        return "", f"explainer = {name}  # the one that was checked"
    return "", "explainer = ...  # put here the one that was checked"


def _can_be_imported(call: object, module: str, name: str) -> bool:
    if module in ("", "__main__") or not name.isidentifier():
        return False
    return getattr(sys.modules.get(module), name, None) is call


def _result(verdict: Verdict) -> str:
    if verdict.figure is None or verdict.limit is None:
        return verdict.reason.strip().partition("\n")[0]
    bound = "at most" if verdict.direction == "<=" else "at least"
    return f"gives {verdict.figure:.4g}, must be {bound} {verdict.limit:.4g}"
