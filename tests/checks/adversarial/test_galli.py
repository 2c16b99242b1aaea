"""The page about Galli et al. 2021 is what a run says."""

import re
from pathlib import Path

import pytest
import torch

from pytest_xai import checks
from studies.galli import (
    ATTACKS,
    CHECKS,
    COLUMNS,
    FIRST,
    METHODS,
    SAID_TO_HOLD,
    SIZES,
    compared,
    interval,
    moved,
    verdict_of,
)

EVIDENCE = Path(__file__).parents[3] / "docs" / "evidence"
PAGE = (EVIDENCE / "adversarial-stability.md").read_text("utf-8")
# Others may add in another order: a pixel or two of a mask change.
ROUNDING = 0.03
PLACES = [(subject, attack) for subject in SIZES for attack in ATTACKS]


def section(subject, attack):
    """What stands under one heading."""
    found = re.search(
        rf"^## {attack}[^\n]*, {subject}\n(.*?)(?=^## |^<!-- end)", PAGE, re.MULTILINE | re.DOTALL
    )
    return found[1]


def rows(subject, attack):
    """Cells of the page's table by the name of the method."""
    lines = re.findall(r"^\| (.+) \|$", section(subject, attack), re.MULTILINE)
    return {cells[0]: cells[1:] for cells in (line.split(" | ") for line in lines[1:])}


def numbers(cell):
    return [float(number) for number in re.findall(r"[-+]?\d\.\d\d", cell)]


@pytest.mark.parametrize("subject, attack", PLACES)
def test_the_page_has_a_row_for_every_method(subject, attack):
    found = rows(subject, attack)
    assert [name for name in found if name in METHODS] == list(METHODS)
    for cells in (found[name] for name in METHODS):
        assert len(cells) == len(COLUMNS) - 1
        mean, low, high = numbers(cells[0])
        assert low <= mean <= high


@pytest.mark.parametrize("subject, attack", PLACES)
def test_what_is_said_of_the_surveys_follows_from_the_table(subject, attack):
    found, text = rows(subject, attack), section(subject, attack)
    for method in SAID_TO_HOLD:
        said = []
        for cell in found[method][5:7]:
            _, low, high = numbers(cell)
            said.append("more" if high < 0 else "less" if low > 0 else "told apart")
        line = next(line for line in text.splitlines() if line.startswith(f"- {method}: "))
        for part, word in zip(line.split(", "), said, strict=True):
            # An end of an interval that rounds to zero may be on either side of it.
            assert word in part or "0.00" in found[method][5] + found[method][6]


def held_to_the_page(subject, attack, method):
    here, cells = moved(subject, attack, method), rows(subject, attack)[method]
    for values, cell in zip((here.own, here.new, here.noise, here.null), cells, strict=False):
        assert numbers(cell)[0] == pytest.approx(float(values.nanmean()), abs=ROUNDING)
        assert int(cells[-1]) == int((~here.own.isnan()).sum())


@pytest.mark.parametrize("method", ["gradient", "LRP-z-plus"])
def test_rows_are_what_a_run_says(method):
    held_to_the_page("digits", "FGSM", method)


@pytest.mark.slow
@pytest.mark.parametrize("subject, attack", PLACES)
def test_all_rows_are_what_a_run_says(subject, attack):
    for method in METHODS:
        held_to_the_page(subject, attack, method)


@pytest.mark.slow
@pytest.mark.parametrize("subject", SIZES)
def test_all_verdicts_are_what_a_run_says(subject):
    _, _, text = PAGE.partition(f"## While the prediction holds, {subject}\n")
    for method in METHODS:
        line = next(line for line in text.splitlines() if line.startswith(f"| {method} |"))
        for check, cell in zip(CHECKS, line.split(" | ")[1:], strict=True):
            verdict = verdict_of(subject, check, method)
            assert verdict.outcome in cell
            assert checks.get(check).name == verdict.check


def test_an_interval_holds_the_mean_and_ignores_images_that_cannot_tell():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(200, generator=generator, dtype=torch.float64)
    low, high = interval(values)
    assert low < float(values.mean()) < high
    # Of 200 uniform numbers: 1.96 times 0.289 over the root of 200 on either side.
    assert high - low == pytest.approx(2 * 1.96 * 0.289 / 200**0.5, rel=0.2)
    assert interval(torch.cat([values, torch.tensor([torch.nan])])) == (low, high)
    assert interval(torch.ones(5).double()) == (1.0, 1.0)


def test_what_is_said_of_a_difference_is_its_sign():
    spread = torch.linspace(-0.1, 0.1, 50).double()
    assert compared(spread + 0.2) == "falls less"
    assert compared(spread - 0.2) == "falls more"
    assert compared(spread) == "cannot be told apart"
    assert FIRST not in SAID_TO_HOLD
