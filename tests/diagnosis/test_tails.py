"""Networks cut in two: the head and the tail of every cut compute what the network does."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fixtures import models
from pytest_xai.diagnosis.graphs import trace
from pytest_xai.diagnosis.suspects import likely_causes, step_name
from pytest_xai.diagnosis.tails import Tails
from pytest_xai.errors import NotApplicable

NETWORKS = {
    "chain": (models.chain(5, 4, 3), (5,)),
    "shared_relu": (models.shared_relu(), (5,)),
    "functional": (models.functional_net(), (1, 6, 6)),
    "normed": (models.normed(), (2, 6, 5)),
    "deep_cnn": (models.deep_cnn(), (1, 8, 8)),
    "resnet18": (models.resnet18(), (3, 16, 16)),
}


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def cut(model, *shape):
    return Tails(trace(model, drawn(1, *shape), rounding=1e-12))


@pytest.mark.parametrize("name", NETWORKS)
def test_head_and_tail_make_the_network(name):
    """Another number of images than the network was drawn with, gradients included."""
    model, shape = NETWORKS[name]
    tails, inputs = cut(model, *shape), drawn(5, *shape, seed=1)
    expected = model(inputs)
    for each in tails.cuts:
        activations = tails.head(each)(inputs.clone()).detach().requires_grad_()
        outputs = tails.tail(each)(activations)
        assert torch.allclose(outputs, expected, rtol=1e-12, atol=0)
        if each.live:
            assert torch.autograd.grad(outputs.sum(), activations)[0].shape == activations.shape


def test_every_step_of_a_residual_network_is_a_cut():
    tails = cut(models.resnet18(), 3, 16, 16)
    # Input, convolutions, batch norms, ReLUs, sums, pools, flatten, linear layer.
    assert len(tails.steps) == 1 + 20 + 20 + 17 + 8 + 2 + 1 + 1
    assert len(tails.cuts) == len(tails.steps)
    whole = [each for each in tails.cuts if each.plain]
    packed = [each for each in tails.cuts if len(each.live) == 2]
    assert whole[0].place == 0
    assert whole[-1].place == len(tails.steps) - 1
    assert len(packed) >= 8 * 4
    # A place before a ReLU in place is one tensor, but not one that may be handed over as it is.
    before = [each for each in tails.cuts if not each.plain and len(each.live) == 1]
    assert before
    assert all(tails.writes(tails.steps[each.place + 1]) for each in before)


def test_tails_share_the_modules_and_keep_their_names():
    model = models.deep_cnn()
    tails = cut(model, 1, 8, 8)
    half = tails.tail(tails.cuts[len(tails.cuts) // 2])
    found = dict(half.named_modules())
    assert found["conv9"] is model.conv9
    assert "conv1" not in found


def test_a_constant_that_the_network_makes_is_made_again():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.full((3,), 2.0).double())

        def forward(self, inputs):
            return (inputs + torch.ones(3, dtype=torch.float64)) * self.scale.abs()

    tails, inputs = cut(Net().eval(), 3), drawn(4, 3)
    assert len(tails.cuts) == 3
    for each in tails.cuts:
        assert torch.equal(tails.tail(each)(tails.head(each)(inputs)), (inputs + 1) * 2)


def test_a_network_whose_trace_computes_something_else_is_refused():
    class Net(nn.Module):
        runs = 1

        def forward(self, inputs):
            self.runs += 1
            return inputs * self.runs

    with pytest.raises(NotApplicable, match="the traced network has other outputs"):
        trace(Net().eval(), drawn(1, 3), rounding=1e-12)


def test_a_network_with_two_inputs_is_refused():
    class Net(nn.Module):
        def forward(self, inputs, other=None):
            return inputs if other is None else inputs + other

    class Both(nn.Module):
        def forward(self, inputs, scale=2.0):
            return inputs * scale

    assert cut(Net().eval(), 3).cuts
    with pytest.raises(NotApplicable, match="torch.fx cannot trace the network"):
        trace(Both().eval(), drawn(1, 3), rounding=1e-12)


# ----------------------------------------------------------------------------------------- suspects


@pytest.mark.parametrize(
    "module, says",
    [
        (nn.MaxPool2d(3, 2), "max-pool windows overlap (size 3, stride 2)"),
        (nn.MaxPool2d(2, 2, padding=1), "padded max-pool"),
        (nn.MaxPool2d(2, 2, dilation=2), "dilated max-pool"),
        (nn.AvgPool2d(3, 1, padding=1), "padded average pooling"),
        (nn.BatchNorm2d(2), "batch norm not merged"),
        (nn.GroupNorm(1, 2), "a normalisation without a rule"),
        (nn.GELU(), "GELU is neither linear nor a ReLU"),
        (nn.Softmax(1), "softmax before the explained output"),
        (nn.ReLU(inplace=True), "in-place ReLU"),
    ],
)
def test_modules_that_explainers_stumble_over(module, says):
    model = nn.Sequential(nn.Conv2d(1, 2, 1), module, nn.Flatten(), nn.LazyLinear(2)).double()
    model(drawn(1, 1, 6, 6))
    tails = cut(model.eval(), 1, 6, 6)
    step = tails.steps[2]
    assert says in likely_causes(tails, [step], varying=False)
    assert step_name(tails, step) == f"`1` ({type(module).__name__})"
    assert likely_causes(tails, [tails.steps[1]], varying=True) == ""


def test_what_stands_around_a_relu():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.act, self.pool = nn.Conv1d(1, 2, 1), nn.ReLU(), nn.MaxPool1d(2)

        def forward(self, inputs):
            hidden = self.one(inputs)
            hidden = hidden + functional.relu(self.act(hidden))
            return self.pool(self.act(hidden)).flatten(1)

    tails = cut(Net().double().eval(), 1, 6)
    _, _, act, relu, add, again, pool, _ = tails.steps
    said = [likely_causes(tails, [step], varying=True) for step in (act, relu, add, again, pool)]
    assert "the input of the ReLU also feeds another branch" in said[0]
    assert "`act` runs 2 times per forward pass; hook-based rules see only the last" in said[0]
    assert "a ReLU after a ReLU" in said[0]
    assert "functional ReLU (no module to hook)" in said[1]
    assert (
        said[2] == "residual sum: each branch must get relevance in proportion to its contribution"
    )
    assert "a max-pool after a ReLU: one nonlinearity feeds another" in said[3]
    assert said[4] == "a max-pool after a ReLU with a varying baseline"
    assert likely_causes(tails, [pool], varying=False) == "a max-pool after a ReLU"
    assert step_name(tails, add) == "add() after `one` and relu()"
    assert step_name(tails, again) == "`act` (ReLU, run 2 of 2)"
