"""Every parameter and buffer of a layer is drawn anew, and nothing else is."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.core.model_layers import layers
from pytest_xai.perturbations.cascade import redraw
from pytest_xai.perturbations.reinitialisation import randomise_layer


def copied(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    """Names of the tensors with another value than before."""
    state = module.state_dict()
    return {name for name, value in state.items() if not torch.equal(value, before[name])}


def trained(model, shape=None):
    """As after training: running statistics and weights of normalisations are no constants."""
    torch.manual_seed(0)
    for module in model.modules():
        for value in module.parameters(recurse=False):
            if value.numel() > 1 and (value == value.flatten()[0]).all():
                nn.init.normal_(value, mean=value.mean().item(), std=0.3)
        for name, value in module.named_buffers(recurse=False):
            if value.is_floating_point():
                value.uniform_(0.5, 2.0) if "var" in name else value.normal_()
    return model.eval()


def randomised(model, inputs):
    """The model with all its layers drawn anew as the check does it, each with its own seed."""
    for index, name in enumerate(layers(model, inputs)):
        randomise_layer(model.get_submodule(name), seed=1000 + index)
    return model


# ------------------------------------------------------------------------------- single layers

LAYERS = {
    "linear": lambda: nn.Linear(4, 3),
    "convolution": lambda: nn.Conv2d(2, 3, 3),
    "transposed convolution": lambda: nn.ConvTranspose2d(2, 3, 3),
    "embedding": lambda: nn.Embedding(5, 3),
    "bilinear": lambda: nn.Bilinear(2, 3, 4),
    "recurrent": lambda: nn.LSTM(3, 4),
    "batch norm": lambda: nn.BatchNorm2d(5),
    "batch norm over processes": lambda: nn.SyncBatchNorm(5),
    "instance norm": lambda: nn.InstanceNorm2d(5, affine=True, track_running_stats=True),
    "group norm": lambda: nn.GroupNorm(1, 5),
    "layer norm": lambda: nn.LayerNorm(5),
    "root mean square norm": lambda: nn.RMSNorm(5),
    "slope of a relu": nn.PReLU,
    "slopes of a relu": lambda: nn.PReLU(5),
    "attention, without its projection": lambda: nn.MultiheadAttention(4, 2),
    "spectral norm": lambda: used(nn.utils.spectral_norm(nn.Linear(4, 3)).eval()),
}


def used(module):
    with torch.no_grad():
        module(torch.ones(2, 4))
    return module


def own(module):
    """Names of the floating tensors that the module itself owns."""
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name for name, value in tensors if value.is_floating_point()}


@pytest.mark.parametrize("state", ["new", "trained"])
@pytest.mark.parametrize("name", LAYERS)
def test_all_that_a_layer_owns_changes(name, state):
    torch.manual_seed(3)
    layer = LAYERS[name]()
    if state == "trained":
        trained(layer)
    before = copied(layer)
    kept = randomise_layer(layer, seed=1)
    # The running statistics of a network that was never trained are constants; they stay.
    constant = {
        key for key in own(layer) if state == "new" and key in {"running_mean", "running_var"}
    }
    assert changed(layer, before) == own(layer) - constant
    assert set(kept) == constant
    for key in own(layer):
        assert layer.state_dict()[key].isfinite().all()


@pytest.mark.parametrize("name", LAYERS)
def test_the_seed_decides_and_nothing_else(name):
    torch.manual_seed(3)
    layer = trained(LAYERS[name]())
    first, again, other = (copy.deepcopy(layer) for _ in range(3))
    torch.manual_seed(11)
    randomise_layer(first, seed=1)
    torch.manual_seed(12)
    randomise_layer(again, seed=1)
    randomise_layer(other, seed=2)
    assert changed(again, copied(first)) == set()
    assert changed(other, copied(first)) == own(layer)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("old", [False, True])
def test_weights_that_are_computed_from_others_change(old):
    normed = nn.utils.weight_norm if old else nn.utils.parametrizations.weight_norm
    torch.manual_seed(99)
    model = nn.Sequential(normed(nn.Linear(4, 3)))
    inputs = torch.randn(5, 4)
    with torch.no_grad():
        before, state = model(inputs), copied(model)
        randomised(model, inputs)
        assert changed(model, state) == set(state)
        assert not torch.allclose(model(inputs), before, atol=0.1)


def test_equal_layers_under_distinct_seeds_are_distinct():
    layers = [nn.Linear(4, 4) for _ in range(5)] + [trained(nn.LayerNorm(4)) for _ in range(5)]
    for seed, layer in enumerate(layers):
        layer.load_state_dict(layers[5 * (seed // 5)].state_dict())
    for seed, layer in enumerate(layers):
        randomise_layer(layer, seed=seed)
    weights = torch.stack([layer.weight.detach().flatten()[:4] for layer in layers])
    assert len(weights.unique(dim=0)) == 10
    assert weights.unique().numel() == weights.numel()


def test_a_layer_s_own_scheme_is_used_where_it_has_one():
    layer = nn.Linear(100, 50)
    with torch.no_grad():
        layer.weight.fill_(1000)
        layer.bias.fill_(1000)
    randomise_layer(layer, seed=5)
    torch.manual_seed(5)
    expected = nn.Linear(100, 50)
    assert torch.equal(layer.weight, expected.weight)
    assert torch.equal(layer.bias, expected.bias)


def test_without_a_scheme_mean_and_spread_stay():
    layer = nn.LayerNorm(20_000)
    with torch.no_grad():
        layer.weight.normal_(3.0, 0.5)
        layer.bias.normal_(-2.0, 0.1)
    randomise_layer(layer, seed=0)
    assert layer.weight.mean().item() == pytest.approx(3.0, abs=0.02)
    assert layer.weight.std().item() == pytest.approx(0.5, abs=0.02)
    assert layer.bias.mean().item() == pytest.approx(-2.0, abs=0.01)
    assert layer.bias.std().item() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("value, spread", [(4.0, 2.0), (-4.0, 2.0), (0.0, 0.1)])
def test_constants_get_a_spread_of_their_own_size(value, spread):
    layer = nn.LayerNorm(20_000)
    with torch.no_grad():
        layer.weight.fill_(value)
    randomise_layer(layer, seed=0)
    assert layer.weight.mean().item() == pytest.approx(value, abs=0.03 * spread)
    assert layer.weight.std().item() == pytest.approx(spread, rel=0.02)


def test_a_scheme_that_resets_to_constants_is_no_draw():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.linspace(1, 2, 6))
            self.drawn = nn.Parameter(torch.ones(6))

        def reset_parameters(self):
            nn.init.ones_(self.scale)
            nn.init.uniform_(self.drawn)

    first, second = Scaled(), Scaled()
    randomise_layer(first, seed=0)
    randomise_layer(second, seed=1)
    assert first.scale.unique().numel() == 6
    assert not torch.equal(first.scale, second.scale)
    torch.manual_seed(0)
    assert torch.equal(first.drawn, torch.rand(6))


class Block(nn.Module):
    """Owns a token and two children; its scheme, as often, resets the children too."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.single = nn.Parameter(torch.tensor(0.5))
        self.inner = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def reset_parameters(self):
        nn.init.normal_(self.token)
        nn.init.normal_(self.single)
        self.inner.reset_parameters()


def test_children_are_not_touched():
    block = trained(Block())
    before = copied(block)
    randomise_layer(block, seed=0)
    assert changed(block, before) == {"token", "single"}


def test_bare_parameters_change():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1, 1, 4))
            self.temperature = nn.Parameter(torch.tensor(0.07))

    bare = Bare()
    before = copied(bare)
    randomise_layer(bare, seed=0)
    assert changed(bare, before) == {"token", "temperature"}


def test_running_statistics_are_drawn_from_their_own_values():
    norm = trained(nn.BatchNorm2d(64))
    before = copied(norm)
    randomise_layer(norm, seed=0)
    for name in ("running_mean", "running_var"):
        assert not torch.equal(norm.state_dict()[name], before[name])
        assert set(norm.state_dict()[name].tolist()) <= set(before[name].tolist())
        assert norm.state_dict()[name].unique().numel() > 20
    assert (norm.running_var > 0).all()


def test_integers_stay():
    class Indexed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("index", torch.arange(6))
            self.register_buffer("flags", torch.tensor([True, False, True]))
            self.codes = nn.Parameter(torch.arange(8), requires_grad=False)
            self.weight = nn.Parameter(torch.randn(6))

    module = Indexed()
    before = copied(module)
    assert randomise_layer(module, seed=0) == ["codes"]
    assert changed(module, before) == {"weight"}
    norm = nn.BatchNorm1d(3)
    norm.num_batches_tracked.fill_(7)
    randomise_layer(norm, seed=0)
    assert norm.num_batches_tracked == 7


def test_what_cannot_be_drawn_is_listed():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))
            self.nothing = nn.Parameter(torch.zeros(0))
            self.register_buffer("scale", torch.tensor(255.0))
            self.register_buffer("mean", torch.tensor([0.4, 0.4, 0.4]))
            self.register_buffer("steps", torch.tensor(3))
            self.register_buffer("spread", torch.linspace(0, 1, 50))

    odd = Odd()
    before = copied(odd)
    assert randomise_layer(odd, seed=0) == ["phase", "scale", "mean"]
    assert changed(odd, before) == {"spread"}


@pytest.mark.parametrize("wants", ["an argument", "luck"])
def test_a_scheme_that_cannot_be_called_is_none(wants):
    class Demanding(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6))
            self.bias = nn.Parameter(torch.randn(6))
            if wants == "luck":
                self.reset_parameters = self.fail

        def reset_parameters(self, gain):
            raise AssertionError(gain)

        def fail(self):
            nn.init.ones_(self.weight)
            raise RuntimeError("no luck")

    module = Demanding()
    before = copied(module)
    assert randomise_layer(module, seed=0) == []
    assert changed(module, before) == {"weight", "bias"}
    assert not (module.weight == 1).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_keep_what_they_are(dtype):
    layer = trained(nn.BatchNorm1d(4)).to(dtype)
    layer.weight.requires_grad_(False)
    weight, mean = layer.weight, layer.running_mean
    places = [tensor.data_ptr() for tensor in (weight, mean)]
    before = copied(layer)
    randomise_layer(layer, seed=0)
    assert (layer.weight, layer.running_mean) == (weight, mean)
    assert [tensor.data_ptr() for tensor in (weight, mean)] == places
    assert weight.dtype == mean.dtype == dtype
    assert not weight.requires_grad
    assert layer.bias.requires_grad
    assert layer.bias.grad_fn is None
    assert {"weight", "bias", "running_mean"} <= changed(layer, before)


@pytest.mark.parametrize("make", [lambda: nn.Linear(4, 3), lambda: nn.BatchNorm1d(4)])
def test_global_generators_stay_as_they_were(make):
    layer = trained(make())
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    randomise_layer(layer, seed=0)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


# ------------------------------------------------------------------------------- whole networks


class Transformer(nn.Module):
    """A vision transformer in small: class token, positions, attention, layer norms."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 5, 8))
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, inputs):
        tokens = self.patches(inputs).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.positions
        tokens = self.norm(tokens * self.scale)
        return self.head(self.attention(tokens, tokens, tokens)[0][:, 0])


def vision(name, **options):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    return getattr(models, name)(**options)


def vgg_small():
    """VGG-11 with batch norms as torchvision builds it, with fewer channels and linear layers."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    sizes = [8, "M", 16, "M", 32, 32, "M", 32, 32, "M", 32, 32, "M"]
    features = models.vgg.make_layers(sizes, batch_norm=True)
    return nn.Sequential(features, nn.Flatten(), nn.Linear(32, 5))


NETWORKS = {
    "transformer": (Transformer, (1, 8, 8)),
    "vgg11_bn, small": (vgg_small, (3, 32, 32)),
    "resnet18": (lambda: vision("resnet18"), (3, 32, 32)),
    "densenet121": (lambda: vision("densenet121"), (3, 32, 32)),
    "mobilenet_v2": (lambda: vision("mobilenet_v2"), (3, 32, 32)),
    "mobilenet_v3_small": (lambda: vision("mobilenet_v3_small"), (3, 32, 32)),
}
LARGE = {
    "vgg11": (lambda: vision("vgg11"), (3, 32, 32)),
    "convnext_tiny": (lambda: vision("convnext_tiny"), (3, 32, 32)),
    "vit_b_16": (lambda: vision("vit_b_16", image_size=32), (3, 32, 32)),
}


def tensors_of(model):
    return {name for name, value in model.state_dict().items() if value.is_floating_point()}


def assert_all_drawn_anew(model, shape):
    model = trained(model)
    inputs = torch.randn(1, *shape)
    before = copied(model)
    with torch.no_grad():
        outputs = model(inputs)
        randomised(model, inputs)
        assert not torch.equal(model(inputs), outputs)
        assert model(inputs).isfinite().all()
    state = model.state_dict()
    floating = tensors_of(model)
    assert changed(model, before) == floating
    for name in floating:
        if name.endswith("running_var"):
            assert (state[name] > 0).all()
    drawn = [state[name].flatten()[:8].tolist() for name in floating if "running" not in name]
    assert len({tuple(values) for values in drawn}) == len(drawn)


def assert_all_drawn_or_listed(model, shape):
    """As built, never trained: batch norms have statistics that are constants."""
    model = model.eval()
    before = copied(model)
    names = layers(model, torch.randn(1, *shape))
    kept = [kept for step in redraw(model, names, order="top_down", seed=0) for kept in step.kept]
    assert len(kept) == len(set(kept))
    assert changed(model, before) == tensors_of(model) - set(kept)
    assert all(name.endswith(("running_mean", "running_var")) for name in kept)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_and_buffer_of_a_network_changes(name):
    build, shape = NETWORKS[name]
    assert_all_drawn_anew(build(), shape)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_does_not_change_is_listed(name):
    build, shape = NETWORKS[name]
    assert_all_drawn_or_listed(build(), shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_every_parameter_and_buffer_of_a_large_network_changes(name):
    build, shape = LARGE[name]
    assert_all_drawn_or_listed(build(), shape)
    assert_all_drawn_anew(build(), shape)
