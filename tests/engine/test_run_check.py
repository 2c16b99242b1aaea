"""Every way from findings to a verdict, driven by checks that are made by hand."""

import contextlib
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.bench.bench import Bench
from pytest_xai.core.attribution import normalise
from pytest_xai.core.finding import Finding
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Evaluations
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.errors import GuestError, InvalidArgument, NotApplicable, XaiError
from pytest_xai.protocol import NamedExplainer, Traits
from pytest_xai.registry import Check, Cost
from pytest_xai.statistics.sequential import decide_mean

NAN = math.nan
IMAGES = 200


def gradient(model, inputs, targets):
    inputs.requires_grad_()
    scores = model(inputs).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(scores, inputs)[0]


EXPLAINER = NamedExplainer(name="gradient", call=gradient, traits=Traits())


@pytest.fixture
def bench_of():
    """Makes the bench of a subject of so many inputs."""
    made = []

    def make(count=IMAGES, *, seed=0, model=None, dtype=torch.float32):
        generator = torch.Generator().manual_seed(3)
        inputs = torch.rand(count, 2, generator=generator, dtype=torch.float64).to(dtype)
        if model is None:
            torch.manual_seed(0)
            model = nn.Linear(2, 3).to(dtype)
        made.append(Bench(Subject(model, inputs, name="made up"), seed=seed))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def check_of(function, **fields):
    default = {
        "name": "by_hand",
        "family": "robustness",
        "question": "Is it so?",
        "claim": "It is so.",
        "source": "design",
        "direction": "<=",
        "scope": "universal",
        "judged": "exact",
        "limit_source": "The test.",
        "cost": Cost(),
        "max_images": None,
        "arbitrated": False,
        "marks": (),
        "function": function,
    }
    return Check(**{**default, **fields})


def verdict_of(bench, function, task=None, *, progress=None, **fields):
    given = {"asserted": True, **(task or {})}
    task = Task(check=check_of(function, **fields), explainer=EXPLAINER, **given)
    return run_check(bench, task, progress=progress)


def of_images(table, **finding):
    """A check whose figure is looked up by the image's index in the subject."""
    figures = torch.as_tensor(table, dtype=torch.float64)

    def function(bench, explainer):
        given = {key: of_bench(value, bench) for key, value in finding.items()}
        return Finding(values=figures[bench.images], **given)

    return function


def of_bench(value, bench):
    """The stretch of a tensor of all images, or of a table of such tensors, that a bench holds."""
    if isinstance(value, dict):
        return {key: of_bench(part, bench) for key, part in value.items()}
    return value[bench.images] if isinstance(value, torch.Tensor) else value


def constant(value, count=IMAGES, **others):
    """A figure for all images but the ones that are named."""
    table = torch.full((count,), float(value), dtype=torch.float64)
    for image, other in others.items():
        table[int(image.removeprefix("image_"))] = other
    return table


class Rounds:
    """A check that passes and remembers which images it saw, round by round."""

    def __init__(self, finding=None):
        self.seen = []
        self.finding = finding

    def __call__(self, bench, explainer):
        self.seen.append(list(bench.images))
        if self.finding is not None:
            return self.finding(bench, explainer)
        return Finding(values=torch.zeros(len(bench)))

    @property
    def sizes(self):
        return [len(images) for images in self.seen]


# --------------------------------------------------------------------------------------- the labels


def test_a_verdict_says_whose_it_is(bench_of):
    verdict = verdict_of(
        bench_of(8, seed=5),
        of_images(constant(0, 8)),
        {"asserted": False, "reproduce": "run it again"},
        name="mine",
        family="axiomatic",
        direction=">=",
    )
    assert (verdict.subject, verdict.explainer, verdict.check) == ("made up", "gradient", "mine")
    assert (verdict.family, verdict.direction, verdict.seed) == ("axiomatic", ">=", 5)
    assert (verdict.asserted, verdict.reproduce) == (False, "run it again")
    assert verdict.seconds > 0


def test_the_evaluations_of_a_verdict_are_those_of_its_check_alone(bench_of):
    bench = bench_of(8)

    def function(bench, explainer):
        bench.logits(bench.inputs)
        bench.explain(explainer, bench.inputs)
        return Finding(values=torch.zeros(len(bench)))

    expected = Evaluations(forward=16, backward=8, explainer_calls=8)
    assert verdict_of(bench, function).evaluations == expected
    assert verdict_of(bench, function).evaluations == expected
    assert verdict_of(bench, of_images(constant(0, 8))).evaluations == Evaluations()


def test_evaluations_count_also_where_the_check_ends_with_an_error(bench_of):
    def function(bench, explainer):
        bench.logits(bench.inputs)
        raise NotApplicable("enough")

    assert verdict_of(bench_of(8), function).evaluations == Evaluations(forward=8)


# --------------------------------------------------------------------------------------- the rounds


@pytest.mark.parametrize(
    "count, most, sizes",
    [
        (1, None, [1]),
        (31, None, [31]),
        (32, None, [32]),
        (33, None, [33]),  # one image alone has no other to be compared with
        (34, None, [32, 2]),
        (64, None, [32, 32]),
        (65, None, [32, 33]),
        (200, None, [32, 32, 64, 72]),
        (300, None, [32, 32, 64, 128, 44]),
        (200, 16, [16]),
        (200, 32, [32]),
        (200, 100, [32, 32, 36]),
        (20, 100, [20]),
    ],
)
def test_rounds_are_32_images_and_then_as_many_again(count, most, sizes, bench_of):
    bench, rounds = bench_of(count), Rounds()
    verdict = verdict_of(bench, rounds, max_images=most)
    assert rounds.sizes == sizes
    assert verdict.images == sum(sizes)
    assert [image for images in rounds.seen for image in images] == bench.images[: sum(sizes)]


def test_the_order_of_the_images_follows_from_the_seed_alone(bench_of):
    def order(seed, *, before=()):
        bench, rounds = bench_of(100, seed=seed), Rounds()
        torch.rand(7)
        for function in before:
            verdict_of(bench, function, name="another", max_images=16)
        verdict_of(bench, rounds)
        return [image for images in rounds.seen for image in images]

    def drawing(bench, explainer):
        torch.rand(3, generator=bench.generator("another"))
        torch.rand(3)
        return Finding(values=torch.ones(len(bench)))

    first = order(1)
    assert sorted(first) == list(range(100))
    assert first != list(range(100))
    assert order(1) == first
    assert order(1, before=[drawing, Rounds()]) == first
    assert order(2) != first


def test_a_round_has_its_own_stretch_of_the_randomness(bench_of):
    drawn = []

    def function(bench, explainer):
        drawn.append(torch.rand(4, generator=bench.generator("noise")).tolist())
        return Finding(values=torch.zeros(len(bench)))

    verdict_of(bench_of(64), function)
    verdict_of(bench_of(64), function)
    assert drawn[0] != drawn[1]
    assert drawn[:2] == drawn[2:]


def test_progress_is_reported_after_every_round(bench_of):
    seen = []

    def function(bench, explainer):
        bench.logits(bench.inputs)
        return Finding(values=torch.zeros(len(bench)))

    bench = bench_of(100)
    bench.logits(bench.inputs)
    verdict_of(bench, function, progress=lambda *numbers: seen.append(numbers), max_images=70)
    assert seen == [(32, 70, 32), (64, 70, 64), (70, 70, 70)]


# -------------------------------------------------------------------- exact: one violation suffices


def test_an_exact_check_passes_with_the_image_nearest_to_its_limit(bench_of):
    function = of_images(
        constant(0.25, image_7=0.4), limits=0.5, tensors={"map": torch.ones(IMAGES, 2)}
    )
    verdict = verdict_of(bench_of(), function)
    assert verdict.outcome == "passed"
    assert (verdict.figure, verdict.limit, verdict.images) == (0.4, 0.5, IMAGES)
    assert (verdict.interval, verdict.counterexample, verdict.reason) == (None, None, "")
    assert (verdict.tensors, verdict.traceback) == ({}, None)


@pytest.mark.parametrize("direction, inside, beyond", [("<=", 0.5, 0.6), (">=", 0.5, 0.4)])
def test_an_exact_check_fails_by_one_image(direction, inside, beyond, bench_of):
    bench = bench_of()
    passing = of_images(constant(inside), limits=0.5)
    assert verdict_of(bench, passing, direction=direction).outcome == "passed"
    for image in (bench.images[0], bench.images[-1]):
        table = constant(inside)
        table[image] = beyond
        verdict = verdict_of(bench, of_images(table, limits=0.5), direction=direction)
        assert verdict.outcome == "failed"
        assert (verdict.figure, verdict.limit) == (beyond, 0.5)
        assert verdict.counterexample["image"] == image


def test_an_exact_check_stops_at_the_first_round_with_a_violation(bench_of):
    bench = bench_of()
    table = constant(0)
    # One in the second round, a worse one in the third, which is not looked at any more.
    table[bench.images[40]], table[bench.images[90]] = 1.0, 9.0
    rounds = Rounds(of_images(table))
    verdict = verdict_of(bench, rounds)
    assert rounds.sizes == [32, 32]
    assert (verdict.outcome, verdict.figure, verdict.images) == ("failed", 1.0, 64)
    assert verdict.counterexample["image"] == bench.images[40]


def test_a_counterexample_is_the_worst_image_with_its_numbers_and_tensors(bench_of):
    index = torch.arange(IMAGES, dtype=torch.float64)
    bench = bench_of()
    # Three times its limit is worse than twice, though 8 - 4 is more than 3 - 1.
    values, limits = constant(0.5), constant(1.0)
    twice, thrice = bench.images[3], bench.images[20]
    values[twice], limits[twice] = 8.0, 4.0
    values[thrice], limits[thrice] = 3.0, 1.0

    def function(bench, explainer):
        return Finding(
            values=values[bench.images],
            limits=limits[bench.images],
            facts={
                "index": index[bench.images],
                "nothing": torch.full((len(bench),), NAN),
                "endless": torch.full((len(bench),), math.inf),
            },
            tensors={"input": bench.inputs, "index": index[bench.images][:, None]},
            cause="A jump.",
        )

    verdict = verdict_of(bench, function)
    assert verdict.counterexample == {
        "image": thrice,
        "figure": 3.0,
        "limit": 1.0,
        "cause": "A jump.",
        "facts": {"index": float(thrice), "nothing": None, "endless": None},
    }
    assert json.loads(json.dumps(verdict.counterexample, allow_nan=False)) == verdict.counterexample
    assert (verdict.figure, verdict.limit) == (3.0, 1.0)
    assert set(verdict.tensors) == {"input", "index"}
    assert torch.equal(verdict.tensors["input"], bench.subject.inputs[thrice])
    assert verdict.tensors["index"].tolist() == [float(thrice)]
    assert verdict.reason == "A jump."


@pytest.mark.parametrize("position", [0, 31, 32, 63, 64, 127])
def test_the_worst_image_may_be_of_any_round(position, bench_of):
    bench = bench_of(128)
    index = torch.arange(128, dtype=torch.float64)
    # Two rounds of ties and one of failures, so that the third decides.
    table = torch.empty(128, dtype=torch.float64)
    table[bench.images] = torch.tensor([0.5] * 64 + [0.9] * 64, dtype=torch.float64)
    worst, unlimited = bench.images[position], bench.images[5]
    table[worst] = 1.0
    limits = constant(0.5, 128)
    limits[unlimited] = NAN

    def function(bench, explainer):
        return Finding(
            values=table[bench.images],
            limits=limits[bench.images],
            limit_range=(0.5, 0.5),
            facts={"index": index[bench.images]},
            tensors={"index": index[bench.images][:, None]},
        )

    verdict = verdict_of(bench, function, judged="mean")
    assert (verdict.outcome, verdict.images) == ("failed", 127)
    assert verdict.counterexample == {
        "image": worst,
        "figure": 1.0,
        "limit": 0.5,
        "cause": None,
        "facts": {"index": float(worst)},
    }
    assert verdict.tensors["index"].tolist() == [float(worst)]


def test_a_failure_without_a_cause_is_not_without_a_reason(bench_of):
    verdict = verdict_of(bench_of(), of_images(constant(1)))
    assert verdict.counterexample["cause"] is None
    assert verdict.reason == "The figure is beyond its limit."


def test_a_counterexample_of_an_infinite_figure_can_be_written_as_json(bench_of):
    verdict = verdict_of(bench_of(), of_images(constant(math.inf)))
    assert (verdict.outcome, verdict.figure) == ("failed", math.inf)
    assert (verdict.counterexample["figure"], verdict.counterexample["limit"]) == (None, 0.0)
    json.dumps(verdict.row(), allow_nan=False)


def test_a_fact_of_some_rounds_only_is_none_in_the_others(bench_of):
    bench = bench_of(64)

    def function(view, explainer):
        first = view.images[0] == bench.images[0]
        values = torch.full((len(view),), 0.0 if first else 1.0)
        return Finding(values=values, facts={"early" if first else "late": values + 5})

    assert verdict_of(bench, function).counterexample["facts"] == {"early": None, "late": 6.0}
    bench = bench_of(64)
    reason = verdict_of(bench, function, judged="mean").reason
    assert "Means over the images: early 5, late 6." in reason


def test_the_cause_is_that_of_the_round_that_failed(bench_of):
    bench = bench_of()
    table = constant(0)
    table[bench.images[50]] = 1.0

    def function(view, explainer):
        figures = table[view.images]
        return Finding(values=figures, cause="It jumps." if figures.any() else "It might jump.")

    verdict = verdict_of(bench, function)
    assert (verdict.reason, verdict.counterexample["cause"]) == ("It jumps.", "It jumps.")


def test_a_cause_is_not_mentioned_where_nothing_failed(bench_of):
    assert verdict_of(bench_of(), of_images(constant(0), cause="A jump.")).reason == ""


# -------------------------------------------------------------------------- images that cannot tell


def test_not_a_number_never_passes(bench_of):
    verdict = verdict_of(bench_of(), of_images(constant(NAN)))
    assert (verdict.outcome, verdict.reason) == ("undecided", "No image could be judged.")
    assert (verdict.figure, verdict.limit, verdict.images) == (None, None, 0)
    assert (verdict.counterexample, verdict.tensors) == (None, {})


@pytest.mark.parametrize("direction", ["<=", ">="])
@pytest.mark.parametrize("value, limit", [(0.5, NAN), (math.inf, math.inf), (NAN, math.inf)])
def test_images_that_cannot_be_compared_with_their_limit_do_not_count(
    value, limit, direction, bench_of
):
    values, limits = constant(0.5), constant(0.5)
    values[::2], limits[::2] = value, limit
    verdict = verdict_of(bench_of(), of_images(values, limits=limits), direction=direction)
    assert (verdict.outcome, verdict.figure, verdict.images) == ("passed", 0.5, IMAGES // 2)
    nothing = of_images(constant(value), limits=constant(limit))
    assert verdict_of(bench_of(), nothing, direction=direction).outcome == "undecided"


@pytest.mark.parametrize("direction", ["<=", ">="])
def test_images_without_a_figure_do_not_count(direction, bench_of):
    table = constant(0.5)
    table[::2] = NAN
    verdict = verdict_of(bench_of(), of_images(table, limits=0.5), direction=direction)
    assert (verdict.outcome, verdict.figure, verdict.images) == ("passed", 0.5, IMAGES // 2)


def test_images_left_out_are_counted_by_reason_over_all_rounds(bench_of):
    def function(bench, explainer):
        values = torch.zeros(len(bench), dtype=torch.float64)
        values[:3] = NAN
        return Finding(values=values, left_out={"misclassified": 2, "constant maps": 1, "never": 0})

    verdict = verdict_of(bench_of(), function)
    assert (verdict.outcome, verdict.images) == ("passed", IMAGES - 4 * 3)
    assert verdict.reason == ("8 images left out: misclassified. 4 images left out: constant maps.")


def test_the_reason_has_its_parts_in_order(bench_of):
    def function(bench, explainer):
        return Finding(
            values=torch.ones(len(bench)),
            left_out={"misclassified": 5},
            cause="It jumps.",
            notes=("Noted once.",),
        )

    verdict = verdict_of(bench_of(), function)
    assert verdict.reason == "It jumps. 5 images left out: misclassified. Noted once."


def test_a_note_of_every_round_is_said_once(bench_of):
    verdict = verdict_of(bench_of(), of_images(constant(0), notes=("In float64.", "Of 10 %.")))
    assert (verdict.outcome, verdict.reason) == ("passed", "In float64. Of 10 %.")


# ----------------------------------------------------------- mean: a test that may stop at any time


def mean_verdict(bench, table, direction, alpha=0.001, **finding):
    finding = {"limits": 0.5, "limit_range": (0.5, 0.5), **finding}
    function = Rounds(of_images(table, **finding))
    verdict = verdict_of(bench, function, {"alpha": alpha}, judged="mean", direction=direction)
    return verdict, function.sizes


def around(mean, count=IMAGES, *, spread=0.1, seed=1):
    """Figures whose mean is exactly this."""
    noise = np.random.default_rng(seed).uniform(-spread, spread, count)
    return torch.as_tensor(mean + noise - noise.mean())


@pytest.mark.parametrize(
    "mean, direction, outcome",
    [
        (0.1, "<=", "passed"),
        (0.9, "<=", "failed"),
        (0.9, ">=", "passed"),
        (0.1, ">=", "failed"),
        (0.5, "<=", "undecided"),
        (0.5, ">=", "undecided"),
    ],
)
def test_a_mean_is_proven_on_one_side_of_the_limits_or_undecided(
    mean, direction, outcome, bench_of
):
    verdict, sizes = mean_verdict(bench_of(), around(mean), direction)
    assert verdict.outcome == outcome
    # Plain ones are decided by the first round, a tie by none.
    assert sizes == ([32, 32, 64, 72] if outcome == "undecided" else [32])
    assert (verdict.counterexample is not None) == (outcome == "failed")


def test_a_mean_check_stops_at_the_round_that_decides_it(bench_of):
    verdict, sizes = mean_verdict(bench_of(), around(0.3, spread=0.3), "<=")
    assert (verdict.outcome, sizes, verdict.images) == ("passed", [32, 32], 64)


def test_the_figure_of_a_mean_check_is_the_mean_and_so_is_its_limit(bench_of):
    bench, table = bench_of(), around(0.5)
    limits = around(0.5, spread=0.2, seed=2)
    limits[11] = NAN
    table[12] = NAN
    verdict, _ = mean_verdict(bench, table, "<=", limits=limits, limit_range=(0.0, 1.0))
    usable = [image for image in range(IMAGES) if image not in {11, 12}]
    assert (verdict.outcome, verdict.images) == ("undecided", IMAGES - 2)
    assert verdict.figure == pytest.approx(float(table[usable].mean()), abs=1e-12)
    assert verdict.limit == pytest.approx(float(limits[usable].mean()), abs=1e-12)
    low, high = verdict.interval
    assert low < verdict.figure < high


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
@pytest.mark.parametrize("limit_range", [(0.0, 1.0), (0.25, 0.75)])
def test_the_interval_is_that_of_the_excess_over_the_limits(value_range, limit_range, bench_of):
    bench, table = bench_of(), around(0.5, spread=0.4)
    limits = around(0.5, spread=0.2, seed=2)
    limits[limits > 0.68] = NAN
    usable = ~limits.isnan()
    assert 0 < (~usable).sum() < 50
    verdict, _ = mean_verdict(
        bench, table, "<=", 0.01, limits=limits, value_range=value_range, limit_range=limit_range
    )
    spread = (value_range[0] - limit_range[1], value_range[1] - limit_range[0])
    order = [image for image in bench.images if usable[image]]
    excess = (table - limits)[order].numpy()
    low, high = decide_mean(excess, spread=spread, alpha=0.01).interval
    middle = float(limits[usable].mean())
    expected = (max(low + middle, value_range[0]), min(high + middle, value_range[1]))
    assert verdict.interval == pytest.approx(expected, abs=1e-12)


def test_the_interval_does_not_leave_the_range_of_the_figure(bench_of):
    bench = bench_of(4)
    # Four images prove nothing of an excess from -1 to 1, which is a figure from -0.5 to 1.5.
    verdict, _ = mean_verdict(bench, constant(0.5, 4), "<=", limit_range=(0.0, 1.0))
    assert verdict.interval == (0.0, 1.0)


def test_the_level_is_the_one_assigned(bench_of):
    table = around(0.35, 32, spread=0.3)
    strict, _ = mean_verdict(bench_of(32), table, "<=", alpha=1e-9)
    lax, _ = mean_verdict(bench_of(32), table, "<=", alpha=0.2)
    assert (strict.outcome, lax.outcome) == ("undecided", "passed")
    assert strict.reason == ("32 images are too few for a decision at significance level 1e-09.")


def test_a_mean_of_nothing_is_undecided(bench_of):
    verdict, sizes = mean_verdict(bench_of(), constant(NAN), "<=")
    assert (verdict.outcome, verdict.reason) == ("undecided", "No image could be judged.")
    assert (verdict.figure, verdict.limit, verdict.interval) == (None, None, None)
    assert sizes == [32, 32, 64, 72]


def test_the_reason_of_a_mean_check_has_the_means_of_the_facts(bench_of):
    bench = bench_of(40)
    half = torch.arange(40, dtype=torch.float64)
    half[::2] = NAN

    def function(bench, explainer):
        count = len(bench)
        return Finding(
            values=torch.full((count,), 0.25),
            limits=torch.full((count,), 0.5),
            facts={
                "Dice after noise": torch.full((count,), 0.123456),
                "index": half[bench.images],
                "nothing": torch.full((count,), NAN),
            },
            left_out={"misclassified": 1},
        )

    verdict = verdict_of(bench, function, judged="mean")
    index = float(half[1::2].mean())
    assert verdict.reason == (
        "40 images are too few for a decision at significance level 0.001. "
        "2 images left out: misclassified. "
        f"Means over the images: Dice after noise 0.123, index {index:.3g}."
    )


def test_an_exact_check_does_not_speak_of_means(bench_of):
    def function(bench, explainer):
        return Finding(values=torch.zeros(len(bench)), facts={"gap": torch.ones(len(bench))})

    assert verdict_of(bench_of(), function).reason == ""


def test_a_figure_outside_its_declared_range_is_an_error_not_a_verdict(bench_of):
    verdict, _ = mean_verdict(bench_of(), constant(2.0), "<=")
    assert verdict.outcome == "error"
    assert verdict.reason.startswith("InvalidArgument: values: got values outside (-0.5, 0.5)")


# --------------------------------------------------------------------------------------- the budget


def costly(bench, explainer):
    """Ten evaluations per image."""
    for _ in range(10):
        bench.logits(bench.inputs)
    return Finding(values=torch.zeros(len(bench)))


@pytest.mark.parametrize(
    "budget, images",
    [
        (None, 200),
        (2000, 200),
        (1999, 128),
        (1280, 128),
        (1279, 64),
        (640, 64),
        (639, 32),
        (320, 32),
        (319, 0),
        (31, 0),
        (0, 0),
    ],
)
def test_no_round_begins_that_the_budget_does_not_hold(budget, images, bench_of):
    verdict = verdict_of(bench_of(), costly, {"budget": budget})
    assert verdict.images == images
    assert budget is None or verdict.evaluations.model <= budget
    if images == IMAGES:
        assert (verdict.outcome, verdict.reason) == ("passed", "")
    else:
        assert verdict.outcome == "undecided"
        assert verdict.reason == (
            f"The budget of {budget} evaluations is too small for another round of images "
            f"({10 * images} evaluations were spent on {images} images)."
        )


@pytest.mark.parametrize("cost, spent", [(Cost(), 32), (Cost(forward=1), 0)])
def test_of_the_first_round_the_declared_cost_is_known(cost, spent, bench_of):
    verdict = verdict_of(bench_of(), costly, {"budget": 40}, cost=cost)
    assert (verdict.evaluations.model, verdict.images) == (spent, 0)


def test_no_evaluation_of_any_kind_exceeds_the_budget(bench_of):
    """Whatever it is that costs more than was declared, forward or backward, on a copy or not."""

    def twofold(bench, explainer):
        twin = bench.copied_model()
        for model in (bench.subject.model, twin, twin):
            inputs = bench.inputs.requires_grad_()
            torch.autograd.grad(model(inputs).sum(), inputs)
        return Finding(values=torch.zeros(len(bench)))

    for budget in (32, 33, 64, 100, 191):
        verdict = verdict_of(bench_of(32), twofold, {"budget": budget})
        assert (verdict.outcome, verdict.images) == ("undecided", 0)
        assert verdict.evaluations.model == 32 * (budget // 32)
    assert verdict_of(bench_of(32), twofold, {"budget": 192}).outcome == "passed"


def test_a_guest_that_catches_the_refusal_gets_no_verdict_by_it(bench_of):
    def stubborn(bench, explainer):
        for _ in range(3):
            with contextlib.suppress(Exception):
                bench.logits(bench.inputs)
        return Finding(values=torch.ones(len(bench)), cause="Whatever.")

    def disguised(bench, explainer):
        try:
            costly(bench, explainer)
        except XaiError:
            raise GuestError("something else", traceback="") from None

    for function in (stubborn, disguised):
        verdict = verdict_of(bench_of(32), function, {"budget": 64})
        assert (verdict.outcome, verdict.evaluations.model) == ("undecided", 64)
        assert verdict.reason.startswith("The budget of 64 evaluations is too small for another")


def test_after_a_refusal_the_bench_has_no_bound(bench_of):
    bench = bench_of(32)
    verdict_of(bench, costly, {"budget": 40})
    assert verdict_of(bench, costly, {"budget": None}).outcome == "passed"
    assert bench.logits(bench.inputs).shape[0] == 32


def sharing(bench, explainer):
    """Two pieces, one of which holds the other: 32 and 32 + 64 evaluations, and 32 of its own."""
    inner = lambda chunk: chunk.share("inner", lambda part: part.logits(part.inputs))  # noqa: E731

    def outer(chunk):
        chunk.logits(chunk.inputs)
        return inner(chunk) + chunk.logits(chunk.inputs)

    bench.logits(bench.inputs)
    inner(bench)
    bench.share("outer", outer)
    return Finding(values=torch.zeros(len(bench)))


@pytest.mark.parametrize("budget, outcome", [(127, "undecided"), (128, "passed")])
@pytest.mark.parametrize("first", ["nothing", "inner", "all", "twin"])
def test_what_is_shared_is_owed_by_all_who_use_it_whoever_was_first(
    budget, outcome, first, bench_of
):
    """A verdict depends on its budget, and never on what its neighbours made before it."""
    bench = bench_of(32)
    if first == "inner":
        bench.share("inner", lambda part: part.logits(part.inputs))
    elif first != "nothing":
        sharing(bench.double() if first == "twin" else bench, EXPLAINER)
    verdict = verdict_of(bench, sharing, {"budget": budget})
    assert verdict.outcome == outcome
    spent = {"nothing": 128, "twin": 128, "inner": 96, "all": 32}[first]
    assert verdict.evaluations.model <= min(spent, budget)


def test_what_was_spent_before_does_not_count(bench_of):
    bench = bench_of(32)
    costly(bench, EXPLAINER)
    assert verdict_of(bench, costly, {"budget": 320}).outcome == "passed"


def test_a_violation_counts_though_the_budget_ends(bench_of):
    verdict = verdict_of(bench_of(), of_images(constant(1)), {"budget": 32})
    assert (verdict.outcome, verdict.images) == ("failed", 32)


def test_a_mean_is_undecided_where_the_budget_ends(bench_of):
    function = of_images(around(0.5), limits=0.5, limit_range=(0.5, 0.5))

    def spending(bench, explainer):
        bench.logits(bench.inputs)
        return function(bench, explainer)

    verdict = verdict_of(bench_of(), spending, {"budget": 100}, judged="mean")
    assert (verdict.outcome, verdict.images) == ("undecided", 64)
    assert verdict.reason.startswith("The budget of 100 evaluations is too small for another round")


# -------------------------------------------------------------------------------------- arbitration


def by_dtype(single, double):
    """A check that finds one figure in float32 and another one in float64."""

    def function(bench, explainer):
        wide = bench.inputs.dtype == torch.float64
        dtypes = {parameter.dtype for parameter in bench.subject.model.parameters()}
        assert dtypes == {bench.inputs.dtype}
        figure = torch.tensor(double if wide else single, dtype=torch.float64)
        return Finding(values=figure.expand(len(bench)), cause="A gap.")

    return function


def test_a_failure_in_float32_that_passes_in_float64_is_rounding(bench_of):
    verdict = verdict_of(bench_of(8), by_dtype(1.0, 0.0), arbitrated=True)
    assert (verdict.outcome, verdict.figure) == ("passed", 0.0)
    assert verdict.reason == "Decided in float64: the float32 difference is rounding."


def test_a_failure_in_both_is_a_failure(bench_of):
    verdict = verdict_of(bench_of(8), by_dtype(1.0, 2.0), arbitrated=True)
    assert (verdict.outcome, verdict.figure) == ("failed", 2.0)
    assert verdict.reason == "A gap. Confirmed in float64."


def test_a_failure_counts_at_once_where_the_check_does_not_ask_for_arbitration(bench_of):
    verdict = verdict_of(bench_of(8), by_dtype(1.0, 0.0), arbitrated=False)
    assert (verdict.outcome, verdict.figure, verdict.reason) == ("failed", 1.0, "A gap.")


def test_what_passes_in_float32_is_not_decided_again(bench_of):
    rounds = Rounds(by_dtype(0.0, 1.0))
    verdict = verdict_of(bench_of(8), rounds, arbitrated=True)
    assert (verdict.outcome, verdict.reason, rounds.sizes) == ("passed", "", [8])


def test_what_cannot_tell_in_float32_is_not_decided_again(bench_of):
    rounds = Rounds(by_dtype(NAN, 1.0))
    verdict = verdict_of(bench_of(8), rounds, arbitrated=True)
    assert (verdict.outcome, rounds.sizes) == ("undecided", [8])


def test_a_subject_in_float64_needs_no_arbitration(bench_of):
    rounds = Rounds(by_dtype(0.0, 1.0))
    verdict = verdict_of(bench_of(8, dtype=torch.float64), rounds, arbitrated=True)
    assert (verdict.outcome, verdict.reason, rounds.sizes) == ("failed", "A gap.", [8])


def test_only_the_round_that_failed_is_decided_again(bench_of):
    bench = bench_of(64)
    suspect = bench.images[40]

    def function(view, explainer):
        wide = view.inputs.dtype == torch.float64
        figures = [float(image == suspect and not wide) for image in view.images]
        return Finding(values=torch.tensor(figures, dtype=torch.float64))

    rounds = Rounds(function)
    verdict = verdict_of(bench, rounds, arbitrated=True)
    assert rounds.seen == [bench.images[:32], bench.images[32:], bench.images[32:]]
    assert (verdict.outcome, verdict.images) == ("passed", 64)


def test_arbitration_runs_model_and_explainer_in_float64_and_counts_it(bench_of):
    seen = []

    def function(bench, explainer):
        maps = bench.explain(explainer, bench.inputs)
        seen.append(maps.dtype)
        return Finding(values=torch.ones(len(bench)))

    verdict = verdict_of(bench_of(8), function, arbitrated=True)
    assert seen == [torch.float32, torch.float64]
    assert verdict.evaluations == Evaluations(forward=16, backward=16, explainer_calls=16)


def test_what_no_image_can_tell_in_float64_is_undecided(bench_of):
    verdict = verdict_of(bench_of(8), by_dtype(1.0, NAN), arbitrated=True)
    assert (verdict.outcome, verdict.reason) == (
        "undecided",
        (
            "No image could be judged. "
            "Beyond the limit in float32, but no image can be judged in float64."
        ),
    )


def test_without_a_copy_of_the_model_float32_decides(bench_of):
    class Handle:
        def __deepcopy__(self, memo):
            raise TypeError("cannot copy a handle")

    model = nn.Linear(2, 3)
    model.handle = Handle()
    verdict = verdict_of(bench_of(8, model=model), by_dtype(1.0, 0.0), arbitrated=True)
    assert (verdict.outcome, verdict.figure) == ("failed", 1.0)
    assert verdict.reason == (
        "A gap. Judged in float32: it could not be decided in float64 "
        "(no float64 copy of the model: cannot copy a handle)."
    )


def test_a_guest_that_raises_in_float64_leaves_it_to_float32(bench_of):
    def function(bench, explainer):
        if bench.inputs.dtype == torch.float64:
            raise GuestError("explainer raised TypeError: float only", traceback="...")
        return Finding(values=torch.ones(len(bench)))

    verdict = verdict_of(bench_of(8), function, arbitrated=True)
    assert verdict.outcome == "failed"
    assert verdict.reason == (
        "The figure is beyond its limit. Judged in float32: it could not be decided in float64 "
        "(explainer raised TypeError: float only)."
    )


# -------------------------------------------------------------------------------- guests that raise


def test_what_does_not_apply_says_why(bench_of):
    def function(bench, explainer):
        raise NotApplicable("the model has a single output")

    verdict = verdict_of(bench_of(8), function)
    assert (verdict.outcome, verdict.reason) == ("not_applicable", "the model has a single output")
    assert (verdict.figure, verdict.limit, verdict.images) == (None, None, 0)
    assert not verdict.fails_run


def raising(model, inputs, targets):
    raise KeyError("no such layer")


def explaining(bench, explainer):
    bench.explain(explainer, bench.inputs)
    return Finding(values=torch.zeros(len(bench)))


def test_an_explainer_that_raises_is_an_error_with_its_traceback(bench_of):
    guest = NamedExplainer(name="broken", call=raising, traits=Traits())
    task = Task(check=check_of(explaining), explainer=guest, asserted=True)
    verdict = run_check(bench_of(8), task)
    assert verdict.outcome == "error"
    assert verdict.reason == "explainer 'broken' raised KeyError: 'no such layer'"
    assert "in raising" in verdict.traceback
    assert verdict.traceback.rstrip().endswith("KeyError: 'no such layer'")
    assert verdict.fails_run
    assert verdict.row()["reason"] == f"{verdict.reason}\n{verdict.traceback}"


def test_a_model_that_raises_is_an_error_with_its_traceback(bench_of):
    class Moody(nn.Linear):
        tired = False

        def forward(self, inputs):
            if self.tired:
                raise RuntimeError("too tired")
            return super().forward(inputs)

    model = Moody(2, 3)
    bench = bench_of(8, model=model)

    def function(bench, explainer):
        model.tired = True
        return Finding(values=bench.logits(bench.inputs)[:, 0])

    verdict = verdict_of(bench, function)
    assert (verdict.outcome, verdict.reason) == (
        "error",
        "the model raised RuntimeError: too tired",
    )
    assert "in forward" in verdict.traceback


def test_what_is_no_map_is_an_error(bench_of):
    def function(bench, explainer):
        normalise(torch.zeros(len(bench), 5), bench.inputs)
        raise AssertionError("never here")

    verdict = verdict_of(bench_of(8), function)
    assert verdict.outcome == "error"
    assert verdict.reason == (
        "InvalidAttribution: the explainer returned shape (8, 5) for inputs of shape (8, 2), "
        "expected (8, 2)"
    )
    assert verdict.fails_run


def test_a_wrong_option_is_an_error(bench_of):
    def function(bench, explainer):
        raise InvalidArgument.of("layer", got="'conv9'", expected="a layer")

    verdict = verdict_of(bench_of(8), function)
    assert (verdict.outcome, verdict.reason) == (
        "error",
        "InvalidArgument: layer: got 'conv9', expected a layer",
    )


def test_a_check_that_raises_is_an_error_with_its_traceback(bench_of):
    def broken(bench, explainer):
        return {}["no such key"]

    verdict = verdict_of(bench_of(8), broken)
    assert (verdict.outcome, verdict.fails_run) == ("error", True)
    assert verdict.reason == "the check raised KeyError: 'no such key'"
    assert "in broken" in verdict.traceback


@pytest.mark.parametrize("shape", [(), (3,), (9,), (8, 1)])
@pytest.mark.parametrize("arbitrated", [False, True])
def test_a_finding_has_one_figure_per_image(shape, arbitrated, bench_of):
    def function(bench, explainer):
        wrong = not arbitrated or bench.inputs.dtype == torch.float64
        return Finding(values=torch.ones(shape if wrong else 8))

    verdict = verdict_of(bench_of(8), function, arbitrated=arbitrated)
    assert f"values of the finding: got shape {shape}, expected one figure per" in verdict.reason
    assert verdict.outcome == ("failed" if arbitrated else "error")


def test_what_does_not_apply_without_a_reason_has_one_all_the_same(bench_of):
    def function(bench, explainer):
        raise NotApplicable

    verdict = verdict_of(bench_of(8), function)
    assert (verdict.outcome, verdict.reason) == ("not_applicable", "the check does not apply")


def test_the_next_check_runs_after_an_error(bench_of):
    bench = bench_of(8)
    guest = NamedExplainer(name="broken", call=raising, traits=Traits())
    run_check(bench, Task(check=check_of(explaining), explainer=guest, asserted=True))
    assert verdict_of(bench, explaining).outcome == "passed"


# -------------------------------------------------------------------------------- expected failures


EXPECTED = {"expected": "blind to weights"}


def test_an_announced_failure_is_xfailed_and_keeps_its_evidence(bench_of):
    function = of_images(constant(1), cause="It jumps.")
    verdict = verdict_of(bench_of(), function, EXPECTED)
    assert (verdict.outcome, verdict.fails_run) == ("xfailed", False)
    assert verdict.reason == "Expected to fail: blind to weights. It jumps."
    assert (verdict.figure, verdict.images) == (1.0, 32)
    assert verdict.counterexample["cause"] == "It jumps."


def test_a_pass_in_place_of_an_announced_failure_is_xpassed(bench_of):
    verdict = verdict_of(bench_of(), of_images(constant(0), notes=("Noted.",)), EXPECTED)
    assert (verdict.outcome, verdict.fails_run) == ("xpassed", True)
    assert verdict.reason == (
        "Expected to fail (blind to weights) but passed: remove the expected failure. Noted."
    )
    assert (verdict.figure, verdict.counterexample) == (0.0, None)


def test_what_is_neither_passed_nor_failed_stays_what_it_is(bench_of):
    def error(bench, explainer):
        raise GuestError("explainer raised", traceback="...")

    def not_applicable(bench, explainer):
        raise NotApplicable("single output")

    bench = bench_of(8)
    for function, outcome, reason in (
        (error, "error", "explainer raised"),
        (not_applicable, "not_applicable", "single output"),
        (of_images(constant(NAN, 8)), "undecided", "No image could be judged."),
    ):
        verdict = verdict_of(bench, function, EXPECTED)
        assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_nothing_is_expected_unless_said(bench_of):
    assert verdict_of(bench_of(), of_images(constant(1))).outcome == "failed"
    # A reason may be empty; it is the announcement that counts.
    assert verdict_of(bench_of(), of_images(constant(1)), {"expected": ""}).outcome == "xfailed"
