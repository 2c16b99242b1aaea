"""The section "xai" of the terminal's summary: matrix, failures with their evidence, totals."""

import io
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from pytest_xai.core.run import Run, Terminal
from pytest_xai.core.verdict import Evaluations, Verdict
from pytest_xai.reporting import plain
from pytest_xai.reporting.matrix import WORDS, matrix

__all__ = ["console_of", "failure_text", "report"]

_LABEL = 10
# A failure takes at most so many lines, unless pytest is asked for details.
_MOST_LINES = 10
# The fields of a failure that are cut first, each with the fewest lines that it keeps.
_CUT_FIRST = (("Limit", 1), ("Expected", 1), ("Figure", 1), ("Cause", 1))
_CUT = " [...]"


def console_of(terminal: Terminal) -> Console:
    """Return a console that writes into a string."""
    return Console(
        file=io.StringIO(),
        width=max(terminal.width, 40),
        force_terminal=terminal.colour,
        color_system="standard" if terminal.colour else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def report(verdicts: Sequence[Verdict], run: Run) -> str:
    """Return the section for verdicts in the order of the plan.

    Without verdicts it explains how to register something to check, if nothing was planned.
    """
    console = console_of(run.terminal)
    if not verdicts:
        return _how_to_register(console, run) if not run.planned else ""
    verbosity = run.terminal.verbosity
    if verbosity >= 0:
        _draw_matrices(console, verdicts, run)
        _draw_failures(console, verdicts, verbosity)
        for title, outcome in _lists(verbosity):
            chosen = [each for each in verdicts if each.outcome == outcome]
            _draw_list(console, title, chosen, detailed=verbosity > 0)
        if verbosity == 0:
            _draw_list(console, "Nothing could be checked", list(_unchecked(verdicts)))
    else:
        for verdict in verdicts:
            if verdict.fails_run:
                _line(console, f"{_word(verdict)} {verdict.id}: {_headline(verdict)}")
    _draw_totals(console, verdicts, run)
    return _text(console)


def failure_text(verdict: Verdict) -> str:
    """Say in a few lines why one verdict is not a pass; the first line can stand alone."""
    lines = [f"{verdict.explainer}::{verdict.check}: {_headline(verdict)}"]
    if verdict.outcome in {"failed", "xfailed", "xpassed"}:
        lines += [f"{label}: {text}" for label, text in _evidence(verdict) if label != "Figure"]
        if verdict.notes:
            lines.append(f"Notes: {' '.join(verdict.notes)}")
    elif details := verdict.summary.partition("\n")[2].rstrip():
        lines.append(details)
    if verdict.traceback:
        lines.append(verdict.traceback.rstrip())
    if verdict.reproduce:
        lines.append(f"Repeat: {verdict.reproduce}")
    if script := _script(verdict):
        lines += [f"Smallest network: {_network(verdict)}", script]
    return plain("\n".join(lines))


def _how_to_register(console: Console, run: Run) -> str:
    """Say what to do when ``--xai`` finds nothing to check."""
    subjects, explainers = run.subjects, run.explainers
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


def _draw_matrices(console: Console, verdicts: Sequence[Verdict], run: Run) -> None:
    for subject in dict.fromkeys(verdict.subject for verdict in verdicts):
        chosen = [verdict for verdict in verdicts if verdict.subject == subject]
        for title, table in matrix(chosen, run.checks, console=console):
            console.print(Text(plain(f"{subject}: {title}"), style="bold"), soft_wrap=True)
            console.print(table)
            console.print()
    if not all(verdict.asserted for verdict in verdicts):
        _line(console, "In brackets: measured, not asserted; cannot fail the run.\n")


def _draw_failures(console: Console, verdicts: Sequence[Verdict], verbosity: int) -> None:
    failures = [each for each in verdicts if each.fails_run and each.outcome != "error"]
    for verdict in failures:
        heading = Text(f"{_word(verdict)} ", style=WORDS[verdict.outcome][1])
        console.print(heading.append(verdict.id, style="bold"), soft_wrap=True)
        fields = list(_evidence(verdict))
        width = console.width - _LABEL - 2
        if verbosity > 0:
            fields += list(_details(verdict))
        lines = {label: _wrapped_lines(text, width) for label, text in fields}
        if verbosity <= 0:
            # The heading and the repeat command take a line each.
            _shorten(lines, _MOST_LINES - 2, width)
        for label, text in lines.items():
            _field(console, label, text)
        # Unbroken, so that it can be copied.
        _line(console, f"  {'Repeat':<{_LABEL}}{verdict.reproduce}")
        _draw_script(console, verdict)
        console.print()
    if failures and verbosity == 0:
        _line(console, "With -v: all facts and notes of each failure, in full.\n")


def _shorten(lines: dict[str, list[str]], most: int, width: int) -> None:
    """Cut fields until they take at most this many lines together."""
    for label, least in _CUT_FIRST:
        excess = sum(map(len, lines.values())) - most
        keep = max(least, len(lines.get(label, ())) - excess)
        if excess > 0 and keep < len(lines.get(label, ())):
            kept = lines[label][:keep]
            kept[-1] = kept[-1][: width - len(_CUT)].removesuffix(_CUT) + _CUT
            lines[label] = kept


def _draw_script(console: Console, verdict: Verdict) -> None:
    """Draw the smallest network on which a check fails, as code: unbroken and indented."""
    if script := _script(verdict):
        _field(console, "Network", _wrapped_lines(_network(verdict), console.width - _LABEL - 2))
        _line(console, script)


def _evidence(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Yield what a failure shows: labels with their texts."""
    if verdict.claim:
        yield "Expected", verdict.claim
    if verdict.figure is not None:
        name = f": {verdict.figure_name}" if verdict.figure_name else ""
        yield "Figure", f"{_value(verdict, verdict.figure)} ({_sample(verdict)}){name}"
        source = f". {verdict.limit_source}" if verdict.limit_source else ""
        yield "Limit", f"{_bound(verdict)} {_value(verdict, verdict.limit)}{source}"
    if verdict.counterexample:
        yield "Worst", _worst(verdict)
    if cause := " ".join(part for part in (verdict.summary, verdict.cause) if part):
        yield "Cause" if verdict.cause else "Reason", cause


def _details(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """Yield what a failure shows besides with ``-v``."""
    if facts := (verdict.counterexample or {}).get("facts"):
        yield "Facts", "; ".join(f"{name}: {_number(value)}" for name, value in facts.items())
    if verdict.notes:
        yield "Notes", " ".join(verdict.notes)


def _draw_list(
    console: Console, title: str, verdicts: Sequence[Verdict], *, detailed: bool = False
) -> None:
    if not verdicts:
        return
    console.print(Text(title, style=WORDS[verdicts[0].outcome][1]))
    # An error of an explainer mostly breaks all its checks: it is said once.
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in verdicts:
        text = verdict.reason if detailed else verdict.summary or verdict.reason
        key = (verdict.subject, verdict.explainer, _first_line(text))
        groups.setdefault(key, []).append(verdict)
    for (subject, explainer, reason), group in groups.items():
        names = ", ".join(verdict.check for verdict in group)
        text = plain(f"  {explainer} on {subject}: {names}: {reason}")
        _line(console, "\n      ".join(_wrapped(text, console.width - 6)))
        if group[0].outcome == "error":
            _line(console, f"      {group[0].reproduce}")
            _draw_script(console, group[0])
    console.print()


def _unchecked(verdicts: Sequence[Verdict]) -> Iterator[Verdict]:
    """Yield the verdicts of explainers to which no check applies on a subject."""
    outcomes: dict[tuple[str, str], set[str]] = {}
    for verdict in verdicts:
        outcomes.setdefault((verdict.subject, verdict.explainer), set()).add(verdict.outcome)
    for verdict in verdicts:
        if outcomes[verdict.subject, verdict.explainer] == {"not_applicable"}:
            yield verdict


def _lists(verbosity: int) -> list[tuple[str, str]]:
    titles = [("Undecided", "undecided"), ("Errors", "error")]
    if verbosity > 0:
        titles += [("Failed as expected", "xfailed"), ("Not applicable", "not_applicable")]
    return titles


def _draw_totals(console: Console, verdicts: Sequence[Verdict], run: Run) -> None:
    counts = [
        f"{sum(verdict.outcome == outcome for verdict in verdicts)} {outcome.replace('_', ' ')}"
        for outcome in WORDS
        if any(verdict.outcome == outcome for verdict in verdicts)
    ]
    spent = sum((verdict.evaluations for verdict in verdicts), Evaluations())
    seconds = sum(verdict.seconds for verdict in verdicts)
    text = (
        f"{_count(len(verdicts), 'verdict')}: {', '.join(counts)}\n"
        f"{spent.forward:,} forward and {spent.backward:,} backward evaluations "
        f"in {seconds:.1f} s; seed {run.seed}"
    )
    if number := sum(verdict.sampled for verdict in verdicts):
        text += (
            f"; {_count(number, 'sampled verdict')}, probability that any is wrong: at most "
            f"{run.alpha:g}"
        )
    if run.budget is not None:
        text += f"\nbudget {run.budget:,}: {run.spent:,} spent, {run.budget - run.spent:,} left"
    for line in text.splitlines():
        _line(console, "\n".join(_wrapped(line, console.width)))


# -------------------------------------------------------------------------------------------- words


def _word(verdict: Verdict) -> str:
    return WORDS[verdict.outcome][0]


def _headline(verdict: Verdict) -> str:
    if verdict.outcome in {"failed", "xfailed"} and verdict.figure is not None:
        # The number comes first: pytest cuts the end off in its short summary.
        figure, limit = _value(verdict, verdict.figure), _value(verdict, verdict.limit)
        name = f": {verdict.figure_name}" if verdict.figure_name else ""
        return f"{figure}, must be {_bound(verdict)} {limit} ({_sample(verdict)}){name}"
    word = {"undecided": "undecided: ", "error": "error: "}.get(verdict.outcome, "")
    return f"{word}{_first_line(verdict.reason)}"


def _bound(verdict: Verdict) -> str:
    return "at most" if verdict.direction == "<=" else "at least"


def _sample(verdict: Verdict) -> str:
    """Return the interval of the figure, and how many images it is of."""
    notes = [_count(verdict.images, "image")]
    if verdict.interval is not None:
        low, high = verdict.interval
        notes.insert(0, f"between {_number(low)} and {_number(high)}")
    return ", ".join(notes)


def _value(verdict: Verdict, value: float | None) -> str:
    return f"{_number(value)} {verdict.unit}".rstrip()


def _worst(verdict: Verdict) -> str:
    example = verdict.counterexample or {}
    text = f"image #{example.get('image', 'unknown')}"
    if example.get("figure") is not None:
        text += f": {_number(example['figure'])}"
    if example.get("limit") is not None:
        text += f" (its limit {_number(example['limit'])})"
    return text


def _network(verdict: Verdict) -> str:
    return str((verdict.counterexample or {}).get("network", "as below"))


def _script(verdict: Verdict) -> str:
    """Return the code that shows a failure, indented; empty if there is none."""
    script = str((verdict.counterexample or {}).get("snippet", ""))
    return textwrap.indent(script, "    ")


def _number(value: object) -> str:
    if value is None:
        return "not a number"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0] or "no reason given"


def _field(console: Console, label: str, lines: Sequence[str]) -> None:
    indent = " " * (_LABEL + 2)
    _line(console, f"  {label:<{_LABEL}}" + f"\n{indent}".join(lines))


def _wrapped_lines(text: str, width: int) -> list[str]:
    return [part for line in plain(text).splitlines() for part in _wrapped(line, width)]


def _wrapped(text: str, width: int) -> list[str]:
    # An id or a number is one word, even if it is longer than a line.
    lines = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    return lines or [""]


def _line(console: Console, text: str) -> None:
    console.print(Text(plain(text)), soft_wrap=True)


def _text(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
