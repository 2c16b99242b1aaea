import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument
from pytest_xai.subject import SingleOutput

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


def test_a_model_without_convolutions_is_refused():
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(InvalidArgument) as caught:
        explainers.get("captum:LayerGradCam").call(model, torch.rand(1, 1, 4, 4), torch.tensor([0]))
    assert "got one that executes no convolution" in str(caught.value)
    assert str(caught.value).endswith("with one of: 0")


def test_a_model_without_any_map_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    for options in ({}, {"layer": "1"}):
        with pytest.raises(InvalidArgument, match="this model has no"):
            explainers.get("captum:LayerGradCam", **options).call(
                model, torch.rand(1, 1, 4, 4), torch.tensor([0])
            )


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4, 5)])
def test_inputs_without_one_to_three_spatial_dimensions_are_refused(shape):
    with pytest.raises(InvalidArgument, match="one to three spatial dimensions"):
        explainers.get("captum:LayerGradCam").call(
            nn.Flatten(), torch.rand(2, *shape), torch.tensor([0, 0])
        )


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
