"""`check_explainer` on a subject: what is run, what is expected, what failed verdicts do."""

import inspect

import pytest

from fixtures.made_checks import BAD, GOOD, TABLE, check_of, subject_of
from fixtures.right import gradient
from pytest_xai import checks, explainers
from pytest_xai.engine import check_explainer as check_explainer_module
from pytest_xai.engine import selection
from pytest_xai.engine.check_explainer import check_explainer
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.protocol import explainer


@pytest.fixture
def table(monkeypatch):
    """A table of checks that are made by hand, in place of the real one."""
    monkeypatch.setattr(selection.catalogue, "all", lambda: list(TABLE))


made_up = pytest.mark.usefixtures("table")


def outcomes(report):
    return {verdict.check: verdict.outcome for verdict in report}


def run(guest=gradient, **arguments):
    """`check_explainer` on the small subject, without consequences unless asked for."""
    return check_explainer(guest, **{"subject": subject_of(), "on_fail": "ignore", **arguments})


def test_the_signature_is_the_public_contract():
    parameters = inspect.signature(check_explainer).parameters
    assert {name: p.default for name, p in parameters.items()} == {
        "explainer": inspect.Parameter.empty,
        "subject": None,
        "checks": None,
        "ignore": (),
        "expected_failures": None,
        "on_fail": "raise",
        "seed": 0,
        "alpha": 0.001,
        "budget": None,
    }


@made_up
def test_the_report_has_the_verdicts_in_the_order_of_the_checks():
    report = run(
        explainer(claims={"broken", "kept"})(gradient_of_its_own()), subject=subject_of(40)
    )
    assert list(outcomes(report).items()) == [
        ("good", "passed"),
        ("bad", "failed"),
        ("kept", "passed"),
        ("broken", "failed"),
        ("steady", "passed"),
        ("moved", "failed"),
    ]
    assert {(v.subject, v.explainer) for v in report} == {("small", "its_own")}


def gradient_of_its_own():
    """The gradient as a new function, so that a decorator changes no other test's."""

    def its_own(model, inputs, targets):
        return gradient(model, inputs, targets)

    return its_own


@made_up
def test_checks_and_ignore_take_names_and_families():
    assert list(outcomes(run(checks=["contract"], ignore=["bad"]))) == ["good"]
    assert list(outcomes(run(checks=iter(["moved", "good"])))) == ["good", "moved"]
    with pytest.raises(UnknownName, match="unknown check or family 'shap'"):
        run(checks=["shap"])
    with pytest.raises(UnknownName, match="unknown check or family 'shap'"):
        run(ignore=["shap"])


@made_up
@pytest.mark.parametrize("argument", ["checks", "ignore"])
def test_one_string_is_no_list_of_names(argument):
    with pytest.raises(InvalidArgument) as caught:
        run(**{argument: "good"})
    assert str(caught.value) == f"{argument}: got 'good', expected a list of names"


@made_up
def test_what_is_not_claimed_is_measured_and_never_fails_the_run():
    report = run(checks=["broken", "good"], on_fail="raise")
    assert outcomes(report) == {"good": "passed", "broken": "failed"}
    assert [verdict.asserted for verdict in report] == [True, False]
    assert report.failed == []
    claimed = explainer(claims={"broken"})(gradient_of_its_own())
    with pytest.raises(CheckFailed):
        run(claimed, checks=["broken"], on_fail="raise")


# -------------------------------------------------------------------------- what failed verdicts do


@made_up
def test_failures_are_raised_all_of_them_in_one_error():
    with pytest.raises(CheckFailed) as caught:
        run(subject=subject_of(40), on_fail="raise")
    assert isinstance(caught.value, AssertionError)
    parts = str(caught.value).split("\n\n")
    assert [part.partition(": ")[0] for part in parts] == ["gradient::bad", "gradient::moved"]
    assert "It is not zero." in parts[0]


@made_up
def test_failures_are_raised_unless_told_otherwise():
    with pytest.raises(CheckFailed, match=r"^gradient::bad: "):
        check_explainer(gradient, subject_of(), ["bad"])


@made_up
def test_failures_are_warned_of_where_the_user_called():
    with pytest.warns(UserWarning, match=r"^gradient::bad: ") as caught:
        report = run(checks=["contract"], on_fail="warn")
    assert [warning.filename for warning in caught] == [__file__]
    assert outcomes(report) == {"good": "passed", "bad": "failed"}


@made_up
def test_failures_are_ignored_when_asked():
    report = run(checks=["contract"], on_fail="ignore")
    assert [verdict.check for verdict in report.failed] == ["bad"]


@made_up
@pytest.mark.parametrize("on_fail", ["raise", "warn", "ignore"])
def test_without_failures_nothing_happens(on_fail):
    assert outcomes(run(checks=["good"], on_fail=on_fail)) == {"good": "passed"}


@made_up
def test_another_way_to_fail_is_refused_before_anything_runs():
    with pytest.raises(InvalidArgument) as caught:
        run(subject=pytest.fail, on_fail="explode")
    assert str(caught.value) == "on_fail: got 'explode', expected raise, warn or ignore"


# -------------------------------------------------------------------------------- expected failures


@made_up
def test_an_expected_failure_does_not_fail_the_run():
    report = run(checks=["contract"], expected_failures={"bad": "known"}, on_fail="raise")
    assert outcomes(report) == {"good": "passed", "bad": "xfailed"}
    assert report[1].reason.startswith("Expected to fail: known. ")
    assert report.failed == []


@made_up
def test_an_expected_failure_that_passes_fails_the_run():
    with pytest.raises(
        CheckFailed, match=r"^gradient::good: Expected to fail \(known\) but passed"
    ):
        run(
            checks=["contract"],
            expected_failures={"good": "known", "bad": "known"},
            on_fail="raise",
        )


@made_up
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("bda", {}),
        ("moved", {"checks": ["contract"]}),
        ("bad", {"ignore": ["bad"]}),
        ("broken", {}),
        ("contract", {}),
    ],
    ids=["no check", "not selected", "ignored", "not claimed", "a family"],
)
def test_an_expected_failure_of_what_does_not_run_is_refused(name, arguments):
    with pytest.raises(UnknownName, match=f"unknown check in expected_failures {name!r}"):
        run(**arguments, expected_failures={name: "known"})


# --------------------------------------------------------------------------- what a task is given


@pytest.fixture
def tasks(monkeypatch):
    """The tasks that were to be run; every verdict is a pass."""
    given = []

    def run_check(bench, task):
        given.append(task)
        return task.verdict("passed", seed=bench.seed)

    monkeypatch.setattr(check_explainer_module, "run_check", run_check)
    return given


@made_up
def test_a_task_has_its_shares_and_expectations_come_afterwards(tasks):
    report = run(
        checks=["contract", "robustness", "adversarial"],
        expected_failures={"moved": "known", "bad": ""},
        alpha=0.01,
        budget=40,
        seed=7,
    )
    assert [task.check.name for task in tasks] == ["good", "bad", "steady", "moved"]
    assert [task.alpha for task in tasks] == [0.005] * 4
    assert [task.budget for task in tasks] == [10] * 4
    assert [verdict.outcome for verdict in report] == ["passed", "xpassed", "passed", "xpassed"]
    assert {verdict.seed for verdict in report} == {7}


@made_up
def test_every_verdict_is_repeated_by_the_call_that_it_names(tasks):
    run(seed=7, alpha=0.01, budget=40)
    given = list(tasks)
    for task in given:
        tasks.clear()
        call = task.reproduce.replace("(gradient, ", "(gradient, subject, ")
        names = {"check_explainer": check_explainer, "gradient": gradient}
        eval(call, {**names, "subject": subject_of()})  # noqa: S307
        fields = ("check", "subject", "alpha", "budget", "reproduce", "asserted")
        (again,) = tasks
        assert [getattr(again, f) for f in fields] == [getattr(task, f) for f in fields]


@made_up
def test_a_budget_of_nothing_decides_nothing():
    assert outcomes(run(checks=["contract"], budget=0)) == {"good": "undecided", "bad": "undecided"}


# ---------------------------------------------------------------------------- subject and explainer


@made_up
def test_a_subject_may_be_given_by_the_function_that_makes_it():
    calls = []

    def load():
        calls.append("called")
        return subject_of()

    assert outcomes(run(subject=load, checks=["contract"])) == {"good": "passed", "bad": "failed"}
    assert calls == ["called"]


@made_up
def test_a_subject_is_explained_as_it_is_given(monkeypatch):
    seen, subject = [], subject_of()

    def run_check(bench, task):
        seen.append(bench.subject)
        return original(bench, task)

    original = check_explainer_module.run_check
    monkeypatch.setattr(check_explainer_module, "run_check", run_check)
    run(subject=subject, checks=["good"])
    assert len(seen) == 1
    assert seen[0] is subject


@made_up
@pytest.mark.parametrize(
    "subject, kind", [(3, "int"), ("digits", "str"), (lambda: None, "NoneType")]
)
def test_what_is_no_subject_is_refused(subject, kind):
    with pytest.raises(InvalidArgument) as caught:
        run(subject=subject)
    assert str(caught.value) == (
        f"subject: got {kind}, expected a Subject or a function that makes one"
    )


@made_up
def test_an_explainer_of_the_gallery_is_given_by_its_name():
    report = run("control:InputItself", checks=["good"])
    assert report[0].explainer == explainers.get("control:InputItself").name
    with pytest.raises(UnknownName, match="InputItslf"):
        run("control:InputItslf", checks=["good"])


@made_up
def test_what_cannot_explain_is_refused():
    with pytest.raises(InvalidArgument, match="explainer: got int, expected a callable"):
        run(3)
    with pytest.raises(UnknownName, match="unknown claim 'nonsense'"):
        run(explainer(claims={"nonsense"})(gradient_of_its_own()))


def test_the_model_is_given_back_as_it_was_whatever_happens(monkeypatch):
    seen = []

    def interrupted(bench, explainer):
        seen.append(bench.subject.model.training)
        raise KeyboardInterrupt

    stop = check_of("stop", "contract")
    object.__setattr__(stop, "function", interrupted)
    monkeypatch.setattr(selection.catalogue, "all", lambda: [GOOD, BAD, stop])
    subject = subject_of()
    subject.model.train()
    subject.model[0].eval()
    modes = [module.training for module in subject.model.modules()]
    run(subject=subject, checks=["good", "bad"])
    assert [module.training for module in subject.model.modules()] == modes
    with pytest.raises(KeyboardInterrupt):
        run(subject=subject)
    assert seen == [False]
    assert [module.training for module in subject.model.modules()] == modes
    assert not subject.model._forward_hooks


# ----------------------------------------------------------------------------- with the real checks


def comparable(report):
    """The rows without what may differ from run to run."""
    rows = [dict(verdict.row()) for verdict in report]
    for row in rows:
        del row["seconds"], row["evaluations"], row["reproduce"]
    return {row["check"]: row for row in rows}


def test_a_sound_explainer_passes_the_contract():
    report = check_explainer(gradient, subject_of(), ["contract"])
    assert len(report) == len([check for check in checks.all() if check.family == "contract"])
    # One of them needs a GPU.
    assert set(outcomes(report).values()) <= {"passed", "not_applicable"}
    assert list(outcomes(report).values()).count("not_applicable") <= 1


def test_a_verdict_does_not_depend_on_its_neighbours():
    together = comparable(run(checks=["contract"]))
    assert comparable(run(checks=["contract"])) == together
    for name, row in reversed(together.items()):
        assert comparable(run(checks=[name])) == {name: row}


def test_an_unsound_explainer_fails_the_check_that_is_about_it():
    def one_map_for_all(model, inputs, targets):
        return inputs.clone()

    with pytest.raises(CheckFailed, match=r"^one_map_for_all::target_sensitive: ") as caught:
        check_explainer(one_map_for_all, subject_of(), ["contract"])
    assert "\n\n" not in str(caught.value)
