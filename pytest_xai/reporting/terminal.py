"""The section "xai" of the terminal's summary: matrix, failures with their evidence, totals."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from pytest_xai.reporting import HasRow, Row, as_row, case_id, fails_run, plain, sampled
from pytest_xai.reporting.matrix import WORDS, matrix

__all__ = ["Look", "Run", "failure_text", "how_to_register", "summary"]

_LABEL = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How the section is drawn.

    Attributes:
        width: columns of the terminal.
        colour: whether it takes ANSI colours.
        verbosity: pytest's: below 0 less, above 0 more.
    """

    width: int = 80
    colour: bool = False
    verbosity: int = 0

    def console(self) -> Console:
        """A console that writes into a string."""
        return Console(
            file=io.StringIO(),
            width=max(self.width, 40),
            force_terminal=self.colour,
            color_system="standard" if self.colour else None,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What the section says of the run besides its verdicts.

    Attributes:
        seed: of the run.
        alpha: of the run.
        budget: of the run; None: no bound.
        spent: of it.
        claims: the sentence that each check tests, by name, in the order of the registry.
    """

    seed: int = 0
    alpha: float = 0.001
    budget: int | None = None
    spent: int = 0
    claims: Mapping[str, str] = field(default_factory=dict)


def summary(rows: Sequence[Row], run: Run, look: Look) -> str:
    """Draw the section for rows in the order of the plan."""
    console = look.console()
    if look.verbosity >= 0:
        _draw_matrices(console, rows, run)
        for row in rows:
            if fails_run(row) and row["outcome"] != "error":
                _draw_failure(console, row, run)
        for title, outcome in _lists(look.verbosity):
            _draw_list(console, title, [row for row in rows if row["outcome"] == outcome])
        if look.verbosity == 0:
            _draw_list(console, "Nothing could be checked", list(_unchecked(rows)))
    else:
        for row in rows:
            if fails_run(row):
                _line(console, f"{_word(row)} {case_id(row)}: {_headline(row)}")
    _draw_totals(console, rows, run)
    return _text(console)


def failure_text(verdict: HasRow | Row, claim: str = "") -> str:
    """Say in a few lines why one verdict is not a pass; the first line stands for itself.

    Args:
        verdict: or its row.
        claim: the sentence that the check tests.
    """
    row = as_row(verdict)
    lines = [f"{row['explainer']}::{row['check']}: {_headline(row)}"]
    if claim and row["outcome"] != "error":
        lines.append(f"Claim: {claim}")
    if row["outcome"] in {"failed", "xfailed"}:
        if row["counterexample"]:
            lines.append(f"Worst image: {_worst(row)}")
        lines.append(f"Reason: {row['reason'] or 'none given'}")
    elif "\n" in row["reason"]:
        lines.append(row["reason"].partition("\n")[2].rstrip())
    if row["reproduce"]:
        lines.append(f"Repeat: {row['reproduce']}")
    if script := _script(row):
        lines += [f"Smallest network: {_network(row)}", script]
    return plain("\n".join(lines))


def how_to_register(look: Look, *, subjects: int = 0, explainers: int = 0) -> str:
    """What to do when ``--xai`` finds nothing to check.

    Args:
        look: how the section is drawn.
        subjects: how many are registered.
        explainers: how many are registered.
    """
    console = look.console()
    if subjects and explainers:
        _line(console, "Nothing to check: --xai-select and --xai-ignore leave no check.")
        return _text(console)
    there = "Nothing is registered"
    if subjects or explainers:
        counts = (_count(subjects, "subject"), _count(explainers, "explainer"))
        there = f"Nothing to check: {' and '.join(counts)} registered"
    _line(console, f"{there}. Say in conftest.py what to check:")
    example = """
        def pytest_xai_register(registry):
            registry.subject("digits", load_subject)  # returns a Subject
            registry.explainer("mine", my_explainer)  # (model, inputs, targets)
            registry.explainer("ig", "captum:IntegratedGradients")
    """
    _line(console, textwrap.indent(textwrap.dedent(example), "    ").rstrip())
    _line(console, "\nor in pyproject.toml:")
    example = """
        [tool.pytest_xai]
        subjects = { digits = "my_model.xai:load_subject" }
        explainers = { ig = "captum:IntegratedGradients" }
    """
    _line(console, textwrap.indent(textwrap.dedent(example), "    ").rstrip())
    _line(console, "\nTo see it at work on a bundled model: pytest --xai --xai-demo")
    return _text(console)


# ------------------------------------------------------------------------------------------ drawing


def _draw_matrices(console: Console, rows: Sequence[Row], run: Run) -> None:
    for subject in dict.fromkeys(row["subject"] for row in rows):
        chosen = [row for row in rows if row["subject"] == subject]
        for title, table in matrix(chosen, run.claims, console=console):
            console.print(Text(plain(f"{subject}: {title}"), style="bold"), soft_wrap=True)
            console.print(table)
            console.print()
    if not all(row["asserted"] for row in rows):
        _line(console, "In brackets: measured, not asserted; cannot fail the run.\n")


def _draw_failure(console: Console, row: Row, run: Run) -> None:
    heading = Text(f"{_word(row)} ", style=WORDS[row["outcome"]][1])
    console.print(heading.append(case_id(row), style="bold"), soft_wrap=True)
    for label, text in _evidence(row, run):
        _field(console, label, text)
    # Unbroken, so that it can be copied.
    _line(console, f"  {'Repeat':<{_LABEL}}{row['reproduce']}")
    _draw_script(console, row)
    console.print()


def _draw_script(console: Console, row: Row) -> None:
    """The smallest network on which it fails, as code: unbroken and indented alike."""
    if script := _script(row):
        _field(console, "Network", _network(row))
        _line(console, script)


def _evidence(row: Row, run: Run) -> Iterator[tuple[str, str]]:
    if claim := run.claims.get(row["check"]):
        yield "Claim", claim
    if row["figure"] is not None:
        yield "Figure", _figure(row)
    example = row["counterexample"] or {}
    if example:
        yield "Worst", f"image {_worst(row)}"
    cause = str(example.get("cause") or "")
    if cause:
        yield "Cause", cause
    if facts := example.get("facts"):
        yield "Facts", ", ".join(f"{name} {_number(value)}" for name, value in facts.items())
    reason = row["reason"].removeprefix(cause).strip()
    if reason:
        yield "Note" if cause else "Reason", reason


def _draw_list(console: Console, title: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    console.print(Text(title, style=WORDS[rows[0]["outcome"]][1]))
    # What breaks an explainer mostly breaks all its checks: it is said once.
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        key = (row["subject"], row["explainer"], _first_line(row["reason"]))
        groups.setdefault(key, []).append(row)
    for (subject, explainer, reason), group in groups.items():
        names = ", ".join(row["check"] for row in group)
        text = plain(f"  {explainer} on {subject}: {names}: {reason}")
        _line(console, "\n      ".join(_wrapped(text, console.width - 6)))
        if group[0]["outcome"] == "error":
            _line(console, f"      {group[0]['reproduce']}")
            _draw_script(console, group[0])
    console.print()


def _unchecked(rows: Sequence[Row]) -> Iterator[Row]:
    """Those of explainers that no check applies to on a subject: green, but not for their maps."""
    outcomes: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        outcomes.setdefault((row["subject"], row["explainer"]), set()).add(row["outcome"])
    for row in rows:
        if outcomes[row["subject"], row["explainer"]] == {"not_applicable"}:
            yield row


def _lists(verbosity: int) -> list[tuple[str, str]]:
    titles = [("Undecided", "undecided"), ("Errors", "error")]
    if verbosity > 0:
        titles += [("Failed as expected", "xfailed"), ("Not applicable", "not_applicable")]
    return titles


def _draw_totals(console: Console, rows: Sequence[Row], run: Run) -> None:
    counts = [
        f"{sum(row['outcome'] == outcome for row in rows)} {outcome.replace('_', ' ')}"
        for outcome in WORDS
        if any(row["outcome"] == outcome for row in rows)
    ]
    forward = sum(row["evaluations"]["forward"] for row in rows)
    backward = sum(row["evaluations"]["backward"] for row in rows)
    seconds = sum(row["seconds"] for row in rows)
    text = (
        f"{_count(len(rows), 'verdict')}: {', '.join(counts)}\n"
        f"{forward:,} forward and {backward:,} backward evaluations in {seconds:.1f} s; "
        f"seed {run.seed}"
    )
    if number := sum(sampled(row) for row in rows):
        text += f"; {_count(number, 'sampled verdict')}, chance that any is wrong at most "
        text += f"{run.alpha:g}"
    if run.budget is not None:
        text += f"\nbudget {run.budget:,}: {run.spent:,} spent, {run.budget - run.spent:,} left"
    for line in text.splitlines():
        _line(console, "\n".join(_wrapped(line, console.width)))


# -------------------------------------------------------------------------------------------- words


def _word(row: Row) -> str:
    return WORDS[row["outcome"]][0]


def _headline(row: Row) -> str:
    if row["outcome"] in {"failed", "xfailed"} and row["figure"] is not None:
        return _figure(row)
    word = {"undecided": "undecided: ", "error": "error: "}.get(row["outcome"], "")
    return f"{word}{_first_line(row['reason'])}"


def _figure(row: Row) -> str:
    """The figure against its limit, with where its mean lies and how many images it is of."""
    bound = "at most" if row["direction"] == "<=" else "at least"
    notes = [_count(row["images"], "image")]
    if row["interval"] is not None:
        low, high = row["interval"]
        notes.insert(0, f"between {_number(low)} and {_number(high)}")
    figure, limit = _number(row["figure"]), _number(row["limit"])
    return f"{figure}, must be {bound} {limit} ({', '.join(notes)})"


def _worst(row: Row) -> str:
    example = row["counterexample"] or {}
    text = str(example.get("image", "unknown"))
    if example.get("figure") is not None:
        text += f" with {_number(example['figure'])}"
    if example.get("limit") is not None:
        text += f", limit {_number(example['limit'])}"
    return text


def _network(row: Row) -> str:
    return str((row["counterexample"] or {}).get("network", "as below"))


def _script(row: Row) -> str:
    """The code that shows a failure, indented; empty: there is none."""
    script = str((row["counterexample"] or {}).get("snippet", ""))
    return textwrap.indent(script, "    ")


def _number(value: object) -> str:
    if value is None:
        return "not a number"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0] or "no reason given"


def _field(console: Console, label: str, text: str) -> None:
    indent = " " * (_LABEL + 2)
    lines: list[str] = []
    for line in plain(text).splitlines():
        lines += _wrapped(line, console.width - len(indent))
    _line(console, f"  {label:<{_LABEL}}" + f"\n{indent}".join(lines))


def _wrapped(text: str, width: int) -> list[str]:
    # An id or a number is one word, however long.
    lines = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    return lines or [""]


def _line(console: Console, text: str) -> None:
    console.print(Text(plain(text)), soft_wrap=True)


def _text(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
