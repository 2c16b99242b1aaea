"""Tests that people write: the fixtures, the marker, and checks as parameters."""

import pytest
import torch

from pytest_xai import parametrize_with_checks
from pytest_xai.engine.exploration import generated_networks, known_maps
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.networks import STRUCTURES

TESTS = """
import pytest
import told
from my_model import gradient, load_subject, raises
from pytest_xai import CheckFailed, Bench, explainer
from pytest_xai.protocol import named


def test_a_pass(xai_check):
    verdict = xai_check(gradient, "shape", load_subject())
    assert (verdict.outcome, verdict.subject) == ("passed", "Sequential")


def test_registered_names(xai_check, xai_bench):
    assert xai_check("passes", "told", "net").outcome == "passed"
    assert xai_bench("net") is xai_bench("net")
    assert xai_bench("net").subject.name == "net"


def test_a_failure(xai_check):
    xai_check("fails", "told", "net")


def test_an_error(xai_check):
    with pytest.raises(CheckFailed, match="no map for you"):
        xai_check(raises, "shape", load_subject())


def test_undecided(xai_check):
    assert xai_check("undecided", "told", "net").outcome == "undecided"


def test_not_applicable(xai_check):
    verdict = xai_check("not_applicable", "told", "net")
    assert (verdict.outcome, verdict.reason) == ("not_applicable", "told so")


def test_a_bench(xai_bench):
    subject = load_subject()
    subject.model.train()
    bench = xai_bench(subject)
    assert isinstance(bench, Bench)
    assert xai_bench(subject) is bench
    assert len(bench) == 40
    assert not subject.model.training
"""


@pytest.fixture
def handwritten(told):
    told.makepyfile(test_it=TESTS)
    return told


@pytest.mark.parametrize("arguments", [[], ["--xai", "--deselect=xai::"]])
def test_the_fixtures_work_with_and_without_the_gate(handwritten, arguments):
    handwritten.runpytest(*arguments).assert_outcomes(passed=6, failed=1)


def test_a_failed_check_names_everything(handwritten):
    handwritten.runpytest("-k", "test_a_failure").stdout.fnmatch_lines(
        [
            '>       xai_check("fails", "told", "net")',
            "E       *CheckFailed: fails::told: figure 1, must be at most 0 (32 images)",
            "E       Expected: The outcome is what the name says.",
            "E       Limit: at most 0. The name.",
            "E       Worst: image #*: 1 (its limit 0)",
            "E       Repeat: pytest test_it.py::test_a_failure --xai-seed 0",
        ]
    )


def test_the_settings_of_the_run_hold(handwritten):
    handwritten.makepyfile(
        test_it="""
        import pytest
        from my_model import gradient, load_subject

        def test_seed(xai_check, xai_bench):
            assert xai_bench("net").seed == 7
            assert xai_bench(load_subject()).seed == 7
            verdict = xai_check(gradient, "shape", load_subject())
            assert verdict.seed == 7
            assert verdict.reproduce == "pytest test_it.py::test_seed --xai-seed 7"

        def test_policy(xai_check):
            xai_check("undecided", "told", "net")
        """
    )
    result = handwritten.runpytest("--xai-seed=7", "--xai-undecided=fail")
    result.assert_outcomes(passed=1, failed=1)


def test_benches_on_one_model_do_not_see_each_other(told, add_to_conftest):
    add_to_conftest("""
        SUBJECT = load_subject()

        def pytest_xai_register(registry):
            registry.subject("net", SUBJECT)
            registry.subject("twin", SUBJECT)
            registry.explainer("passes", gradient)

        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: item.name)
    """)
    told.makepyfile(
        test_it="""
        import pytest
        from conftest import SUBJECT
        from my_model import gradient
        from pytest_xai import parametrize_with_checks

        @pytest.mark.parametrize("once", ["a", "z"])
        def test_hand(xai_check, once):
            spent = xai_check(gradient, "side_effects", SUBJECT).evaluations
            assert spent.forward == spent.backward == spent.explainer_calls

        @parametrize_with_checks([gradient], subject=SUBJECT, checks=["side_effects", "shape"])
        def test_parameters(check):
            check()
        """
    )
    result = told.runpytest("--xai", "--xai-select=side_effects,shape")
    result.assert_outcomes(passed=8)


def test_unknown_names_are_refused(handwritten):
    handwritten.makepyfile(
        test_it="""
        import pytest
        from my_model import gradient, load_subject
        from pytest_xai.errors import UnknownName

        @pytest.mark.parametrize("arguments, message", [
            (("grad", "shape", "net"), "unknown explainer 'grad'"),
            ((gradient, "shap", "net"), "unknown check 'shap'. Did you mean 'shape'"),
            ((gradient, "shape", "nets"), "unknown subject 'nets'. Did you mean 'net'"),
        ])
        def test_names(xai_check, arguments, message):
            with pytest.raises(UnknownName, match=message):
                xai_check(*arguments)
        """
    )
    handwritten.runpytest().assert_outcomes(passed=3)


def test_rows_of_hand_written_tests_stand_after_the_plan(handwritten, report):
    payload = report("xai::net::passes::told", "test_it.py", "-k", "told or test_a_failure")
    assert [(row["explainer"], row["subject"]) for row in payload["results"]] == [
        ("passes", "net"),
        ("fails", "net"),
    ]
    assert (
        payload["results"][1]["reproduce"] == "pytest --xai test_it.py::test_a_failure --xai-seed 0"
    )


def test_tests_marked_xai_are_skipped_without_the_gate(handwritten):
    handwritten.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.xai
        def test_marked(): pass

        def test_ordinary(): pass
        """
    )
    result = handwritten.runpytest("-rs", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * needs --xai"])
    handwritten.runpytest("--xai", "test_it.py", "xai::net::passes::told").assert_outcomes(passed=3)


PARAMETERS = """
import told
from my_model import gradient, load_subject, made, raises
from pytest_xai import explainer, parametrize_with_checks

named = {name: explainer(name=name)(lambda *arguments: gradient(*arguments))
         for name in ("passes", "fails", "undecided", "not_applicable")}


@parametrize_with_checks(
    [*named.values(), raises], subject=load_subject, checks=["told"], expected_failures=EXPECTED
)
def test_explainer(check):
    verdict = check()
    assert verdict.outcome in ("passed", "undecided")
    assert verdict.reproduce.startswith("pytest 'test_it.py::test_explainer[")
    assert made == [1]
"""


@pytest.mark.parametrize(
    "expected, outcomes",
    [
        ("None", {"passed": 2, "failed": 2, "skipped": 1}),
        ("{'fails::told': 'known'}", {"passed": 2, "failed": 1, "skipped": 1, "xfailed": 1}),
        ("{'passes::told': 'wrong'}", {"passed": 1, "failed": 3, "skipped": 1}),
    ],
)
def test_checks_as_parameters(told, expected, outcomes):
    told.makepyfile(test_it=PARAMETERS.replace("EXPECTED", expected))
    result = told.runpytest("-v")
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(["test_it.py::test_explainer[[]passes-told[]]*"])
    assert "parametrize.py" not in result.stdout.str()


def explain(model, inputs, targets):
    return inputs


@pytest.fixture
def few_networks(monkeypatch):
    """One probe, three structures and no random networks."""
    plans = {name: STRUCTURES[name] for name in ("linear", "conv", "max-pool")}
    made = dict(list(known_maps.probes().items())[:1])
    monkeypatch.setattr(generated_networks, "STRUCTURES", plans)
    monkeypatch.setattr(generated_networks, "NETWORKS", 0)
    monkeypatch.setattr(known_maps, "probes", lambda: made)


@pytest.mark.usefixtures("few_networks")
def test_parameters_without_a_subject_are_of_all_that_is_built_in():
    mark = parametrize_with_checks([explain], checks=["shape", "ground_truth"])
    shape, truth = mark.args[1]
    assert [mark.kwargs["ids"](check) for check in (shape, truth)] == [
        "explain-shape",
        "explain-ground_truth",
    ]
    assert shape().subject == "digits"
    assert [run().subject for run in shape.runs] == ["digits", "probes", "networks"]
    assert [run().subject for run in truth.runs] == ["probes"]


def of_no_pools(model, inputs, targets):
    pooled = any("MaxPool" in type(module).__name__ for module in model.modules())
    return torch.full_like(inputs, torch.nan if pooled and inputs.shape[-1] < 8 else 1.0)


@pytest.mark.usefixtures("few_networks")
def test_what_fails_on_generated_networks_alone_fails_the_test_with_a_snippet():
    ((check,),) = [parametrize_with_checks([of_no_pools], checks=["finite"]).args[1]]
    with pytest.raises(CheckFailed, match="Smallest network: 2 layers") as caught:
        check()
    assert "    explainer = of_no_pools" in str(caught.value)


@pytest.mark.usefixtures("few_networks")
@pytest.mark.parametrize(
    "explainer, caught", [(of_no_pools, pytest.xfail.Exception), (explain, CheckFailed)]
)
def test_an_expected_failure_has_to_fail_somewhere(explainer, caught):
    mark = parametrize_with_checks(
        [explainer], checks=["finite"], expected_failures={"finite": "known"}
    )
    ((check,),) = [mark.args[1]]
    with pytest.raises(caught, match="known"):
        check()


def test_parameters_by_name_of_check_apply_where_they_can():
    mark = parametrize_with_checks(
        ["control:RandomMap", "captum:IntegratedGradients"],
        checks=["summation_to_delta", "shape"],
        expected_failures={"summation_to_delta": "why"},
    )
    assert [repr(check) for check in mark.args[1]] == [
        "control_RandomMap-shape",
        "control_RandomMap-summation_to_delta",
        "captum_IntegratedGradients-shape",
        "captum_IntegratedGradients-summation_to_delta",
    ]


@pytest.mark.parametrize("explainers", [[], explain, "captum:Saliency"])
def test_parameters_need_a_list(explainers):
    with pytest.raises(InvalidArgument, match="explainers: got .*, expected a list of explainers"):
        parametrize_with_checks(explainers)


@pytest.mark.parametrize(
    "expected, message",
    [
        (
            {"explain::shap": "why"},
            "unknown check of explainer 'explain' 'shap'. Did you mean 'shape'",
        ),
        ({"exlain::shape": "why"}, "unknown explainer 'exlain'. Did you mean 'explain'"),
        ({"shap": "why"}, "unknown check in expected_failures 'shap'. Did you mean 'shape'"),
        ({"linearity": "why"}, "unknown check in expected_failures 'linearity'"),
    ],
)
def test_stale_expected_failures_of_parameters_are_refused(expected, message):
    with pytest.raises(UnknownName, match=message):
        parametrize_with_checks([explain], expected_failures=expected)
