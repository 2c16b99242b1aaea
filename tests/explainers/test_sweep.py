"""Right explainers pass on every probe and on generated networks, but for known defects."""

import re

import pytest

from pytest_xai import checks
from pytest_xai.explainers import names
from pytest_xai.explainers.gallery.defects import KNOWN_DEFECTS, expected_failures
from studies.sweep import PAGE, Failure, Swept, kept, surprises, sweep, table

RIGHT = {
    "captum:InputXGradient": ("linearity", "dummy_feature", "ground_truth", "symmetry"),
    "captum:LayerGradCam": ("dtype_consistent", "translation_equivariance", "ground_truth"),
    "xai:DeepLiftRescale": ("summation_to_delta", "batch_independent"),
}


def swept(spec, *failing):
    failures = [
        Failure(
            check=check,
            outcome="failed",
            figure=2.0,
            limit=1.0,
            direction="<=",
            network="1 layer on inputs of 3 (linear)",
            snippet="model = ...",
            reason="",
        )
        for check in failing
    ]
    return Swept(
        explainer=spec,
        field="networks",
        networks=300,
        passed=["finite"],
        silent=["device_consistent"],
        failures=failures,
        seconds=1.0,
    )


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec, marks=[] if spec == "captum:LayerGradCam" else pytest.mark.slow)
        for spec in RIGHT
    ],
)
def test_a_right_explainer_passes_on_both_fields(spec):
    for row in sweep(spec, networks=3, checks=RIGHT[spec]):
        assert not row.failures
        assert row.passed


@pytest.mark.slow
def test_a_known_defect_is_found_with_a_network_that_shows_it():
    probes, networks = sweep("captum:DeepLift", networks=3, checks=("batch_independent",))
    (failure,) = networks.failures
    assert not probes.failures
    assert not networks.unexpected
    assert failure.network == "1 layer on inputs of 2 (softmax)"
    assert failure.figure > 0.1
    with pytest.raises(AssertionError, match="batch_independent"):
        exec(failure.snippet, {})  # noqa: S102  # our own


def test_what_fails_on_a_probe_is_shown_there():
    probes, _ = sweep("captum:DeepLift", networks=1, checks=("ground_truth",))
    (failure,) = probes.failures
    assert failure.network == "the probes image-pool"
    with pytest.raises(AssertionError, match="ground_truth"):
        exec(failure.snippet, {})  # noqa: S102  # our own


def test_surprises_are_told():
    spec = "captum:DeepLift"
    known = [each.check for each in KNOWN_DEFECTS if each.explainer == spec]
    assert not list(surprises({spec: [swept(spec, *known)]}))
    assert list(surprises({spec: [swept(spec, *known[1:])]})) == [
        f"{spec} does not fail {known[0]}, a known defect"
    ]
    (told,) = surprises({"captum:Saliency": [swept("captum:Saliency", "finite")]})
    assert told == (
        "captum:Saliency fails finite: 2, must be at most 1 on 1 layer on inputs of 3 (linear) "
        "(networks), which is no known defect"
    )


def test_known_defects_are_of_the_gallery_and_named_once():
    pairs = [(each.explainer, each.check) for each in KNOWN_DEFECTS]
    assert len(pairs) == len(set(pairs))
    assert {spec for spec, _ in pairs} <= set(names())
    assert {check for _, check in pairs} <= set(checks.names())
    assert set(expected_failures("captum:DeepLift")) == {
        check for spec, check in pairs if spec == "captum:DeepLift"
    }
    assert not expected_failures("captum:Saliency")


def test_the_page_is_what_is_kept_and_has_every_known_defect():
    found = kept()
    assert f"\n{table(found)}\n" in PAGE.read_text("utf-8")
    assert not list(surprises(found))
    cells = r"^\| `(.+?)` \| (\w+) \| (?:probes|networks) \|"
    rows = re.findall(cells, table(found), re.MULTILINE)
    known = {(each.explainer, each.check) for each in KNOWN_DEFECTS if each.explainer in found}
    assert set(rows) == known
    assert {row.networks for both in found.values() for row in both} == {0, 300}


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["captum:Saliency", "captum:GuidedBackprop", "captum:DeepLift"])
def test_three_hundred_networks(spec):
    assert not list(surprises({spec: list(sweep(spec))}))
