"""Plans: shapes inferred, misfits refused, networks that follow from the plan alone."""

import random

import numpy as np
import pytest
import torch

from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.networks import STRUCTURES, Draft, Plan, Step, grow

LINEAR = Step("linear", width=2)


def test_the_source_of_a_chain_can_be_read_at_a_glance():
    plan = Plan((2,), (LINEAR, Step("relu"), Step("linear", width=1)), weights="ones")
    assert repr(plan) == plan.script()
    assert plan.script() == (
        "import torch\n"
        "from torch import nn\n"
        "\n"
        "model = nn.Sequential(\n"
        "    nn.Linear(2, 2),\n"
        "    nn.ReLU(),\n"
        "    nn.Linear(2, 1),\n"
        ").eval()\n"
        "model.load_state_dict({\n"
        '    "0.weight": torch.tensor([[1.0, 1.0], [1.0, 1.0]]),\n'
        '    "0.bias": torch.tensor([0.0, 0.0]),\n'
        '    "2.weight": torch.tensor([[1.0, 1.0]]),\n'
        '    "2.bias": torch.tensor([0.0]),\n'
        "})"
    )
    assert plan.build()(torch.tensor([[3.0, -1.0], [-3.0, 1.0]])).tolist() == [[4.0], [0.0]]


def test_what_is_no_chain_becomes_a_class():
    fork = Step("residual", inner=(Step("functional-relu"), LINEAR))
    plan = Plan((2,), (fork,), weights="ones")
    assert plan.script().startswith(
        "import torch\n"
        "from torch import nn\n"
        "\n"
        "\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.linear1 = nn.Linear(2, 2)\n"
        "\n"
        "    def forward(self, x):\n"
        "        skip = x\n"
        "        x = torch.relu(x)\n"
        "        x = self.linear1(x)\n"
        "        x = x + skip\n"
        "        return x\n"
        "\n"
        "\n"
        "model = Net().eval()\n"
    )
    assert plan.layers == 3
    assert plan.build()(torch.tensor([[1.0, -2.0]])).tolist() == [[2.0, -1.0]]


def test_many_weights_are_drawn_and_few_written_out():
    few = Plan((4,), (Step("linear", width=4),))
    many = Plan((4,), (Step("linear", width=4), Step("linear", width=4)))
    assert "load_state_dict" in few.script()
    assert "manual_seed(0)" in many.script()
    assert many.inputs_script(9, seed=3).startswith("generator = torch.Generator().manual_seed(3)")
    assert many.inputs_script(2).startswith("inputs = torch.tensor([[")


def test_the_global_generators_are_left_alone_and_not_asked():
    plan = STRUCTURES["conv"]
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, inputs = plan.build().state_dict(), plan.inputs(2)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert before[0].equal(after[0])
    assert before[1:] == after[1:]
    torch.manual_seed(2)
    assert all(tensor.equal(first[key]) for key, tensor in plan.build().state_dict().items())
    assert plan.inputs(2).equal(inputs)
    assert not plan.inputs(2, seed=1).equal(inputs)


def test_the_default_dtype_has_no_say():
    plan = Plan((3,), (LINEAR,), weights="fine")
    weight, inputs = plan.build()[0].weight, plan.inputs(2)
    torch.set_default_dtype(torch.float64)
    try:
        again, more = plan.build()[0].weight, plan.inputs(2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (again.dtype, more.dtype) == (torch.float32, torch.float32)
    assert weight.equal(again)
    assert inputs.equal(more)


def test_the_seed_and_the_kind_of_weights_decide_the_weights():
    def weight(**given):
        return Plan((3,), (LINEAR,), **given).build()[0].weight

    assert not weight(seed=0).equal(weight(seed=1))
    assert (weight(weights="ones") == 1).all()
    quarters, fine = weight(seed=2) * 4, weight(weights="fine", seed=2) * 1024
    assert quarters.equal(quarters.round())
    assert fine.equal(fine.round())
    assert len(fine.unique()) == 6


def test_weights_are_smaller_where_more_is_added():
    wide = Plan((16,), (LINEAR,)).build()[0].weight
    assert wide.abs().max() <= 0.5 < Plan((4,), (LINEAR,)).build()[0].weight.abs().max()


def test_running_variances_are_positive_and_none_is_like_the_other():
    plan = Plan((3, 2), (Step("batch-norm"), Step("flatten")), weights="fine")
    variance = plan.build()[0].running_var
    assert (variance > 0.5).all()
    assert len(variance.unique()) == 3


def test_plans_know_what_they_are():
    plan = Plan((1, 4, 4), (Step("conv", width=2, kernel=3), Step("flatten")), dtype="float64")
    assert (plan.kind, plan.classes, plan.layers) == ("image", 8, 2)
    assert plan.structures == {"conv", "flatten", "float64"}
    kinds = [Plan((1, *[4] * rank), (Step("flatten"),)).kind for rank in (1, 2, 3)]
    assert kinds == ["signal", "image", "volume"]


@pytest.mark.parametrize(
    "shape, steps, told",
    [
        ((2,), (), "steps: got none"),
        ((1, 4), (Step("relu"),), "outputs of shape (1, 4), expected (classes,)"),
        ((2,), (Step("conv"),), "Step('conv') on shape (2,), expected a signal"),
        ((1, 4), (LINEAR,), "Step('linear', width=2) on shape (1, 4), expected a table"),
        ((1, 2), (Step("conv", kernel=3), Step("flatten")), "an output with elements"),
        ((3, 4), (Step("conv", groups=2), Step("flatten")), "groups that divide channels"),
        ((1, 4), (Step("max-pool", kernel=2, padding=2),), "padding of at most half a window"),
        ((1, 4), (Step("adaptive-avg-pool", width=5),), "a width within the shape"),
        ((2,), (Step("inplace-relu"),), "a linear layer or convolution just before"),
        ((2,), (Step("residual"),), "steps inside"),
        ((2,), (Step("residual", inner=(Step("linear", width=3),)),), "give shape (2,) again"),
        ((2,), (Step("relu", inner=(LINEAR,)),), "steps inside forks only"),
        ((2,), (Step("residual", inner=(Step("concat", inner=(LINEAR,)),)),), "no forks inside"),
        ((1, 4), (Step("permute"), Step("view")), "a contiguous tensor"),
        ((2, 1), (Step("instance-norm"), Step("flatten")), "two places or more"),
        ((0,), (LINEAR,), "input_shape: got (0,)"),
        ((1, 1, 1, 1, 1), (Step("flatten"),), "input_shape"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_step_named(shape, steps, told):
    with pytest.raises(InvalidArgument) as caught:
        Plan(shape, steps)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "given, told",
    [
        ({"weights": "halves"}, "unknown kind of weights 'halves'"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
        ({"steps": (Step("relo"),)}, "Did you mean 'relu'?"),
    ],
)
def test_names_that_do_not_exist_are_refused(given, told):
    with pytest.raises(UnknownName) as caught:
        Plan(**{"input_shape": (2,), "steps": (LINEAR,), **given})
    assert told in str(caught.value)


def test_channels_last_is_for_images():
    with pytest.raises(InvalidArgument, match="channels_last: got True, expected images"):
        Plan((2,), (LINEAR,), channels_last=True)
    weight = STRUCTURES["channels-last"].build()[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


# ------------------------------------------------------------------------------------------ growing


def grown(shape, *blocks, max_layers=6, head=0):
    return grow(
        Draft(shape),
        blocks,
        allowed=frozenset(STRUCTURES),
        max_layers=max_layers,
        head=head,
    )


def test_blocks_are_changed_until_they_fit():
    conv = Step("conv", width=3, kernel=9, dilation=4, groups=3)
    assert grown((2,), (conv,)) == (Step("linear", width=3),)
    flat, linear = Step("flatten"), LINEAR
    bent = Step("conv", width=4, kernel=3, groups=2)
    assert grown((2, 3), (conv,)) == (bent, flat)
    assert grown((2, 4), (Step("conv", width=0),)) == (Step("conv", width=2), flat, linear)
    assert grown((3, 2), (Step("group-norm", groups=2),)) == (Step("group-norm"), flat)
    residual = Step("residual", inner=(Step("linear", width=3),))
    kept = (Step("linear", width=3), Step("linear", width=2))
    assert grown((2,), (residual,)) == (Step("residual", inner=kept),)


def test_blocks_that_cannot_be_fitted_or_find_no_room_are_dropped():
    pool = Step("max-pool", kernel=3)
    assert grown((2,), (pool,), (Step("relu"),)) == (Step("relu"),)
    relu = Step("relu")
    assert grown((2,), (relu,), (relu, relu), (relu,), max_layers=2) == (relu, relu)
    assert grown((1, 9), (relu,), (relu,), max_layers=3) == (relu, Step("flatten"), LINEAR)


def test_there_is_always_something_and_it_ends_in_outputs():
    assert grown((2,)) == (LINEAR,)
    assert grown((1, 3)) == (Step("flatten"),)
    assert grown((1, 3), head=3) == (Step("flatten"), Step("linear", width=3))
    assert grown((7,), (Step("relu"),)) == (Step("relu"), LINEAR)
