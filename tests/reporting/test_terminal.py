"""The section "xai": evidence for every failure, nothing that a guest's words could break."""

import re
import textwrap

import pytest

from pytest_xai.reporting.terminal import Look, Run, failure_text, how_to_register, summary

CLAIM = "Attributions sum to f(x) - f(x')."


def test_a_failure_is_shown_with_all_its_evidence(failure):
    text = summary([failure], Run(claims={"summation_to_delta": CLAIM}), Look(width=100))
    block = text[text.index("FAIL xai::") : text.index("1 verdict:")]
    assert block == (
        "FAIL xai::net::ig::summation_to_delta\n"
        "  Claim     Attributions sum to f(x) - f(x').\n"
        "  Figure    0.75, must be at most 0.5 (between 0.7 and 0.8, 64 images)\n"
        "  Worst     image 17 with 1.25, limit 0.5\n"
        "  Cause     The multipliers are wrong.\n"
        "  Facts     sum 1, f(x) 2.5, gap not a number\n"
        "  Note      Confirmed in float64.\n"
        "  Repeat    pytest --xai 'xai::net::ig::summation_to_delta' --xai-seed 0\n"
        "\n"
    )


NUMBERS = ", ".join(["0.123456"] * 30)
SNIPPET = f"import torch\n\n\nclass Net(nn.Module):\n    weights = [{NUMBERS}]"


def with_snippet(row):
    return row | {"counterexample": {"image": 0, "network": "1 layer", "snippet": SNIPPET}}


@pytest.mark.parametrize("width", [40, 100])
def test_a_snippet_is_shown_so_that_it_can_be_copied(failure, width):
    failed = with_snippet(failure)
    for text in (summary([failed], Run(), Look(width=width)), failure_text(failed)):
        assert f"\n{textwrap.indent(SNIPPET, '    ')}\n" in f"{text}\n"
    assert "  Network   1 layer\n    import torch\n" in summary([failed], Run(), Look())
    assert "\nSmallest network: 1 layer\n    import torch\n" in failure_text(failed)


def test_a_snippet_of_an_error_is_shown_once(row):
    rows = [
        with_snippet(row(check=check, outcome="error", reason="It raised."))
        for check in ("shape", "finite")
    ]
    assert summary(rows, Run(), Look()).count("class Net") == 1
    assert "class Net" in failure_text(rows[0])


def test_an_unexpected_pass_is_shown_like_a_failure(row):
    text = summary(
        [row(outcome="xpassed", reason="Expected to fail (x) but passed.")], Run(), Look()
    )
    assert "XPASS xai::net::ig::shape\n" in text
    assert "  Reason    Expected to fail (x) but passed.\n" in text


def test_what_is_only_measured_has_no_block_but_a_note(failure):
    text = summary([failure | {"asserted": False}], Run(), Look())
    assert "FAIL xai::" not in text
    assert "In brackets: measured, not asserted" in text


def test_undecided_and_errors_are_listed_once_per_reason(row):
    rows = [
        row(check="shape", outcome="error", reason="It raised.\nTraceback of shape"),
        row(check="finite", outcome="error", reason="It raised.\nTraceback of finite"),
        row(explainer="other", outcome="error", reason="It raised.\nTraceback"),
        row(check="fgsm_dice", outcome="undecided", reason="No image can tell."),
    ]
    text = summary(rows, Run(), Look())
    assert (
        "Undecided\n"
        "  ig on net: fgsm_dice: No image can tell.\n"
        "\n"
        "Errors\n"
        "  ig on net: shape, finite: It raised.\n"
        "      pytest --xai 'xai::net::ig::shape' --xai-seed 0\n"
        "  other on net: shape: It raised.\n"
        "      pytest --xai 'xai::net::other::shape' --xai-seed 0\n"
    ) in text
    assert "Traceback" not in text


def test_verbose_lists_what_was_expected_and_what_does_not_apply(row):
    rows = [row(outcome="xfailed"), row(outcome="not_applicable", check="finite")]
    quiet = summary(rows, Run(), Look())
    assert "Failed as expected" not in quiet
    verbose = summary(rows, Run(), Look(verbosity=1))
    assert "Failed as expected\n  ig on net: shape: It is xfailed.\n" in verbose
    assert "Not applicable\n  ig on net: finite: It is not_applicable.\n" in verbose


def test_an_explainer_that_nothing_applies_to_is_named(row):
    """A run that is green because an explainer gave no map at all would be believed."""
    rows = [
        row("silent", "shape", "not_applicable"),
        row("silent", "finite", "not_applicable"),
        row("partly", "shape", "not_applicable"),
        row("partly", "finite"),
        row("silent", "shape", subject="other"),
    ]
    text = summary(rows, Run(), Look())
    told = "Nothing could be checked\n  silent on net: shape, finite: It is not_applicable.\n"
    assert told in text
    assert "partly on net" not in text
    assert "silent on other" not in text
    assert "Nothing could be checked" not in summary(rows, Run(), Look(verbosity=1))


def test_totals(row):
    rows = [row(), row(interval=[0, 0.1]), row(outcome="xfailed", seconds=61.0)]
    rows += [row(interval=[0, 0.1], asserted=False, seconds=0, evaluations=row()["evaluations"])]
    text = summary(rows, Run(seed=7, alpha=0.01), Look(width=120))
    assert text.endswith(
        "4 verdicts: 3 passed, 1 xfailed\n"
        "40 forward and 20 backward evaluations in 61.5 s; seed 7; "
        "1 sampled verdict, chance that any is wrong at most 0.01\n"
    )


def test_totals_without_a_sampled_verdict_promise_nothing(row):
    assert summary([row()], Run(seed=7), Look(width=120)).endswith("evaluations in 0.2 s; seed 7\n")


def test_quiet_shows_failures_and_totals_alone(row, failure):
    lines = summary([row(), failure], Run(), Look(width=120, verbosity=-1)).splitlines()
    assert lines[:2] == [
        (
            "FAIL xai::net::ig::summation_to_delta: "
            "0.75, must be at most 0.5 (between 0.7 and 0.8, 64 images)"
        ),
        "2 verdicts: 1 passed, 1 failed",
    ]
    assert len(lines) == 3


def test_colour_only_where_the_terminal_has_it(failure):
    plain = summary([failure], Run(), Look(colour=False))
    coloured = summary([failure], Run(), Look(colour=True))
    assert "\x1b" not in plain
    assert "\x1b[1;31mFAIL" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_words_of_guests_are_shown_as_they_are(row, failure, verbosity):
    nasty = "[bold]x[/bold] \x1b[31mred\x1b[0m \x07 :smile: [/nothing] \u202e {0} %s"
    failure["reason"] = failure["counterexample"]["cause"] = nasty
    failure["counterexample"]["facts"] = {nasty: 1.0}
    rows = [failure, row(outcome="error", explainer="[red]x[/red]", reason=nasty)]
    text = summary(rows, Run(claims={"shape": nasty}), Look(width=200, verbosity=verbosity))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert r"[bold]x[/bold] \x1b[31mred\x1b[0m \x07 :smile: [/nothing] \u202e {0} %s" in text
    assert "\x1b" not in failure_text(failure, nasty)


def test_the_command_is_never_broken(failure):
    failure["reproduce"] = "pytest --xai 'xai::net::ig::summation_to_delta' " + "--xai-x 1 " * 20
    text = summary([failure], Run(), Look(width=60))
    assert failure["reproduce"].rstrip() in text


@pytest.mark.parametrize("outcome", ["failed", "xfailed"])
def test_the_text_of_a_failure(failure, outcome):
    assert failure_text(failure | {"outcome": outcome}, CLAIM).splitlines() == [
        "ig::summation_to_delta: 0.75, must be at most 0.5 (between 0.7 and 0.8, 64 images)",
        f"Claim: {CLAIM}",
        "Worst image: 17 with 1.25, limit 0.5",
        "Reason: The multipliers are wrong. Confirmed in float64.",
        "Repeat: pytest --xai 'xai::net::ig::summation_to_delta' --xai-seed 0",
    ]


def test_the_text_of_an_error_has_the_traceback(row):
    text = failure_text(row(outcome="error", reason="It raised.\nTraceback\n  line"), CLAIM)
    assert text.splitlines() == [
        "ig::shape: error: It raised.",
        "Traceback",
        "  line",
        "Repeat: pytest --xai 'xai::net::ig::shape' --xai-seed 0",
    ]


def test_the_text_of_the_undecided(row):
    text = failure_text(row(outcome="undecided", reason="No image can tell.", reproduce=""))
    assert text == "ig::shape: undecided: No image can tell."


def test_a_direction_and_a_missing_figure_are_said(row):
    low = row(outcome="failed", figure=0.2, limit=0.5, direction=">=", images=1)
    assert "0.2, must be at least 0.5 (1 image)" in failure_text(low)
    none = row(outcome="failed", figure=None, reason="The map is all NaN.")
    assert failure_text(none).startswith("ig::shape: The map is all NaN.")


def test_how_to_register_is_short_and_names_the_demo():
    text = how_to_register(Look(width=80))
    assert len(text.splitlines()) < 20
    assert "pytest --xai --xai-demo" in text
    assert max(map(len, text.splitlines())) <= 80
