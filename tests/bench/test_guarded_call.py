"""Errors name the code that raised them; batches fit memory; calls report what they changed."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import call, call_user_code, call_with_model, in_batches
from pytest_xai.errors import (
    GuestError,
    InvalidArgument,
    InvalidAttribution,
    NotApplicable,
    XaiError,
)
from pytest_xai.protocol import explainer, named

INPUTS = torch.arange(12.0).reshape(4, 3)
TARGETS = torch.tensor([0, 1, 0, 1])
BASELINE = torch.ones(4, 3)

# What the allocator of the CPU says is the only sign that it is memory that ran out.
ALLOCATOR = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError("Unable to allocate 1. TiB"),
    RuntimeError(f"[enforce fail at alloc_cpu.cpp:127] {ALLOCATOR}"),
]


# ---------------------------------------------------------------------------------------- call


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


def test_the_state_at_the_end_separates_seeding_from_drawing():
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


# ----------------------------------------------------------------------------- call_user_code


def test_what_the_guest_returns_comes_back():
    result = object()
    assert call_user_code("the model", lambda: result) is result


@pytest.mark.parametrize(
    "error", [ValueError("boo"), KeyError("boo"), RuntimeError("boo"), RecursionError("boo")]
)
def test_a_guest_s_error_says_whose_it_is(error):
    def guest():
        raise error

    with pytest.raises(GuestError) as caught:
        call_user_code("explainer 'mine'", guest)
    assert str(caught.value) == f"explainer 'mine' raised {type(error).__name__}: {error}"
    assert caught.value.__cause__ is error
    assert "in guest\n" in caught.value.traceback
    assert f"{type(error).__name__}: {error}" in caught.value.traceback


@pytest.mark.parametrize(
    "error",
    [
        NotApplicable("no"),
        InvalidArgument("no"),
        InvalidAttribution("no", problem="shape"),
        GuestError("no", traceback="theirs"),
        *OUT_OF_MEMORY,
    ],
)
def test_our_own_errors_and_those_of_memory_are_raised_unchanged(error):
    def guest():
        raise error

    with pytest.raises(type(error)) as caught:
        call_user_code("the model", guest)
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_user_s_interrupt_passes(error):
    def guest():
        raise error

    with pytest.raises(error):
        call_user_code("the model", guest)


def test_the_allocator_s_own_words_are_known():
    def guest():
        return torch.empty(2**60, dtype=torch.int8)

    with pytest.raises(RuntimeError, match="memory"):
        call_user_code("the model", guest)


class Mismatched(nn.Module):
    def __init__(self, error=None):
        super().__init__()
        self.seen = []
        self.error = RuntimeError("shapes cannot be multiplied") if error is None else error

    def forward(self, batch):
        self.seen.append(len(batch))
        raise self.error


# ----------------------------------------------------------------------------- call_with_model


def test_an_error_of_a_model_within_our_own_function_names_the_model():
    model = Mismatched()
    with pytest.raises(GuestError) as caught:
        call_with_model(lambda: len(model(INPUTS)))
    assert str(caught.value) == "the model raised RuntimeError: shapes cannot be multiplied"
    assert "in forward" in caught.value.traceback
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert call_with_model(lambda: len(nn.Linear(3, 2)(INPUTS))) == 4


def test_an_error_of_our_own_function_is_not_blamed_on_the_model_it_runs():
    def ours():
        raise KeyError(len(nn.Linear(3, 2)(INPUTS)))

    with pytest.raises(KeyError):
        call_with_model(ours)


@pytest.mark.parametrize(
    "error", [NotApplicable("no"), GuestError("no", traceback="theirs"), *OUT_OF_MEMORY]
)
def test_such_errors_are_raised_unchanged_also_within_a_model(error):
    with pytest.raises(type(error)) as caught:
        call_with_model(lambda: Mismatched(error)(INPUTS))
    assert caught.value is error


def limited(most, error=OUT_OF_MEMORY[0]):
    """A function of batches that holds at most so many rows; and the sizes that it was given."""
    sizes = []

    def function(batch):
        sizes.append(len(batch))
        if len(batch) > most:
            raise error
        return 2 * batch

    return function, sizes


# --------------------------------------------------------------------------------- in_batches


@pytest.mark.parametrize(
    "count, size, sizes",
    [(5, 5, [5]), (5, 8, [5]), (5, 2, [2, 2, 1]), (6, 2, [2, 2, 2]), (3, 1, [1, 1, 1])],
)
def test_batches_are_of_the_size_and_in_order(count, size, sizes):
    function, seen = limited(99)
    rows = torch.arange(2 * count).reshape(count, 2)
    assert torch.equal(in_batches(function, [rows], size), 2 * rows)
    assert seen == sizes


def test_tensors_are_cut_in_step():
    seen = []

    def function(one, other):
        seen.append((one.tolist(), other.tolist()))
        return one + other[:, 0]

    one, other = torch.arange(5), 10 * torch.arange(10).reshape(5, 2)
    assert in_batches(function, [one, other], 2).tolist() == [0, 21, 42, 63, 84]
    assert seen[1] == ([2, 3], [[40, 50], [60, 70]])


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
@pytest.mark.parametrize(
    "most, sizes",
    [
        (7, [7, 1]),
        (4, [7, 3, 4, 1]),
        (3, [7, 3, 4, 2, 2, 1]),
        (1, [7, 3, 1, 2, 1, 1, 4, 2, 1, 1, 2, 1, 1, 1]),
    ],
)
def test_a_batch_beyond_memory_is_halved_until_it_fits(error, most, sizes):
    function, seen = limited(most, error)
    rows = torch.arange(16).reshape(8, 2)
    assert torch.equal(in_batches(function, [rows], 7), 2 * rows)
    assert seen == sizes


def test_all_tensors_are_halved():
    def function(one, other):
        if len(one) > 2:
            raise OUT_OF_MEMORY[0]
        assert len(one) == len(other)
        return one + other

    rows = torch.arange(8)
    assert torch.equal(in_batches(function, [rows, 10 * rows], 8), 11 * rows)


def test_memory_that_ran_out_for_real_is_survived():
    def function(batch):
        # No machine has an exabyte: the second row is too much for any.
        torch.empty(2**60 * (len(batch) - 1), dtype=torch.int8)
        return batch

    rows = torch.arange(5)
    assert torch.equal(in_batches(function, [rows], 4), rows)


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_one_image_that_does_not_fit_is_an_error_of_the_guest(error):
    function, seen = limited(0, error)
    with pytest.raises(GuestError, match="memory does not hold one image") as caught:
        in_batches(function, [torch.ones(4, 1)], 4)
    assert str(error) in str(caught.value)
    assert type(error).__name__ in caught.value.traceback
    assert seen == [4, 2, 1]


def test_an_error_of_the_model_is_named_as_its_own_and_ends_it():
    model = Mismatched()
    with pytest.raises(GuestError, match="the model raised RuntimeError: shapes cannot be"):
        in_batches(lambda batch: 2 * model(batch), [torch.ones(4, 1)], 4)
    assert model.seen == [4]


def test_an_error_of_the_function_itself_is_not_blamed_on_the_model():
    model = nn.Linear(1, 2)

    def function(batch):
        raise KeyError(f"{len(model(batch))} rows are not what the check expected")

    with pytest.raises(KeyError, match="4 rows are not what the check expected"):
        in_batches(function, [torch.ones(4, 1)], 4)


def test_no_verdict_of_ours_is_wrapped_or_halved():
    def function(batch):
        raise NotApplicable("no head")

    with pytest.raises(XaiError, match=r"^no head$"):
        in_batches(function, [torch.ones(4, 1)], 4)
