"""The catalogue: a smallest network for every structure, really there and readable."""

import ast
import copy

import pytest
import torch
from torch import nn

from fixtures.loops import in_one_test
from pytest_xai import Subject
from pytest_xai.errors import InvalidArgument
from pytest_xai.networks import KINDS, STRUCTURES, Plan

EACH = in_one_test("name", STRUCTURES)

# What issue reports call structures, and how one sees in a network itself that it is there.
SEEN = {
    "adaptive-avg-pool": "nn.AdaptiveAvgPool2d(1)",
    "adaptive-max-pool": "nn.AdaptiveMaxPool2d(1)",
    "attention": "torch.softmax(scores / 3, dim=2) @ self.value1(x)",
    "avg-pool": "nn.AvgPool2d(2)",
    "batch-norm": "nn.BatchNorm2d(2)",
    "branches": "x = x + self.linear2(skip)",
    "buffer": 'self.register_buffer("offset1", torch.zeros(3))',
    "channels-last": ".to(memory_format=torch.channels_last)",
    "concat": "torch.cat([x, skip], dim=1)",
    "conv": "nn.Conv2d(1, 2, 3)",
    "depthwise-conv": "nn.Conv2d(2, 2, 2, groups=2)",
    "dilated-conv": "nn.Conv2d(1, 2, 2, dilation=2)",
    "dropout": "nn.Dropout(0.5)",
    "exp": "torch.exp(",
    "flatten": "nn.Flatten()",
    "float64": ".double()",
    "functional-relu": "x = torch.relu(x)",
    "gelu": "nn.GELU()",
    "group-norm": "nn.GroupNorm(2, 2)",
    "grouped-conv": "nn.Conv2d(4, 4, 3, groups=2)",
    "inplace-relu": "nn.ReLU(inplace=True)",
    "instance-norm": "nn.InstanceNorm2d(2, affine=True)",
    "layer-norm": "nn.LayerNorm(3)",
    "linear": "nn.Linear(3, 2)",
    "log-softmax": "nn.LogSoftmax(dim=1)",
    "max-pool": "nn.MaxPool2d(2)",
    "max-pool-1d": "nn.MaxPool1d(2)",
    "max-pool-2d": "nn.MaxPool2d(2)",
    "max-pool-3d": "nn.MaxPool3d(3)",
    "max-pool-dilated": "nn.MaxPool1d(2, dilation=2)",
    "max-pool-overlapping": "nn.MaxPool1d(2, stride=1)",
    "max-pool-padded": "nn.MaxPool1d(3, padding=1)",
    "max-pool-ties": "nn.ReLU(),\n    nn.MaxPool2d(2)",
    "permute": "x = x.transpose(1, -1)",
    "product": "x = x * skip",
    "relu": "nn.ReLU()",
    "relu-used-twice": (
        "x = self.relu1(x)\n        x = self.linear2(x)\n        x = self.relu1(x)"
    ),
    "residual": "x = x + skip",
    "shared-weights": (
        "x = self.linear1(x)\n        x = self.relu1(x)\n        x = self.linear1(x)"
    ),
    "sigmoid": "nn.Sigmoid()",
    "silu": "nn.SiLU()",
    "skip-around-pool": "skip = x\n        x = self.pool1(x)\n        x = x + skip",
    "softmax": "nn.Softmax(dim=1)",
    "tanh": "nn.Tanh()",
    "transposed-conv": "nn.ConvTranspose2d(1, 2, 2, stride=2)",
    "unused-module": "self.unused1 = nn.Linear(2, 2)",
    "view": "x = x.view(-1, 12)",
}


def test_the_list_above_has_every_structure():
    assert SEEN.keys() == STRUCTURES.keys()


@EACH
def test_the_structure_is_there_and_named(name):
    plan = STRUCTURES[name]
    assert SEEN[name] in plan.script()
    assert name in plan.structures
    assert plan.layers <= 6


@EACH
def test_the_script_makes_the_same_network_and_inputs_to_the_last_bit(name):
    assert_script_is_the_network(STRUCTURES[name])


def assert_script_is_the_network(plan):
    made = {}
    exec(plan.script(), made)  # noqa: S102
    exec(plan.inputs_script(3, seed=5), made)  # noqa: S102
    model, inputs = plan.build(), plan.inputs(3, seed=5)
    assert not any(module.training for module in made["model"].modules())
    assert inputs.dtype == made["inputs"].dtype == getattr(torch, plan.dtype)
    assert inputs.equal(made["inputs"])
    state, other = model.state_dict(), made["model"].state_dict()
    assert state.keys() == other.keys()
    for key, tensor in state.items():
        assert tensor.equal(other[key]), key
        assert tensor.dtype == other[key].dtype, key
        assert tensor.stride() == other[key].stride(), key
    outputs = model(inputs)
    assert outputs.equal(made["model"](inputs))
    assert outputs.shape == (3, plan.classes)
    assert outputs.isfinite().all()


@EACH
def test_the_network_is_a_subject_with_gradients_everywhere_finite(name):
    plan = STRUCTURES[name]
    inputs = plan.inputs(4)
    subject = Subject(copy.deepcopy(plan.build()), inputs)
    inputs = inputs.clone().requires_grad_()
    outputs = subject.double().model(inputs.double())
    [gradient] = torch.autograd.grad(outputs.square().sum(), inputs)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_windows_side_by_side_do_not_overlap():
    plain = {"max-pool", "max-pool-2d", "flatten", "linear"}
    assert STRUCTURES["max-pool"].structures == plain


def test_scripts_import_torch_alone():
    for plan in STRUCTURES.values():
        found = [node for node in ast.walk(ast.parse(plan.script())) if "Import" in str(type(node))]
        assert {ast.unparse(node) for node in found} == {"import torch", "from torch import nn"}


def test_every_kind_of_step_is_in_the_catalogue_but_one_twin():
    used = set()
    for plan in STRUCTURES.values():
        for step in plan.steps:
            used |= {step.kind, *(each.kind for each in step.inner)}
    # Shared convolutions are the shared linear layers of images.
    assert KINDS.keys() - used == {"shared-conv"}


def test_ties_are_there_in_the_network_of_that_name():
    plan = STRUCTURES["max-pool-ties"]
    clipped = plan.build()[:2](plan.inputs(8))
    windows = clipped.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    top = windows.max(-1, keepdim=True).values
    assert ((windows == top).sum(-1) > 1).any()


class Pair(nn.Module):
    """Outputs in a container: no one tensor of logits."""

    def __init__(self, pack):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.pack = pack

    def forward(self, x):
        return self.pack(self.linear(x))


@pytest.mark.parametrize(
    "pack",
    [lambda y: (y, y), lambda y: {"logits": y}, lambda y: [y]],
    ids=["tuple", "dict", "list"],
)
def test_a_model_that_returns_a_container_is_refused_and_told_so(pack):
    kind = type(pack(0)).__name__
    with pytest.raises(InvalidArgument, match=rf"model: got .*{kind}.*expected"):
        Subject(Pair(pack), torch.ones(2, 2))


def test_plans_are_compared_by_what_they_say():
    one, other = STRUCTURES["relu"], Plan((3,), STRUCTURES["relu"].steps)
    assert one == other
    assert hash(one) == hash(other)
    assert one != Plan((3,), one.steps, seed=1)
