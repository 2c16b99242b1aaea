"""Checks as parameters of an ordinary test."""

import pytest
import torch

from pytest_xai import parametrize_with_checks
from pytest_xai.engine.exploration import generated_networks, known_maps
from pytest_xai.errors import CheckFailed, InvalidArgument, UnknownName
from pytest_xai.networks import STRUCTURES

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
