"""The section "xai": evidence for every failure, and no message that could break the terminal."""

import re
import textwrap
from dataclasses import replace

import pytest

from pytest_xai.core.run import Run, Terminal
from pytest_xai.reporting.terminal import failure_text, report


def shown(verdicts, *, width=80, colour=False, verbosity=0, **run):
    terminal = Terminal(width=width, colour=colour, verbosity=verbosity)
    return report(verdicts, Run(planned=len(verdicts), terminal=terminal, **run))


def block_of(text):
    """The block of the first failure, without the empty line after it."""
    return text[text.index("FAIL xai::") :].partition("\n\n")[0].splitlines()


def test_a_failure_is_shown_with_its_evidence(failure):
    assert block_of(shown([failure], width=100)) == [
        "FAIL xai::net::ig::summation_to_delta",
        "  Expected  Attributions sum to f(x) - f(x').",
        "  Figure    0.75 (between 0.7 and 0.8, 64 images): gap between the sum and f(x) - f(x')",
        "  Limit     at most 0.5. The rounding of the sum.",
        "  Worst     image #17: 1.25 (its limit 0.5)",
        "  Cause     The multipliers are wrong.",
        "  Repeat    pytest --xai 'xai::net::ig::summation_to_delta' --xai-seed 0",
    ]


def test_verbose_adds_the_facts_and_the_notes(failure):
    text = shown([failure], width=100, verbosity=1)
    assert block_of(text)[6:] == [
        "  Facts     sum: 1; f(x): 2.5; gap: not a number",
        "  Notes     Confirmed in float64.",
        "  Repeat    pytest --xai 'xai::net::ig::summation_to_delta' --xai-seed 0",
    ]
    assert "With -v:" not in text
    assert "With -v: all facts and notes of each failure, in full." in shown([failure])


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_failure_takes_at_most_ten_lines_and_says_that_it_was_cut(failure, width):
    long = "word " * 80
    failed = replace(
        failure, claim=long, figure_name=long, limit_source=long, cause=f"Cause first. {long}"
    )
    block = block_of(shown([failed], width=width))
    assert len(block) <= 10
    assert sum(line.endswith(" [...]") for line in block) >= 3
    assert max(len(line) for line in block[:-1]) <= width
    for label in ("Expected", "Figure    0.75", "Limit     at most", "Worst", "Cause     Cause"):
        assert any(line.startswith(f"  {label}") for line in block), label
    assert block[-1].startswith("  Repeat    pytest --xai ")
    whole = shown([failed], width=width, verbosity=1)
    assert "[...]" not in whole
    assert whole.count("word") >= 4 * 80


def test_a_unit_stands_behind_every_number_of_the_figure(failure):
    failed = replace(failure, unit="pixels")
    text = shown([failed], width=100)
    assert "  Figure    0.75 pixels (" in text
    assert "  Limit     at most 0.5 pixels. The rounding" in text
    assert "0.75 pixels, must be at most 0.5 pixels" in failure_text(
        replace(failure, unit="pixels")
    )


NUMBERS = ", ".join(["0.123456"] * 30)
SNIPPET = f"import torch\n\n\nclass Net(nn.Module):\n    weights = [{NUMBERS}]"


def with_snippet(verdict):
    example = {"image": 0, "network": "1 layer", "snippet": SNIPPET}
    return replace(verdict, counterexample=example)


@pytest.mark.parametrize("width", [40, 100])
def test_a_snippet_is_shown_so_that_it_can_be_copied(failure, width):
    failed = with_snippet(failure)
    for text in (shown([failed], width=width), failure_text(failed)):
        assert f"\n{textwrap.indent(SNIPPET, '    ')}\n" in f"{text}\n"
    assert "  Network   1 layer\n    import torch\n" in shown([failed])
    assert "\nSmallest network: 1 layer\n    import torch\n" in failure_text(failed)


def test_a_snippet_of_an_error_is_shown_once(verdict):
    verdicts = [
        with_snippet(verdict(check=check, outcome="error", summary="It raised."))
        for check in ("shape", "finite")
    ]
    assert shown(verdicts).count("class Net") == 1
    assert "class Net" in failure_text(verdicts[0])


def test_an_unexpected_pass_is_shown_like_a_failure(verdict):
    text = shown([verdict(outcome="xpassed", summary="Expected to fail (x) but passed.")])
    assert "XPASS xai::net::ig::shape\n" in text
    assert "  Reason    Expected to fail (x) but passed.\n" in text


def test_what_is_only_measured_has_no_block_but_a_note(failure):
    text = shown([replace(failure, asserted=False)])
    assert "FAIL xai::" not in text
    assert "In brackets: measured, not asserted" in text


def test_undecided_and_errors_are_listed_once_per_reason(verdict):
    error = {"outcome": "error", "summary": "It raised."}
    verdicts = [
        verdict(check="shape", **error, traceback="Traceback of shape"),
        verdict(check="finite", **error, traceback="Traceback of finite"),
        verdict(explainer="other", **error, traceback="Traceback"),
        verdict(check="fgsm_dice", outcome="undecided", summary="Too few.", notes=("Means: 1.",)),
    ]
    text = shown(verdicts)
    assert (
        "Undecided\n"
        "  ig on net: fgsm_dice: Too few.\n"
        "\n"
        "Errors\n"
        "  ig on net: shape, finite: It raised.\n"
        "      pytest --xai 'xai::net::ig::shape' --xai-seed 0\n"
        "  other on net: shape: It raised.\n"
        "      pytest --xai 'xai::net::other::shape' --xai-seed 0\n"
    ) in text
    assert "Traceback" not in text
    assert "  ig on net: fgsm_dice: Too few. Means: 1.\n" in shown(verdicts, verbosity=1)


def test_verbose_lists_what_was_expected_and_what_does_not_apply(verdict):
    verdicts = [verdict(outcome="xfailed"), verdict(outcome="not_applicable", check="finite")]
    assert "Failed as expected" not in shown(verdicts)
    verbose = shown(verdicts, verbosity=1)
    assert "Failed as expected\n  ig on net: shape: It is xfailed.\n" in verbose
    assert "Not applicable\n  ig on net: finite: It is not_applicable.\n" in verbose


def test_an_explainer_to_which_nothing_applies_is_named(verdict):
    """A run that is green because an explainer gave no map at all would be believed."""
    verdicts = [
        verdict("silent", "shape", "not_applicable"),
        verdict("silent", "finite", "not_applicable"),
        verdict("partly", "shape", "not_applicable"),
        verdict("partly", "finite"),
        verdict("silent", "shape", subject="other"),
    ]
    text = shown(verdicts)
    expected = "Nothing could be checked\n  silent on net: shape, finite: It is not_applicable.\n"
    assert expected in text
    assert "partly on net" not in text
    assert "silent on other" not in text
    assert "Nothing could be checked" not in shown(verdicts, verbosity=1)


def test_totals(verdict):
    verdicts = [verdict(), verdict(interval=(0, 0.1)), verdict(outcome="xfailed", seconds=61.0)]
    verdicts += [verdict(interval=(0, 0.1), asserted=False, seconds=0)]
    text = shown(verdicts, width=120, seed=7, alpha=0.01)
    assert text.endswith(
        "4 verdicts: 3 passed, 1 xfailed\n"
        "40 forward and 20 backward evaluations in 61.5 s; seed 7; "
        "1 sampled verdict, probability that any is wrong: at most 0.01\n"
    )


def test_totals_without_a_sampled_verdict_promise_nothing(verdict):
    assert shown([verdict()], width=120, seed=7).endswith("evaluations in 0.2 s; seed 7\n")


def test_totals_of_a_run_with_a_budget(verdict):
    text = shown([verdict()], budget=2000, spent=1200)
    assert text.endswith("budget 2,000: 1,200 spent, 800 left\n")


def test_quiet_shows_failures_and_totals_alone(verdict, failure):
    lines = shown([verdict(), failure], width=120, verbosity=-1).splitlines()
    assert lines[:2] == [
        (
            "FAIL xai::net::ig::summation_to_delta: 0.75, must be at most 0.5 "
            "(between 0.7 and 0.8, 64 images): gap between the sum and f(x) - f(x')"
        ),
        "2 verdicts: 1 passed, 1 failed",
    ]
    assert len(lines) == 3


def test_colour_only_where_the_terminal_has_it(failure):
    plain = shown([failure])
    coloured = shown([failure], colour=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31mFAIL" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_words_of_others_are_shown_as_they_are(verdict, failure, verbosity):
    nasty = "[bold]x[/bold] \x1b[31mred\x1b[0m \x07 :smile: [/nothing] \u202e {0} %s"
    failed = replace(failure, cause=nasty, claim=nasty, figure_name=nasty, notes=(nasty,))
    failed.counterexample["facts"] = {nasty: 1.0}
    verdicts = [failed, verdict(outcome="error", explainer="[red]x[/red]", summary=nasty)]
    text = shown(verdicts, width=200, verbosity=verbosity)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert r"[bold]x[/bold] \x1b[31mred\x1b[0m \x07 :smile: [/nothing] \u202e {0} %s" in text
    assert "\x1b" not in failure_text(failed)


def test_the_command_is_never_broken(failure):
    command = "pytest --xai 'xai::net::ig::summation_to_delta' " + "--xai-x 1 " * 20
    text = shown([replace(failure, reproduce=command)], width=60)
    assert command.rstrip() in text


@pytest.mark.parametrize("outcome", ["failed", "xfailed"])
def test_the_text_of_a_failure(failure, outcome):
    assert failure_text(replace(failure, outcome=outcome)).splitlines() == [
        (
            "ig::summation_to_delta: 0.75, must be at most 0.5 (between 0.7 and 0.8, 64 images): "
            "gap between the sum and f(x) - f(x')"
        ),
        "Expected: Attributions sum to f(x) - f(x').",
        "Limit: at most 0.5. The rounding of the sum.",
        "Worst: image #17: 1.25 (its limit 0.5)",
        "Cause: The multipliers are wrong.",
        "Notes: Confirmed in float64.",
        "Repeat: pytest --xai 'xai::net::ig::summation_to_delta' --xai-seed 0",
    ]


def test_the_text_of_an_error_has_the_whole_message_and_the_traceback(verdict):
    error = verdict(
        outcome="error", summary="It raised.\nmore of it", traceback="Traceback\n  line"
    )
    assert failure_text(error).splitlines() == [
        "ig::shape: error: It raised.",
        "more of it",
        "Traceback",
        "  line",
        "Repeat: pytest --xai 'xai::net::ig::shape' --xai-seed 0",
    ]


def test_the_text_of_the_undecided(verdict):
    text = failure_text(verdict(outcome="undecided", summary="Too few images.", reproduce=""))
    assert text == "ig::shape: undecided: Too few images."


def test_a_direction_and_a_missing_figure_are_said(verdict):
    low = verdict(outcome="failed", figure=0.2, limit=0.5, direction=">=", images=1)
    assert "0.2, must be at least 0.5 (1 image)" in failure_text(low)
    none = verdict(outcome="failed", figure=None, summary="The map is all NaN.")
    assert failure_text(none).startswith("ig::shape: The map is all NaN.")


def test_how_to_register_is_short_and_names_the_demo():
    text = report([], Run())
    assert text.startswith("Nothing is registered. ")
    assert len(text.splitlines()) < 20
    assert "pytest --xai --xai-demo" in text
    assert max(map(len, text.splitlines())) <= 80
    assert report([], Run(subjects=1)).startswith("Nothing to check: 1 subject and no explainers")
    assert "leave no check" in report([], Run(subjects=1, explainers=2))
    assert report([], Run(planned=3)) == ""
