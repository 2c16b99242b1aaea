"""Batches that follow from shapes, artefacts computed once, the same draws whatever ran before."""

import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import Subject
from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.budget import OutOfBudget
from pytest_xai.bench.guard import Guard
from pytest_xai.core.rounding import rounding
from pytest_xai.core.verdict import Evaluations
from pytest_xai.errors import GuestError, InvalidAttribution, NotApplicable
from pytest_xai.explainers import from_maps
from pytest_xai.perturbations.transformed_networks import widened
from pytest_xai.protocol import explainer, named


def whole(*shape, seed=0, dtype=torch.float32):
    """Small whole numbers: sums of their products are exact, in batches of any size."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 5, shape, generator=generator).to(dtype)


class Quadratic(nn.Module):
    """Three outputs whose gradients follow from the inputs; remembers the sizes of its batches.

    Output k is (k + 1) times the sum of squares, less k * 1000. What raises above a number of rows
    is in a list, since a guard would put an attribute back.
    """

    def __init__(self, most=10**9):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.limit = [most, torch.OutOfMemoryError("CUDA out of memory")]
        self.sizes = []

    def forward(self, inputs):
        self.sizes.append(len(inputs))
        if len(inputs) > self.limit[0]:
            raise self.limit[1]
        squares = inputs.square().flatten(1).sum(1, keepdim=True)
        return squares * self.scale - 1000 * torch.arange(3).to(inputs)


def subject_of(count=6, shape=(1, 3, 3), model=None, **options):
    return Subject(Quadratic() if model is None else model, whole(count, *shape), **options)


def bench_of(count=6, seed=0, **options):
    return Bench(subject_of(count, **options), seed=seed)


def gradient(model, inputs, targets):
    inputs.requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


GRADIENT = named(gradient)
# Takes inputs of any size, and little time.
POOL = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(2))


def expected_gradient(inputs, targets):
    return 2 * (targets + 1).reshape(-1, *[1] * (inputs.ndim - 1)) * inputs


def noise(model, inputs, targets):
    """Draws from all three global generators."""
    drawn = torch.rand(inputs.shape) + np.random.random() + random.random()  # noqa: S311
    return drawn * model(inputs).sum(1).abs().reshape(-1, 1, 1, 1)


# --------------------------------------------------------------------------------- batch sizes


@pytest.mark.parametrize(
    "shape, size",
    [
        ((1,), 32),
        ((3, 32, 32), 32),
        ((3, 158, 158), 32),
        ((3, 159, 159), 16),
        ((3, 224, 224), 16),
        ((3, 225, 225), 8),
        ((3, 512, 512), 2),
        ((1, 1024, 1024), 2),
        ((3, 1024, 1024), 1),
        ((64, 64, 64), 8),
    ],
)
def test_the_batch_size_follows_from_the_shape_alone(shape, size):
    for count in (1, 3):
        bench = Bench(Subject(POOL, torch.zeros(1).expand(count, *shape), targets=0))
        assert bench.batch_size == size == bench.view(0, 1).batch_size


def test_a_batch_divides_a_round():
    assert ROUND == 32
    for side in (1, 100, 159, 224, 300, 400, 700, 1000):
        bench = Bench(Subject(POOL, torch.zeros(1).expand(1, 3, side, side), targets=0))
        assert ROUND % bench.batch_size == 0


@pytest.mark.parametrize("count, sizes", [(5, [5]), (32, [32]), (33, [32, 1]), (70, [32, 32, 6])])
def test_the_model_sees_batches_of_that_size(count, sizes):
    bench = bench_of(count, targets=0)
    model = bench.subject.model
    assert [len(chunk) for chunk in bench.chunks()] == sizes
    for call in (
        bench.logits,
        lambda: bench.maps(GRADIENT),
        lambda: bench.gradients(bench.inputs, bench.targets),
    ):
        del model.sizes[:]
        call()
        assert model.sizes == sizes


# ------------------------------------------------------------------------------- images and views


def test_a_bench_has_all_images_in_an_order_of_its_seed():
    subject = subject_of(50, name="one")
    orders = [Bench(subject, seed=seed).images for seed in (0, 0, 1)]
    assert sorted(orders[0]) == sorted(orders[2]) == list(range(50))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(50))
    assert Bench(subject_of(50, name="two")).images != orders[0]
    assert Bench(subject_of(50, name="one")).images == orders[0]


def test_the_order_does_not_depend_on_the_global_seed():
    subject = subject_of(50)
    torch.manual_seed(1)
    first = Bench(subject).images
    torch.manual_seed(2)
    assert Bench(subject).images == first


def test_tensors_of_a_view_are_of_its_images():
    inputs, baseline = whole(9, 1, 3, 3), whole(9, 1, 3, 3, seed=1)
    targets = torch.arange(9) % 3
    bench = Bench(Subject(Quadratic(), inputs, targets=targets, baseline=baseline))
    view = bench.view(2, 8).view(1, 5)
    assert view.images == bench.images[3:7]
    assert len(view) == 4
    assert torch.equal(view.inputs, inputs[view.images])
    assert torch.equal(view.targets, targets[view.images])
    assert torch.equal(view.baseline, baseline[view.images])
    assert torch.equal(view.logits(), bench.logits()[3:7])
    assert torch.equal(view.maps(GRADIENT), bench.maps(GRADIENT)[3:7])
    assert len(bench) == 9


def test_a_view_shares_all_but_its_images():
    bench = bench_of()
    view = bench.view(1, 2)
    assert view.subject is bench.subject
    assert view.counter is bench.counter
    assert view.guard is bench.guard
    assert (view.seed, view.classes, view.bounds) == (bench.seed, bench.classes, bench.bounds)


def test_a_shared_baseline_is_there_once_per_image():
    bench = bench_of(6, baseline=2.0)
    assert bench.baseline.shape == bench.inputs.shape
    assert (bench.view(1, 3).baseline == 2).all()
    assert bench.view(1, 3).baseline.shape == (2, 1, 3, 3)


def test_bounds_are_the_subject_s_or_the_range_of_all_its_inputs():
    inputs = torch.arange(9.0).reshape(9, 1, 1, 1).expand(9, 1, 3, 3)
    bench = Bench(Subject(Quadratic(), inputs))
    assert bench.bounds == bench.view(0, 1).bounds == (0.0, 8.0)
    assert Bench(Subject(Quadratic(), inputs, bounds=(-9, 9))).bounds == (-9.0, 9.0)


# -------------------------------------------------------------------------------------- the model


def test_logits_scores_predictions_and_gradients_are_the_model_s():
    inputs = whole(9, 1, 3, 3)
    targets = torch.arange(9) % 3
    bench = Bench(Subject(Quadratic(), inputs, targets=targets))
    squares = bench.inputs.square().flatten(1).sum(1)
    logits = torch.stack([(k + 1) * squares - 1000 * k for k in range(3)], 1)
    assert torch.equal(bench.logits(), logits)
    assert not bench.logits().requires_grad
    assert torch.equal(bench.logits(bench.inputs + 1), bench.subject.model(bench.inputs + 1))
    assert torch.equal(bench.scores(), logits[torch.arange(9), bench.targets])
    other = (bench.targets + 1) % 3
    assert torch.equal(bench.scores(targets=other), logits[torch.arange(9), other])
    assert torch.equal(bench.predictions(), torch.zeros(9, dtype=torch.long))
    assert torch.equal(bench.predictions(100 * bench.inputs.abs() + 100), torch.full((9,), 2))
    expected = expected_gradient(bench.inputs, bench.targets)
    assert torch.equal(bench.gradients(bench.inputs, bench.targets), expected)
    with torch.no_grad():
        assert torch.equal(bench.gradients(bench.inputs, bench.targets), expected)


def test_a_model_that_draws_is_evaluated_alike_whatever_was_drawn_before():
    class Noisy(Quadratic):
        def forward(self, inputs):
            return super().forward(inputs * torch.rand(inputs.shape))

    found = []
    for seed in (1, 2):
        bench = bench_of(40, model=Noisy(), targets=0)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append((bench.logits(), bench.gradients(bench.inputs, bench.targets)))
        assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("path", ["whole", "no graph", "no way to the inputs"])
def test_whether_the_outputs_follow_the_inputs_is_found_out(path):
    class Cut(Quadratic):
        def forward(self, inputs):
            inputs = inputs if path == "whole" else inputs.detach()
            with torch.set_grad_enabled(torch.is_grad_enabled() and path != "no graph"):
                return super().forward(inputs)

    bench = bench_of(model=Cut())
    assert bench.differentiable == bench.view(0, 1).differentiable == (path == "whole")


def test_a_single_logit_predicts_by_its_sign():
    inputs = torch.tensor([[-1.0], [0.0], [2.0], [5.0]])
    bench = Bench(Subject(nn.Flatten(), inputs))
    expected = [0, 0, 1, 1]
    assert bench.predictions().tolist() == [expected[index] for index in bench.images]
    assert bench.predictions(-inputs).tolist() == [1, 0, 0, 0]
    assert bench.classes == 1


@pytest.mark.parametrize("rows", [1, 9])
def test_scores_of_the_baseline_are_those_of_the_targets(rows):
    inputs, baseline = whole(9, 1, 3, 3), whole(rows, 1, 3, 3, seed=1)
    bench = Bench(Subject(Quadratic(), inputs, targets=torch.arange(9) % 3, baseline=baseline))
    spent = bench.counter.spent
    for one in (bench, bench.view(2, 7)):
        expected = one.logits(one.baseline).gather(1, one.targets[:, None])[:, 0]
        before = bench.counter.spent
        assert torch.equal(one.baseline_scores(), expected)
        assert torch.equal(one.baseline_scores(), expected)
        spent = bench.counter.spent - before
        assert spent.forward in ({0, 1} if rows == 1 else {0, len(one)})
    before = bench.counter.spent
    bench.baseline_scores()
    assert bench.counter.spent == before
    assert torch.equal(bench.logits(), bench.logits(bench.inputs))


def test_rounding_is_that_of_the_model_in_the_inputs_dtype():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    bench = bench_of(model=model)
    assert bench.rounding == rounding(model, torch.float32)
    assert bench.double().rounding == rounding(model, torch.float64)


# --------------------------------------------------------------------------- memory and errors


@pytest.mark.parametrize("most", [1, 2, 3, 31])
def test_memory_that_runs_out_changes_no_result(most):
    free, short = bench_of(40, targets=1), bench_of(40, targets=1, model=Quadratic(most))
    assert torch.equal(short.logits(), free.logits())
    assert torch.equal(short.maps(GRADIENT), free.maps(GRADIENT))
    other = torch.arange(40) % 3
    assert torch.equal(short.maps(GRADIENT, other), free.maps(GRADIENT, other))
    assert torch.equal(
        short.gradients(short.inputs, short.targets), free.gradients(free.inputs, free.targets)
    )
    assert max(size for size in short.subject.model.sizes if size <= most) == max(
        2**k for k in range(6) if 2**k <= most
    )
    assert short.counter.spent.forward == free.counter.spent.forward


def test_a_baseline_per_image_is_halved_with_its_images():
    @explainer(needs_baseline=True)
    def difference(model, inputs, targets, *, baseline):
        model(inputs)
        return inputs - baseline

    baseline = whole(40, 1, 3, 3, seed=1)
    bench = bench_of(40, targets=0, baseline=baseline, model=Quadratic(3))
    assert torch.equal(bench.maps(named(difference)), bench.inputs - bench.baseline)


def test_memory_that_does_not_hold_one_image_is_an_error():
    model = Quadratic()
    bench = bench_of(5, targets=0, model=model)
    model.limit[0] = 0
    with pytest.raises(GuestError, match="memory does not hold one image"):
        bench.logits()
    with pytest.raises(GuestError, match="memory does not hold one image"):
        bench.maps(GRADIENT)


def test_errors_of_the_model_and_of_the_explainer_are_told_apart():
    model = Quadratic()
    bench = bench_of(5, targets=0, model=model)
    model.limit[:] = [0, ValueError("boo")]
    with pytest.raises(GuestError, match=r"^the model raised ValueError: boo$"):
        bench.logits()

    def guest(model, inputs, targets):
        raise KeyError("mine")

    with pytest.raises(GuestError, match=r"^explainer 'bad' raised KeyError: 'mine'$") as caught:
        bench.maps(named(guest, "bad"))
    assert "in guest" in caught.value.traceback


def test_an_output_that_is_no_map_is_refused():
    bench = bench_of(5)
    for output in (None, torch.ones(5), torch.full((5, 1, 3, 3), torch.nan)):
        with pytest.raises(InvalidAttribution):
            bench.explain(named(lambda *_, output=output: output, "odd"), bench.inputs)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_a_bench_that_cannot_be_made_leaves_the_model_as_it_was(training, backward):
    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, inputs):
            outputs = self.linear(inputs)
            if backward and outputs.requires_grad:
                outputs.register_hook(self.fail)
            elif torch.is_grad_enabled():
                self.fail()
            return outputs

        def fail(self, *_):
            raise ValueError("no gradients here")

    model = Raises().train(training)
    with pytest.raises(ValueError if backward else GuestError, match="no gradients here"):
        Bench(Subject(model, torch.randn(2, 3)))
    assert not model._forward_hooks
    assert [module.training for module in model.modules()] == [training] * 2


# ----------------------------------------------------------------------------------- artefacts


def spent_on(bench, function):
    before = bench.counter.spent
    function()
    return bench.counter.spent - before


NOTHING = Evaluations()


def test_logits_are_computed_once():
    bench = bench_of(40, targets=0)
    first = bench.logits()
    for again in (
        bench.logits,
        bench.scores,
        bench.predictions,
        bench.view(0, 32).logits,
        bench.view(32, 40).logits,
    ):
        assert spent_on(bench, again) == NOTHING
    assert torch.equal(bench.logits(), first)
    assert spent_on(bench, lambda: bench.logits(bench.inputs)) == Evaluations(forward=40)


def test_maps_are_computed_once():
    bench = bench_of(40, targets=0)
    assert spent_on(bench, lambda: bench.maps(GRADIENT)) == Evaluations(
        forward=40, backward=40, explainer_calls=40
    )
    assert spent_on(bench, lambda: bench.maps(GRADIENT)) == NOTHING
    assert spent_on(bench, lambda: bench.view(32, 40).maps(GRADIENT)) == NOTHING
    assert spent_on(bench, lambda: bench.explain(GRADIENT, bench.inputs)).explainer_calls == 40


def test_part_of_a_batch_is_not_taken_for_all_of_it():
    bench = bench_of(40, targets=0)
    assert bench.view(0, 5).maps(GRADIENT).shape[0] == 5
    assert bench.view(0, 32).maps(GRADIENT).shape[0] == 32
    assert bench.maps(GRADIENT).shape[0] == 40
    assert torch.equal(bench.maps(GRADIENT)[:5], bench.view(0, 5).maps(GRADIENT))


def test_what_was_shared_can_be_changed_without_harm():
    bench = bench_of(5)
    kept = bench.maps(GRADIENT).clone(), bench.logits().clone()
    bench.maps(GRADIENT).zero_()
    bench.logits().zero_()
    assert torch.equal(bench.maps(GRADIENT), kept[0])
    assert torch.equal(bench.logits(), kept[1])


def test_maps_of_other_targets_are_other_maps():
    bench = bench_of(40, targets=torch.arange(40) % 3)
    other = (bench.targets + 1) % 3
    assert torch.equal(bench.maps(GRADIENT), expected_gradient(bench.inputs, bench.targets))
    assert torch.equal(bench.maps(GRADIENT, other), expected_gradient(bench.inputs, other))
    assert torch.equal(bench.maps(GRADIENT), expected_gradient(bench.inputs, bench.targets))
    assert spent_on(bench, lambda: bench.maps(GRADIENT, other)) == NOTHING
    part = bench.view(3, 39)
    assert torch.equal(part.maps(GRADIENT, other[3:39]), bench.maps(GRADIENT, other)[3:39])


def test_explainers_of_one_name_do_not_share():
    bench = bench_of(5)

    def times(factor):
        return named(lambda model, inputs, targets: factor * inputs, "times")

    # Each is gone before the next is made, which may then lie at the same address.
    for factor in range(50):
        assert torch.equal(bench.maps(times(factor)), factor * bench.inputs)


def test_one_explainer_under_two_names_does_not_share():
    bench = bench_of(5)
    one, other = bench.maps(named(noise, "one")), bench.maps(named(noise, "other"))
    assert not torch.equal(one, other)


def test_anything_can_be_shared_under_a_key():
    bench = bench_of(40)
    made = []

    def make(chunk):
        made.append((chunk.images, len(chunk)))
        return chunk.inputs.flatten(1).sum(1)

    expected = bench.inputs.flatten(1).sum(1)
    assert torch.equal(bench.share("sums", make), expected)
    assert torch.equal(bench.view(0, 32).share("sums", make), expected[:32])
    assert made == [(bench.images[:32], 32), (bench.images[32:], 8)]
    bench.share("other sums", make)
    assert len(made) == 4


def test_several_named_tensors_can_be_shared_under_one_key():
    bench, made = bench_of(40), []

    def make(chunk):
        made.append(len(chunk))
        return {"sum": chunk.inputs.flatten(1).sum(1), "targets": chunk.targets}

    for part in (bench, bench.view(32, 40), bench):
        found = bench.share("figures", make) if part is bench else part.share("figures", make)
        assert torch.equal(found["sum"], part.inputs.flatten(1).sum(1))
        assert torch.equal(found["targets"], part.targets)
        found["sum"].zero_()
    assert made == [32, 8]


def test_benches_share_nothing():
    subject = subject_of(5)
    first, second = Bench(subject), Bench(subject, seed=1)
    first.logits()
    assert torch.equal(second.logits(), first.logits(second.inputs))


# ------------------------------------------------------------------------- budgets and progress


def test_a_budget_is_charged_by_all_views_and_copies_and_ends_with_its_context():
    bench = bench_of(40, targets=0)
    with bench.budget(40) as budget:
        bench.view(0, 32).logits()
        assert (budget.limit, budget.charged, budget.refused) == (40, 32, False)
        with pytest.raises(OutOfBudget, match="the budget of 40 evaluations is spent"):
            bench.double().logits()
        assert budget.refused
    assert bench.logits().shape == (40, 3)
    with bench.budget(None) as budget:
        bench.logits()
    assert (budget.limit, budget.charged, budget.refused) == (None, 40, False)


def test_a_bench_reports_progress_after_each_call_of_an_explainer():
    bench, reported = bench_of(40, targets=0), []
    bench.logits()
    with bench.reporting(reported.append):
        bench.view(0, 32).maps(GRADIENT)
        bench.double().maps(GRADIENT)
    bench.explain(GRADIENT, bench.inputs)
    assert reported == [64, 128, 144]


# ---------------------------------------------------------------------------------- randomness


def test_draws_are_the_same_whatever_ran_before():
    guest = named(noise)
    fresh = bench_of(70, targets=0).maps(guest)
    bench = bench_of(70, targets=0)
    torch.manual_seed(5)
    bench.logits()
    bench.maps(GRADIENT)
    bench.explain(named(noise, "another"), bench.inputs)
    bench.view(32, 70).maps(guest)
    assert torch.equal(bench.maps(guest), fresh)
    assert torch.equal(bench.explain(guest, bench.inputs), fresh)
    assert torch.equal(bench.view(32, 64).explain(guest, bench.inputs[32:64]), fresh[32:64])


def test_draws_differ_between_batches_draws_names_subjects_and_seeds():
    guest = named(lambda model, inputs, targets: torch.rand(inputs.shape), "random")
    bench = bench_of(64, targets=0)
    maps = [
        *bench.maps(guest).split(32),
        bench.view(0, 32).explain(guest, bench.inputs[:32], draw=1),
        bench.view(0, 32).maps(named(guest, "other")),
        bench_of(32, targets=0, seed=1).maps(guest),
        bench_of(32, targets=0, name="other").maps(guest),
    ]
    for index, one in enumerate(maps):
        for other in maps[index + 1 :]:
            assert not torch.equal(one, other)


def test_the_draw_does_not_depend_on_the_model_or_the_inputs():
    guest = named(lambda model, inputs, targets: torch.rand(len(inputs), 1, 3, 3), "random")
    bench = bench_of(5)
    maps = bench.maps(guest)
    assert torch.equal(bench.explain(guest, bench.inputs + 1), maps)
    assert torch.equal(bench.explain(guest, bench.inputs, (bench.targets + 1) % 3), maps)
    assert torch.equal(bench.explain(guest, bench.inputs, on=Guard(Quadratic())), maps)
    assert torch.equal(bench.double().explain(guest, bench.inputs.double()), maps)


def test_calls_have_the_seed_of_the_first_draw_unless_told():
    guest = named(noise)
    bench = bench_of(5)

    def output(**options):
        options = {"baseline": bench.baseline, **options}
        return bench.call(guest, bench.inputs, bench.targets, **options).output

    assert torch.equal(output(), bench.maps(guest))
    assert torch.equal(output(seed=3), output(seed=3))
    assert not torch.equal(output(seed=3), output())


def test_the_global_generators_stay_as_they_were():
    bench = bench_of(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    bench.maps(named(noise))
    bench.generator("anything")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_generators_are_of_the_seed_the_subject_the_parts_and_the_images():
    bench = bench_of(9, name="one")

    def drawn(generator):
        return torch.rand(4, generator=generator).tolist()

    first = drawn(bench.generator("a", 1))
    assert drawn(bench.generator("a", 1)) == first
    assert drawn(bench.view(0, 2).generator("a", 1)) == first
    for other in (
        bench.generator("a", 2),
        bench.generator("b", 1),
        bench.view(1, 9).generator("a", 1),
        bench_of(9, name="one", seed=1).generator("a", 1),
        bench_of(9, name="two").generator("a", 1),
    ):
        assert drawn(other) != first


def test_seeds_are_of_the_seed_the_subject_and_the_parts():
    bench = bench_of(9, name="one")
    seeds = {
        bench.derive_seed("a"),
        bench.derive_seed("b"),
        bench_of(9, name="two").derive_seed("a"),
        bench_of(9, name="one", seed=1).derive_seed("a"),
    }
    assert len(seeds) == 4
    assert bench.view(1, 2).derive_seed("a") == bench.derive_seed("a")


# ---------------------------------------------------------------------------------- explainers


@pytest.mark.parametrize("rows", [1, 9])
def test_explainers_that_need_a_baseline_get_that_of_their_images(rows):
    seen = []

    @explainer(needs_baseline=True)
    def guest(model, inputs, targets, *, baseline):
        seen.append(baseline)
        return inputs - baseline

    baseline = whole(rows, 1, 3, 3, seed=1)
    bench = bench_of(9, baseline=baseline)
    assert torch.equal(bench.maps(named(guest)), bench.inputs - bench.baseline)
    other = bench.baseline + 1
    maps = bench.explain(named(guest), bench.inputs, baseline=other)
    assert torch.equal(maps, bench.inputs - other)
    assert [tuple(baseline.shape) for baseline in seen] == [(9, 1, 3, 3)] * 2


def test_explainers_that_need_none_get_none():
    bench = bench_of(5)

    def guest(*arguments, **options):
        assert not options
        assert len(arguments) == 3
        return arguments[1]

    bench.maps(named(guest))


def test_explainers_are_given_other_targets_and_other_models():
    bench = bench_of(9)
    other = torch.arange(9) % 3
    maps = bench.explain(GRADIENT, bench.inputs + 1, other)
    assert torch.equal(maps, expected_gradient(bench.inputs + 1, other))
    wide = torch.cat([bench.inputs, bench.inputs], 1)
    maps = bench.explain(GRADIENT, wide, on=Guard(widened(bench.subject.model)))
    expected = expected_gradient(bench.inputs, bench.targets)
    assert torch.equal(maps, torch.cat([expected, torch.zeros_like(expected)], 1))


def test_a_bench_separates_explainers_from_stored_maps():
    bench, stored = bench_of(5), from_maps(torch.rand(5, 1, 3, 3))
    assert bench.can_explain(GRADIENT)
    bench.require_new_maps(GRADIENT)
    assert not bench.can_explain(stored)
    with pytest.raises(NotApplicable, match=r"^needs new explanations; these maps are stored$"):
        bench.require_new_maps(stored)
    assert bench.storage_rounding(GRADIENT, torch.rand(5, 1, 3, 3)) == 0
    assert bench.storage_rounding(stored, bench.maps(stored)) == 2**-24


def test_the_output_of_one_call_is_unchanged():
    bench, seen = bench_of(40, baseline=2.0), []

    @explainer(needs_baseline=True)
    def guest(model, inputs, targets, *, baseline):
        seen.append((inputs, targets, baseline))
        return seen

    assert bench.output(named(guest)) is seen
    bench.output(named(guest), bench.inputs + 1)
    for (inputs, targets, baseline), expected in zip(
        seen, (bench.inputs, bench.inputs + 1), strict=True
    ):
        assert torch.equal(inputs, expected)
        assert torch.equal(targets, bench.targets)
        assert torch.equal(baseline, bench.baseline)
    drawn = bench.output(named(noise))
    assert torch.equal(drawn, bench.call(
        named(noise), bench.inputs, bench.targets, baseline=bench.baseline
    ).output)  # fmt: skip


def test_maps_have_one_form():
    bench = bench_of(5, shape=(2, 3, 3))
    flat = named(lambda model, inputs, targets: inputs.sum(1).numpy(), "flat")
    assert torch.equal(bench.maps(flat), bench.inputs.sum(1, keepdim=True))
    assert not bench.maps(GRADIENT).requires_grad


def test_the_subject_is_out_of_reach_of_its_guests():
    subject = subject_of(5, baseline=1.0)
    kept = [tensor.clone() for tensor in (subject.inputs, subject.targets, subject.baseline)]

    @explainer(needs_baseline=True)
    def guest(model, inputs, targets, *, baseline):
        maps = inputs + baseline
        for tensor in (inputs, targets, baseline):
            tensor.zero_()
        return maps

    bench = Bench(subject)
    assert torch.equal(bench.maps(named(guest)), bench.inputs + 1)
    assert torch.equal(bench.explain(named(guest), bench.inputs), bench.inputs + 1)
    for tensor, before in zip(
        (subject.inputs, subject.targets, subject.baseline), kept, strict=True
    ):
        assert torch.equal(tensor, before)
        assert not tensor.requires_grad


# ------------------------------------------------------------------------------- the double twin


def test_the_twin_is_the_same_in_float64():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    bench = bench_of(40, model=model, baseline=1.0, bounds=(-9, 9))
    twin = bench.double()
    assert twin.images == bench.images
    assert twin.inputs.dtype == twin.baseline.dtype == twin.logits().dtype == torch.float64
    assert torch.equal(twin.inputs, bench.inputs.double())
    assert torch.equal(twin.targets, bench.targets)
    assert torch.allclose(twin.logits(), bench.logits().double(), atol=1e-5)
    assert twin.maps(GRADIENT).dtype == torch.float64
    assert twin.bounds == bench.bounds
    assert (twin.seed, twin.subject.name) == (bench.seed, bench.subject.name)
    weight = model[1].weight
    assert weight.dtype == bench.inputs.dtype == torch.float32
    assert torch.equal(
        twin.logits(),
        nn.functional.linear(twin.inputs.flatten(1), weight.double(), model[1].bias.double()),
    )


def test_there_is_one_twin_for_all_views():
    bench = bench_of(40)
    view = bench.view(3, 9)
    assert view.double().subject is bench.double().subject
    assert bench.double().images == bench.images
    assert view.double().images == view.images
    for one in (bench, view):
        drawn = [torch.rand(4, generator=b.generator("a")).tolist() for b in (one, one.double())]
        assert drawn[0] == drawn[1]
    bench.double().view(0, 32).logits()
    assert spent_on(bench, bench.double().view(0, 32).logits) == NOTHING
    assert bench.double().counter is bench.counter


def test_twin_and_bench_do_not_share_artefacts():
    bench = bench_of(5)
    assert bench.maps(GRADIENT).dtype == torch.float32
    assert bench.double().maps(GRADIENT).dtype == torch.float64
    assert bench.maps(GRADIENT).dtype == torch.float32


def test_guests_of_the_twin_are_contained():
    def guest(model, inputs, targets):
        with torch.no_grad():
            model.scale.zero_()
        return inputs

    bench = bench_of(5)
    bench.double().maps(named(guest))
    assert bench.double().subject.model.scale.tolist() == [1, 2, 3]
    assert bench.subject.model.scale.tolist() == [1, 2, 3]


def test_a_model_that_cannot_be_copied_has_no_twin():
    model = Quadratic()
    model.lock = threading.Lock()
    bench = bench_of(5, model=model)
    with pytest.raises(NotApplicable, match=r"no float64 copy.*lock"):
        bench.double()
    assert bench.logits().dtype == torch.float32


class Keeps(Quadratic):
    """Keeps what it computed last, with its graph, which no deep copy can hold."""

    def forward(self, inputs):
        self.last = super().forward(inputs)
        return self.last


def test_a_model_that_keeps_its_last_output_can_be_copied_at_any_time():
    bench = bench_of(5, model=Keeps())
    bench.gradients(bench.inputs, bench.targets)
    assert bench.double().logits().dtype == torch.float64


# ---------------------------------------------------------------------------------------- close


def test_a_bench_evaluates_and_gives_the_modes_back():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Dropout(), nn.Linear(9, 2)).train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    bench = bench_of(5, model=model)
    assert not any(module.training for module in model.modules())
    assert torch.equal(bench.logits(), bench.logits(bench.inputs))
    bench.close()
    assert [module.training for module in model.modules()] == modes
    assert not model._forward_hooks
    bench.close()
    assert [module.training for module in model.modules()] == modes


def test_a_closed_bench_counts_no_more():
    bench = bench_of(5)
    spent = bench.counter.spent
    bench.close()
    bench.subject.model(bench.inputs)
    assert bench.counter.spent == spent


def test_a_bench_that_replaced_tables_of_hooks_is_closed_as_well():
    """Utilities that remove all hooks from a model put a new table in place of the old."""

    def guest(model, inputs, targets):
        for module in model.modules():
            module._forward_hooks = type(module._forward_hooks)()
        return inputs

    bench = bench_of(5)
    bench.maps(named(guest))
    assert spent_on(bench, bench.logits) == Evaluations(forward=5)
    bench.close()
    assert not bench.subject.model._forward_hooks
