"""What all checks have in common: metadata, cost, repeatability, a right and a wrong explainer."""

import dataclasses
import functools
import importlib
import re
from functools import partial
from pathlib import Path

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.right import (
    gradient,
    input_x_gradient,
    integrated_gradients,
    path_gradient,
    smooth_gradient,
)
from fixtures.wrong import WRONG
from pytest_xai import checks
from pytest_xai.engine.run_check import Assignment, judge
from pytest_xai.protocol import named
from pytest_xai.registry import FAMILIES
from pytest_xai.subjects import load_digits

ROOT = Path(__file__).parents[2]
IG = integrated_gradients("gauss", 8)
SIGNED = xai.explainer(sign="evidence", needs_baseline=True)(partial(IG))
NAMED = xai.explainer(method="gradient")(partial(gradient))
RIGHT = {
    "ground_truth": NAMED,
    "batch_independent": gradient,
    "deterministic": smooth_gradient,
    "device_consistent": gradient,
    "dtype_consistent": gradient,
    "error_path_clean": gradient,
    "finite": IG,
    "input_untouched": IG,
    "memory_bounded": gradient,
    "memory_format_consistent": gradient,
    "shape": gradient,
    "side_effects": smooth_gradient,
    "target_sensitive": gradient,
    "converges": path_gradient,
    "dummy_feature": IG,
    "implementation_invariance": gradient,
    "linearity": input_x_gradient,
    "positive_homogeneity": IG,
    "sensitivity_a": IG,
    "shift_invariance": IG,
    "sign_convention": SIGNED,
    "symmetry": IG,
    "translation_equivariance": gradient,
    "relevance_conservation": input_x_gradient,
    "summation_to_delta": integrated_gradients("gauss", 64),
    "data_randomisation": gradient,
    "efficient_mprt": gradient,
    "mprt_bottom_up": gradient,
    "mprt_cascading": gradient,
    "mprt_independent": gradient,
    "random_logit": gradient,
    "smooth_mprt": gradient,
    "avg_sensitivity": IG,
    "continuity": IG,
    "local_lipschitz": IG,
    "max_sensitivity": IG,
    "relative_input_stability": IG,
    "relative_output_stability": IG,
    "relative_representation_stability": IG,
    **dict.fromkeys((name for name in checks.names() if name.endswith("_dice")), input_x_gradient),
    "map_fooling_blackbox": input_x_gradient,
    "map_fooling_center": input_x_gradient,
    "map_fooling_target": input_x_gradient,
    "map_fooling_topk": input_x_gradient,
}
NOT_APPLICABLE = {
    ("implementation_invariance", "borderline"),  # a linear layer alone has no other writing
    ("data_randomisation", "borderline"),  # nobody trained another model for it
    ("map_fooling_center", "borderline"),  # nor a centre
    ("relative_representation_stability", "borderline"),  # one layer has nothing behind it
    ("translation_equivariance", "borderline"),  # a table has no sides to move along
}
# Whose failures in float32 count only where they are failures in float64 as well.
ARBITRATED = {
    *("batch_independent", "device_consistent", "memory_format_consistent", "target_sensitive"),
    *(check.name for check in checks.all() if check.family == "axiomatic"),
}
# Where the gradient has nothing to show.
LEAST = {"ground_truth": NAMED, "sign_convention": SIGNED, "converges": path_gradient}
# One pixel of 400 changes no prediction there.
UNDECIDED = {("one_pixel_dice", "borderline")}
# These take at most so many steps; the declared cost is that of one.
STEPS = {
    "blackbox_dice": 20,
    "cw_dice": 6 * 100,
    "deepfool_dice": 50,
    "deepfool_linf_dice": 50,
    "jsma_dice": 4,
    "lbfgs_dice": 8 * 50,
    "one_pixel_dice": 80 * 25,
}

SLOW = {name for name in checks.names() if "slow" in checks.get(name).marks}
FAST = [name for name in checks.names() if name not in SLOW]


def marked(name, check=None):
    """A parameter that is left out of a fast run if its check is slow."""
    return pytest.param(name, marks=[pytest.mark.slow] if (check or name) in SLOW else [])


every_check = pytest.mark.parametrize("name", [marked(name) for name in checks.names()])


# ----------------------------------------------------------------------------------------- metadata


@every_check
def test_metadata_is_complete(name):
    check = checks.get(name)
    assert check.name == name == check.function.__name__
    assert check.question.endswith("?")
    assert check.question[0].isupper()
    assert check.claim.endswith(".")
    assert check.limit_source.rstrip().endswith((".", ")"))
    assert check.family in FAMILIES
    assert check.direction in {"<=", ">="}
    assert check.scope in {"universal", "claimed", "quality", "probe"}
    assert check.judged in {"exact", "mean", "paired"}
    assert check.cost.explainer_calls >= 1
    assert str(check.cost)


@every_check
def test_each_stands_in_a_file_of_its_name_with_a_docstring(name):
    check = checks.get(name)
    module = importlib.import_module(check.function.__module__)
    assert module.__name__ == f"pytest_xai.checks.{check.family}.{name}"
    assert module.__doc__.strip().splitlines()[0].endswith(".")
    assert check.function.__doc__.strip()


@every_check
def test_the_source_is_in_the_bibliography(name):
    keys = re.findall(
        r"^@\w+\{(\w+),$", (ROOT / "docs" / "references.bib").read_text(), re.MULTILINE
    )
    assert checks.get(name).source in keys


def test_the_order_is_by_family_and_name():
    order = [(FAMILIES.index(check.family), check.name) for check in checks.all()]
    assert order == sorted(order)
    assert len(order) == len(set(checks.names()))


# ---------------------------------------------------------------------------------- right and wrong


def test_every_check_has_a_right_and_a_wrong_explainer():
    assert set(RIGHT) == set(checks.names())
    assert {wrong.check for wrong in WRONG.values()} == set(checks.names())


@every_check
@pytest.mark.parametrize("subject", ["digits", "borderline"])
def test_the_right_explainer_passes(name, subject, verdict, request):
    """On images, and on a linear model of two classes."""
    passed = verdict(name, RIGHT[name], request.getfixturevalue(subject))
    if (name, subject) in NOT_APPLICABLE:
        assert passed.outcome == "not_applicable"
    elif (name, subject) in UNDECIDED:
        assert (passed.outcome, passed.images) == ("undecided", 0)
    else:
        assert passed.outcome == "passed"
        assert passed.check == name
        assert passed.images > 0


@pytest.mark.parametrize("name", [marked(name, wrong.check) for name, wrong in WRONG.items()])
def test_the_wrong_explainer_fails_and_its_defect_is_named(name, verdict, request):
    wrong = WRONG[name]
    failed = verdict(wrong.check, wrong.explainer, request.getfixturevalue(wrong.subject))
    assert failed.outcome == "failed"
    assert (failed.check, failed.fails_run) == (wrong.check, True)
    assert wrong.says in failed.reason
    assert wrong.says in failed.counterexample["cause"]
    assert failed.counterexample["image"] in range(128)
    told = {"image", "figure", "limit", "cause", "facts"}
    assert set(failed.row()["counterexample"]) - {"adversarial_input"} == told
    single = request.getfixturevalue(wrong.subject).inputs.dtype == torch.float32
    if single and wrong.check in ARBITRATED:
        assert "Confirmed in float64." in failed.reason


def test_the_checks_whose_failures_are_decided_in_float64():
    assert {check.name for check in checks.all() if check.arbitrated} == ARBITRATED


@pytest.mark.parametrize("name", sorted(ARBITRATED))
def test_what_fails_in_float32_alone_does_not_count(name):
    """A check of this name and metadata that fails in one dtype, and in the other does not."""
    dtypes = []

    def found(bench, _):
        dtypes.append(bench.inputs.dtype)
        worst = -1.0 if checks.get(name).direction == ">=" else 1.0
        value = worst if bench.inputs.dtype == torch.float32 else -worst
        return xai.Finding(values=torch.full((len(bench),), value), limits=0.0)

    check = dataclasses.replace(checks.get(name), function=found)
    bench = xai.Bench(xai.Subject(models.chain(3, 2).float(), torch.rand(4, 3)))
    try:
        judged = judge(bench, named(gradient), Assignment(check=check, asserted=True))
    finally:
        bench.close()
    assert judged.outcome == "passed"
    assert "Decided in float64: the float32 difference is rounding." in judged.reason
    assert dtypes == [torch.float32, torch.float64]


# --------------------------------------------------------------------------------------------- cost


def counting(explainer, counter):
    """The explainer, and what its own calls of the model cost."""
    spent = {"forward": 0, "backward": 0}

    @functools.wraps(explainer)
    def explain(model, inputs, targets, **options):
        before = counter.spent
        try:
            return explainer(model, inputs, targets, **options)
        finally:
            own = counter.spent - before
            spent["forward"] += own.forward
            spent["backward"] += own.backward

    traits = named(explainer).traits
    described = xai.explainer(
        stochastic=traits.stochastic,
        needs_baseline=traits.needs_baseline,
        method=traits.method,
        sign=traits.sign,
    )(explain)
    return described, spent


@every_check
def test_the_declared_cost_is_an_upper_bound(name, digits_double):
    """In float64, where nothing is arbitrated, beside what the explainer itself spends."""
    check, layers = checks.get(name), 4
    bench = xai.Bench(digits_double)
    explainer, theirs = counting(RIGHT[name], bench.counter)
    try:
        found = check.function(bench, named(explainer))
    finally:
        bench.close()
    spent = bench.counter.spent
    forward, backward = spent.forward - theirs["forward"], spent.backward - theirs["backward"]
    iterations = STEPS.get(name, 1)
    # Of the way to where the prediction changes.
    halvings = 10 if name.endswith("_dice") else 0
    # A path is gone a second time, with both ends and places near them, to see how far a sum of
    # gradients may be off.
    path = 74 if name == "summation_to_delta" and found.notes else 0
    # One image more shows the layers, or is the baseline of all.
    assert forward <= (iterations * check.cost.forward + path + halvings) * 32 + 1
    assert backward <= (iterations * check.cost.backward + path) * 32
    calls = check.cost.explainer_calls + layers * check.cost.per_layer
    assert spent.explainer_calls <= calls * 32


@every_check
def test_the_least_cost_is_spent_at_the_least(name, digits_double, verdict):
    """A budget that does not hold it for the first round of images holds no verdict."""
    check = checks.get(name)
    judged = verdict(name, LEAST.get(name, gradient), digits_double)
    images = min(len(digits_double), check.max_images or len(digits_double))
    assert judged.evaluations.model >= check.cost.least * images


# ------------------------------------------------------------------------------------ repeatability


def rows(subject, names, *, seed=0):
    """Rows of all checks, on one bench, without what may differ."""
    bench = xai.Bench(subject, seed=seed)
    found = {}
    try:
        for name in names:
            for explainer in (gradient, smooth_gradient):
                task = Assignment(check=checks.get(name), asserted=True, alpha=0.05)
                row = judge(bench, named(explainer), task).row()
                found[name, explainer] = {
                    key: value
                    for key, value in row.items()
                    if key not in {"seconds", "evaluations"}
                }
    finally:
        bench.close()
    return found


@pytest.fixture(scope="module")
def once(digits):
    return rows(digits, FAST)


def test_the_same_again(once, digits):
    assert rows(digits, FAST) == once


def test_the_same_in_reverse_order(once, digits):
    assert rows(digits, reversed(FAST)) == once


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_a_slow_check_says_the_same_again(name, digits):
    assert rows(digits, [name]) == rows(digits, [name])


@pytest.mark.parametrize("name", ["deterministic", "mprt_cascading", "continuity", "fgsm_dice"])
def test_the_same_alone_and_after_others_drew(name, once, digits):
    torch.rand(17)
    alone = rows(digits, [name])
    assert alone == {key: row for key, row in once.items() if key[0] == name}


@pytest.mark.parametrize("name", ["mprt_cascading", "continuity", "fgsm_dice"])
def test_another_seed_gives_other_figures(name, once, digits):
    other = rows(digits, [name], seed=1)
    # The means are in the reason; a share of images may well be the same.
    assert other[name, gradient]["reason"] != once[name, gradient]["reason"]


# ------------------------------------------------------------------------------------ broken guests


class Failing(torch.nn.Module):
    """A model that raises at one of its calls, counted from when it is told to."""

    def __init__(self):
        super().__init__()
        self.body = models.chain(6, 5, 3)
        self.left = [-1]  # one list for all copies of the model

    def forward(self, inputs):
        self.left[0] -= 1
        if self.left[0] == 0:
            raise RuntimeError("the disk is full")
        return self.body(inputs)

    def __deepcopy__(self, memo):
        twin = Failing()
        twin.load_state_dict(self.state_dict())
        twin.left = self.left
        return twin.eval()


@every_check
@pytest.mark.parametrize("call", [1, 2, 3, 5])
def test_whatever_the_model_raises_is_an_error_with_its_traceback(name, call, photograph, changed):
    model = Failing().eval()
    bench = xai.Bench(xai.Subject(model, torch.rand(8, 6).double(), bounds=(0, 1)))
    task = Assignment(check=checks.get(name), asserted=True)
    before = photograph(model)
    model.left[0] = call
    try:
        broken = judge(bench, named(gradient), task)
        assert changed(before, photograph(model)) == []
        raised = model.left[0] <= 0
        model.left[0] = -1
        following = judge(bench, named(gradient), task)
    finally:
        bench.close()
    # Where it raises while it is looked for what breaks, there is a verdict already.
    unlocated = "could not be located" in broken.reason or "cannot be determined" in broken.reason
    if raised and unlocated:
        assert broken.outcome == "failed"
    elif raised:
        assert broken.outcome == "error"
        assert "RuntimeError: the disk is full" in broken.reason
        assert "raise RuntimeError" in broken.traceback
    assert following.outcome != "error"


@every_check
def test_one_image_more_than_a_round_holds(name, verdict):
    """A last round of a single image would have no other image to compare with."""
    subject = load_digits(33)
    subject.truths = {"gradient": gradient(subject.model, subject.inputs, subject.targets)}
    judged = verdict(name, RIGHT[name], subject, alpha=1e-12)
    exact = checks.get(name).judged == "exact"
    assert judged.outcome == ("passed" if exact else "undecided")
    # DeepFool and the gradient sign leave a misclassified image out.
    images = min(checks.get(name).max_images or 33, 32)
    if name.endswith("_dice") and name in SLOW:
        assert 4 < judged.images <= 33  # few elements do not change every prediction
    else:
        assert judged.images in ({images} if exact else {32, 33})


COPIES = {
    "device_consistent",
    "dtype_consistent",
    "implementation_invariance",
    "positive_homogeneity",
    "efficient_mprt",
    "mprt_bottom_up",
    "mprt_cascading",
    "mprt_independent",
    "smooth_mprt",
}


class Uncopyable(torch.nn.Sequential):
    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


@every_check
def test_a_model_that_cannot_be_copied_ends_no_run(name, verdict):
    inputs = torch.rand(32, 6)
    subject = xai.Subject(Uncopyable(*models.chain(6, 5, 3).float()).eval(), inputs, bounds=(0, 1))
    judged = verdict(name, gradient, subject)
    if name in COPIES:
        assert judged.outcome in {"error", "not_applicable"}
        assert "cannot be copied" in judged.reason
    else:
        assert judged.outcome != "error"
