"""What is run on an explainer, what it may cost, and what its verdicts do."""

import inspect
import json
from importlib import metadata

import pytest
import torch
from torch import nn

from pytest_xai import checks, explainers, runner, subjects
from pytest_xai.checking import check_explainer
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.protocol import Traits, explainer
from pytest_xai.registry import Check, Cost
from pytest_xai.report import Report, Settings
from pytest_xai.runner import Planned, select, share_alpha, share_budget
from pytest_xai.subject import Subject
from pytest_xai.verdict import Finding, Verdict


def subject_of(count=6):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4))
    inputs = torch.randn(count, 5, generator=torch.Generator().manual_seed(1))
    return Subject(model, inputs, name="small")


def gradient(model, inputs, targets):
    inputs = inputs.detach().requires_grad_()
    scores = model(inputs).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(scores, inputs)[0]


def check_of(name, family, *, figure=0.0, scope="universal", judged="exact", cost=None):
    """A check of one figure for all images, held to zero, or to one half if it is a mean."""

    def function(bench, explainer):
        values = torch.full((len(bench),), float(figure))
        if judged == "mean":
            return Finding(values=values, limits=0.5, limit_range=(0.5, 0.5))
        return Finding(values=values, cause="It is not zero.")

    return Check(
        name=name,
        family=family,
        question="Is it so?",
        claim="It is so.",
        source="design",
        direction="<=",
        scope=scope,
        judged=judged,
        limit_source="The test.",
        cost=Cost() if cost is None else cost,
        max_images=None,
        arbitrated=False,
        marks=(),
        function=function,
    )


GOOD = check_of("good", "contract")
BAD = check_of("bad", "contract", figure=1)
KEPT = check_of("kept", "axiomatic", scope="claimed")
BROKEN = check_of("broken", "axiomatic", figure=1, scope="claimed")
STEADY = check_of("steady", "robustness", scope="quality", judged="mean")
MOVED = check_of("moved", "adversarial", scope="quality", judged="mean", figure=1)
TABLE = [GOOD, BAD, KEPT, BROKEN, STEADY, MOVED]


@pytest.fixture
def table(monkeypatch):
    """A table of checks that are made by hand, in place of the real one."""
    monkeypatch.setattr(runner.catalogue, "all", lambda: list(TABLE))


def names(planned):
    return [item.check.name for item in planned]


made_up = pytest.mark.usefixtures("table")


# ---------------------------------------------------------------------------------------- selection


@made_up
def test_universal_and_quality_checks_apply_to_all_and_properties_to_who_claims_them():
    assert names(select(Traits())) == ["good", "bad", "steady", "moved"]
    claims = Traits(claims=frozenset({"broken"}))
    assert names(select(claims)) == ["good", "bad", "broken", "steady", "moved"]
    assert all(item.asserted for item in select(claims))


@made_up
@pytest.mark.parametrize(
    "chosen, ignored, expected",
    [
        (["good"], [], ["good"]),
        (["contract"], [], ["good", "bad"]),
        (["adversarial", "good"], [], ["good", "moved"]),
        (["moved", "good"], [], ["good", "moved"]),
        (["contract"], ["bad"], ["good"]),
        ([], ["contract"], ["steady", "moved"]),
        ([], ["bad", "robustness"], ["good", "moved"]),
        (["bad"], ["contract"], []),
        (["bad"], ["bad"], []),
        (["complexity"], [], []),
    ],
)
def test_names_and_families_are_selected_and_ignored_in_the_order_of_the_table(
    chosen, ignored, expected
):
    assert names(select(Traits(), select=chosen, ignore=ignored)) == expected


@made_up
def test_a_property_asked_for_by_name_is_measured_where_it_is_not_claimed():
    assert select(Traits(), select=["broken", "good"]) == [
        Planned(GOOD, asserted=True),
        Planned(BROKEN, asserted=False),
    ]
    claims = Traits(claims=frozenset({"broken"}))
    assert select(claims, select=["broken"]) == [Planned(BROKEN, asserted=True)]


@made_up
def test_a_property_is_not_asked_for_by_its_family():
    assert select(Traits(), select=["axiomatic"]) == []
    claims = Traits(claims=frozenset({"kept"}))
    assert select(claims, select=["axiomatic"]) == [Planned(KEPT, asserted=True)]


@made_up
@pytest.mark.parametrize("argument", ["select", "ignore"])
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(argument):
    with pytest.raises(UnknownName) as caught:
        select(Traits(), **{argument: ["good", "brokn"]})
    message = str(caught.value)
    assert message.startswith("unknown check or family 'brokn'. Did you mean 'broken'? Known: ")
    assert message.endswith(", good, bad, kept, broken, steady, moved")
    assert "contract, axiomatic, " in message


@made_up
def test_a_family_is_no_claim():
    with pytest.raises(UnknownName) as caught:
        select(Traits(claims=frozenset({"axiomatic"})))
    assert str(caught.value) == (
        "unknown claim 'axiomatic'. Known: good, bad, kept, broken, steady, moved"
    )


@made_up
def test_a_claim_that_is_no_check_is_refused_whatever_is_selected():
    with pytest.raises(UnknownName) as caught:
        select(Traits(claims=frozenset({"kept", "brokn"})), select=["good"])
    assert str(caught.value) == (
        "unknown claim 'brokn'. Did you mean 'broken'? "
        "Known: good, bad, kept, broken, steady, moved"
    )


@pytest.mark.parametrize("check", checks.all(), ids=lambda check: check.name)
def test_every_real_check_applies_as_its_scope_says(check):
    assert (check.name in names(select(Traits()))) == (check.scope not in {"claimed", "probe"})
    claims = Traits(claims=frozenset({check.name}))
    assert Planned(check, asserted=True) in select(claims)
    assert names(select(Traits(), select=[check.name])) == [check.name]


# ------------------------------------------------------------------------------- what is shared out


def plan(*checks, asserted=True):
    return [Planned(check, asserted) for check in checks]


@pytest.mark.parametrize(
    "planned, share",
    [
        (plan(STEADY, MOVED), 0.005),
        (plan(STEADY, MOVED, GOOD, BAD), 0.005),
        (plan(STEADY, MOVED, STEADY, STEADY), 0.0025),
        (plan(STEADY) + plan(MOVED, MOVED, asserted=False), 0.01),
        (plan(STEADY, MOVED, asserted=False), 0.01),
        (plan(GOOD, BAD), 0.01),
        ([], 0.01),
    ],
)
def test_alpha_is_divided_by_the_sampled_verdicts_that_are_asserted(planned, share):
    assert share_alpha(0.01, planned) == pytest.approx(share)
    assert share_alpha(0.01, iter(planned)) == pytest.approx(share)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_a_level_that_is_no_probability_is_refused(alpha):
    with pytest.raises(InvalidArgument) as caught:
        share_alpha(alpha, plan(STEADY, MOVED))
    assert str(caught.value) == f"alpha: got {alpha}, expected between 0 and 1"


def test_checks_that_cost_nothing_share_a_budget_too():
    free = check_of("free", "contract", cost=Cost(explainer_calls=0))
    assert share_budget(10, plan(free, free)) == [0, 0]


def test_a_budget_is_shared_in_proportion_to_the_declared_cost():
    light, heavy = (
        check_of("light", "contract"),
        check_of("heavy", "contract", cost=Cost(forward=8)),
    )
    assert (light.cost.least, heavy.cost.least) == (1, 9)
    assert share_budget(100, plan(light, heavy)) == [10, 90]
    assert share_budget(109, plan(light, heavy)) == [10, 98]
    assert share_budget(9, plan(light, heavy)) == [0, 8]
    assert share_budget(0, plan(light, heavy)) == [0, 0]


def test_without_a_budget_there_is_no_limit():
    assert share_budget(None, plan(GOOD, BAD)) == [None, None]
    assert share_budget(None, []) == share_budget(100, []) == []


def test_a_negative_budget_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        share_budget(-1, plan(GOOD))
    assert str(caught.value) == "budget: got -1, expected a number of evaluations >= 0"


def test_settings_are_the_defaults_of_the_public_contract():
    assert Settings() == Settings(seed=0, alpha=0.001, budget=None, device=None, undecided="warn")


# ---------------------------------------------------------------------------------- check_explainer


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


# ----------------------------------------------------------------------------- what a judge is told


@pytest.fixture
def assignments(monkeypatch):
    """What the judge was asked to do; every verdict is a pass."""
    told = []

    def judge(bench, guest, assignment):
        told.append(assignment)
        return Verdict(
            subject="small",
            explainer=guest.name,
            check=assignment.check.name,
            family=assignment.check.family,
            asserted=assignment.asserted,
            outcome="passed",
            direction="<=",
            seed=bench.seed,
        )

    monkeypatch.setattr(runner, "judge", judge)
    return told


@made_up
def test_the_judge_is_told_the_shares_and_the_expectations(assignments):
    report = run(
        checks=["contract", "robustness", "adversarial"],
        expected_failures={"moved": "known", "bad": ""},
        alpha=0.01,
        budget=40,
        seed=7,
    )
    assert [a.check.name for a in assignments] == ["good", "bad", "steady", "moved"]
    assert [a.alpha for a in assignments] == [0.005] * 4
    assert [a.budget for a in assignments] == [10] * 4
    assert [a.expected for a in assignments] == [None, "", None, "known"]
    assert {verdict.seed for verdict in report} == {7}


@made_up
def test_every_verdict_is_repeated_by_the_call_that_it_names(assignments):
    run(seed=7, alpha=0.01, budget=40)
    told = list(assignments)
    for assignment in told:
        assignments.clear()
        call = assignment.reproduce.replace("(gradient, ", "(gradient, subject, ")
        names = {"check_explainer": check_explainer, "gradient": gradient}
        eval(call, {**names, "subject": subject_of()})  # noqa: S307
        assert assignments == [assignment]


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

    def judge(bench, *others):
        seen.append(bench.subject)
        return original(bench, *others)

    original = runner.judge
    monkeypatch.setattr(runner, "judge", judge)
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
def test_without_a_subject_the_bundled_digits_are_explained(monkeypatch):
    monkeypatch.setattr(subjects, "load_digits", subject_of)
    report = check_explainer(gradient, checks=["good"])
    assert [(verdict.subject, verdict.outcome) for verdict in report] == [("small", "passed")]


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
    monkeypatch.setattr(runner.catalogue, "all", lambda: [GOOD, BAD, stop])
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


# --------------------------------------------------------------------------------------- the report


def verdict_of(name, outcome="passed", **fields):
    given = {"subject": "s", "explainer": "e", "family": "contract", "asserted": True}
    return Verdict(check=name, outcome=outcome, direction="<=", **{**given, **fields})


VERDICTS = [
    verdict_of("a"),
    verdict_of("b", "failed", reason="It jumps."),
    verdict_of("c", "failed", asserted=False),
    verdict_of("d", "xpassed"),
    verdict_of("e", "undecided", reason="No image can tell."),
    verdict_of("f", "error"),
]


def test_a_report_is_a_sequence_of_verdicts():
    report = Report(iter(VERDICTS), Settings())
    assert list(report) == VERDICTS
    assert list(report) == VERDICTS
    assert len(report) == 6
    assert (report[1], report[-1]) == (VERDICTS[1], VERDICTS[-1])
    assert list(report[1:3]) == VERDICTS[1:3]
    assert list(reversed(report)) == VERDICTS[::-1]
    assert VERDICTS[2] in report
    assert report.index(VERDICTS[3]) == 3
    with pytest.raises(IndexError):
        report[6]


def test_a_report_knows_what_fails_the_run():
    assert [v.check for v in Report(VERDICTS, Settings()).failed] == ["b", "d", "f"]


def test_a_report_reads_as_one_line_per_verdict():
    assert str(Report(VERDICTS, Settings())).splitlines() == [
        "e::a: passed",
        "e::b: failed It jumps.",
        "e::c: failed",
        "e::d: xpassed",
        "e::e: undecided No image can tell.",
        "e::f: error",
    ]


@made_up
def test_the_json_report_has_the_shape_of_the_design():
    report = run(explainer(claims={"kept"})(gradient_of_its_own()), alpha=0.01, budget=400, seed=7)
    payload = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert list(payload) == ["schema_version", "environment", "run", "results", "summary"]
    assert payload["schema_version"] == 1
    assert payload["run"] == {"seed": 7, "alpha": 0.01, "budget": 400}
    assert {"python", "platform", "versions"} <= payload["environment"].keys()
    assert payload["environment"]["versions"]["torch"] == metadata.version("torch")
    assert payload["results"] == [verdict.row() for verdict in report]
    assert payload["summary"]["verdicts"] == 5
    assert payload["summary"]["failing"] == len(report.failed)
    kinds = {
        "subject": str,
        "explainer": str,
        "check": str,
        "family": str,
        "asserted": bool,
        "outcome": str,
        "figure": (float, type(None)),
        "limit": (float, type(None)),
        "direction": str,
        "interval": (list, type(None)),
        "images": int,
        "evaluations": dict,
        "seconds": float,
        "seed": int,
        "reason": str,
        "counterexample": (dict, type(None)),
        "reproduce": str,
    }
    for row in payload["results"]:
        assert list(row) == list(kinds)
        assert all(isinstance(row[key], kind) for key, kind in kinds.items())


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
    assert set(outcomes(report).values()) == {"passed"}


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
