"""Rounds added up: what is decided by images against their own limits, and what is shown of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai.core.finding import Finding
from pytest_xai.engine.decision import Decision
from pytest_xai.registry import Check, Cost

ALPHA = 1e-5


def check_of(judged="paired", direction=">="):
    return Check(
        name="made_up",
        family="robustness",
        question="?",
        claim="For most images.",
        source="nobody",
        direction=direction,
        scope="quality",
        judged=judged,
        limit_source="The image.",
        cost=Cost(),
        max_images=None,
        arbitrated=False,
        marks=(),
        function=None,
    )


def decision_of(*rounds, judged="paired", direction=">=", alpha=ALPHA):
    """The decision after rounds, each (values, limits)."""
    decision, start = Decision(check=check_of(judged, direction), alpha=alpha), 0
    for values, limits in rounds:
        finding = Finding(
            values=torch.tensor(values, dtype=torch.float64),
            limits=torch.tensor(limits, dtype=torch.float64),
            cause="It moves.",
        )
        decision.add(list(range(start, start + len(values))), finding)
        start += len(values)
    return decision


def sides(above, below, equal=0):
    """Values near limits that differ from image to image."""
    limits = [0.1 + 0.8 * i / (above + below + equal) for i in range(above + below + equal)]
    steps = [0.01] * above + [-0.01] * below + [0.0] * equal
    return [limit + step for limit, step in zip(limits, steps, strict=True)], limits


@pytest.mark.parametrize(
    "direction, above, below, outcome",
    [
        (">=", 22, 0, "passed"),
        (">=", 0, 22, "failed"),
        (">=", 21, 0, "undecided"),
        ("<=", 22, 0, "failed"),
        ("<=", 0, 22, "passed"),
        ("<=", 16, 16, "undecided"),
    ],
)
def test_twenty_two_images_on_one_side_decide(direction, above, below, outcome):
    decision = decision_of(sides(above, below), direction=direction)
    fields = decision.fields()
    assert fields["outcome"] == outcome
    assert fields["figure"] == above / (above + below)
    assert fields["limit"] == 0.5
    assert fields["images"] == above + below
    assert decision.decided == (outcome != "undecided")


def test_the_same_images_take_longer_to_decide_by_their_mean():
    """However little an image is beyond its limit counts as much as it is."""
    few, many = sides(32, 0), sides(512, 0)
    assert decision_of(few).outcome == "passed"
    assert decision_of(few, judged="mean").outcome == "undecided"
    assert decision_of(many, judged="mean").outcome == "undecided"
    far = ([1.0] * 32, [0.0] * 32)
    assert decision_of(far, judged="mean").outcome == "passed"


def test_a_sum_is_in_the_reason_with_the_means_of_values_and_limits():
    fields = decision_of(([0.9] * 3 + [0.2] * 2 + [0.5], [0.5] * 6)).fields()
    assert fields["summary"] == ("6 images are too few for a decision at significance level 1e-05.")
    assert fields["notes"] == (
        "3 of 6 images are above their own limit, 1 on it.",
        "Means over the images: value 0.6, limit 0.5.",
    )
    assert fields["figure"] == pytest.approx(3.5 / 6)
    low, high = fields["interval"]
    assert 0 <= low < 3.5 / 6 < high <= 1


def test_an_image_on_its_limit_counts_half():
    """To rounding, and whichever of the two is rounded."""
    limits = [0.3, 0.1 + 0.2, 0.15, 0.0, 1e-12]
    values = [0.1 + 0.2, 0.3, (0.1 + 0.2) / 2, 0.0, 1e-12]
    decision = decision_of((values, limits))
    assert decision.above.tolist() == [0.5] * 5
    assert decision.mean.log_e_values == pytest.approx((0, 0), abs=1e-12)
    assert decision_of(([0.3001, 0.2999, 1e-12], [0.3, 0.3, 2e-12])).above.tolist() == [1, 0, 0]


def test_an_image_that_cannot_tell_is_no_side():
    values, limits = sides(22, 0)
    nothing = float("nan"), float("inf")
    decision = decision_of(([*nothing, *values], [0.5, float("inf"), *limits]))
    assert decision.above.tolist() == [1.0] * 22
    fields = decision.fields()
    assert (fields["outcome"], fields["images"], fields["figure"]) == ("passed", 22, 1.0)
    assert "Means over the images: value 0.4" in " ".join(fields["notes"])
    beyond = decision_of(([float("inf"), float("-inf")], [0.5, 0.5]))
    assert beyond.above.tolist() == [1, 0]


def test_nothing_is_said_of_no_image():
    fields = decision_of(([float("nan")] * 3, [0.5] * 3)).fields()
    assert (fields["figure"], fields["limit"], fields["interval"]) == (None, None, None)
    assert fields["summary"] == "No image could be judged."


def test_the_worst_image_of_a_failure_is_shown_with_its_own_numbers():
    values, limits = sides(0, 31)
    fields = decision_of((values, limits), ([0.05], [0.9])).fields()
    assert fields["outcome"] == "failed"
    example = fields["counterexample"]
    assert (example["image"], example["figure"], example["limit"]) == (31, 0.05, 0.9)


def test_rounds_add_up():
    first, second = sides(11, 0), sides(11, 0)
    assert decision_of(first).outcome == "undecided"
    both = decision_of(first, second)
    assert (both.outcome, both.fields()["images"]) == ("passed", 22)
    whole = decision_of((first[0] + second[0], first[1] + second[1]))
    assert both.interval == whole.interval
    assert both.mean.log_e_values == pytest.approx(whole.mean.log_e_values)


def test_what_is_decided_stays_decided():
    """A run that goes on to the end, for comparison."""
    decision = decision_of(sides(22, 0), sides(0, 200))
    assert decision.mean.sign == -1
    assert decision.outcome == "passed"


@pytest.mark.parametrize("judged", ["mean", "paired"])
@pytest.mark.parametrize("direction", ["<=", ">="])
@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from([0.0, 0.3, 0.9])),
        min_size=1,
        max_size=40,
    )
)
def test_the_figure_is_never_on_the_other_side_of_its_limit(judged, direction, pairs):
    """The outcome, the figure, the limit and the interval all say the same."""
    values, limits = zip(*pairs, strict=True)
    fields = decision_of((values, limits), judged=judged, direction=direction, alpha=0.5).fields()
    sign = 1 if direction == ">=" else -1
    above = sign * (fields["figure"] - fields["limit"])
    low, high = fields["interval"]
    assert low - 1e-9 <= fields["figure"] <= high + 1e-9
    if fields["outcome"] == "undecided":
        assert low <= fields["limit"] + 1e-9
        assert high >= fields["limit"] - 1e-9
    else:
        assert above > 0 if fields["outcome"] == "passed" else above < 0
        beyond = high - fields["limit"], low - fields["limit"]
        assert max(beyond) <= 1e-9 or min(beyond) >= -1e-9
