"""``--xai-list``: every check and every explainer of the gallery, with what matters of them."""

import io
from dataclasses import replace

import pytest

from pytest_xai import checks, explainers
from pytest_xai.explainers.adapting.entry import Claim
from pytest_xai.reporting.listing import describe_gallery, print_listing


class Terminal(io.StringIO):
    def isatty(self):
        return True


def words(text):
    return " ".join(text.split())


def test_a_pipe_gets_plain_blocks():
    file = io.StringIO()
    print_listing(file)
    text = file.getvalue()
    assert "\x1b" not in text
    for check in checks.all():
        assert (
            f"{check.name}\n    family: {', '.join((check.family, check.scope, *check.marks))}\n"
            f"    question: {check.question}\n    claim: {check.claim}\n"
        ) in text
        assert f"    source: {check.source}\n    cost: {check.cost} per image\n" in text
    for entry in explainers.describe():
        assert f"{entry.spec}\n    what: {entry.summary}\n" in text
        assert all(f"{claim.check} " in text for claim in entry.claims)
    for name, method in explainers.methods().items():
        assert f"{name}\n    is: {method.spec}\n    because: {method.reason}\n" in text


def test_claims_are_listed_with_their_conditions_and_papers():
    claims = (
        Claim(check="first", source="a2001", when={"rule": "zero"}, condition="no biases"),
        Claim(check="second", source="b2002"),
    )
    entry = replace(explainers.describe()[0], claims=claims, inputs=frozenset({"image", "table"}))
    ((_, fields),) = describe_gallery([entry])
    assert dict(fields)["claims"] == ("first if rule='zero' and no biases (a2001); second (b2002)")
    assert dict(fields)["explains"] == "tables, images"


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_terminal_gets_tables_of_its_width(width, monkeypatch):
    import re

    monkeypatch.setenv("COLUMNS", str(width))
    file = Terminal()
    print_listing(file)
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert text != file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for name in (*checks.names(), *explainers.names()):
        assert name in text


def test_the_option_prints_and_collects_nothing(pytester):
    pytester.makepyfile("1 / 0")
    result = pytester.runpytest("--xai-list")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["Checks", "batch_independent", "*question: *", "Gallery", "captum:*"]
    )
    assert "test session starts" not in result.stdout.str()
