"""Maps of grad-cam's classes against their formulas, written down in plain torch."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.explainers.grad_cam import ENTRIES

# The library ends in float32.
ROUNDING = 3e-6
ORDERS = {2: (nn.Conv2d, (5, 4)), 3: (nn.Conv3d, (3, 4, 3))}


class Network(nn.Module):
    """Two parts, with a layer of maps between them whose values have both signs."""

    def __init__(self, dimensions=2, *, stride=1, inplace=False):
        super().__init__()
        convolution, spatial = ORDERS[dimensions]
        places = int(np.prod(spatial))
        self.body = nn.Sequential(
            convolution(2, 4, 3, padding=1),
            nn.Tanh(),
            convolution(4, 6, 3, padding=1, stride=stride),
        )
        self.rest = nn.Sequential(
            nn.ReLU(inplace=inplace), nn.Flatten(), nn.Linear(6 * places, 5), nn.Tanh()
        )
        self.head = nn.Linear(5, 3)

    def forward(self, inputs):
        return self.head(self.rest(self.body(inputs)))


def case(dimensions=2, *, stride=1, inplace=False):
    """A network of large gradients, three inputs whose maps are of ORDERS' size, targets."""
    torch.manual_seed(0)
    model = Network(dimensions, stride=stride, inplace=inplace).double().eval()
    with torch.no_grad():
        model.head.weight *= 300
        model.body[2].bias += 0.2
    # An odd side: every second place of the input is one of the layer's.
    spatial = tuple(stride * (side - 1) + 1 for side in ORDERS[dimensions][1])
    return model, torch.randn(3, 2, *spatial).double(), torch.tensor([2, 0, 1])


def explain(name, model, inputs, targets, **options):
    return ENTRIES[f"gradcam:{name}"].factory(**options)(model, inputs, targets)


def parts(model, inputs, targets):
    """Activations of the layer between the parts, and gradients of the targets' outputs."""
    activations = model.body(inputs).detach().requires_grad_()
    outputs = model.head(model.rest(activations.clone()))
    (gradients,) = torch.autograd.grad(outputs.gather(1, targets[:, None]).sum(), activations)
    return activations.detach(), gradients


def total(values):
    """Sums over places, kept."""
    return values.sum(tuple(range(2, values.ndim)), keepdim=True)


def stretched(maps):
    flat = maps.flatten(1)
    low = flat.amin(1, keepdim=True)
    high = (flat - low).amax(1, keepdim=True)
    return torch.where(high > 0, (flat - low) / high, flat * 0).reshape(maps.shape)


def resized(maps, spatial):
    """Linear interpolation between pixel centres along each axis, the edges continued."""
    values = maps.detach().numpy()
    for axis, side in enumerate(spatial, start=1):
        small = values.shape[axis]
        places = (np.arange(side) + 0.5) * small / side - 0.5
        values = np.apply_along_axis(
            lambda line, places=places: np.interp(places, np.arange(len(line)), line), axis, values
        )
    return torch.from_numpy(values)


def finished(maps, spatial=None):
    """What the library does to (N, *places): rectify, stretch, resize, stretch."""
    maps = stretched(maps.relu())
    return stretched(maps if spatial is None else resized(maps, spatial)).unsqueeze(1)


def gradient_map(name, activations, gradients):
    if name == "GradCAM":
        weights = total(gradients) / activations[0, 0].numel()
    elif name == "GradCAMPlusPlus":
        alpha = gradients**2 / (2 * gradients**2 + total(activations) * gradients**3 + 1e-6)
        weights = total(torch.where(gradients != 0, alpha, 0) * gradients.relu())
    elif name == "XGradCAM":
        weights = total(gradients * activations) / (total(activations) + 1e-7)
    elif name == "HiResCAM":
        weights = gradients
    else:
        weights = gradients.relu()
    return (weights * activations).sum(1)


GRADIENT = ["GradCAM", "GradCAMPlusPlus", "XGradCAM", "HiResCAM", "LayerCAM"]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", GRADIENT)
def test_gradients_and_activations(name, dimensions, inplace):
    model, inputs, targets = case(dimensions, inplace=inplace)
    maps = explain(name, model, inputs, targets)
    expected = finished(gradient_map(name, *parts(model, inputs, targets)))
    assert expected.std() > 0.05
    assert torch.allclose(maps, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", [*GRADIENT, "FEM"])
def test_images_are_resized_between_pixel_centres(name):
    model, inputs, targets = case(stride=2)
    activations, gradients = parts(model, inputs, targets)
    plain = fem(activations, 2) if name == "FEM" else gradient_map(name, activations, gradients)
    maps = explain(name, model, inputs, targets)
    assert maps.shape == (3, 1, 9, 7)
    assert torch.allclose(maps, finished(plain, (9, 7)), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", [*GRADIENT, "FEM"])
def test_volumes_are_resized_through_the_layers_places(name):
    model, inputs, targets = case(3, stride=2)
    activations, gradients = parts(model, inputs, targets)
    plain = fem(activations, 2) if name == "FEM" else gradient_map(name, activations, gradients)
    maps = explain(name, model, inputs, targets)
    assert maps.shape == (3, 1, 5, 7, 5)
    # A spline may overshoot between them, so the scale is another one.
    at_places = stretched(maps[:, 0, ::2, ::2, ::2])
    assert torch.allclose(at_places, finished(plain)[:, 0], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "name, weights",
    [
        ("GradCAM", lambda head, _, __: head),
        ("HiResCAM", lambda head, _, __: head),
        ("XGradCAM", lambda head, _, __: head),
        ("GradCAMPlusPlus", lambda head, mean, _: head.relu() / (2 + head * mean)),
        ("LayerCAM", lambda head, _, __: head.relu()),
        ("AblationCAM", lambda head, mean, output: head * mean / output),
    ],
)
def test_closed_forms_on_a_pooling_network(name, weights):
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model.append(nn.Linear(6, 3)).double()
    with torch.no_grad():
        model[4].weight *= 300
    inputs, targets = torch.randn(3, 2, 5, 4).double(), torch.tensor([2, 0, 1])
    activations, head = model[:2](inputs).detach(), model[4].weight[targets].detach()
    outputs = model(inputs).gather(1, targets[:, None]).detach()
    weight = weights(head, activations.mean((2, 3)), outputs)
    expected = finished(torch.einsum("nk,nkij->nij", weight, activations))
    assert expected.std() > 0.05
    maps = explain(name, model, inputs, targets, layer="1")
    assert torch.allclose(maps, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("stride", [1, 2])
def test_grad_cam_is_captums_stretched(stride):
    model, inputs, targets = case(stride=stride)
    captum = explainers.get("captum:LayerGradCam").call(model, inputs, targets)
    maps = explain("GradCAM", model, inputs, targets)
    assert torch.allclose(maps, stretched(captum), rtol=0, atol=ROUNDING)


def eigen_maps(activations):
    """Projections on the first principal component, of the two signs."""
    points = activations.flatten(2)
    points = points - points.mean(2, keepdim=True)
    _, axes = torch.linalg.eigh(points @ points.transpose(1, 2))
    projected = (axes[:, :, -1:] * points).sum(1).reshape(len(points), *activations.shape[2:])
    return finished(projected), finished(-projected)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_eigen_cam(dimensions, inplace):
    model, inputs, targets = case(dimensions, inplace=inplace)
    maps = explain("EigenCAM", model, inputs, targets)
    one, other = eigen_maps(parts(model, inputs, targets)[0])
    for index in range(3):
        assert any(
            torch.allclose(maps[index], signed[index], rtol=0, atol=ROUNDING)
            for signed in (one, other)
        )


def test_eigen_cam_is_not_the_papers():
    model, inputs = wide(64)
    points = model[:2](inputs).detach().flatten(2)
    _, axes = torch.linalg.eigh(points @ points.transpose(1, 2))
    # Activations are not negative here, and without centring neither is a projection.
    paper = stretched((axes[:, :, -1:] * points).sum(1).abs().reshape(2, 1, 14, 14))
    maps = explain("EigenCAM", model, inputs, torch.tensor([0, 1]), layer="1")
    assert (maps - paper).abs().amax() > 0.9


def fem(activations, k):
    dimensions = tuple(range(2, activations.ndim))
    mean = activations.mean(dimensions, keepdim=True)
    deviation = activations.std(dimensions, correction=0, keepdim=True)
    share = (activations > mean + k * deviation).double().mean(dimensions, keepdim=True)
    return (share * activations).sum(1)


@pytest.mark.parametrize("k", [1, 0.5])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_fem(dimensions, k):
    model, inputs, targets = case(dimensions, inplace=True)
    maps = explain("FEM", model, inputs, targets, k=k)
    expected = finished(fem(parts(model, inputs, targets)[0], k))
    assert torch.allclose(maps, expected, rtol=0, atol=ROUNDING)


def wide(features=6):
    """A pooling network after 3 x 3 convolutions, and two images for it."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, features, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return model.append(nn.Linear(features, 2)).double(), torch.randn(2, 2, 14, 14).double()


@pytest.mark.parametrize("k", [1, 2])
def test_fem_is_not_the_papers(k):
    model, inputs = wide()
    activations = model[:2](inputs).detach()
    mean = activations.mean((2, 3), keepdim=True)
    high = activations >= mean + activations.std((2, 3), correction=0, keepdim=True)
    paper = stretched((mean * high).sum(1)).unsqueeze(1)
    maps = explain("FEM", model, inputs, torch.tensor([0, 1]), layer="1", k=k)
    assert (maps - paper).abs().max() > 0.5


def test_grad_cam_plus_plus_depends_on_the_scale_of_small_gradients():
    model, inputs = wide(64)
    targets = torch.tensor([0, 1])
    activations, head = model[:2](inputs).detach(), model[4].weight[targets].detach()
    weights = head.relu() / (2 + head * activations.mean((2, 3)))
    exact = finished(torch.einsum("nk,nkij->nij", weights, activations))
    assert head.abs().max() / 196 < 1e-3
    maps = explain("GradCAMPlusPlus", model, inputs, targets, layer="1")
    assert (maps - exact).abs().max() > 0.1


def upsampled(activations, spatial):
    return nn.functional.interpolate(activations, size=spatial, mode="bilinear", align_corners=True)


@pytest.mark.parametrize("stride, spatial", [(1, None), (2, (9, 7))])
@pytest.mark.parametrize("inplace", [False, True])
def test_score_cam_one_channel_at_a_time(stride, spatial, inplace):
    model, inputs, targets = case(stride=stride, inplace=inplace)
    with torch.no_grad():
        model.head.weight /= 300
    activations, _ = parts(model, inputs, targets)
    masks = upsampled(activations, inputs.shape[2:])
    scores = torch.zeros(3, 6).double()
    for image in range(3):
        for channel in range(6):
            mask = masks[image, channel]
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            scores[image, channel] = model((inputs[image] * mask)[None])[0, targets[image]]
    plain = torch.einsum("nk,nkij->nij", scores.softmax(1), activations)
    maps = explain("ScoreCAM", model, inputs, targets)
    assert torch.allclose(maps, finished(plain, spatial), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("inplace", [False, True])
def test_ablation_cam_one_channel_at_a_time(inplace):
    model, inputs, targets = case(inplace=inplace)
    activations, _ = parts(model, inputs, targets)
    outputs = model(inputs).gather(1, targets[:, None]).detach()
    weights = torch.zeros(3, 6).double()
    for channel in range(6):
        without = activations.clone()
        without[:, channel] = 0
        left = model.head(model.rest(without)).gather(1, targets[:, None]).detach()
        weights[:, channel] = ((outputs - left) / outputs)[:, 0]
    plain = torch.einsum("nk,nkij->nij", weights, activations)
    assert plain.relu().amax((1, 2)).min() > 0
    maps = explain("AblationCAM", model, inputs, targets)
    assert torch.allclose(maps, finished(plain), rtol=0, atol=2e-5)


def library_ablation(model, inputs, targets, layer):
    # The import takes seconds, which collection should not wait for.
    from pytorch_grad_cam import AblationCAM, AblationLayer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    twin = copy.deepcopy(model)
    cam = AblationCAM(twin, [twin.get_submodule(layer)], ablation_layer=AblationLayer())
    aims = [ClassifierOutputTarget(target) for target in targets.tolist()]
    return torch.from_numpy(cam(inputs, aims)).unsqueeze(1).double()


def test_ablation_cam_is_the_librarys_where_the_smallest_activation_is_zero():
    model, inputs, targets = case()
    assert (model.rest[0](model.body(inputs)).amin((1, 2, 3)) == 0).all()
    maps = explain("AblationCAM", model, inputs, targets, layer="rest.0")
    assert torch.equal(maps, library_ablation(model, inputs, targets, "rest.0"))


def test_ablation_cam_is_not_the_librarys_where_activations_are_signed():
    model, inputs, targets = case()
    model.rest[0] = nn.Identity()
    maps = explain("AblationCAM", model, inputs, targets)
    away = (maps - library_ablation(model, inputs, targets, "body.2")).abs()
    assert away.amax() > 0.5


@pytest.mark.parametrize("stride, spatial", [(1, None), (2, (9, 7))])
@pytest.mark.parametrize("inplace", [False, True])
def test_full_grad(stride, spatial, inplace):
    model, inputs, targets = case(stride=stride, inplace=inplace)
    model = normalised(model)
    leaf = inputs.clone().requires_grad_()
    taps, value = [leaf], leaf
    for module in model.body:
        value = module(value)
        taps.append(value)
    output = model.head(model.rest(value.clone())).gather(1, targets[:, None]).sum()
    gradients = torch.autograd.grad(output, taps)
    first, norm, last = model.body[0], model.body[1], model.body[3]
    offset = norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()
    terms = [inputs * gradients[0]]
    terms += [
        bias.detach()[:, None, None] * gradients[tap]
        for tap, bias in [(1, first.bias), (2, offset), (4, last.bias)]
    ]
    expected = torch.zeros(len(inputs), *inputs.shape[2:]).double()
    for term in terms:
        for channel in term.detach().abs().unbind(1):
            expected += resized(stretched(channel), inputs.shape[2:])
    maps = explain("FullGrad", model, inputs, targets)
    assert torch.allclose(maps, stretched(expected)[:, None], rtol=0, atol=ROUNDING)


def normalised(model):
    """The network with a normalisation that shifts between its convolutions."""
    norm = nn.BatchNorm2d(4).double()
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values.copy_(torch.rand(4) + 0.5)
    model.body.insert(1, norm)
    return model.eval()
