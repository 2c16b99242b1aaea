"""The constants of the layers, compared with brute force."""

import itertools

import pytest
import torch
from torch import nn

from pytest_xai.core.bias_terms import bias_absorption, zero_sums

# ---------------------------------------------------------------------------- bias_absorption


def with_statistics(norm):
    """A normalisation as if trained: no constant is left that could hide a mistake."""
    for value in (*norm.parameters(), *norm.buffers()):
        if value.is_floating_point():
            value.data.uniform_(0.5, 2.0)
    return norm


def flat(features, *, conv, norm):
    """Convolution, normalisation, ReLU and linear layers over inputs of 2 channels and 5 a side."""
    return nn.Sequential(
        conv(2, 3, 3), with_statistics(norm(3)), nn.ReLU(), nn.Flatten(), nn.Linear(features, 4)
    )


NETWORKS = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "hidden": (
        lambda: nn.Sequential(
            nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 4)
        ),
        (6,),
    ),
    "conv1d": (lambda: flat(9, conv=nn.Conv1d, norm=nn.BatchNorm1d), (2, 5)),
    "conv2d": (lambda: flat(27, conv=nn.Conv2d, norm=nn.BatchNorm2d), (2, 5, 5)),
    "conv3d": (lambda: flat(81, conv=nn.Conv3d, norm=nn.BatchNorm3d), (2, 5, 5, 5)),
    "transposed": (lambda: flat(147, conv=nn.ConvTranspose2d, norm=nn.BatchNorm2d), (2, 5, 5)),
    "norm of a table": (
        lambda: nn.Sequential(
            nn.Linear(6, 5), with_statistics(nn.BatchNorm1d(5)), nn.ReLU(), nn.Linear(5, 4)
        ),
        (6,),
    ),
    "norm without weights": (
        lambda: nn.Sequential(
            nn.Linear(6, 5), with_statistics(nn.BatchNorm1d(5, affine=False)), nn.Linear(5, 4)
        ),
        (6,),
    ),
    "pooled": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)
        ),
        (2, 5, 5),
    ),
    "no bias": (
        lambda: nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 4, bias=False)),
        (6,),
    ),
}


def made(name, seed=0):
    build, shape = NETWORKS[name]
    torch.manual_seed(seed)
    model = build().double().eval().requires_grad_(False)
    inputs = torch.randn(6, *shape, dtype=torch.float64)
    return model, inputs, torch.tensor([0, 1, 2, 3, 0, 1])


def relevance(model, inputs, targets):
    """Sum of input times gradient, which is LRP-0 on these networks."""
    inputs = inputs.detach().requires_grad_()
    scores = model(inputs).gather(1, targets[:, None]).sum()
    return (inputs * torch.autograd.grad(scores, inputs)[0]).detach().flatten(1).sum(1)


@pytest.mark.parametrize("name", NETWORKS)
def test_biases_absorb_what_relevance_lacks(name):
    model, inputs, targets = made(name)
    missing = model(inputs).gather(1, targets[:, None])[:, 0] - relevance(model, inputs, targets)
    absorbed = bias_absorption(model, inputs, targets)
    assert absorbed.dtype == torch.float64
    assert not absorbed.requires_grad
    assert torch.allclose(absorbed, missing, atol=1e-12)
    assert (missing.abs().max() > 0.1) == (name != "no bias")


@pytest.mark.parametrize("name", ["hidden", "conv2d", "norm of a table"])
def test_biases_absorb_the_sum_of_bias_times_slope(name):
    """Each layer's constant, moved a little: the slope of the output, one number at a time."""
    model, inputs, targets = made(name)
    step = 1e-6
    total = torch.zeros(len(inputs), dtype=torch.float64)
    for module in model.modules():
        constant = _constant_of(module)
        if constant is None:
            continue
        for channel, value in enumerate(constant.tolist()):
            slopes = []
            for sign in (1, -1):
                module.bias.data[channel] += sign * step
                slopes.append(model(inputs).gather(1, targets[:, None])[:, 0])
                module.bias.data[channel] -= sign * step
            total += value * (slopes[0] - slopes[1]) / (2 * step)
    assert torch.allclose(bias_absorption(model, inputs, targets), total, atol=1e-7)


def _constant_of(module):
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        scale = module.weight / torch.sqrt(module.running_var + module.eps)
        return module.bias - scale * module.running_mean
    return getattr(module, "bias", None)


@pytest.mark.parametrize("name", ["hidden", "conv2d", "pooled", "norm of a table"])
def test_a_relu_in_place_makes_no_difference(name):
    model, inputs, targets = made(name)
    expected = bias_absorption(model, inputs, targets)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    assert torch.equal(bias_absorption(model, inputs, targets), expected)


def test_a_layer_that_runs_twice_counts_twice():
    shared = nn.Linear(3, 3).double()
    model = nn.Sequential(shared, nn.ReLU(), shared).double()
    inputs, targets = torch.randn(5, 3).double(), torch.tensor([0, 1, 2, 0, 1])
    missing = model(inputs).gather(1, targets[:, None])[:, 0] - relevance(model, inputs, targets)
    assert torch.allclose(bias_absorption(model, inputs, targets), missing.detach(), atol=1e-12)


def test_batch_norm_without_running_statistics_adds_its_bias_alone():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3, track_running_stats=False).double()
    norm.bias.data.normal_()
    inputs, targets = torch.randn(5, 3).double(), torch.tensor([0, 1, 2, 0, 1])
    absorbed = bias_absorption(nn.Sequential(norm).eval(), inputs, targets)
    assert torch.allclose(absorbed, norm.bias.detach()[targets])


@pytest.mark.parametrize(
    "norm", [nn.GroupNorm(1, 3), nn.InstanceNorm2d(3, affine=True), nn.LayerNorm([3, 4, 4])]
)
def test_biases_of_other_normalisations_are_theirs_per_channel(norm):
    """Behind the normalisation all is linear: the bias times the sum of the weights it meets."""
    torch.manual_seed(0)
    norm.bias.data.normal_()
    head = nn.Linear(48, 2, bias=False)
    model = nn.Sequential(norm, nn.Flatten(), head).double().eval()
    inputs, targets = torch.randn(5, 3, 4, 4).double(), torch.tensor([0, 1, 0, 1, 1])
    weights = head.weight.detach().reshape(2, 3, 4, 4)
    bias = norm.bias.detach()
    bias = bias if bias.ndim == 3 else bias[:, None, None]
    expected = (weights * bias).flatten(1).sum(1)[targets]
    assert torch.allclose(bias_absorption(model, inputs, targets), expected, atol=1e-12)


def test_layers_the_output_does_not_depend_on_absorb_nothing():
    class Side(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.aside = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, inputs):
            self.aside(inputs)
            return self.used(inputs)

    model = Side().double()
    inputs, targets = torch.randn(4, 3).double(), torch.zeros(4, dtype=torch.long)
    expected = model.used.bias.detach()[0].expand(4)
    assert torch.allclose(bias_absorption(model, inputs, targets), expected)


def test_a_model_without_constants_absorbs_nothing():
    model = nn.Sequential(nn.Flatten(), nn.ReLU())
    inputs = torch.randn(3, 2, 2)
    assert torch.equal(bias_absorption(model, inputs, torch.tensor([0, 1, 3])), torch.zeros(3))


def test_nothing_is_left_on_the_model_even_if_it_raises():
    model, inputs, targets = made("hidden")
    bias_absorption(model, inputs, targets)
    with pytest.raises(RuntimeError):
        bias_absorption(model, torch.ones(1, 99).double(), targets)
    hooks = [module._forward_hooks for module in model.modules()]
    assert not any(itertools.chain.from_iterable(hooks))
    assert all(parameter.grad is None for parameter in model.parameters())


# --------------------------------------------------------------------------------- zero_sums


@pytest.mark.parametrize("relu, expected", [(None, True), (False, False), (True, False)])
def test_values_of_zero_on_which_the_output_depends(relu, expected):
    """The first layer gives x1 - x2 and x1 + x2; the first image has x1 = x2."""
    first, last = nn.Linear(2, 2, bias=False), nn.Linear(2, 1)
    first.weight.data = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    between = [] if relu is None else [nn.ReLU(inplace=relu)]
    model = nn.Sequential(first, *between, last)
    inputs, targets = torch.tensor([[0.5, 0.5], [0.75, 0.5]]), torch.zeros(2, dtype=torch.long)
    assert zero_sums(model, inputs, targets).tolist() == [expected, False]
    last.weight.data[0, 0] = 0
    assert zero_sums(model, inputs, targets).tolist() == [False, False]
    hooks = [module._forward_hooks for module in model.modules()]
    assert not any(itertools.chain.from_iterable(hooks))


def test_a_model_without_weights_sums_nothing():
    assert not zero_sums(nn.ReLU(), torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)).any()
