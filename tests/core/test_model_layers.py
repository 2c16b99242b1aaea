"""Layers in the order of execution; constants of layers against brute force; sizes by hand."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai.core.model_layers import bias_absorption, layers, rounding, zero_sums

# ------------------------------------------------------------------------------------- layers


class Backwards(nn.Module):
    """Runs its layers in another order than they are registered in, one of them never."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.unused = nn.Linear(9, 9)
        self.relu = nn.ReLU()
        self.stem = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, inputs):
        return self.head(self.relu(self.norm(self.stem(inputs))))


class Borrows(nn.Module):
    """Uses the weights of a module that it never calls, as attention does with its projection."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.lent = nn.Linear(4, 2)

    def forward(self, inputs):
        return functional.linear(self.first(inputs), self.lent.weight, self.lent.bias)


class Bare(nn.Module):
    """Owns a parameter beside its layers, and a block that owns one as well."""

    def __init__(self, block=True):
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.block = Bare(block=False) if block else None
        self.token = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        outputs = self.stem(inputs) + self.token
        return outputs if self.block is None else self.block(outputs)


class Owner(nn.Module):
    """Owns one tensor and passes its inputs on."""

    def __init__(self, tensor):
        super().__init__()
        self.register_buffer("tensor", tensor)

    def forward(self, inputs):
        return inputs


def order_of(model, features=3):
    return layers(model.eval(), torch.ones(1, features))


def test_layers_come_in_the_order_of_execution():
    assert order_of(Backwards()) == ["unused", "stem", "norm", "head"]


def test_a_layer_counts_where_others_use_its_weights():
    assert order_of(Borrows()) == ["first", "lent"]


def test_bare_parameters_belong_to_the_module_that_owns_them_and_count_where_they_are_used():
    assert order_of(Bare()) == ["stem", "", "block.stem", "block"]


class Asking(nn.Module):
    """Asks its last layer for its dtype and its size before anything is computed."""

    def __init__(self):
        super().__init__()
        self.head, self.stem = nn.Linear(4, 2), nn.Linear(3, 4)

    def forward(self, inputs):
        inputs = inputs.to(self.head.weight.dtype)
        assert self.head.weight.shape[1] == 4
        assert self.head.bias.numel() == 2
        return self.head(self.stem(inputs))


class Hidden(torch.autograd.Function):
    """Computes with a weight where nobody looks."""

    @staticmethod
    def forward(_, inputs, weight):
        return inputs * weight


class Compiled(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        return Hidden.apply(inputs, self.weight)


def test_a_question_about_a_weight_is_no_use_of_it():
    assert order_of(Asking()) == ["stem", "head"]


def test_tensors_out_of_sight_count_where_their_module_runs():
    assert order_of(nn.Sequential(nn.Linear(3, 3), Compiled(), nn.Linear(3, 2))) == ["0", "1", "2"]


def test_attention_counts_its_projection_after_its_queries():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.embedding = nn.Linear(3, 4)

        def forward(self, inputs):
            tokens = self.embedding(inputs).unsqueeze(1)
            return self.head(self.attention(tokens, tokens, tokens)[0][:, 0])

    names = ["embedding", "attention", "attention.out_proj", "head"]
    assert order_of(Attention()) == names


def test_recurrent_layers_count_where_they_run():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body, self.stem = nn.Linear(5, 2), nn.LSTM(4, 5), nn.Linear(3, 4)

        def forward(self, inputs):
            return self.head(self.body(self.stem(inputs))[0])

    assert order_of(Recurrent()) == ["stem", "body", "head"]


def test_a_single_layer_is_the_model():
    assert order_of(nn.Linear(3, 2)) == [""]


def test_a_layer_counts_where_it_first_runs():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.ReLU(), nn.Linear(3, 3), shared)
    assert order_of(model) == ["0", "2"]


def test_buffers_make_a_layer_and_integers_alone_do_not():
    model = nn.Sequential(Owner(torch.ones(2)), Owner(torch.arange(2)), nn.ReLU())
    assert order_of(model) == ["0"]


def test_a_model_without_tensors_has_no_layers():
    assert order_of(nn.Sequential(nn.ReLU(), nn.Tanh())) == []


def test_looking_leaves_no_trace_even_if_the_model_raises():
    model = Backwards().eval()
    with pytest.raises(RuntimeError):
        layers(model, torch.ones(1, 99))
    assert not any(module._forward_pre_hooks for module in model.modules())
    layers(model, torch.ones(1, 3))
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_looking_costs_one_pass_without_gradients():
    passes = []
    model = Backwards().eval()
    model.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    layers(model, torch.ones(1, 3))
    assert passes == [False]


def test_residual_networks_are_walked_as_they_run():
    models = pytest.importorskip("torchvision.models")
    names = layers(models.resnet18().eval(), torch.ones(1, 3, 32, 32))
    assert names[:3] == ["conv1", "bn1", "layer1.0.conv1"]
    assert names[-1] == "fc"
    assert len(names) == 41
    # The shortcut is registered last in its block, and runs last.
    block = [name.removeprefix("layer2.0.") for name in names if name.startswith("layer2.0.")]
    assert block == ["conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1"]


# ----------------------------------------------------------------------------------- rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_rounding_follows_the_number_of_weights_and_the_largest_fan_in(dtype):
    # Fan-ins 3 * 5 * 5 = 75 and 7; vectors do not count.
    model = nn.Sequential(nn.Conv2d(3, 7, 5), nn.BatchNorm2d(7), nn.Linear(7, 2))
    expected = 8 * torch.finfo(dtype).eps * math.sqrt(2 * 75)
    assert rounding(model, dtype) == pytest.approx(expected, rel=1e-12)


def test_rounding_of_a_model_without_weights_is_a_few_units():
    assert rounding(nn.ReLU(), torch.float32) == 8 * torch.finfo(torch.float32).eps
    assert rounding(nn.BatchNorm1d(100), torch.float32) == 8 * torch.finfo(torch.float32).eps


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
