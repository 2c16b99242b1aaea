"""Closed forms of reference networks: none of these numbers comes from captum."""

import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.explainers import passes


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


def smooth(model, inputs, targets, *, seed=0, **options):
    torch.manual_seed(seed)
    return explainers.get("captum:SmoothGrad", **options).call(model, inputs, targets)


def test_smooth_grad_of_a_linear_model_under_any_noise():
    assert torch.allclose(smooth(linear(), INPUTS, TARGETS, sigma=5.0), WEIGHTS[TARGETS])


def test_smooth_grad_of_a_linear_model_in_magnitude():
    maps = smooth(linear(), INPUTS, TARGETS, absolute=True)
    assert torch.allclose(maps, WEIGHTS[TARGETS].abs())


def test_smooth_grad_noise_is_a_share_of_each_images_range():
    draws, share = 4000, 0.2
    inputs = torch.tensor([[0.0, 0.2, 1.0], [-4.0, 1.0, 6.0]]).double()
    model = Functions(other, lambda x: (x**3).sum(1))
    maps = smooth(model, inputs, torch.tensor([1, 1]), draws=draws, sigma=share)
    sigma = share * torch.tensor([[1.0], [10.0]])
    # Mean and variance of 3 (x + sigma z)^2 for a standard normal z.
    expected = 3 * (inputs**2 + sigma**2)
    error = 3 * (4 * inputs**2 * sigma**2 + 2 * sigma**4).sqrt() / draws**0.5
    assert ((maps - expected).abs() <= 4 * error).all()
    assert ((maps - 3 * inputs**2).abs() > 4 * error).any(1).all()


def test_smooth_grad_without_noise_is_the_gradient():
    model = Functions(other, lambda x: (x**3).sum(1))
    inputs = torch.tensor([[0.5, 0.25], [2.0, -1.0]]).double()
    maps = smooth(model, inputs, torch.tensor([1, 1]), sigma=0.0)
    assert torch.allclose(maps, 3 * inputs**2)


def test_smooth_grad_of_a_constant_image_is_the_gradient():
    model = Functions(other, lambda x: (x**3).sum(1))
    maps = smooth(model, row(2, 2), torch.tensor([1]))
    assert torch.allclose(maps, row(12, 12))


def cubic(inputs, **options):
    model = Functions(other, lambda x: (x**3).sum(1))
    return smooth(model, inputs, torch.ones(len(inputs), dtype=torch.long), **options)


def test_smooth_grad_depends_on_the_seed_and_on_nothing_else():
    assert torch.equal(cubic(INPUTS, seed=1), cubic(INPUTS, seed=1))
    assert not torch.allclose(cubic(INPUTS, seed=1), cubic(INPUTS, seed=2))


def test_smooth_grad_draws_anew_at_every_call():
    first = cubic(INPUTS)
    after = torch.get_rng_state()
    model = Functions(other, lambda x: (x**3).sum(1))
    second = explainers.get("captum:SmoothGrad").call(model, INPUTS, torch.tensor([1, 1]))
    assert not torch.allclose(first, second)
    assert not torch.equal(after, torch.get_rng_state())


def test_smooth_grad_gives_every_image_of_a_batch_the_same_draws():
    twice = cubic(INPUTS[:1].repeat(2, 1))
    assert torch.equal(twice[0], twice[1])
    together = torch.get_rng_state()
    alone = cubic(INPUTS[:1])
    assert torch.equal(alone[0], twice[0])
    assert torch.equal(together, torch.get_rng_state())


def test_smooth_grad_in_passes_of_bounded_size(monkeypatch):
    model = linear()
    monkeypatch.setattr(passes, "_VALUES", 10 * 4)
    sizes = batches(model)
    smooth(model, INPUTS, TARGETS, draws=25)
    assert sizes == [10, 10, 5, 10, 10, 5]
