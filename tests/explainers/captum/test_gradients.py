"""Closed forms of reference networks: none of these numbers comes from captum."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting import passes


class Functions(nn.Module):
    """Classes are functions of the features, each (N, F) -> (N,)."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, inputs):
        return torch.stack([function(inputs) for function in self.functions], 1)


def other(x):
    """What a map of the wrong class would explain."""
    return -7 * x[:, 0] + 11 * x[:, 1]


WEIGHTS = torch.tensor(
    [[1.0, -2.0, 0.0, 4.0], [0.5, 3.0, -1.0, 0.0], [-2.0, 0.25, 8.0, 1.0]]
).double()


def linear():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    model.double()
    model[1].weight.data.copy_(WEIGHTS)
    return model


INPUTS = torch.tensor([[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 2.0, -3.0]]).double()
TARGETS = torch.tensor([2, 0])


def row(*values):
    return torch.tensor([values]).double()


def test_saliency_of_a_linear_model():
    maps = explainers.get("captum:Saliency").call(linear(), INPUTS, TARGETS)
    assert torch.equal(maps, WEIGHTS[TARGETS].abs())


def test_signed_saliency_of_a_linear_model():
    maps = explainers.get("captum:Saliency", absolute=False).call(linear(), INPUTS, TARGETS)
    assert torch.equal(maps, WEIGHTS[TARGETS])


def test_input_x_gradient_of_a_linear_model():
    maps = explainers.get("captum:InputXGradient").call(linear(), INPUTS, TARGETS)
    assert torch.equal(maps, WEIGHTS[TARGETS] * INPUTS)


@pytest.mark.parametrize(
    "function, point, expected",
    [
        (lambda x: x[:, 0] * x[:, 1], (2, 3), (6, 6)),
        (lambda x: torch.relu(x[:, 0] - x[:, 1]), (3, 1), (3, -1)),
        (lambda x: torch.relu(x[:, 0] - x[:, 1]), (1, 3), (0, 0)),
        (lambda x: x.max(1).values, (5, 3), (5, 0)),
    ],
)
def test_input_x_gradient(function, point, expected):
    maps = explainers.get("captum:InputXGradient").call(
        Functions(other, function), row(*point), torch.tensor([1])
    )
    assert torch.allclose(maps, row(*expected))


ZERO = (0, 0)


@pytest.mark.parametrize(
    "function, point, baseline, expected",
    [
        (lambda x: x[:, 0] * x[:, 1], (2, 3), ZERO, (3, 3)),
        (lambda x: x[:, 0] * x[:, 1], (2, 3), (1, -1), (1, 6)),
        (lambda x: x[:, 0] ** 2 * x[:, 1], (2, 3), ZERO, (8, 4)),
        (lambda x: x.max(1).values, (5, 3), ZERO, (5, 0)),
        # AND and saturation of reference networks; the even rule is symmetric about their kinks.
        (lambda x: torch.relu(x.sum(1) - 1), (1, 1), ZERO, (0.5, 0.5)),
        (lambda x: 1 - torch.relu(1 - x.sum(1)), (1, 1), ZERO, (0.5, 0.5)),
    ],
)
def test_integrated_gradients(function, point, baseline, expected):
    maps = explainers.get("captum:IntegratedGradients").call(
        Functions(other, function), row(*point), torch.tensor([1]), baseline=row(*baseline)
    )
    # The nodes' weights are rounded to float32.
    assert torch.allclose(maps, row(*expected), rtol=1e-6)


def test_integrated_gradients_of_a_kink_off_the_middle():
    def saturation(x):
        return 1 - torch.relu(1 - x.sum(1))

    steps = 400
    maps = explainers.get("captum:IntegratedGradients", steps=steps).call(
        Functions(other, saturation), row(2, 0.5), torch.tensor([1]), baseline=row(0, 0)
    )
    # Largest weight of a node times the total variation of each feature's integrand.
    bound = torch.pi / (2 * steps) * row(2, 0.5)
    assert ((maps - row(0.8, 0.2)).abs() <= bound).all()


def test_integrated_gradients_with_a_baseline_per_image():
    baseline = torch.tensor([[1.0, 0.0, -1.0, 2.0], [0.5, 0.5, 0.5, 0.5]]).double()
    maps = explainers.get("captum:IntegratedGradients").call(
        linear(), INPUTS, TARGETS, baseline=baseline
    )
    assert torch.allclose(maps, WEIGHTS[TARGETS] * (INPUTS - baseline), rtol=1e-6)


def test_integrated_gradients_with_one_baseline_for_all():
    baseline = row(1, 0, -1, 2)
    maps = explainers.get("captum:IntegratedGradients").call(
        linear(), INPUTS, TARGETS, baseline=baseline
    )
    assert torch.allclose(maps, WEIGHTS[TARGETS] * (INPUTS - baseline), rtol=1e-6)


@pytest.mark.parametrize(
    "options, share",
    [
        # n Gauss-Legendre nodes integrate the gradient of x^6 exactly from n = 3 on.
        ({"steps": 3}, 1),
        ({"steps": 2}, 3 * ((0.5 - 12**-0.5) ** 5 + (0.5 + 12**-0.5) ** 5)),
        ({"steps": 2, "method": "riemann_left"}, 3 * 0.5**5),
        ({"steps": 2, "method": "riemann_right"}, 3 * (0.5**5 + 1)),
        ({"steps": 2, "method": "riemann_middle"}, 3 * (0.25**5 + 0.75**5)),
    ],
)
def test_steps_and_method_of_the_quadrature(options, share):
    model = Functions(other, lambda x: (x**6).sum(1))
    maps = explainers.get("captum:IntegratedGradients", **options).call(
        model, row(2, 3), torch.tensor([1]), baseline=row(0, 0)
    )
    assert torch.allclose(maps, share * row(2**6, 3**6), rtol=1e-6)


def test_captums_trapezoid_is_low_by_one_step():
    explainer = explainers.get("captum:IntegratedGradients", steps=10, method="riemann_trapezoid")
    maps = explainer.call(linear(), INPUTS, TARGETS, baseline=torch.zeros_like(INPUTS))
    assert torch.allclose(maps, 0.9 * WEIGHTS[TARGETS] * INPUTS, rtol=1e-6)


def batches(model):
    sizes = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    return sizes


@pytest.mark.parametrize("images, largest", [(6, 6), (5, 4), (1, 2)])
def test_integrated_gradients_in_passes_of_bounded_size(monkeypatch, images, largest):
    model = linear()
    expected = explainers.get("captum:IntegratedGradients").call(
        model, INPUTS, TARGETS, baseline=row(1, 0, -1, 2)
    )
    monkeypatch.setattr(passes, "_VALUES", images * 4)
    sizes = batches(model)
    maps = explainers.get("captum:IntegratedGradients").call(
        model, INPUTS, TARGETS, baseline=row(1, 0, -1, 2)
    )
    assert max(sizes) == largest
    assert sum(sizes) == 100
    assert torch.allclose(maps, expected)


@pytest.mark.parametrize(
    "shape, images",
    [((3, 224, 224), 13), ((1, 8, 8), 1024), ((1, 3000, 3000), 1), ((8,), 1024)],
)
def test_images_per_pass_follow_from_the_shape(shape, images):
    assert passes.images_per_pass(torch.empty(2, *shape, device="meta")) == images


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 2, 2, 2)])
def test_saliency_with_the_channel_maximum(shape):
    torch.manual_seed(0)
    weights = torch.randn(3, *shape).double()
    model = Functions(*(lambda x, w=weight: (w * x).flatten(1).sum(1) for weight in weights))
    explainer = explainers.get("captum:Saliency", channels="max")
    maps = explainer.call(model, torch.randn(2, *shape).double(), TARGETS)
    assert torch.equal(maps, weights[TARGETS].abs().amax(1, keepdim=True))
    assert explainer.traits.claims == {
        "implementation_invariance",
        "positive_homogeneity",
        "shift_invariance",
        "sign_convention",
        "symmetry",
        "translation_equivariance",
    }


def test_saliency_of_a_table_has_no_channels():
    maps = explainers.get("captum:Saliency", channels="max").call(linear(), INPUTS, TARGETS)
    assert torch.equal(maps, WEIGHTS[TARGETS].abs())


def test_no_maximum_of_signed_gradients():
    with pytest.raises(InvalidArgument, match="channels: got 'max', expected 'each' for signed"):
        explainers.get("captum:Saliency", channels="max", absolute=False)
    with pytest.raises(InvalidArgument, match="channels: got 'mean', expected one of each, max"):
        explainers.get("captum:Saliency", channels="mean")


def gradient_shap(model, inputs, targets, *, baseline, **options):
    torch.manual_seed(0)
    np.random.seed(0)
    return explainers.get("captum:GradientShap", **options).call(
        model, inputs, targets, baseline=baseline
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_gradient_shap_of_a_linear_model(rows):
    baseline = torch.tensor([[1.0, 0.0, -1.0, 2.0], [0.5, 0.5, 0.5, 0.5]]).double()[:rows]
    maps = gradient_shap(linear(), INPUTS, TARGETS, baseline=baseline)
    assert torch.allclose(maps, WEIGHTS[TARGETS] * (INPUTS - baseline))


def test_gradient_shap_of_a_square_at_a_uniform_place():
    """The gradient at b + t (x - b) is 2 (b + t (x - b)), of mean x + b and standard deviation
    2 |x - b| / sqrt(12); the same places for all features."""
    draws = 4000
    inputs, baseline = row(3, -1), row(1, 1)
    model = Functions(other, lambda x: (x**2).sum(1))
    maps = gradient_shap(model, inputs, torch.tensor([1]), baseline=baseline, draws=draws)
    delta = inputs - baseline
    error = 4 * 2 * delta**2 / 12**0.5 / draws**0.5
    assert ((maps - delta * (inputs + baseline)).abs() <= error).all()
    assert (maps - delta * (inputs + baseline)).abs().max() > error.max() / 100


def test_gradient_shap_noise_is_a_share_of_the_range():
    draws, share = 4000, 0.2
    model = Functions(other, lambda x: (x**3).sum(1))
    inputs = row(0.0, 2.0, 10.0)
    maps = gradient_shap(
        model, inputs, torch.tensor([1]), baseline=inputs, draws=draws, sigma=share
    )
    # At x + t' s z, with x the reference too: s z * 3 (x + t s z)^2, whose mean is 3 x s^2.
    expected = 3 * inputs * (share * 10) ** 2
    error = 4 * 3 * (2.0 * inputs**2 * 2 + 15 * 4 * 4) ** 0.5 * 2 / draws**0.5 * 6
    assert ((maps - expected).abs() <= error).all()
    assert maps[0, 2] > expected[0, 2] / 2


def test_gradient_shap_draws_references_from_the_set():
    """Each draw has one reference: the map is a mean of the references' maps, both are drawn."""
    references = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    maps = gradient_shap(
        linear(), INPUTS, TARGETS, baseline=INPUTS[:1] * 9, references=references, draws=64
    )
    weight = WEIGHTS[TARGETS]
    drawn = (INPUTS - maps / weight.where(weight != 0, torch.inf)).where(weight != 0, torch.nan)
    share = drawn[~drawn.isnan()]
    assert torch.allclose(share, share[0].expand_as(share))
    assert 0.25 < share[0] < 0.75


def test_gradient_shap_in_passes_of_bounded_size(monkeypatch):
    model = linear()
    monkeypatch.setattr(passes, "_VALUES", 20 * 4)
    sizes = batches(model)
    maps = gradient_shap(model, INPUTS, TARGETS, baseline=INPUTS[:1] * 0)
    assert sizes == [20, 20, 10] * 2
    assert torch.allclose(maps, WEIGHTS[TARGETS] * INPUTS)


@pytest.mark.parametrize("options", [{"sigma": -1.0}, {"draws": 0}, {"sigma": float("inf")}])
def test_gradient_shap_refuses(options):
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        explainers.get("captum:GradientShap", **options)
