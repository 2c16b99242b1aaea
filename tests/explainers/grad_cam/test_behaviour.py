"""Requirements of all explainers of grad-cam: no side effects, independence, costs, refusals."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.core.subject import SingleOutput
from pytest_xai.errors import InvalidArgument, MissingDependency, NotApplicable
from pytest_xai.explainers.grad_cam import ENTRIES

NAMES = [
    "GradCAM",
    "GradCAMPlusPlus",
    "XGradCAM",
    "HiResCAM",
    "LayerCAM",
    "ScoreCAM",
    "AblationCAM",
    "EigenCAM",
    "FEM",
    "FullGrad",
]
AGNOSTIC = {"EigenCAM", "FEM"}
LAYERED = [name for name in NAMES if name != "FullGrad"]
VOLUMES = ["GradCAM", "GradCAMPlusPlus", "XGradCAM", "HiResCAM", "LayerCAM", "EigenCAM", "FEM"]
PAIRS = [(name, 2) for name in NAMES] + [(name, 3) for name in VOLUMES]


class Network(nn.Module):
    """Convolution, in-place ReLU, mean over all places, three classes; it counts its passes."""

    def __init__(self, dimensions=2):
        super().__init__()
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.convolution = convolution(2, 5, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(5, 3)

    def forward(self, inputs):
        return self.head(self.relu(self.convolution(inputs)).flatten(2).mean(2))


def case(dimensions=2, dtype=torch.float64):
    torch.manual_seed(0)
    model = Network(dimensions).to(dtype).eval()
    inputs = torch.randn(3, 2, *(6, 5, 4)[:dimensions], dtype=dtype)
    return model, inputs, torch.tensor([2, 0, 1])


def explain(name, model, inputs, targets, **options):
    return ENTRIES[f"gradcam:{name}"].factory(**options)(model, inputs, targets)


def test_the_ten_of_the_table():
    assert {spec.removeprefix("gradcam:") for spec in ENTRIES} == set(NAMES)
    assert {spec for spec, entry in ENTRIES.items() if entry.class_agnostic} == {
        "gradcam:EigenCAM",
        "gradcam:FEM",
    }
    assert not any(entry.stochastic for entry in ENTRIES.values())
    claimed = {claim.check for entry in ENTRIES.values() for claim in entry.claims}
    assert claimed == {"shift_invariance", "sign_convention"}
    assert all(entry.summary.endswith(").") for entry in ENTRIES.values())
    assert {spec: set(entry.inputs) for spec, entry in ENTRIES.items()} == {
        f"gradcam:{name}": {"image", "volume"} if name in VOLUMES else {"image"} for name in NAMES
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name, dimensions", PAIRS)
def test_maps_between_zero_and_one(name, dimensions, dtype):
    model, inputs, targets = case(dimensions, dtype)
    maps = explain(name, model, inputs, targets)
    assert maps.shape == (3, 1, *inputs.shape[2:])
    assert maps.dtype == dtype
    assert not maps.requires_grad
    assert maps.min() == 0
    assert 1 - 1e-5 < maps.max() <= 1
    assert maps.data_ptr() != inputs.data_ptr()


def photograph(model):
    return (
        {key: value.clone() for key, value in model.state_dict().items()},
        [(module.training, set(vars(module))) for module in model.modules()],
        [(value.requires_grad, value.data_ptr()) for value in model.parameters()],
        [
            len(hooks)
            for module in model.modules()
            for hooks in (
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._modules,
            )
        ],
    )


@pytest.mark.parametrize("name, dimensions", PAIRS)
def test_no_traces(name, dimensions, capsys):
    model, inputs, targets = case(dimensions)
    # Modes and gradients that the library would overwrite.
    model.relu.train()
    model.head.bias.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before, original = photograph(model), inputs.clone()
    generators = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    explain(name, model, inputs, targets)
    after = photograph(model)
    assert all(torch.equal(after[0][key], value) for key, value in before[0].items())
    assert after[1:] == before[1:]
    assert torch.equal(model.head.weight.grad, torch.ones(3, 5))
    assert model.convolution.weight.grad is None
    assert torch.equal(inputs, original)
    assert inputs.grad is None
    assert not inputs.requires_grad
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert np.array_equal(np.random.get_state()[1], generators[1])
    assert random.getstate() == generators[2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name, dimensions", PAIRS)
def test_neither_disabled_gradients_nor_frozen_parameters_matter(name, dimensions):
    model, inputs, targets = case(dimensions)
    expected = explain(name, model, inputs, targets)
    model.requires_grad_(False)
    with torch.no_grad():
        maps = explain(name, model, inputs, targets)
    assert torch.equal(maps, expected)


@pytest.mark.parametrize("name, dimensions", PAIRS)
def test_an_image_has_the_same_map_in_any_batch(name, dimensions):
    model, inputs, targets = case(dimensions)
    together = explain(name, model, inputs, targets)
    for row in range(3):
        alone = explain(name, model, inputs[[row]], targets[[row]])
        assert torch.allclose(alone[0], together[row], rtol=0, atol=1e-6)
    flipped = explain(name, model, inputs.flip(0), targets.flip(0)).flip(0)
    assert torch.allclose(flipped, together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name, dimensions", PAIRS)
def test_more_images_than_go_through_at_once(name, dimensions, monkeypatch):
    model, inputs, targets = case(dimensions)
    expected = explain(name, model, inputs, targets)
    largest = []
    model.register_forward_hook(lambda _, __, output: largest.append(len(output)))
    monkeypatch.setattr("pytest_xai.explainers.adapting.passes._IMAGES", 2)
    maps = explain(name, model, inputs, targets)
    assert torch.allclose(maps, expected, rtol=0, atol=1e-6)
    assert max(largest) == (1 if name == "FullGrad" else 2)


@pytest.mark.parametrize("name, dimensions", PAIRS)
def test_target_matters_unless_declared(name, dimensions):
    model, inputs, _ = case(dimensions)
    first, second = (explain(name, model, inputs, torch.full((3,), target)) for target in (0, 1))
    assert torch.equal(first, second) == (name in AGNOSTIC)


@pytest.mark.parametrize("name", NAMES)
def test_memory_with_channels_last(name):
    model, inputs, targets = case()
    expected = explain(name, model, inputs, targets)
    last = torch.channels_last
    maps = explain(
        name, model.to(memory_format=last), inputs.contiguous(memory_format=last), targets
    )
    assert torch.allclose(maps, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in AGNOSTIC])
def test_a_target_that_does_not_exist_is_told(name):
    model, inputs, targets = case()
    with pytest.raises(IndexError):
        explain(name, model, inputs, targets + 3)


ONE = "1 forward per call, then 1 forward"


@pytest.mark.parametrize(
    "name, cost, forward, backward",
    [
        *((name, f"{ONE} + 1 backward", 1 + 3, 3) for name in (*VOLUMES[:5], "FullGrad")),
        *((name, ONE, 1 + 3, 0) for name in ("EigenCAM", "FEM")),
        ("ScoreCAM", f"{ONE} + 1 for each channel of the layer", 1 + 3 * (1 + 5), 0),
        (
            "AblationCAM",
            "1 forward per call, then 2 forward + 1 for each channel of the layer",
            1 + 3 * (2 + 5),
            0,
        ),
    ],
)
def test_declared_cost_is_the_counted_one(name, cost, forward, backward):
    model, inputs, targets = case()
    spent = {"forward": 0, "backward": 0}

    def count(_, __, output):
        spent["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda _: spent.update(backward=spent["backward"] + len(output)))

    model.register_forward_hook(count)
    assert ENTRIES[f"gradcam:{name}"].cost == cost
    explain(name, model, inputs, targets)
    assert spent == {"forward": forward, "backward": backward}


@pytest.mark.parametrize("name", LAYERED)
def test_layer_by_name(name):
    model, inputs, targets = case()
    found = explain(name, model, inputs, targets)
    assert torch.equal(explain(name, model, inputs, targets, layer="convolution"), found)
    later = explain(name, model, inputs, targets, layer="relu")
    # Gradients are zero where the ReLU is closed: there the two layers are one for these.
    assert torch.equal(later, found) == (name in {"HiResCAM", "LayerCAM"})


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_a_wrapped_model(name):
    class Scalar(Network):
        def forward(self, inputs):
            return super().forward(inputs)[:, 1]

    torch.manual_seed(0)
    model = Scalar().double().eval()
    plain, inputs, _ = case()
    plain.load_state_dict(model.state_dict())
    options = {} if name == "FullGrad" else {"layer": "relu"}
    maps = explain(name, SingleOutput(model), inputs, torch.zeros(3, dtype=torch.long), **options)
    expected = explain(name, plain, inputs, torch.ones(3, dtype=torch.long), **options)
    assert torch.equal(maps, expected)


@pytest.mark.parametrize("name", LAYERED)
@pytest.mark.parametrize("layer", ["missing", "unused", "head"])
def test_layers_that_give_no_map_are_refused(name, layer):
    model, inputs, targets = case()
    model.unused = nn.Conv2d(2, 2, 3)
    with pytest.raises(InvalidArgument, match=f"got '{layer}'.*convolution, relu$"):
        explain(name, model, inputs, targets, layer=layer)


@pytest.mark.parametrize("name", LAYERED)
@pytest.mark.parametrize("layer", ["", 3])
def test_layers_that_are_no_names_are_refused_at_once(name, layer):
    with pytest.raises(InvalidArgument, match="layer: got .* expected a non-empty string"):
        ENTRIES[f"gradcam:{name}"].factory(layer=layer)


@pytest.mark.parametrize("k", ["2", float("nan"), None])
def test_fem_refuses_what_is_no_number(k):
    with pytest.raises(InvalidArgument, match="k: got .* expected a finite number"):
        ENTRIES["gradcam:FEM"].factory(k=k)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_convolutions_is_not_applicable(name):
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(60, 3)).double()
    with pytest.raises(NotApplicable, match="the model executes no "):
        explain(name, model, *case()[1:])


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_parameters_is_not_applicable(name):
    with pytest.raises(NotApplicable, match="needs a model with a parameter"):
        explain(name, nn.Flatten(), *case()[1:])


class Twice(Network):
    """The convolution runs twice in a pass."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(2, 2, 3, padding=1)
        self.head = nn.Linear(2, 3)

    def forward(self, inputs):
        return super().forward(self.convolution(inputs).tanh())


@pytest.mark.parametrize("name", LAYERED)
def test_a_layer_that_runs_twice_is_not_applicable(name):
    with pytest.raises(NotApplicable, match="runs 2 times in a pass"):
        explain(name, Twice().double(), *case()[1:])


def test_full_grad_refuses_layers_that_run_twice():
    with pytest.raises(NotApplicable, match="do not run once each in that order"):
        explain("FullGrad", Twice().double(), *case()[1:])


class Ordered(nn.Module):
    """Convolutions of the same shape, executed in a given order."""

    def __init__(self, order):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.order = order

    def forward(self, inputs):
        for name in self.order:
            inputs = getattr(self, name)(inputs).tanh()
        return inputs.flatten(1)[:, :3]


@pytest.mark.parametrize("order", ["ba", "a", "b"])
def test_full_grad_refuses_another_order_than_that_of_definition(order):
    _, inputs, targets = case()
    explain("FullGrad", Ordered("ab").double(), inputs, targets)
    with pytest.raises(NotApplicable, match="do not run once each in that order"):
        explain("FullGrad", Ordered(order).double(), inputs, targets)


def test_full_grad_refuses_a_layer_of_two_names():
    model, inputs, targets = case()
    model.second = model.convolution
    with pytest.raises(NotApplicable, match="do not run once each in that order"):
        explain("FullGrad", model, inputs, targets)


def test_full_grad_refuses_normalisation_by_the_batch():
    model, inputs, targets = case()
    model.relu = nn.BatchNorm2d(5, track_running_stats=False).double()
    with pytest.raises(NotApplicable, match="needs a running mean"):
        explain("FullGrad", model, inputs, targets)


def test_ablation_refuses_a_layer_that_runs_under_its_second_name():
    class Alias(Network):
        def __init__(self):
            super().__init__()
            self.second = self.convolution

        def forward(self, inputs):
            return self.head(self.relu(self.second(inputs)).flatten(2).mean(2))

    with pytest.raises(NotApplicable, match="under the first of its names"):
        explain("AblationCAM", Alias().double(), *case()[1:])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_evidence_has_a_map_of_zeros(name):
    model, inputs, targets = case()
    inputs[1] = 0
    with torch.no_grad():
        model.convolution.bias.fill_(-1)
        model.head.bias.zero_()
    # All ReLUs are closed for image 1, and its outputs are 0.
    options = {} if name == "FullGrad" else {"layer": "relu"}
    maps = explain(name, model, inputs, targets, **options)
    assert torch.isfinite(maps).all()
    assert (maps[1] == 0).all()
    assert maps[0].max() > 0.9


@pytest.mark.parametrize("name", ["GradCAM", "HiResCAM", "XGradCAM", "LayerCAM", "AblationCAM"])
def test_evidence_against_the_target_alone_gives_zeros(name):
    model, inputs, targets = case()
    with torch.no_grad():
        model.head.weight.copy_(-model.head.weight.abs())
        model.head.bias.fill_(50.0)
    assert (explain(name, model, inputs, targets, layer="relu") == 0).all()


def test_a_broken_model_is_not_hidden_by_zeros():
    model, inputs, targets = case()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    assert torch.isnan(explain("AblationCAM", model, inputs, targets)).all()


@pytest.mark.parametrize("name", NAMES)
def test_missing_library(name, monkeypatch):
    for module in [each for each in sys.modules if each.partition(".")[0] == "pytorch_grad_cam"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(MissingDependency, match=r'pip install "pytest-xai\[grad-cam\]"'):
        explain(name, *case())
