import random
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fixtures.loops import in_one_test
from pytest_xai import checks, explainers
from pytest_xai.errors import InvalidArgument, MissingDependency, NotApplicable, UnknownName
from pytest_xai.explainers.gallery import catalogue

# Of one subject only: tested with it.
OF_ONE_SUBJECT = {"xai:StoredMaps", "xai:AdversarialGenerators"}
NAMES = explainers.names()
ALL = [spec for spec in NAMES if spec not in OF_ONE_SUBJECT]
CONTROLS = [spec for spec in ALL if spec.startswith("control:")]
LIBRARIES = {
    "captum": "captum",
    "zennit": "zennit",
    "gradcam": "grad-cam",
    "shap": "shap",
    "lime": "lime",
}
MODULES = {"gradcam": "pytorch_grad_cam"}
OF_LIBRARIES = [spec for spec in ALL if spec.partition(":")[0] in LIBRARIES]
ENTRIES = {entry.spec: entry for entry in explainers.describe()}
STOCHASTIC = [spec for spec in ALL if ENTRIES[spec].traits.stochastic]
# What costs much, made small.
SMALL: dict[str, dict[str, object]] = {
    "captum:IntegratedGradients": {"steps": 8},
    "captum:GradientShap": {"draws": 4},
    "captum:SmoothGrad": {"draws": 4},
    "captum:SmoothGradSquared": {"draws": 4},
    "captum:VarGrad": {"draws": 4},
    "captum:LayerConductance": {"steps": 5},
    "captum:KernelShap": {"samples": 40},
    "captum:Lime": {"samples": 40},
    "shap:GradientExplainer": {"samples": 8},
    "shap:PartitionExplainer": {"evaluations": 40},
    "lime:LimeImage": {"samples": 40, "segments": "grid"},
    "xai:RISE": {"masks": 30, "cells": 3},
    "xai:TimeREISE": {"masks": 30},
    "xai:MeaningfulPerturbation": {"steps": 5, "cells": 3},
}


def get(spec, kind="image", **options):
    if spec == "captum:FeaturePermutation":
        options["references"] = (
            torch.linspace(-1, 1, 4).reshape(4, *(1,) * len(SHAPES[kind])).expand(4, *SHAPES[kind])
        )
    return explainers.get(spec, **{**SMALL.get(spec, {}), **options})


BIBLIOGRAPHY = Path(__file__).parents[3] / "docs" / "references.bib"


class Network(nn.Module):
    """Convolution, ReLU, sum over all places, three classes; linear layers for tables."""

    def __init__(self, shape):
        super().__init__()
        channels, dimensions = shape[0], len(shape) - 1
        convolutions = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
        self.first = (
            convolutions[dimensions](channels, 5, 3, padding=1)
            if dimensions
            else nn.Linear(channels, 5)
        )
        self.relu = nn.ReLU()
        pools = nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d
        self.pool = pools[dimensions - 1](1) if dimensions else nn.Identity()
        self.head = nn.Linear(5, 3)

    def forward(self, inputs):
        return self.head(self.pool(self.relu(self.first(inputs))).flatten(1))


SHAPES = {"table": (7,), "signal": (2, 9), "image": (2, 6, 5), "volume": (2, 4, 5, 3)}


def case(kind="image", count=3, dtype=torch.float64):
    torch.manual_seed(0)
    shape = SHAPES[kind]
    model = Network(shape).to(dtype).eval()
    inputs = torch.randn(count, *shape, dtype=dtype)
    return model, inputs, torch.tensor([2, 0, 1])[:count]


def case_of(spec, **options):
    """Images where it explains them."""
    kinds = ENTRIES[spec].inputs
    return case("image" if "image" in kinds else min(kinds), **options)


def seed(number):
    torch.manual_seed(number)
    np.random.seed(number)


def call(explainer, model, inputs, targets):
    options = {}
    if explainer.traits.needs_baseline:
        options["baseline"] = torch.full_like(inputs[:1], 0.25)
    return explainer.call(model, inputs, targets, **options)


def test_names_are_those_of_known_libraries_in_their_order():
    prefixes = [spec.partition(":")[0] for spec in NAMES]
    assert set(prefixes) <= set(LIBRARIES) | {"xai", "control"}
    assert sorted(prefixes, key=list(catalogue.LIBRARIES).index) == prefixes


# Numba compiles the splits of shap for six seconds in every process that asks for them.
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec, marks=pytest.mark.slow if spec == "shap:PartitionExplainer" else [])
        for spec in ALL
    ],
)
@in_one_test("dtype", [torch.float32, torch.float64])
@in_one_test("kind", SHAPES)
def test_map_shape_dtype_and_finite(spec, kind, dtype):
    # captum's LRP takes signals and volumes, but not their convolutions: tested with it.
    if kind not in ENTRIES[spec].inputs - {"captum:LRP": {"signal", "volume"}}.get(spec, set()):
        return
    model, inputs, targets = case(kind, dtype=dtype)
    maps = call(get(spec, kind), model, inputs, targets)
    assert maps.shape in {inputs.shape, (3, 1, *inputs.shape[2:])}
    assert maps.dtype == dtype
    assert torch.isfinite(maps).all()
    assert maps.abs().sum() > 0


@in_one_test(
    "spec, kind",
    [(spec, kind) for spec in ALL for kind in SHAPES if kind not in ENTRIES[spec].inputs],
)
def test_other_kinds_of_inputs_are_refused(spec, kind):
    with pytest.raises(NotApplicable, match=rf"{spec} explains inputs that are a .*got shape"):
        call(get(spec), *case(kind))


@in_one_test("spec", ALL)
def test_no_traces(spec):
    model, inputs, targets = case_of(spec, dtype=torch.float32)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [set(vars(module)) for module in model.modules()]
    original = inputs.clone()
    maps = call(get(spec), model, inputs, targets)
    assert not maps.requires_grad
    assert maps.data_ptr() != inputs.data_ptr()
    assert torch.equal(inputs, original)
    assert not inputs.requires_grad
    assert inputs.grad is None
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [set(vars(module)) for module in model.modules()] == attributes
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks


@in_one_test("spec", ALL)
def test_gradients_disabled_by_the_caller_change_nothing(spec):
    model, inputs, targets = case_of(spec)
    seed(1)
    expected = call(get(spec), model, inputs, targets)
    seed(1)
    with torch.no_grad():
        maps = call(get(spec), model, inputs, targets)
    assert torch.equal(maps, expected)
    assert torch.is_grad_enabled()


@in_one_test("spec", [spec for spec in ALL if spec not in STOCHASTIC])
def test_deterministic_explainers_draw_nothing(spec):
    model, inputs, targets = case_of(spec)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    call(get(spec), model, inputs, targets)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


@in_one_test("spec", STOCHASTIC)
def test_stochastic_explainers_draw_from_the_global_generators(spec):
    maps, example = [], case_of(spec)
    for number in (1, 1, 2):
        seed(number)
        maps.append(call(get(spec), *example))
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


@in_one_test("spec", [spec for spec in ALL if spec != "control:RandomMap"])
def test_an_image_alone_has_the_same_map(spec):
    model, inputs, targets = case_of(spec)
    explainer = get(spec)

    def explain(rows):
        seed(3)
        return call(explainer, model, inputs[rows], targets[rows])

    together = explain(slice(None))
    for row in range(3):
        alone = explain(slice(row, row + 1))
        assert torch.allclose(alone, together[row : row + 1], rtol=0, atol=1e-12)


@in_one_test("spec", ALL)
def test_target_matters_unless_it_is_said_not_to(spec):
    model, inputs, _ = case_of(spec)
    explainer = get(spec)
    maps = []
    for target in range(3):
        seed(4)
        maps.append(call(explainer, model, inputs, torch.full((3,), target)))
    blind = explainer.traits.class_agnostic or spec in CONTROLS[:-1]
    assert torch.equal(maps[0], maps[1]) == blind
    assert torch.equal(maps[1], maps[2]) == blind


@in_one_test("spec", ALL)
def test_claims_name_checks_that_are_claimed_and_papers_of_the_bibliography(spec):
    claimable = {check.name for check in checks.all() if check.scope == "claimed"}
    entry = ENTRIES[spec]
    assert {claim.check for claim in entry.claims} <= claimable
    sources = {claim.source for claim in entry.claims} | {entry.traits.source} - {""}
    assert sources <= set(re.findall(r"@\w+\{(\w+),", BIBLIOGRAPHY.read_text("utf-8")))
    assert entry.traits.claims == {
        claim.check for claim in entry.claims if claim.holds(entry.options)
    }
    for claim in entry.claims:
        assert set(claim.when) <= set(entry.options)


@pytest.mark.parametrize(
    "spec, options, change",
    [
        ("captum:Saliency", {"absolute": False}, {"linearity", "sign_convention"}),
        ("captum:SmoothGrad", {"absolute": True}, {"linearity", "sign_convention"}),
        ("captum:Occlusion", {"per_channel": True}, {"dummy_feature"}),
        ("captum:Occlusion", {"window": 1}, {"symmetry", "translation_equivariance"}),
    ],
)
def test_claims_that_an_option_earns_or_costs(spec, options, change):
    assert get(spec, **options).traits.claims ^ get(spec).traits.claims == change


def test_libraries_are_named_with_their_versions():
    for spec in OF_LIBRARIES:
        distribution = LIBRARIES[spec.partition(":")[0]]
        assert ENTRIES[spec].traits.library == f"{distribution} {version(distribution)}"
    for spec in set(ALL) - set(OF_LIBRARIES):
        assert ENTRIES[spec].traits.library == f"pytest-xai {version('pytest-xai')}"


def test_every_entry_says_what_it_is_and_costs():
    for entry in explainers.describe():
        assert entry.summary.endswith((".", ").")), entry.spec
        assert entry.traits.cost, entry.spec
        assert "{" not in entry.traits.cost, entry.spec


def counted(explainer, model, inputs, targets):
    spent = {"forward": 0, "backward": 0}

    def count(_, __, output):
        spent["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda _: spent.update(backward=spent["backward"] + len(output)))

    handle = model.register_forward_hook(count)
    try:
        call(explainer, model, inputs, targets)
    finally:
        handle.remove()
    return spent["forward"], spent["backward"]


PLAIN_COST = re.compile(r"(\d+) forward(?: \+ (\d+) backward)?|none")


@in_one_test("spec", ALL)
def test_declared_cost_is_the_counted_one(spec):
    """Costs in words beyond numbers are counted in the tests of their own explainers."""
    explainer = get(spec)
    numbers = PLAIN_COST.fullmatch(explainer.traits.cost)
    if numbers is None:
        assert re.search("forward|times that of", explainer.traits.cost)
        return
    expected = tuple(3 * int(number or 0) for number in numbers.groups())
    assert counted(explainer, *case_of(spec)) == expected


def test_unknown_name_lists_what_there_is():
    with pytest.raises(UnknownName) as caught:
        explainers.get("captum:IntegratedGradient")
    text = str(caught.value)
    assert "Did you mean 'captum:IntegratedGradients'?" in text
    assert all(spec in text for spec in NAMES)


def test_name_without_library_is_unknown_but_near():
    with pytest.raises(UnknownName, match="Did you mean 'Saliency'"):
        explainers.get("Salience")


def test_name_of_a_wrong_type():
    with pytest.raises(InvalidArgument, match=r"spec: got 3, expected a name of the gallery"):
        explainers.get(3)


def test_unknown_option_lists_the_options_with_defaults():
    with pytest.raises(InvalidArgument) as caught:
        explainers.get("captum:IntegratedGradients", n_steps=20)
    assert str(caught.value) == (
        "captum:IntegratedGradients has no option 'n_steps' (did you mean 'steps'?). "
        "Its options: steps=50, method='gausslegendre'"
    )


def test_option_of_an_explainer_that_has_none():
    with pytest.raises(InvalidArgument, match=r"'steps'\. Its options: none"):
        explainers.get("captum:InputXGradient", steps=3)


@pytest.mark.parametrize(
    "spec, options, message",
    [
        ("captum:Saliency", {"absolute": 1}, "absolute: got 1, expected true or false"),
        ("captum:IntegratedGradients", {"steps": 1}, "steps: got 1, expected an integer >= 2"),
        ("captum:IntegratedGradients", {"steps": 2.0}, "steps: got 2.0, expected an integer"),
        ("captum:Occlusion", {"window": True}, "window: got True, expected an integer >= 1"),
        ("captum:IntegratedGradients", {"method": "simpson"}, "expected one of gausslegendre"),
        ("captum:IntegratedGradients", {"method": 3}, "method: got 3, expected one of"),
        ("captum:LayerGradCam", {"layer": ""}, "layer: got '', expected a non-empty string"),
        ("captum:LayerGradCam", {"layer": 4}, "layer: got 4, expected a non-empty string"),
        ("captum:Occlusion", {"window": 0}, "window: got 0, expected an integer >= 1"),
        ("captum:Occlusion", {"stride": "1"}, "stride: got '1', expected an integer >= 1"),
        ("captum:Occlusion", {"window": 2, "stride": 3}, "stride: got 3, expected at most"),
        ("captum:Occlusion", {"per_channel": None}, "per_channel: got None, expected true"),
        ("captum:SmoothGrad", {"draws": -1}, "draws: got -1, expected an integer >= 1"),
        ("captum:SmoothGrad", {"sigma": -0.1}, "sigma: got -0.1, expected a share >= 0"),
        ("captum:SmoothGrad", {"sigma": float("nan")}, "sigma: got nan, expected a finite"),
        ("captum:SmoothGrad", {"sigma": "0.1"}, "sigma: got '0.1', expected a finite number"),
        ("captum:SmoothGrad", {"sigma": True}, "sigma: got True, expected a finite number"),
        ("captum:SmoothGrad", {"absolute": "no"}, "absolute: got 'no', expected true or false"),
        ("control:ConstantMap", {"value": None}, "value: got None, expected a finite number"),
    ],
)
def test_wrong_value_of_an_option(spec, options, message):
    with pytest.raises(InvalidArgument) as caught:
        explainers.get(spec, **options)
    text = str(caught.value)
    assert text.startswith(f"{spec}: ")
    assert message in text
    assert "Its options: " in text


@pytest.fixture
def no_library(monkeypatch):
    """As if a library and its parts were not installed."""

    def remove(name):
        for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, name, None)

    return remove


@in_one_test("spec", OF_LIBRARIES)
def test_a_missing_library_is_told_when_an_explainer_is_called(spec, no_library):
    prefix = spec.partition(":")[0]
    no_library(MODULES.get(prefix, prefix))
    extra = LIBRARIES[prefix]
    with pytest.raises(MissingDependency, match=rf'pip install "pytest-xai\[{extra}\]"'):
        call(get(spec), *case_of(spec))


def test_own_explainers_and_the_listing_need_no_library(no_library):
    for prefix in LIBRARIES:
        no_library(MODULES.get(prefix, prefix))
    assert [entry.spec for entry in explainers.describe()] == NAMES
    for spec in set(ALL) - set(OF_LIBRARIES):
        call(get(spec), *case_of(spec))


def test_gallery_is_listed_and_built_without_importing_a_library():
    program = (
        "import sys; from pytest_xai import explainers; explainers.describe(); "
        "[explainers.get(name) for name in explainers.names() if name != 'xai:StoredMaps']; "
        f"print([name for name in {[MODULES.get(each, each) for each in LIBRARIES]} "
        "+ ['torchvision', 'skimage', 'sklearn'] if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: PLW1510 - stderr is shown below
    assert done.stdout.strip() == "[]", done.stderr
