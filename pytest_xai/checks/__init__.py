"""All checks, one per file and one folder per family. Importing them fills the registry."""

import importlib
import pkgutil

from pytest_xai.registry import CHECKS, FAMILIES, Check, find

__all__ = ["all", "get", "names"]


def all() -> list[Check]:  # noqa: A001  # public contract: xai.checks.all()
    """Return all checks, sorted by family and then by name."""
    _load()
    return sorted(CHECKS.values(), key=lambda check: (FAMILIES.index(check.family), check.name))


def get(name: str) -> Check:
    """Return the check with this name.

    Raises:
        UnknownName: no check has this name; the message lists all names.
    """
    _load()
    return find(name)


def names() -> list[str]:
    """Return the names of all checks, in the order of `all`."""
    return [check.name for check in all()]


def _load() -> None:
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
