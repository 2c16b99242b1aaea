"""Sphinx extension that writes reference pages from the code, so that both always agree.

Every build writes four pages to docs/_generated: the checks (from the registry), the gallery (from
its own description), the configuration (from the table of options) and the Python interface (from
the public names; autodoc inserts their docstrings).
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx

import pytest_xai
from pytest_xai import attacks, checks, explainers, subjects
from pytest_xai.explainers import GalleryEntry, Method
from pytest_xai.explainers.adapting.entry import KINDS, Claim
from pytest_xai.plugin.flags import TABLE, Flag
from pytest_xai.registry import FAMILIES, Check

ASSERTED = {
    "universal": "every explainer",
    "claimed": "the explainers that claim it",
    "quality": "every explainer, against a limit from the check's own controls",
    "probe": "every explainer, on subjects whose right maps are known and where its name is given",
}
JUDGED = {
    "exact": "the worst image: one image beyond its limit is enough for a failure",
    "mean": "a sequential test of the mean, which stops as soon as it is certain",
    "paired": "a sequential sign test of the images against their own limits; the figure is the "
    "share of images above their limit, and its limit is one half",
}
# Documented on the page about the bench.
ELSEWHERE = {"Bench": "reference/bench.md"}
# Literal text in a docstring, which must stay as it is, or a character that is markup in
# reStructuredText and means itself in our docstrings, such as the star in (N, *shape).
_LITERAL_OR_MARKUP = re.compile(r"(``.+?``)|(?<!\\)([*|]|(?<=\w)_(?!\w))")


def checks_page(table: Iterable[Check]) -> str:
    """The reference of checks: an overview, then one section per family and check."""
    entries = list(table)
    families = [name for name in FAMILIES if any(check.family == name for check in entries)]
    lines = [
        "# Checks",
        "",
        "Generated from the registry; `pytest --xai-list` prints the same list.",
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
            "Expected": check.claim,
            "Asserted for": ASSERTED[check.scope],
            "Figure": _figure(check),
            "Limit": check.limit_source,
            "Decided by": JUDGED[check.judged],
            "Cost per image": str(check.cost),
            "Images": str(check.max_images or "as many as the verdict needs"),
            "Markers": ", ".join(f"`{mark}`" for mark in ("xai", check.family, *check.marks)),
            "Source": f"{{cite:t}}`{check.source}`",
        }
    )


def _figure(check: Check) -> str:
    """What the figure is, its unit and how it must stand to the limit."""
    unit = f", in {check.unit}" if check.unit else ""
    bound = {"<=": "at most the limit", ">=": "at least the limit"}[check.direction]
    return f"{check.figure}{unit}; {bound}" if check.figure else bound


def gallery_page(entries: Iterable[GalleryEntry], methods: Mapping[str, Method]) -> str:
    """The reference of the gallery: methods by name, then one section per explainer."""
    lines = [
        "# Gallery",
        "",
        "Explainers that come with pytest-xai, by the names that registration accepts. This page",
        "is generated; `pytest --xai-list` prints the same. A name begins with the library that it",
        "needs:",
        '`pip install "pytest-xai[captum]"` for `captum:...`, `[grad-cam]` for `gradcam:...`.',
        "Names with `xai:` are our own. They and the controls need no further library.",
        "",
        "## Methods by their names alone",
        "",
        "If you give the name of a method without a library, the implementation that is right on",
        "the most networks is used, and the run says which one it is.",
        "",
        "| name | implementation | reason |",
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
    """A claim with its conditions on options and model, and the paper that makes it."""
    conditions = [f"`{name}={value!r}`" for name, value in claim.when.items()]
    conditions += [claim.condition] if claim.condition else []
    given = f" if {' and '.join(conditions)}" if conditions else ""
    return f"[{claim.check}](#check-{claim.check}){given} {{cite:p}}`{claim.source}`"


def _definitions(facts: Mapping[str, str]) -> list[str]:
    """A definition list; facts without text are left out."""
    return [f"{term}\n: {text}\n" for term, text in facts.items() if text]


def configuration_page(options: Iterable[Flag]) -> str:
    """The reference of options: for each its flag, its ini option and its key in pyproject.toml."""
    entries = list(options)
    lines = [
        "# Configuration",
        "",
        "Generated from the table of options. An option can be given in three places. The command",
        "line has precedence over the ini file (`[pytest]` in pytest.ini,",
        "`[tool.pytest.ini_options]` in pyproject.toml), which has precedence over the table",
        "`[tool.pytest_xai]` of pyproject.toml, which has precedence over the default.",
        "",
        "| command line | ini option | key in `[tool.pytest_xai]` |",
        "| --- | --- | --- |",
        *(
            f"| [`{each.flag}`](#option-{each.key}) | `{each.ini}` | {_table_key(each)} |"
            for each in entries
        ),
        "",
        "The table also registers [subjects, explainers and expected failures](registering).",
    ]
    for each in entries:
        value = "" if each.metavar is None else f" {each.metavar}"
        lines += ["", f"(option-{each.key})=", f"## `{each.flag}{value}`", ""]
        lines += [f"{each.help[0].upper()}{each.help[1:]}.", ""]
        lines += _definitions(
            {
                "Value": each.expected,
                "Ini option": f"`{each.ini}`",
                "Key in `[tool.pytest_xai]`": _table_key(each),
            }
        )
    lines += [
        "",
        "(registering)=",
        "## Registering in the table",
        "",
        "Three further keys of `[tool.pytest_xai]` are tables themselves. They have no option on",
        "the command line.",
        "[Put it in a model repo](../how-to/put-it-in-a-model-repo.md) has an example.",
        "",
        "`subjects`",
        ': name = `"module:attribute"`, a `Subject` or a function that returns one.',
        "",
        "`explainers`",
        ': name = a name of the gallery or `"module:attribute"`, or a table with this name as',
        "  `spec` and the explainer's options as further keys:",
        '  `cam = { spec = "captum:LayerGradCam", layer = "layer4" }`.',
        "",
        "`expected_failures`",
        ': `"explainer::check"` or `"subject::explainer::check"` = the reason.',
    ]
    return "\n".join([*lines, ""])


def _table_key(option: Flag) -> str:
    return f"`{option.key}`" if option.in_table else "no key: it is chosen for each run"


def interface_page(names: Iterable[str], modules: Iterable[ModuleType]) -> str:
    """The reference of the Python interface: directives for which autodoc inserts the docstrings.

    Args:
        names: public names of `pytest_xai`.
        modules: further modules whose ``__all__`` is public.
    """
    lines = [
        "# Python interface",
        "",
        "The names of `import pytest_xai as xai`, and of the public modules below it.",
    ]
    for name in names:
        value = getattr(pytest_xai, name)
        if name in ELSEWHERE:
            lines += ["", f"## {name}", "", f"See [its own page](../{ELSEWHERE[name]})."]
        elif isinstance(value, ModuleType):
            lines += _module_section(value)
        else:
            lines += ["", f"## {name}", "", *_directive("pytest_xai", name, value)]
    for module in modules:
        lines += _module_section(module)
    return "\n".join([*lines, ""])


def _module_section(module: ModuleType) -> Iterator[str]:
    """One section for a module: its docstring, then the names in its ``__all__``."""
    yield from ["", f"## {module.__name__.removeprefix('pytest_xai.')}", ""]
    yield from ["```{eval-rst}", f".. automodule:: {module.__name__}", "```", ""]
    for name in module.__all__:
        yield from ["", *_directive(module.__name__, name, getattr(module, name))]


def _directive(module: str, name: str, value: object) -> Iterator[str]:
    if not inspect.isclass(value):
        kind = "function"
    elif issubclass(value, Exception):
        kind = "exception"
    else:
        kind = "class"
    yield from ["```{eval-rst}", f".. auto{kind}:: {module}.{name}"]
    yield from ["   :members:"] * (kind == "class")
    yield "```"


def _escape(  # the signature is that of Sphinx's event
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Write a docstring as reStructuredText: escape what is no markup, and mark code as code."""
    marked: list[str] = []
    code = False
    for line in lines:
        starts = len(marked) > 1 and not marked[-1] and re.match(r"[A-Z]", marked[-2])
        if line.startswith("    ") and starts and not marked[-2].endswith("::"):
            marked += ["::", ""]
            code = True
        code = code and (not line or line.startswith(" "))
        escaped = _LITERAL_OR_MARKUP.sub(lambda found: found[1] or f"\\{found[2]}", line)
        marked.append(line if code else escaped)
    lines[:] = marked


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    pages = {
        "checks.md": checks_page(checks.all()),
        "gallery.md": gallery_page(explainers.describe(), explainers.methods()),
        "configuration.md": configuration_page(TABLE),
        "interface.md": interface_page(
            pytest_xai.__all__, [attacks, subjects, pytest_xai.strategies]
        ),
    }
    for name, text in pages.items():
        page = folder / name
        # An unchanged page keeps its time, and Sphinx does not build it again.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx: the pages are written before it looks for its sources."""
    app.connect("builder-inited", _write)
    # After napoleon, which has the priority 500 and reads the docstrings as they are.
    app.connect("autodoc-process-docstring", _escape, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
