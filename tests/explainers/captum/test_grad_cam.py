import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.core.subject import SingleOutput
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting import passes

LAYERED = ["captum:LayerGradCam", "captum:GuidedGradCam", "captum:LayerConductance"]
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Pooled(nn.Module):
    """Convolution, ReLU, global average pooling, linear: where Grad-CAM is CAM / places."""

    def __init__(self, dimensions=2, *, inplace=False):
        super().__init__()
        self.convolution = CONVOLUTIONS[dimensions](2, 6, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs):
        return self.head(self.relu(self.convolution(inputs)).flatten(2).mean(2))


def pooled(dimensions=2, *, inplace=False):
    torch.manual_seed(0)
    model = Pooled(dimensions, inplace=inplace).double()
    return model, torch.randn(4, 2, *(8, 6, 4)[:dimensions]).double(), torch.tensor([2, 0, 1, 1])


def call(explainer, model, inputs, targets):
    if explainer.traits.needs_baseline:
        return explainer.call(model, inputs, targets, baseline=torch.zeros_like(inputs[:1]))
    return explainer.call(model, inputs, targets)


def resized(maps, spatial):
    """Linear interpolation between pixel centres along each axis, the edges continued."""
    values = maps.detach().numpy()
    for axis, side in enumerate(spatial, start=2):
        small = values.shape[axis]
        places = (np.arange(side) + 0.5) * small / side - 0.5
        values = np.apply_along_axis(
            lambda line, places=places: np.interp(places, np.arange(len(line)), line), axis, values
        )
    return torch.from_numpy(values)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_rectified_cam_over_places(dimensions):
    model, inputs, targets = pooled(dimensions)
    maps = explainers.get("captum:LayerGradCam", layer="relu").call(model, inputs, targets)
    activations = model.relu(model.convolution(inputs))
    places = activations[0, 0].numel()
    cam = torch.einsum("nk,nk...->n...", model.head.weight[targets], activations) / places
    expected = resized(cam.relu().unsqueeze(1), inputs.shape[2:])
    assert torch.allclose(maps, expected, atol=1e-12)
    assert (cam < -0.01).any()
    assert maps.max() > 0


@pytest.mark.parametrize("inplace", [False, True])
def test_default_is_the_last_convolution_before_its_relu(inplace):
    model, inputs, targets = pooled(inplace=inplace)
    maps = explainers.get("captum:LayerGradCam").call(model, inputs, targets)
    outputs = model.convolution(inputs)
    # The gradient of a place is its channel's weight / places where the ReLU is open.
    weights = (
        model.head.weight[targets] * (outputs > 0).double().mean((2, 3)) / outputs[0, 0].numel()
    )
    cam = torch.einsum("nk,nkij->nij", weights, outputs).relu().unsqueeze(1)
    assert torch.allclose(maps, resized(cam, inputs.shape[2:]), atol=1e-12)


class Shuffled(nn.Module):
    """Convolutions whose order of definition is not that of execution; one is never executed."""

    def __init__(self):
        super().__init__()
        self.late = nn.Conv2d(3, 4, 3)
        self.early = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
        self.unused = nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.late(self.early(inputs)).sin().mean((2, 3)))


def shuffled():
    torch.manual_seed(0)
    return Shuffled().double(), torch.randn(2, 1, 9, 9).double(), torch.tensor([1, 0])


def test_last_executed_convolution_is_found():
    case = shuffled()
    found = explainers.get("captum:LayerGradCam").call(*case)
    named = explainers.get("captum:LayerGradCam", layer="late").call(*case)
    first = explainers.get("captum:LayerGradCam", layer="early.0").call(*case)
    assert torch.equal(found, named)
    assert not torch.allclose(found, first)


class Returning(nn.Module):
    """Its second convolution runs once, between two runs of its first."""

    def __init__(self):
        super().__init__()
        self.outer = nn.Conv2d(2, 2, 3)
        self.inner = nn.Conv2d(2, 2, 3)

    def forward(self, inputs):
        return self.outer(self.inner(self.outer(inputs)).sin()).sin().mean((2, 3))


def test_a_convolution_that_runs_twice_counts_where_it_runs_last():
    torch.manual_seed(0)
    case = Returning().double(), torch.randn(1, 2, 12, 12).double(), torch.tensor([1])
    found = explainers.get("captum:LayerGradCam").call(*case)
    outer = explainers.get("captum:LayerGradCam", layer="outer").call(*case)
    inner = explainers.get("captum:LayerGradCam", layer="inner").call(*case)
    assert torch.equal(found, outer)
    assert not torch.allclose(found, inner)


@pytest.mark.parametrize("layer", ["missing", "unused", "head"])
def test_layers_that_give_no_map_are_refused_with_those_that_do(layer):
    model, inputs, targets = shuffled()
    with pytest.raises(InvalidArgument) as caught:
        explainers.get("captum:LayerGradCam", layer=layer).call(model, inputs, targets)
    assert str(caught.value) == (
        f"layer: got '{layer}', expected a layer that the model executes and whose output has the "
        "inputs' number of dimensions: early.0, early.1, early, late"
    )
    assert all(not module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("spec", LAYERED)
def test_a_model_without_convolutions_has_no_map_of_its_own(spec):
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(NotApplicable) as caught:
        call(explainers.get(spec), model, torch.rand(1, 1, 4, 4), torch.tensor([0]))
    assert "executes no convolution" in str(caught.value)
    assert str(caught.value).endswith("with the option layer: 0")


@pytest.mark.parametrize("spec", LAYERED)
@pytest.mark.parametrize("options, error", [({}, NotApplicable), ({"layer": "1"}, InvalidArgument)])
def test_a_model_without_any_map_is_refused(spec, options, error):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(error, match="this model has none"):
        call(explainers.get(spec, **options), model, torch.rand(1, 1, 4, 4), torch.tensor([0]))


@pytest.mark.parametrize("spec", LAYERED)
@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4, 5)])
def test_inputs_without_one_to_three_spatial_dimensions_are_refused(spec, shape):
    with pytest.raises(NotApplicable, match=f"{spec} explains inputs that are a signal or image"):
        call(explainers.get(spec), nn.Flatten(), torch.rand(2, *shape), torch.tensor([0, 0]))


@pytest.mark.parametrize("layer", [None, "relu"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_guided_grad_cam_is_the_product(dimensions, layer):
    model, inputs, targets = pooled(dimensions)
    case = model, inputs, targets
    cam = explainers.get("captum:LayerGradCam", layer=layer).call(*case)
    outputs = model.convolution(inputs)
    # Guided backpropagation of one layer: what is negative at a ReLU does not pass it.
    signal = model.head.weight[targets].relu() / outputs[0, 0].numel()
    signal = signal.reshape(*signal.shape, *(1,) * dimensions) * (outputs > 0)
    guided = torch.autograd.grad(
        model.convolution(values := inputs.clone().requires_grad_()), values, signal
    )[0]
    maps = explainers.get("captum:GuidedGradCam", layer=layer).call(*case)
    assert torch.allclose(maps, cam * guided, atol=1e-14)
    assert maps.abs().max() > 0


def test_guided_grad_cam_refuses_functional_relu():
    class Functional(Pooled):
        def forward(self, inputs):
            return self.head(torch.relu(self.convolution(inputs)).flatten(2).mean(2))

    with pytest.raises(InvalidArgument, match="calls of relu outside .* GuidedGradCam replaces"):
        explainers.get("captum:GuidedGradCam").call(
            Functional(), torch.rand(1, 2, 6, 6), torch.tensor([0])
        )


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_conductance_of_a_layer_before_what_is_linear(dimensions, rows):
    model, inputs, targets = pooled(dimensions)
    torch.manual_seed(5)
    baseline = torch.randn_like(inputs[:rows])
    maps = explainers.get("captum:LayerConductance", layer="relu", steps=3).call(
        model, inputs, targets, baseline=baseline
    )
    change = model.relu(model.convolution(inputs)) - model.relu(model.convolution(baseline))
    places = change[0, 0].numel()
    conductance = torch.einsum("nk,nk...->n...", model.head.weight[targets], change) / places
    assert torch.allclose(maps, resized(conductance.unsqueeze(1), inputs.shape[2:]), atol=1e-12)
    delta = (model(inputs) - model(baseline)).gather(1, targets[:, None]).squeeze(1)
    assert torch.allclose(conductance.flatten(1).sum(1), delta)


def test_conductance_before_a_relu_sums_to_the_difference_in_the_limit():
    model, inputs, targets = pooled()
    model.convolution.stride, model.convolution.bias.data = (1, 1), torch.zeros(6).double()
    zero = torch.zeros_like(inputs)

    def gap(steps):
        maps = explainers.get("captum:LayerConductance", steps=steps).call(
            model, inputs, targets, baseline=zero - 0.3
        )
        delta = (model(inputs) - model(zero - 0.3)).gather(1, targets[:, None]).squeeze(1)
        return (maps.flatten(1).sum(1) - delta).abs().max()

    assert gap(400) < 0.01 < gap(3)


def test_conductance_in_several_passes(monkeypatch):
    model, inputs, targets = pooled()
    sizes = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    explain = explainers.get("captum:LayerConductance", steps=7).call
    whole = explain(model, inputs, targets, baseline=inputs[:1])
    assert sizes == [1, 28]
    monkeypatch.setattr(passes, "_VALUES", 12 * 96)
    sizes.clear()
    assert torch.allclose(explain(model, inputs, targets, baseline=inputs[:1]), whole, atol=1e-12)
    assert max(sizes) == 12
    assert sum(sizes) == 1 + 28 + 4 * (len(sizes) - 2)


def test_layers_of_a_wrapped_model_keep_their_names():
    class Scalar(Pooled):
        def forward(self, inputs):
            return super().forward(inputs)[:, 1]

    torch.manual_seed(0)
    model, inputs = Scalar().double(), torch.randn(2, 2, 8, 6).double()
    explainer = explainers.get("captum:LayerGradCam", layer="relu")
    maps = explainer.call(SingleOutput(model), inputs, torch.tensor([0, 0]))
    activations = model.relu(model.convolution(inputs))
    cam = torch.einsum("k,nkij->nij", model.head.weight[1], activations) / 12
    assert torch.allclose(maps, resized(cam.relu().unsqueeze(1), (8, 6)), atol=1e-12)
