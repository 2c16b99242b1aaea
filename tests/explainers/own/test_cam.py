import numpy as np
import pytest
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import nn
from torch.nn import functional

from pytest_xai.core.subject import SingleOutput
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.own import cam

ENTRY = cam.ENTRIES["xai:CAM"]
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLINGS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
TARGETS = torch.tensor([2, 0, 1])


class Pooled(nn.Module):
    """Two convolutions with one ReLU, pooling as modules or as a function, and a linear head."""

    def __init__(self, dimensions=2, *, inplace=False, modules=False, classes=3):
        super().__init__()
        self.first = CONVOLUTIONS[dimensions](2, 6, 3, padding=1)
        self.second = CONVOLUTIONS[dimensions](6, 6, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.pool = nn.Sequential(POOLINGS[dimensions](1), nn.Flatten(), nn.Dropout())
        self.modules_pool = modules
        self.head = nn.Linear(6, classes)

    def features(self, inputs):
        return self.relu(self.second(self.relu(self.first(inputs))))

    def forward(self, inputs):
        maps = self.features(inputs)
        return self.head(self.pool(maps) if self.modules_pool else maps.flatten(2).mean(2))


def case(dimensions=2, **options):
    torch.manual_seed(0)
    model = Pooled(dimensions, **options).double().eval()
    return model, torch.randn(3, 2, *(8, 6, 4)[:dimensions]).double()


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


def closed_form(model, inputs):
    return torch.einsum("nk,nk...->n...", model.head.weight[TARGETS], model.features(inputs))[
        :, None
    ]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("modules", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
def test_closed_form(dimensions, modules, inplace):
    model, inputs = case(dimensions, modules=modules, inplace=inplace)
    maps = ENTRY.factory()(model, inputs, TARGETS)
    expected = closed_form(model, inputs)
    assert torch.allclose(maps, resized(expected, inputs.shape[2:]), rtol=0, atol=1e-12)
    assert maps.min() < 0 < maps.max()
    # The mean over places and the bias make the logit.
    logits = model(inputs)[range(3), TARGETS]
    means = expected.flatten(1).mean(1) + model.head.bias[TARGETS]
    assert torch.allclose(means, logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("rectify", [False, True])
def test_captums_grad_cam_times_the_number_of_places(dimensions, rectify):
    model, inputs = case(dimensions)
    maps = ENTRY.factory(rectify=rectify)(model, inputs, TARGETS)
    theirs = LayerGradCam(model, model.relu).attribute(
        inputs, target=TARGETS, relu_attributions=rectify
    )
    # Of the two runs of the ReLU, captum's hooks keep the last one.
    theirs = LayerAttribution.interpolate(
        theirs * theirs[0, 0].numel(), inputs.shape[2:], interpolate_mode=MODES[dimensions]
    )
    assert torch.allclose(maps, theirs, rtol=0, atol=1e-12)


def test_rectified_before_the_interpolation():
    model, inputs = case()
    maps = ENTRY.factory(rectify=True)(model, inputs, TARGETS)
    expected = resized(closed_form(model, inputs).relu(), inputs.shape[2:])
    assert torch.allclose(maps, expected, rtol=0, atol=1e-12)
    assert not torch.allclose(maps, ENTRY.factory()(model, inputs, TARGETS).relu())


def test_resnet():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = resnet18(num_classes=4).eval()
    inputs = torch.randn(2, 3, 64, 96)
    targets = torch.tensor([3, 1])
    maps = ENTRY.factory()(model, inputs, targets)
    theirs = LayerGradCam(model, model.layer4).attribute(inputs, target=targets) * 6
    expected = functional.interpolate(theirs, (64, 96), mode="bilinear")
    assert torch.allclose(maps, expected, atol=1e-4 * float(maps.abs().max()))


def test_wrapped_model_with_scalar_outputs():
    class Scalar(Pooled):
        def forward(self, inputs):
            return super().forward(inputs)[:, 0]

    torch.manual_seed(0)
    model, inputs = Scalar(classes=1).double().eval(), torch.randn(3, 2, 8, 6).double()
    zeros = torch.zeros(3, dtype=torch.long)
    maps = ENTRY.factory()(SingleOutput(model), inputs, zeros)
    expected = torch.einsum("k,nk...->n...", model.head.weight[0], model.features(inputs))
    assert torch.allclose(maps, resized(expected[:, None], (8, 6)), rtol=0, atol=1e-12)


def test_average_pooling_in_two_steps_keeps_the_finer_maps():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ).double()
    inputs = torch.randn(3, 1, 8, 8).double()
    expected = torch.einsum("nk,nkij->nij", model[-1].weight[TARGETS], model[0](inputs))[:, None]
    assert torch.allclose(ENTRY.factory()(model, inputs, TARGETS), expected, rtol=0, atol=1e-12)


def test_a_planted_patch_is_found():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    with torch.no_grad():
        # Class 1 sees the second channel where it exceeds 1.
        model[0].weight.copy_(torch.eye(2)[..., None, None])
        model[0].bias.copy_(torch.tensor([0.0, -1.0]))
        model[4].weight.copy_(torch.eye(2))
    inputs = torch.rand(3, 2, 16, 16)
    inputs[:, 1, 9:13, 2:6] += 1
    for got in ENTRY.factory()(model, inputs, torch.tensor([1, 1, 1])):
        assert got.sum() > 0
        assert torch.allclose(got[0, 9:13, 2:6].sum(), got.sum())


def spatial(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), *layers).double().eval()


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(2, 6, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs):
        return self.head(functional.relu(self.convolution(inputs)).mean((2, 3)))


@pytest.mark.parametrize(
    "model, found",
    [
        (
            spatial(nn.Flatten(), nn.Linear(288, 3)),
            "any module's output (modules whose output is a map: 0, 1)",
        ),
        (
            spatial(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 3)),
            "CAM needs maps; the input of '4' is pooled from maps of a single position",
        ),
        (
            spatial(
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(6, 6),
                nn.ReLU(),
                nn.Linear(6, 3),
            ),
            "the input of '6', 6 features, is not the mean over positions of any module's output",
        ),
        (
            spatial(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3), nn.Tanh()),
            "CAM needs a single linear layer at the end; the output of the last one, '4', is not",
        ),
        (
            spatial(nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "the model executes no nn.Linear on one vector per image",
        ),
        (
            Functional().double(),
            "any module's output (modules whose output is a map: convolution)",
        ),
    ],
)
def test_networks_of_another_form(model, found):
    inputs = torch.randn(3, 2, 8, 6).double()
    with pytest.raises(NotApplicable) as caught:
        ENTRY.factory()(model, inputs, TARGETS)
    assert str(caught.value).startswith("CAM needs ")
    assert found in str(caught.value)
    assert all(not module._forward_hooks for module in model.modules())


def test_an_image_alone_has_the_same_map():
    model, inputs = case()
    together = ENTRY.factory()(model, inputs, TARGETS)
    assert torch.equal(ENTRY.factory()(model, inputs[1:], TARGETS[1:]), together[1:])


def test_gradients_and_hooks_are_left_alone():
    model, inputs = case()
    maps = ENTRY.factory()(model, inputs.requires_grad_(), TARGETS)
    assert not maps.requires_grad
    assert inputs.grad is None
    assert torch.is_grad_enabled()
    assert all(not module._forward_hooks for module in model.modules())


def test_cost():
    model, inputs = case()
    count = []
    model.register_forward_hook(lambda _, __, output: count.append(len(output)))
    ENTRY.factory()(model, inputs, TARGETS)
    assert sum(count) == 1 + len(inputs)
    assert ENTRY.cost == "1 forward per call, then 1 forward"


def test_wrong_option():
    with pytest.raises(InvalidArgument, match="rectify: got 1, expected true or false"):
        ENTRY.factory(rectify=1)
