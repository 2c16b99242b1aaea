import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument, MissingDependency, UnknownName

CAPTUM = [
    "captum:Saliency",
    "captum:InputXGradient",
    "captum:IntegratedGradients",
    "captum:DeepLift",
    "captum:GuidedBackprop",
    "captum:Deconvolution",
    "captum:LayerGradCam",
    "captum:Occlusion",
    "captum:SmoothGrad",
]
CONTROLS = [
    "control:RandomMap",
    "control:ConstantMap",
    "control:InputItself",
    "control:EdgeDetector",
    "control:OtherClass",
]
ALL = CAPTUM + CONTROLS
STOCHASTIC = {"captum:SmoothGrad", "control:RandomMap"}
SPATIAL_MAPS = {"captum:LayerGradCam", "captum:Occlusion", "control:EdgeDetector"}


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
        self.head = nn.Linear(5, 3)

    def forward(self, inputs):
        hidden = self.relu(self.first(inputs))
        return self.head(hidden.flatten(2).mean(2) if hidden.ndim > 2 else hidden)


SHAPES = {"table": (7,), "signal": (2, 9), "image": (2, 6, 5), "volume": (2, 4, 5, 3)}


def case(kind="image", count=3, dtype=torch.float64):
    torch.manual_seed(0)
    shape = SHAPES[kind]
    model = Network(shape).to(dtype).eval()
    inputs = torch.randn(count, *shape, dtype=dtype)
    return model, inputs, torch.tensor([2, 0, 1])[:count]


def call(explainer, model, inputs, targets):
    options = {}
    if explainer.traits.needs_baseline:
        options["baseline"] = torch.full_like(inputs[:1], 0.25)
    return explainer.call(model, inputs, targets, **options)


def test_names_in_order():
    assert explainers.names() == ALL


@pytest.mark.parametrize(
    "spec, kind",
    [
        (spec, kind)
        for spec in ALL
        for kind in SHAPES
        # A table has no places for Grad-CAM: see test_captum_grad_cam.
        if (spec, kind) != ("captum:LayerGradCam", "table")
    ],
)
def test_map_shape_dtype_and_finite(spec, kind):
    model, inputs, targets = case(kind)
    maps = call(explainers.get(spec), model, inputs, targets)
    spatial = spec in SPATIAL_MAPS and kind != "table"
    assert maps.shape == ((3, 1, *inputs.shape[2:]) if spatial else inputs.shape)
    assert maps.dtype == torch.float64
    assert torch.isfinite(maps).all()
    assert maps.abs().sum() > 0


@pytest.mark.parametrize("spec", ALL)
def test_no_traces(spec):
    model, inputs, targets = case(dtype=torch.float32)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [set(vars(module)) for module in model.modules()]
    original = inputs.clone()
    maps = call(explainers.get(spec), model, inputs, targets)
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


@pytest.mark.parametrize("spec", ALL)
def test_gradients_disabled_by_the_caller_change_nothing(spec):
    model, inputs, targets = case()
    torch.manual_seed(1)
    expected = call(explainers.get(spec), model, inputs, targets)
    torch.manual_seed(1)
    with torch.no_grad():
        maps = call(explainers.get(spec), model, inputs, targets)
    assert torch.equal(maps, expected)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec not in STOCHASTIC])
def test_deterministic_explainers_draw_nothing(spec):
    model, inputs, targets = case()
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    call(explainers.get(spec), model, inputs, targets)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


def test_stochastic_explainers_declare_it():
    declared = {entry.spec for entry in explainers.describe() if entry.traits.stochastic}
    assert declared == STOCHASTIC


@pytest.mark.parametrize("spec", [spec for spec in ALL if spec != "control:RandomMap"])
def test_an_image_alone_has_the_same_map(spec):
    model, inputs, targets = case()
    explainer = explainers.get(spec)

    def explain(rows):
        torch.manual_seed(3)
        return call(explainer, model, inputs[rows], targets[rows])

    together = explain(slice(None))
    for row in range(3):
        alone = explain(slice(row, row + 1))
        assert torch.allclose(alone, together[row : row + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec", [*CAPTUM, "control:OtherClass"])
def test_target_matters(spec):
    model, inputs, _ = case()
    explainer = explainers.get(spec)
    maps = []
    for target in range(3):
        torch.manual_seed(4)
        maps.append(call(explainer, model, inputs, torch.full((3,), target)))
    assert not torch.allclose(maps[0], maps[1])
    assert not torch.allclose(maps[1], maps[2])


CLAIMS = {
    "captum:Saliency": {"dummy_feature", "implementation_invariance"},
    "captum:InputXGradient": {"dummy_feature", "implementation_invariance", "linearity"},
    "captum:IntegratedGradients": {
        "summation_to_delta",
        "dummy_feature",
        "implementation_invariance",
        "linearity",
    },
    "captum:DeepLift": {"summation_to_delta", "dummy_feature", "linearity"},
    "captum:GuidedBackprop": {"dummy_feature"},
    "captum:Deconvolution": {"dummy_feature"},
    "captum:LayerGradCam": set(),
    "captum:Occlusion": {"implementation_invariance", "linearity"},
    "captum:SmoothGrad": {"dummy_feature", "implementation_invariance", "linearity"},
    **{spec: set() for spec in CONTROLS},
}


def test_claims():
    assert {entry.spec: set(entry.traits.claims) for entry in explainers.describe()} == CLAIMS
    assert {spec: set(explainers.get(spec).traits.claims) for spec in ALL} == CLAIMS


@pytest.mark.parametrize(
    "spec, options, gained",
    [
        ("captum:Saliency", {"absolute": False}, {"linearity"}),
        ("captum:Saliency", {"absolute": True}, set()),
        ("captum:Occlusion", {"per_channel": True}, {"dummy_feature"}),
    ],
)
def test_claims_that_an_option_earns(spec, options, gained):
    assert set(explainers.get(spec, **options).traits.claims) == CLAIMS[spec] | gained


def test_claims_that_an_option_costs():
    claims = explainers.get("captum:SmoothGrad", absolute=True).traits.claims
    assert set(claims) == {"dummy_feature", "implementation_invariance"}


def test_baselines_are_asked_for_where_the_method_has_one():
    needing = {entry.spec for entry in explainers.describe() if entry.traits.needs_baseline}
    assert needing == {"captum:IntegratedGradients", "captum:DeepLift", "captum:Occlusion"}


def test_methods_sources_and_libraries():
    traits = {entry.spec: entry.traits for entry in explainers.describe()}
    assert [(traits[spec].method, traits[spec].source) for spec in CAPTUM] == [
        ("gradient", "simonyan2014"),
        ("input_x_gradient", "shrikumar2016"),
        ("integrated_gradients", "sundararajan2017"),
        ("deep_lift_rescale", "shrikumar2017"),
        ("guided_backprop", "springenberg2015"),
        ("deconvolution", "zeiler2014"),
        ("grad_cam", "selvaraju2017"),
        ("occlusion", "zeiler2014"),
        ("smooth_grad", "smilkov2017"),
    ]
    assert {traits[spec].method for spec in CONTROLS} == {None}
    assert all(traits[spec].library.startswith("captum 0.") for spec in CAPTUM)
    assert all(traits[spec].library.startswith("pytest-xai ") for spec in CONTROLS)


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


@pytest.mark.parametrize(
    "spec, options, cost, forward, backward",
    [
        ("captum:Saliency", {}, "1 forward + 1 backward", 3, 3),
        ("captum:InputXGradient", {}, "1 forward + 1 backward", 3, 3),
        ("captum:IntegratedGradients", {}, "50 forward + 50 backward", 150, 150),
        ("captum:IntegratedGradients", {"steps": 7}, "7 forward + 7 backward", 21, 21),
        ("captum:DeepLift", {}, "2 forward + 2 backward", 6, 6),
        ("captum:GuidedBackprop", {}, "1 forward + 1 backward", 3, 3),
        ("captum:Deconvolution", {}, "1 forward + 1 backward", 3, 3),
        (
            "captum:LayerGradCam",
            {},
            "1 forward per call, then 1 forward + 1 backward",
            4,
            3,
        ),
        ("captum:Occlusion", {}, "1 forward + 1 for each window position", 3 + 3 * 30, 0),
        ("captum:SmoothGrad", {}, "25 forward + 25 backward", 75, 75),
        ("captum:SmoothGrad", {"draws": 4}, "4 forward + 4 backward", 12, 12),
        *((spec, {}, "none", 0, 0) for spec in CONTROLS[:4]),
        ("control:OtherClass", {}, "1 forward + 1 backward", 3, 3),
    ],
)
def test_declared_cost_is_the_counted_one(spec, options, cost, forward, backward):
    explainer = explainers.get(spec, **options)
    assert explainer.traits.cost == cost
    assert counted(explainer, *case()) == (forward, backward)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(UnknownName) as caught:
        explainers.get("captum:IntegratedGradient")
    text = str(caught.value)
    assert "Did you mean 'captum:IntegratedGradients'?" in text
    assert all(spec in text for spec in ALL)


def test_name_without_library_is_unknown_but_near():
    with pytest.raises(UnknownName, match="Did you mean 'captum:Saliency'"):
        explainers.get("Saliency")


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
def no_captum(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)


@pytest.mark.parametrize("spec", CAPTUM)
def test_missing_captum_is_told_when_an_explainer_is_called(spec, no_captum):
    explainer = explainers.get(spec)
    with pytest.raises(MissingDependency, match=r'pip install "pytest-xai\[captum\]"'):
        call(explainer, *case())


def test_controls_and_listing_need_no_captum(no_captum):
    assert [entry.spec for entry in explainers.describe()] == ALL
    for spec in CONTROLS:
        call(explainers.get(spec), *case())


def test_gallery_is_listed_and_built_without_importing_captum():
    program = (
        "import sys; from pytest_xai import explainers; explainers.describe(); "
        "[explainers.get(name) for name in explainers.names()]; "
        "print('captum' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: PLW1510 - stderr is shown below
    assert done.stdout.strip() == "False", done.stderr
