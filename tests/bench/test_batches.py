"""Guests' errors are named as theirs; batches are halved until memory holds them."""

import pytest
import torch

from pytest_xai.bench.guarded_call import called, in_batches
from pytest_xai.errors import (
    GuestError,
    InvalidArgument,
    InvalidAttribution,
    NotApplicable,
    XaiError,
)

# What the allocator of the CPU says is the only sign that it is memory that ran out.
ALLOCATOR = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError("Unable to allocate 1. TiB"),
    RuntimeError(f"[enforce fail at alloc_cpu.cpp:127] {ALLOCATOR}"),
]


def limited(most, error=OUT_OF_MEMORY[0]):
    """A function of batches that holds at most so many rows; and the sizes that it was given."""
    sizes = []

    def function(batch):
        sizes.append(len(batch))
        if len(batch) > most:
            raise error
        return 2 * batch

    return function, sizes


# ------------------------------------------------------------------------------------- called


def test_what_the_guest_returns_comes_back():
    result = object()
    assert called("the model", lambda: result) is result


@pytest.mark.parametrize(
    "error", [ValueError("boo"), KeyError("boo"), RuntimeError("boo"), RecursionError("boo")]
)
def test_a_guest_s_error_says_whose_it_is(error):
    def guest():
        raise error

    with pytest.raises(GuestError) as caught:
        called("explainer 'mine'", guest)
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
def test_our_own_errors_and_those_of_memory_pass_as_they_are(error):
    def guest():
        raise error

    with pytest.raises(type(error)) as caught:
        called("the model", guest)
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_user_s_interrupt_passes(error):
    def guest():
        raise error

    with pytest.raises(error):
        called("the model", guest)


def test_the_allocator_s_own_words_are_known():
    def guest():
        return torch.empty(2**60, dtype=torch.int8)

    with pytest.raises(RuntimeError, match="memory"):
        called("the model", guest)


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


class Mismatched(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, batch):
        self.seen.append(len(batch))
        raise RuntimeError("shapes cannot be multiplied")


def test_an_error_of_the_model_is_named_as_its_own_and_ends_it():
    model = Mismatched()
    with pytest.raises(GuestError, match="the model raised RuntimeError: shapes cannot be"):
        in_batches(lambda batch: 2 * model(batch), [torch.ones(4, 1)], 4)
    assert model.seen == [4]


def test_an_error_of_the_function_itself_is_not_blamed_on_the_model():
    model = torch.nn.Linear(1, 2)

    def function(batch):
        raise KeyError(f"{len(model(batch))} rows are not what the check expected")

    with pytest.raises(KeyError, match="4 rows are not what the check expected"):
        in_batches(function, [torch.ones(4, 1)], 4)


def test_no_verdict_of_ours_is_wrapped_or_halved():
    def function(batch):
        raise NotApplicable("no head")

    with pytest.raises(XaiError, match=r"^no head$"):
        in_batches(function, [torch.ones(4, 1)], 4)
