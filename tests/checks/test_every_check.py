"""What all checks have in common: metadata, cost, repeatability, a right and a wrong explainer."""

import dataclasses
import functools
import importlib
import re
from pathlib import Path

import pytest
import torch

import pytest_xai as xai
from fixtures import models
from fixtures.controls import CONTROLS, problem_of
from fixtures.loops import in_one_test
from fixtures.right import gradient, smooth_gradient
from pytest_xai import checks
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.protocol import named
from pytest_xai.registry import FAMILIES
from pytest_xai.subjects import load_digits

ROOT = Path(__file__).parents[2]
SLOW = {name for name in checks.names() if "slow" in checks.get(name).marks}
FAST = [name for name in checks.names() if name not in SLOW]


every_check = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in checks.names()
    ],
)


@pytest.fixture
def controls(name):
    """The controls of a check; a test of a check that has none says what to add and where."""
    problem = problem_of(checks.get(name))
    assert not problem, problem
    return CONTROLS[name]


# ----------------------------------------------------------------------------------------- metadata


def rules_of_metadata(check):
    """What holds for the metadata of every check, by the rule in words."""
    return {
        "its name is that of its function": check.name == check.function.__name__,
        "its question ends with a question mark": check.question.endswith("?"),
        "its question begins with a capital": check.question[0].isupper(),
        "its claim is a sentence": check.claim.endswith("."),
        "the source of its limit is a sentence": check.limit_source.rstrip().endswith((".", ")")),
        "its family exists": check.family in FAMILIES,
        "its direction exists": check.direction in {"<=", ">="},
        "its scope exists": check.scope in {"universal", "claimed", "quality", "probe"},
        "it is judged in a known way": check.judged in {"exact", "mean", "paired"},
        "it calls the explainer": check.cost.explainer_calls >= 1,
        "its cost can be written": bool(str(check.cost)),
    }


def test_metadata_is_complete():
    offenders = [
        f"{check.name}: {rule}"
        for check in checks.all()
        for rule, holds in rules_of_metadata(check).items()
        if not holds
    ]
    assert offenders == []
    assert all(checks.get(name).name == name for name in checks.names())


def rules_of_the_file(check):
    """What holds for the file of every check, by the rule in words."""
    module = importlib.import_module(check.function.__module__)
    place = f"pytest_xai.checks.{check.family}.{check.name}"
    return {
        "its module is named after it": module.__name__ == place,
        "its module says what it does": module.__doc__.strip().splitlines()[0].endswith("."),
        "its function has a docstring": bool(check.function.__doc__.strip()),
    }


def test_each_stands_in_a_file_of_its_name_with_a_docstring():
    offenders = [
        f"{check.name}: {rule}"
        for check in checks.all()
        for rule, holds in rules_of_the_file(check).items()
        if not holds
    ]
    assert offenders == []


def test_the_source_is_in_the_bibliography():
    keys = re.findall(
        r"^@\w+\{(\w+),$", (ROOT / "docs" / "references.bib").read_text(), re.MULTILINE
    )
    offenders = {check.name: check.source for check in checks.all() if check.source not in keys}
    assert offenders == {}


def test_the_order_is_by_family_and_name():
    order = [(FAMILIES.index(check.family), check.name) for check in checks.all()]
    assert order == sorted(order)
    assert len(order) == len(set(checks.names()))


# ---------------------------------------------------------------------------------- right and wrong


def test_every_check_has_a_right_and_a_wrong_explainer():
    assert [problem for check in checks.all() if (problem := problem_of(check))] == []
    assert set(CONTROLS) == set(checks.names())


@every_check
def test_the_right_explainer_passes(name, controls, verdict, request):
    """On images, and on a linear model of two classes."""
    for subject in ("digits", "borderline"):
        passed = verdict(name, controls.right, request.getfixturevalue(subject))
        if subject in controls.not_applicable_on:
            assert (subject, passed.outcome) == (subject, "not_applicable")
        elif subject in controls.undecided_on:
            assert (subject, passed.outcome, passed.images) == (subject, "undecided", 0)
        else:
            assert (subject, passed.outcome) == (subject, "passed")
            assert passed.check == name
            assert passed.images > 0


def missing_from(failed, check, defect, *, single):
    """What a verdict about a wrong explainer should say and does not, in words."""
    if failed.outcome != "failed":
        return [f"it {failed.outcome}"]
    told = {"image", "figure", "limit", "cause", "facts"}
    row = failed.row()["counterexample"]
    rules = {
        "it is a verdict of this check": failed.check == check.name,
        "it fails the run": failed.fails_run,
        f"its reason says {defect.says!r}": defect.says in failed.reason,
        f"its cause says {defect.says!r}": defect.says in failed.counterexample["cause"],
        "it names an image": failed.counterexample["image"] in range(128),
        "its row has all fields": set(row) - {"adversarial_input"} == told,
        "it is confirmed in float64": not (single and check.arbitrated)
        or "Confirmed in float64." in failed.reason,
    }
    return [rule for rule, holds in rules.items() if not holds]


@every_check
def test_each_wrong_explainer_fails_and_its_defect_is_named(name, controls, verdict, request):
    missing = {}
    for wrong, defect in controls.wrong.items():
        subject = request.getfixturevalue(defect.subject)
        failed = verdict(name, defect.explainer, subject)
        single = subject.inputs.dtype == torch.float32
        missing[wrong] = missing_from(failed, checks.get(name), defect, single=single)
    assert missing == {wrong: [] for wrong in controls.wrong}


def test_the_checks_whose_failures_are_decided_in_float64():
    """All axiomatic checks, and those that say so beside their controls."""
    declared = {name for name, controls in CONTROLS.items() if controls.arbitrated}
    axiomatic = {check.name for check in checks.all() if check.family == "axiomatic"}
    assert {check.name for check in checks.all() if check.arbitrated} == declared | axiomatic


@in_one_test("name", [check.name for check in checks.all() if check.arbitrated])
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
        judged = run_check(bench, Task(check=check, asserted=True, explainer=named(gradient)))
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
def test_the_declared_cost_is_an_upper_bound(name, controls, digits_double):
    """In float64, where nothing is arbitrated, beside what the explainer itself spends."""
    check, layers = checks.get(name), 4
    bench = xai.Bench(digits_double)
    explainer, theirs = counting(controls.right, bench.counter)
    try:
        check.function(bench, named(explainer))
    finally:
        bench.close()
    spent = bench.counter.spent
    forward, backward = spent.forward - theirs["forward"], spent.backward - theirs["backward"]
    # One image more shows the layers, or is the baseline of all.
    assert forward <= (controls.steps * check.cost.forward + controls.extra_forward) * 32 + 1
    assert backward <= (controls.steps * check.cost.backward + controls.extra_backward) * 32
    calls = check.cost.explainer_calls + layers * check.cost.per_layer
    assert spent.explainer_calls <= calls * 32


@every_check
def test_the_least_cost_is_spent_at_the_least(name, controls, digits_double, verdict):
    """A budget that does not hold it for the first round of images holds no verdict."""
    check = checks.get(name)
    judged = verdict(name, controls.least, digits_double)
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
                task = Task(
                    check=checks.get(name), explainer=named(explainer), asserted=True, alpha=0.05
                )
                row = run_check(bench, task).row()
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


def test_the_same_again_and_in_reverse_order(once, digits):
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
@in_one_test("call", [1, 2, 3, 5])
def test_whatever_the_model_raises_is_an_error_with_its_traceback(name, call, photograph, changed):
    model = Failing().eval()
    bench = xai.Bench(xai.Subject(model, torch.rand(8, 6).double(), bounds=(0, 1)))
    task = Task(check=checks.get(name), explainer=named(gradient), asserted=True)
    before = photograph(model)
    model.left[0] = call
    try:
        broken = run_check(bench, task)
        assert changed(before, photograph(model)) == []
        raised = model.left[0] <= 0
        model.left[0] = -1
        following = run_check(bench, task)
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
def test_one_image_more_than_a_round_holds(name, controls, verdict):
    """A last round of a single image would have no other image to compare with."""
    subject = load_digits(33)
    subject.truths = {"gradient": gradient(subject.model, subject.inputs, subject.targets)}
    judged = verdict(name, controls.right, subject, alpha=1e-12)
    exact = checks.get(name).judged == "exact"
    assert judged.outcome == ("passed" if exact else "undecided")
    # DeepFool and the gradient sign leave a misclassified image out.
    images = min(checks.get(name).max_images or 33, 32)
    if controls.skips_images:
        assert 4 < judged.images <= 33  # few elements do not change every prediction
    else:
        assert judged.images in ({images} if exact else {32, 33})


class Uncopyable(torch.nn.Sequential):
    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


@every_check
def test_a_model_that_cannot_be_copied_ends_no_run(name, controls, verdict):
    inputs = torch.rand(32, 6)
    subject = xai.Subject(Uncopyable(*models.chain(6, 5, 3).float()).eval(), inputs, bounds=(0, 1))
    judged = verdict(name, gradient, subject)
    if controls.copies_model:
        assert judged.outcome in {"error", "not_applicable"}
        assert "cannot be copied" in judged.reason
    else:
        assert judged.outcome != "error"
