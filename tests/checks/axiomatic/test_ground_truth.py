"""The map is the one that is known to be right."""

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.loops import in_one_test
from fixtures.right import gradient, input_x_gradient, integrated_gradients, occlusion
from pytest_xai import explainers
from pytest_xai.checks.axiomatic import ground_truth
from pytest_xai.engine.selection import select
from pytest_xai.protocol import NamedExplainer, Traits
from pytest_xai.subjects.probes import probes

CHECK = "ground_truth"
SUBJECTS = {
    "probe_linear": "linear",
    "probe_hidden": "hidden",
    "probe_product": "product",
    "probe_game": "game",
    "probe_rules": "lrp-layers",
    "probe_gap": "gap-linear",
}


@pytest.fixture(scope="module")
def made():
    return {name: make() for name, make in probes().items()}


def named(method, explainer, **traits):
    """An explainer of (model, inputs, targets) that calls itself by this name."""

    def explain(model, inputs, targets):
        return explainer(model, inputs, targets)

    return xai.explainer(method=method, **traits)(explain)


# ------------------------------------------------------------------------------------ right, wrong


@in_one_test("probe", probes())
@pytest.mark.parametrize(
    "explainer",
    [
        named("gradient", gradient),
        named("input_x_gradient", input_x_gradient),
        integrated_gradients("gauss", 24),
    ],
    ids=["gradient", "product", "integral"],
)
def test_right_explainers_pass(probe, explainer, made, verdict):
    subject = made[probe]
    passed = verdict(CHECK, explainer, subject)
    if xai.protocol.traits_of(explainer).method not in subject.truths:
        assert passed.outcome == "not_applicable"
        assert probe in {"biased", "image-pool"}
    else:
        assert passed.outcome == "passed"
        assert passed.images == len(subject)


@pytest.mark.parametrize("name", [name for name, wrong in WRONG.items() if wrong.check == CHECK])
def test_each_wrong_one_fails_and_its_defect_is_named(name, made, verdict):
    wrong = WRONG[name]
    failed = verdict(CHECK, wrong.explainer, made[SUBJECTS[wrong.subject]])
    assert failed.outcome == "failed"
    assert wrong.says in failed.reason
    assert failed.figure > 1e3 * 1e-6 > 0
    assert failed.figure > 20 * failed.limit or "integral with" in failed.reason


@pytest.mark.parametrize("method", ["left", "right"])
def test_a_quadrature_within_its_bound_passes(method, made, verdict):
    """Of the product, g is linear: the left rule is off by 1 / (2 n) of what g changes by."""
    passed = verdict(CHECK, integrated_gradients(method, 20), made["product"])
    assert passed.outcome == "passed"
    assert "The limit includes the error of an integral with 20 gradients." in passed.reason
    assert 0.01 < passed.figure < passed.limit


def test_four_gradients_are_an_integral(made, verdict):
    passed = verdict(CHECK, integrated_gradients("left", 4), made["product"])
    assert passed.outcome == "passed"
    assert "The limit includes the error of an integral with 4 gradients." in passed.reason


def test_the_bound_is_that_of_the_feature_that_varies_most(made, finding):
    """g_i = d_i (x'_j + a d_j) goes from d_i x'_j to d_i x_j, for both features by |d_1 d_2|."""
    found, bench = finding(CHECK, integrated_gradients("left", 20), made["product"])
    delta = bench.inputs - bench.baseline
    variation = delta.prod(1).abs()
    assert torch.allclose(found.values, variation / 40)
    size = found.facts["largest value of the map"] + found.facts["largest true value"]
    size = size + bench.inputs.prod(1).abs() + bench.baseline.prod(1).abs()
    expected = 3 * torch.pi / 2 * variation / 20 + 8 * torch.finfo(torch.float32).eps * size
    assert torch.allclose(found.limits, expected, rtol=1e-9)


def test_no_other_method_gets_the_bound_of_an_integral(made, verdict):
    """24 gradients of an explainer with another name are no integral."""
    almost = integrated_gradients("left", 24)

    @xai.explainer(method="occlusion", needs_baseline=True)
    def explain(model, inputs, targets, baseline):
        return almost(model, inputs, targets, baseline=baseline)

    assert verdict(CHECK, explain, made["additive"]).outcome == "failed"


@pytest.mark.parametrize("share, outcome", [(0.5, "passed"), (2.0, "failed")])
def test_the_tolerance_is_the_rounding_of_float32(share, outcome, made, verdict):
    subject = made["linear"]
    with torch.no_grad():
        outputs = subject.model(subject.inputs).gather(1, subject.targets[:, None]).abs()[:, 0]
        at_baseline = subject.model(subject.baseline)
        reference = at_baseline.gather(1, subject.targets[:, None]).abs()[:, 0]
    truth = subject.truths["gradient"]
    size = 2 * truth.abs().amax(1) + outputs + reference
    unit = 8 * torch.finfo(torch.float32).eps

    @xai.explainer(method="gradient")
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        # The rows are found again by their values, since they come in the bench's order.
        rows = [(subject.inputs == row).all(1).nonzero().item() for row in inputs]
        maps[:, 0] += share * unit * size[rows]
        return maps

    assert verdict(CHECK, explain, subject).outcome == outcome


# --------------------------------------------------------------------------------- what is compared


def test_what_names_no_method_or_another_is_not_judged(made, verdict):
    unnamed = verdict(CHECK, gradient, made["hidden"])
    assert unnamed.outcome == "not_applicable"
    assert unnamed.reason == "the explainer names no method with a known closed form"
    other = verdict(CHECK, named("rise", gradient), made["hidden"])
    assert other.outcome == "not_applicable"
    assert other.reason == "the subject has no closed form for rise"


def test_a_subject_without_truths_is_not_judged(verdict, table):
    refused = verdict(CHECK, named("gradient", gradient), table)
    assert refused.outcome == "not_applicable"
    assert "no closed form for gradient" in refused.reason


def test_one_that_draws_is_held_to_what_every_draw_gives(made, verdict):
    exact = occlusion
    drawing = xai.explainer(method="shapley", stochastic=True, needs_baseline=True)(
        lambda *given, baseline: exact(*given, baseline=baseline)
    )
    assert verdict(CHECK, drawing, made["linear"]).outcome == "passed"
    refused = verdict(CHECK, drawing, made["game"])
    assert refused.outcome == "not_applicable"
    assert refused.reason == "the subject has no closed form for any draw of shapley"


def test_the_truths_are_those_of_the_images_in_the_bench(made, finding):
    found, bench = finding(CHECK, named("gradient", gradient), made["product"])
    assert bench.images != sorted(bench.images)
    assert torch.equal(found.tensors["truth"], bench.inputs.flip(1))
    assert (found.values <= 1e-15).all()


def test_a_map_of_places_is_compared_with_the_sum_over_channels(made, verdict):
    subject = made["image-linear"]
    summed = named("input_x_gradient", lambda *g: input_x_gradient(*g).sum(1, keepdim=True))
    assert verdict(CHECK, summed, subject).outcome == "passed"
    first = named("input_x_gradient", lambda *g: input_x_gradient(*g)[:, :1])
    assert verdict(CHECK, first, subject).outcome == "failed"
    each = xai.explainer(method="occlusion", needs_baseline=True)(
        lambda *given, baseline: occlusion(*given, baseline=baseline)
    )
    assert subject.truths["occlusion"].shape[1] == 1
    assert verdict(CHECK, each, subject).outcome == "passed"


def test_the_worst_image_is_the_counterexample(made, verdict):
    subject = made["hidden"]
    spoilt = subject.inputs[2]

    @xai.explainer(method="gradient")
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        maps[(inputs == spoilt).all(1), 1] += 0.5
        return maps

    failed = verdict(CHECK, explain, subject)
    assert failed.counterexample["image"] == 2
    assert failed.figure == pytest.approx(0.5)
    truth = subject.truths["gradient"][2]
    assert torch.equal(failed.tensors["truth"], truth)
    assert torch.allclose(failed.tensors["map"] - truth, torch.tensor([0, 0.5, 0]).double())
    assert failed.counterexample["facts"]["largest true value"] == float(truth.abs().max())


def test_a_factor_that_is_left_out_is_named_though_some_features_are_at_the_baseline(verdict):
    weight = torch.tensor([[2.0, -1.0, 3.0]]).double()
    inputs = torch.tensor([[1.5, 0.0, -2.0], [0.0, 0.5, 3.0]]).double()
    truths = {"input_x_gradient": weight * inputs}
    subject = xai.Subject(models.linear(weight), inputs, truths=truths)
    wrong = named("input_x_gradient", lambda model, x, _: weight * (x != 0))
    failed = verdict(CHECK, wrong, subject)
    assert failed.reason.startswith("The map is the correct one without the factor x - x'.")


def test_three_methods_that_have_the_wrong_map_are_named(verdict):
    right, other = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[1.0, -5.0]]).double()
    truths = {"gradient": right, **dict.fromkeys("abcd", other)}
    subject = xai.Subject(models.linear(right), torch.ones(1, 2).double(), truths=truths)
    failed = verdict(CHECK, named("gradient", lambda *_: other.clone()), subject)
    assert failed.reason.startswith("The map is the closed form of a, b, c.")


def test_maps_of_zeros_are_not_reported_as_negative_maps(made, verdict):
    nothing = named("gradient", lambda model, inputs, targets: torch.zeros_like(inputs))
    failed = verdict(CHECK, nothing, made["hidden"])
    assert failed.reason == (
        "The map is zero where the correct one is not: the gradient saturates or is cut."
    )


def test_float32_maps_of_float64_inputs_pass(made, verdict):
    single = named("input_x_gradient", lambda *given: input_x_gradient(*given).float())
    assert verdict(CHECK, single, made["hidden"]).outcome == "passed"


# ---------------------------------------------------------------------------------------- selection


def test_it_runs_only_where_it_is_asked_for_by_name():
    mine = NamedExplainer(name="mine", call=print, traits=Traits(method="gradient"))
    assert CHECK not in [item.check.name for item in select(mine)]
    assert CHECK not in [item.check.name for item in select(mine, select=("axiomatic",))]
    (item,) = select(mine, select=(CHECK,))
    assert (item.check.name, item.asserted) == (CHECK, True)
    assert select(mine, select=(CHECK,), ignore=("axiomatic",)) == []


def test_check_explainer_takes_a_probe(made):
    report = xai.check_explainer(
        named("integrated_gradients", input_x_gradient),
        made["saturating"],
        checks=[CHECK],
        on_fail="ignore",
    )
    (failed,) = report.failed
    assert failed.subject == "probe-saturating"
    assert failed.reason.startswith("The map is zero where the correct one is not")


# ---------------------------------------------------------------------------------------- libraries


@pytest.mark.parametrize("probe", ["image-pool", "hidden", "image-hidden"])
def test_deep_lift_of_captum_fails_where_a_max_pool_is_next_to_a_relu(probe, made, verdict):
    judged = verdict(CHECK, explainers.get("captum:DeepLift"), made[probe])
    assert judged.outcome == ("failed" if probe == "image-pool" else "passed")
    right = verdict(CHECK, explainers.get("xai:DeepLiftRescale"), made[probe])
    assert right.outcome == "passed"


def test_the_trapezoid_of_captum_passes_only_because_integrals_may_be_off(made, verdict):
    """(n - 1) / n of a constant gradient, whose variation is 0."""
    low = explainers.get("captum:IntegratedGradients", method="riemann_trapezoid")
    failed = verdict(CHECK, low, made["linear"])
    assert failed.outcome == "failed"
    assert "the correct one times 0.98" in failed.reason


def test_three_gradients_are_no_integral(made, verdict):
    failed = verdict(CHECK, integrated_gradients("left", 3), made["product"])
    assert failed.outcome == "failed"
    assert "The limit includes" not in failed.reason


class Cube(torch.nn.Module):
    """f = x^3 and its negative: the slope falls to zero and rises again."""

    def forward(self, inputs):
        return torch.cat([inputs**3, -(inputs**3)], 1)


def test_the_bound_of_a_slope_that_falls_and_rises_adds_up_both():
    """From -1 to 1: the slope times the way goes from 6 nearly to 0 and back."""
    inputs = torch.ones(2, 1).double()
    bench = xai.Bench(xai.Subject(Cube(), inputs, torch.zeros(2).long(), baseline=-1.0))
    bound = ground_truth._quadrature(bench, 16)
    bench.close()
    assert bound == pytest.approx(torch.full((2,), 3 * torch.pi / 2 * 12 / 16).double(), rel=0.01)


def test_maps_agree_to_a_thousandth_of_the_largest_unless_nothing_is_there():
    for size in (0.01, 1000.0):
        right = torch.tensor([[size, 0.0]])
        assert ground_truth._agree(right * (1 + 0.9e-3), right)
        assert not ground_truth._agree(right * (1 + 1.1e-3), right)
    assert not ground_truth._agree(torch.zeros(1, 2), torch.zeros(1, 2))


def test_the_factor_is_one_for_all_maps_or_there_is_none():
    right = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert ground_truth._factor(2 * right, right) == 2
    assert ground_truth._factor(right + 1, right) is None
    assert ground_truth._factor(right, 0 * right) is None
