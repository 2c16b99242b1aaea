"""Sphinx extension: writes the reference pages from the code, which they then cannot contradict.

Three pages in docs/_generated, made anew by every build: the checks (from the registry), the
gallery (from its own description), the Python interface (from public names and their docstrings).
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx

import pytest_xai
from pytest_xai import checks, explainers
from pytest_xai.explainers import GalleryEntry, Method
from pytest_xai.explainers.adapting.entry import KINDS, Claim
from pytest_xai.registry import FAMILIES, Check

ASSERTED = {
    "universal": "every explainer",
    "claimed": "the explainers that claim it",
    "quality": "every explainer, against a limit from the check's own controls",
    "probe": "every explainer, on subjects whose right maps are known, where its name asks for it",
}
JUDGED = {
    "exact": "the worst image: one violation suffices",
    "mean": "a sequential test of the mean, which stops as soon as it is certain",
    "paired": "a sequential sign test of the images against their own limits; the figure is the "
    "share of images above theirs, its limit one half",
}


def checks_page(table: Iterable[Check]) -> str:
    """The reference of checks: an overview, then one section per family and check."""
    entries = list(table)
    families = [name for name in FAMILIES if any(check.family == name for check in entries)]
    lines = [
        "# Checks",
        "",
        "Generated from the registry; `pytest --xai-list` prints the same for what is installed.",
        "",
        "| check | family | the question it answers |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| [{check.name}](#check-{check.name}) | {check.family} | {check.question} |"
        for check in entries
    ]
    for family in families:
        lines += ["", f"## {family}"]
        for check in entries:
            if check.family == family:
                lines += ["", *_check_section(check)]
    return "\n".join([*lines, ""])


def _check_section(check: Check) -> Iterator[str]:
    yield f"(check-{check.name})="
    yield f"### {check.name}"
    yield ""
    yield check.question
    yield ""
    yield from _definitions(
        {
            "Claim": check.claim,
            "Asserted for": ASSERTED[check.scope],
            "Figure": {"<=": "at most the limit", ">=": "at least the limit"}[check.direction],
            "Limit": check.limit_source,
            "Decided by": JUDGED[check.judged],
            "Cost per image": str(check.cost),
            "Images": str(check.max_images or "as many as the verdict needs"),
            "Markers": ", ".join(f"`{mark}`" for mark in ("xai", check.family, *check.marks)),
            "Source": f"{{cite:t}}`{check.source}`",
        }
    )


def gallery_page(entries: Iterable[GalleryEntry], methods: Mapping[str, Method]) -> str:
    """The reference of the gallery: methods by name, then one section per explainer."""
    lines = [
        "# Gallery",
        "",
        "Explainers that come with pytest-xai, by the names that registration accepts. Generated;",
        "`pytest --xai-list` prints the same. A name begins with the library that it needs:",
        '`pip install "pytest-xai[captum]"` for `captum:...`, `[grad-cam]` for `gradcam:...`.',
        "Names with `xai:` are our own and, like the controls, need none.",
        "",
        "## Methods by their names alone",
        "",
        "Where you name a method and no library, the implementation that is right on the most",
        "networks is picked, and the run says which.",
        "",
        "| name | is | because |",
        "| --- | --- | --- |",
        *(f"| `{name}` | `{each.spec}` | {each.reason} |" for name, each in methods.items()),
    ]
    for entry in entries:
        traits = entry.traits
        options = [f"`{name}={default!r}`" for name, default in entry.options.items()]
        kinds = [f"{kind}s" for kind in KINDS.values() if kind in entry.inputs]
        lines += ["", f"## {entry.spec}", "", entry.summary, ""]
        lines += _definitions(
            {
                "Explains": ", ".join(kinds),
                "Claims": "; ".join(map(_promise, entry.claims)),
                "Options": ", ".join(options),
                "Cost per image": traits.cost,
                "Stochastic": "its maps depend on the seed" if traits.stochastic else "",
                "Class-agnostic": "its maps ignore the target" if traits.class_agnostic else "",
                "Called with": "the subject's baseline" if traits.needs_baseline else "",
                "Source": f"{{cite:t}}`{traits.source}`" if traits.source else "",
            }
        )
    return "\n".join([*lines, ""])


def _promise(claim: Claim) -> str:
    """A claim with what it asks of options and model, and its paper."""
    conditions = [f"`{name}={value!r}`" for name, value in claim.when.items()]
    conditions += [claim.condition] if claim.condition else []
    given = f" if {' and '.join(conditions)}" if conditions else ""
    return f"[{claim.check}](#check-{claim.check}){given} {{cite:p}}`{claim.source}`"


def _definitions(facts: Mapping[str, str]) -> list[str]:
    """Terms with what is said of them; terms of which nothing is said are left out."""
    return [f"{term}\n: {text}\n" for term, text in facts.items() if text]


def interface_page(names: Iterable[str]) -> str:
    """The reference of the Python interface: signature and docstring of every public name."""
    lines = [
        "# Python interface",
        "",
        "The names of `import pytest_xai as xai`, generated from their docstrings.",
    ]
    for name in names:
        value = getattr(pytest_xai, name)
        lines += ["", f"## {name}", "", *_entry(name, value)]
        for path, member in _members(name, value):
            lines += ["", f"### {path}", "", *_entry(path, member)]
    return "\n".join([*lines, ""])


def _members(name: str, value: object) -> Iterator[tuple[str, object]]:
    """What a module exports, and what a class defines and documents under a public name."""
    if isinstance(value, ModuleType):
        yield from ((f"{name}.{each}", getattr(value, each)) for each in value.__all__)
    elif isinstance(value, type):
        public = (each for each in vars(value) if not each.startswith("_"))
        members = ((f"{name}.{each}", getattr(value, each)) for each in public)
        yield from (m for m in members if inspect.isroutine(m[1]) or isinstance(m[1], property))


def _entry(path: str, value: object) -> list[str]:
    signature = f"{path}{_signature(value)}" if callable(value) else path
    return ["```python", signature, "```", "", "````text", inspect.getdoc(value) or "", "````"]


def _signature(value: Callable[..., object]) -> str:
    try:
        return str(inspect.signature(value))
    except ValueError:  # exceptions without an __init__ of their own
        return "(message)"


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    pages = {
        "checks.md": checks_page(checks.all()),
        "gallery.md": gallery_page(explainers.describe(), explainers.methods()),
        "interface.md": interface_page(pytest_xai.__all__),
    }
    for name, text in pages.items():
        page = folder / name
        # An unchanged page keeps its time, and Sphinx does not build it again.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx: the pages are written before it looks for its sources."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
