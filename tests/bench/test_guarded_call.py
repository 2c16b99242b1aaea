"""What one call of an explainer did beside its work."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import call
from pytest_xai.errors import GuestError
from pytest_xai.protocol import explainer, named

INPUTS = torch.arange(12.0).reshape(4, 3)
TARGETS = torch.tensor([0, 1, 0, 1])
BASELINE = torch.ones(4, 3)


def made(function, seed=0, model=None):
    guard = Guard(nn.Linear(3, 2) if model is None else model)
    return call(guard, named(function), INPUTS, TARGETS, baseline=BASELINE, seed=seed)


def given(function):
    """A guest that works on its arguments and returns zeros."""

    @explainer(needs_baseline=True)
    def guest(model, inputs, targets, *, baseline):
        function(inputs, targets, baseline)
        return torch.zeros(4, 3)

    return guest


TOUCHES = {
    "nothing": (lambda inputs, targets, baseline: None, []),
    "values": (lambda inputs, targets, baseline: inputs.add_(1), ["the values of inputs"]),
    "one value": (
        lambda inputs, targets, baseline: inputs[3, 2].add_(1e-6 * 11),
        ["the values of inputs"],
    ),
    "nan": (lambda inputs, targets, baseline: inputs.fill_(np.nan), ["the values of inputs"]),
    "targets": (lambda inputs, targets, baseline: targets.zero_(), ["the values of targets"]),
    "baseline": (lambda inputs, targets, baseline: baseline.zero_(), ["the values of baseline"]),
    "shape": (lambda inputs, targets, baseline: inputs.unsqueeze_(0), ["the values of inputs"]),
    "dtype": (
        lambda inputs, targets, baseline: setattr(inputs, "data", inputs.data.double()),
        ["the values of inputs"],
    ),
    "requires_grad": (
        lambda inputs, targets, baseline: inputs.requires_grad_(),
        ["requires_grad of inputs"],
    ),
    "grad": (
        lambda inputs, targets, baseline: inputs.requires_grad_().sum().backward(),
        ["requires_grad of inputs", ".grad of inputs"],
    ),
    "grad left": (
        lambda inputs, targets, baseline: (
            inputs.requires_grad_().sum().backward(),
            inputs.requires_grad_(False),
        ),
        [".grad of inputs"],
    ),
    "part of a graph": (
        lambda inputs, targets, baseline: inputs.mul_(baseline.requires_grad_()),
        ["requires_grad of inputs", "requires_grad of baseline"],
    ),
}


@pytest.mark.parametrize("name", TOUCHES)
def test_what_happened_to_the_arguments_is_said(name):
    function, expected = TOUCHES[name]
    assert made(given(function)).touched == expected
    assert INPUTS.flatten().tolist() == list(range(12))
    assert TARGETS.tolist() == [0, 1, 0, 1]
    assert (BASELINE == 1).all()
    assert not any(tensor.requires_grad for tensor in (INPUTS, BASELINE))


def test_the_arguments_are_those_given():
    seen = []

    @explainer(needs_baseline=True)
    def guest(model, inputs, targets, *, baseline):
        seen.extend([model, inputs, targets, baseline])

    model = nn.Linear(3, 2)
    made(guest, model=model)
    assert seen[0] is model
    for tensor, expected in zip(seen[1:], (INPUTS, TARGETS, BASELINE), strict=True):
        assert torch.equal(tensor, expected)
        assert tensor.data_ptr() != expected.data_ptr()


def test_the_output_comes_as_it_is():
    result = object()
    assert made(lambda *_: result).output is result


DRAWS = {
    "torch": lambda: torch.rand(1),
    "numpy": np.random.random,
    "python": random.random,
}


@pytest.mark.parametrize("name", DRAWS)
def test_generators_that_moved_are_named(name):
    assert made(lambda *_: DRAWS[name]()).generators == {name}


def test_a_generator_of_the_guest_s_own_does_not_count():
    def guest(*_):
        torch.rand(1, generator=torch.Generator().manual_seed(0))
        np.random.default_rng(0).random()
        random.Random(0).random()  # noqa: S311

    assert made(guest).generators == set()


def test_the_state_at_the_end_tells_seeding_from_drawing():
    def seeds(*_):
        torch.manual_seed(0)
        torch.rand(1)

    def draws(*_):
        torch.rand(1)

    ends = {
        name: [made(guest, seed).after for seed in (0, 1)]
        for name, guest in (("seeds", seeds), ("draws", draws))
    }
    assert "torch" not in ends["seeds"][0].differing(ends["seeds"][1])
    assert "torch" in ends["draws"][0].differing(ends["draws"][1])


def test_all_generators_are_seeded_and_come_back():
    model = nn.Linear(3, 2)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()

    def guest(*_):
        return [float(draw()) for draw in DRAWS.values()]

    first, again, other = (made(guest, seed, model).output for seed in (0, 0, 1))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_effects_on_the_model_are_put_back_and_said():
    model = nn.Linear(3, 2).eval()

    def guest(model, inputs, targets):
        model.train()
        return inputs

    effects = made(guest, model=model).effects
    assert [(effect.kind, effect.where) for effect in effects] == [("training mode", "Linear")]
    assert not model.training


def test_a_guest_that_raises_leaves_no_trace():
    model = nn.Linear(3, 2).eval()
    before = torch.get_rng_state()

    def guest(model, inputs, targets):
        model.train()
        torch.rand(1)
        raise ValueError("boo")

    with pytest.raises(GuestError, match=r"^explainer 'guest' raised ValueError: boo$"):
        made(guest, model=model)
    assert not model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_guests_have_gradients():
    with torch.no_grad():
        assert made(lambda *_: torch.is_grad_enabled()).output is True
