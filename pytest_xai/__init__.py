"""pytest-xai: trust, or refuse, the explanations of image classifiers in CI.

The names are resolved when first used, so that pytest starts without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_xai import checks, explainers, measures
    from pytest_xai import strategies as strategies  # public, but not in __all__; see _ASKED_FOR
    from pytest_xai.bench.bench import Bench
    from pytest_xai.core.finding import Finding
    from pytest_xai.core.subject import Subject
    from pytest_xai.core.verdict import Verdict
    from pytest_xai.engine.check_explainer import check_explainer
    from pytest_xai.engine.report import Report
    from pytest_xai.errors import (
        CheckFailed,
        InvalidArgument,
        InvalidAttribution,
        NotApplicable,
        XaiError,
    )
    from pytest_xai.plugin.parametrize import parametrize_with_checks
    from pytest_xai.protocol import explainer
    from pytest_xai.registry import Cost, check

_HOMES = {
    "Bench": "bench.bench",
    "CheckFailed": "errors",
    "Cost": "registry",
    "Finding": "core.finding",
    "InvalidArgument": "errors",
    "InvalidAttribution": "errors",
    "NotApplicable": "errors",
    "Report": "engine.report",
    "Subject": "core.subject",
    "Verdict": "core.verdict",
    "XaiError": "errors",
    "check": "registry",
    "check_explainer": "engine.check_explainer",
    "checks": "",
    "explainer": "protocol",
    "explainers": "",
    "measures": "",
    "parametrize_with_checks": "plugin.parametrize",
    "strategies": "",
}

__all__ = [
    "Bench",
    "CheckFailed",
    "Cost",
    "Finding",
    "InvalidArgument",
    "InvalidAttribution",
    "NotApplicable",
    "Report",
    "Subject",
    "Verdict",
    "XaiError",
    "check",
    "check_explainer",
    "checks",
    "explainer",
    "explainers",
    "measures",
    "parametrize_with_checks",
]


# Public, but left out by `from pytest_xai import *`: they take a second to import.
_ASKED_FOR = ["strategies"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pytest-xai")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    if not home:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_ASKED_FOR, "__version__"])
