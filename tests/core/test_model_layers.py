"""Layers are listed in the order in which the model runs them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai.core.model_layers import layers


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
