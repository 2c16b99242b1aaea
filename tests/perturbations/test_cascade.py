"""Layers are drawn anew in the order that was asked for, and put back where that says so."""

import itertools

import pytest
import torch
from torch import nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.perturbations.cascade import ORDERS, redraw

NAMES = ["0", "2", "4"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4)
    norm.running_mean.copy_(torch.arange(4.0))
    norm.running_var.copy_(torch.arange(1.0, 5.0))
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), norm, nn.ReLU(), nn.Linear(4, 4)).eval()


def copied(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def states(model, order, seed=0):
    """The steps, and the weights before and after each."""
    found, steps = [copied(model)], []
    for step in redraw(model, NAMES, order=order, seed=seed):
        steps.append(step)
        found.append(copied(model))
    return steps, found


def other(a, b):
    """The layers in which two states differ."""
    return {name.partition(".")[0] for name in a if not torch.equal(a[name], b[name])}


@pytest.mark.parametrize(
    "order, layers",
    [
        ("top_down", ["4", "2", "0"]),
        ("bottom_up", ["0", "2", "4"]),
        ("independent", ["4", "2", "0"]),
    ],
)
def test_the_steps_come_in_their_order(model, order, layers):
    steps, found = states(model, order)
    assert [step.layer for step in steps] == layers
    drawn = [other(found[0], state) for state in found[1:]]
    if order == "independent":
        assert drawn == [{layer} for layer in layers]
        assert other(found[0], copied(model)) == set()
    else:
        assert drawn == [set(layers[: count + 1]) for count in range(3)]
        assert other(found[-1], copied(model)) == set()


@pytest.mark.parametrize("order", ORDERS)
def test_the_touched_modules_are_those_that_differ_from_the_step_before(model, order):
    steps, found = states(model, order)
    modules = {module: name for name, module in model.named_children()}
    for step, (before, after) in zip(steps, itertools.pairwise(found), strict=True):
        assert {modules[module] for module in step.touched} == other(before, after)


def test_a_layer_gets_the_same_weights_in_every_order(model):
    start = copied(model)
    ends = {}
    for order in ("top_down", "bottom_up"):
        model.load_state_dict(start)
        ends[order] = states(model, order)[1][-1]
    assert other(ends["top_down"], ends["bottom_up"]) == set()
    model.load_state_dict(start)
    for step in redraw(model, NAMES, order="independent", seed=0):
        alone = {name: v for name, v in copied(model).items() if name.startswith(step.layer)}
        assert all(torch.equal(value, ends["top_down"][name]) for name, value in alone.items())


def test_layers_of_one_shape_and_other_seeds_get_other_weights(model):
    start = copied(model)
    first = states(model, "top_down")[1][-1]
    model.load_state_dict(start)
    second = states(model, "top_down", seed=1)[1][-1]
    assert not torch.isclose(first["0.weight"], first["4.weight"]).any()
    assert not torch.isclose(first["0.weight"], second["0.weight"]).any()


def test_what_was_kept_has_its_full_name():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.BatchNorm1d(3)
            self.register_buffer("scale", torch.tensor(2.0))

    model = Scaled()
    kept = [step.kept for step in redraw(model, ["inner", ""], order="bottom_up", seed=0)]
    assert kept == [("inner.running_mean", "inner.running_var"), ("scale",)]


def test_a_wrapper_that_hides_its_names_is_no_obstacle(model):
    class Hiding(nn.Sequential):
        def get_submodule(self, target):
            return self[0].get_submodule(target)

    wrapped = Hiding(model)
    steps = list(redraw(wrapped, ["0.0"], order="bottom_up", seed=0))
    assert steps[0].touched == (model[0],)


def test_an_order_that_does_not_exist_is_named(model):
    with pytest.raises(InvalidArgument, match="order: got 'sideways', expected one of"):
        next(redraw(model, NAMES, order="sideways", seed=0))
