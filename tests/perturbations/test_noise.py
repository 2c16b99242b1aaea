import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_xai.errors import InvalidArgument
from pytest_xai.perturbations import random_direction, same_size_noise

repeatable = settings(derandomize=True, deadline=None, max_examples=100)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
SHAPES = [(4, 3, 6, 5), (4, 2, 9), (4, 7), (2, 1, 3, 4, 5)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(*shape, dtype=torch.float32):
    return torch.rand(shape, generator=seeded(11), dtype=torch.float64).to(dtype)


def steps(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=seeded(12), dtype=torch.float64).to(dtype)


def shuffled(inputs, *, size=1.0, bounds, generator):
    delta = (size * steps(*inputs.shape[1:])).to(inputs).expand(inputs.shape)
    return same_size_noise(delta, inputs, bounds=bounds, generator=generator)


def directed(inputs, *, size=1.0, bounds, generator):
    return random_direction(inputs, norm=2.0 * size, bounds=bounds, generator=generator)


both = pytest.mark.parametrize("make", [shuffled, directed])


# ------------------------------------------------------------------------------ what both do


@both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_is_like_the_inputs(make, dtype, shape):
    inputs = images(*shape, dtype=dtype).requires_grad_()
    noise = make(inputs, bounds=(0.0, 1.0), generator=seeded())
    assert (noise.shape, noise.dtype, noise.device) == (inputs.shape, inputs.dtype, inputs.device)
    assert not noise.requires_grad


@both
def test_the_generator_decides_and_nothing_else(make):
    inputs = images(3, 2, 5, 5)
    first = make(inputs, bounds=None, generator=seeded(1))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(make(inputs, bounds=None, generator=seeded(1)), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(make(inputs, bounds=None, generator=seeded(2)), first)
    generator = seeded(1)
    make(inputs, bounds=None, generator=generator)
    assert not torch.equal(make(inputs, bounds=None, generator=generator), first)


@both
def test_an_image_s_noise_depends_on_its_place_and_not_on_the_batch(make):
    inputs = images(5, 2, 5, 5)
    whole = make(inputs, bounds=(0.0, 1.0), generator=seeded())
    generator = seeded()
    chunks = [make(chunk, bounds=(0.0, 1.0), generator=generator) for chunk in inputs.split(2)]
    assert torch.equal(torch.cat(chunks), whole)
    assert not torch.equal(whole[0].abs(), whole[1].abs())


@both
def test_memory_layout_makes_no_difference(make):
    inputs = images(2, 3, 5, 4)
    strided = inputs.contiguous(memory_format=torch.channels_last)
    bounds = (0.0, 1.0)
    noise = make(inputs, bounds=bounds, generator=seeded())
    assert torch.equal(make(strided, bounds=bounds, generator=seeded()), noise)


@both
def test_an_empty_batch_has_no_noise(make):
    noise = make(torch.zeros(0, 3, 4), bounds=(0.0, 1.0), generator=seeded())
    assert noise.shape == (0, 3, 4)


@both
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-2.1179, 2.64), (-1000.1, 1.0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_plus_noise_stay_within_bounds_to_the_last_digit(make, bounds, dtype):
    low, high = bounds
    inputs = (images(40, 1, 6, 6, dtype=torch.float64) * (high - low) + low).to(dtype)
    inputs = inputs.clamp(low, high)
    for size in (0.3 * (high - low), 10 * (high - low)):  # some leave, all leave
        noise = make(inputs, size=size, bounds=bounds, generator=seeded())
        moved = inputs + noise
        assert ((moved >= low) & (moved <= high)).all()


@both
def test_signs_flip_at_the_bounds_and_sizes_stay(make):
    inputs = torch.full((3, 2, 8), 0.5)
    inputs[0], inputs[1] = 0.0, 1.0
    free = make(inputs, bounds=None, generator=seeded())
    held = make(inputs, bounds=(0.0, 5.0), generator=seeded())
    reachable = inputs + free.abs() <= 5.0
    assert reachable.all()
    assert torch.equal(held.abs(), free.abs())
    assert torch.equal(held == free, inputs + free >= 0)
    assert not torch.equal(held, free)


@both
def test_noise_too_large_for_either_sign_reaches_to_the_further_bound(make):
    inputs = torch.full((1, 40), 0.25)
    inputs[:, 20:] = 0.75
    noise = make(inputs, size=100.0, bounds=(0.0, 1.0), generator=seeded())
    large = noise.abs() == 0.75
    assert large.sum() > 35
    assert torch.equal(noise[large].sign(), torch.where(inputs < 0.5, 1.0, -1.0)[large])


@both
@pytest.mark.parametrize("bounds", [(1.0, 0.0), (1.0, 1.0), (math.nan, 1.0)])
def test_refuses_bounds_that_hold_nothing(make, bounds):
    with pytest.raises(InvalidArgument, match=r"^bounds: got \(.*\), expected \(low, high\)"):
        make(images(2, 3), bounds=bounds, generator=seeded())


@both
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_refuses_inputs_outside_the_bounds(make, value):
    inputs = images(2, 3)
    inputs[1, 1] = value
    with pytest.raises(InvalidArgument, match=r"^inputs: .* expected values in \[0.0, 1.0\]"):
        make(inputs, bounds=(0.0, 1.0), generator=seeded())


@both
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_refuses_inputs_that_are_not_finite(make, value):
    inputs = images(2, 3)
    inputs[1, 1] = value
    with pytest.raises(InvalidArgument, match=r"^inputs: got NaN or inf"):
        make(inputs, bounds=None, generator=seeded())


@both
@pytest.mark.gpu
def test_the_device_makes_no_difference(make):
    inputs = images(3, 2, 5, 5)
    noise = make(inputs, bounds=(0.0, 1.0), generator=seeded())
    there = make(inputs.cuda(), bounds=(0.0, 1.0), generator=seeded())
    assert there.is_cuda
    assert torch.equal(there.cpu(), noise)


@both
def test_refuses_a_generator_of_another_device(make):
    elsewhere = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(InvalidArgument, match=r"^generator: got a generator on cuda"):
        make(images(2, 3), bounds=None, generator=elsewhere)


# --------------------------------------------------------------------------- same_size_noise


@repeatable
@given(
    arrays(np.float32, (2, 3, 4), elements=st.floats(-2, 2, width=32)),
    arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32)),
    st.integers(0, 100),
)
def test_bounded_noise_agrees_with_a_loop(delta, inputs, seed):
    delta, inputs = torch.from_numpy(delta), torch.from_numpy(inputs)
    free = same_size_noise(delta, inputs, bounds=None, generator=seeded(seed))
    held = same_size_noise(delta, inputs, bounds=(0.0, 1.0), generator=seeded(seed))
    for x, drawn, noise in zip(inputs.flatten(), free.flatten(), held.flatten(), strict=True):
        if 0 <= x + drawn <= 1:
            assert noise == drawn
        elif 0 <= x - drawn <= 1:
            assert noise == -drawn
        else:
            assert float(abs(noise)) == pytest.approx(float(max(x, 1 - x)), rel=1e-6)
            assert 0 <= x + noise <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sizes_are_those_of_delta_image_by_image(dtype, shape):
    delta, inputs = steps(*shape, dtype=dtype), images(*shape, dtype=dtype)
    delta[0, 0] = 0
    noise = same_size_noise(delta, inputs, bounds=None, generator=seeded())
    ordered = [each.abs().flatten(1).sort(1).values for each in (noise, delta)]
    assert torch.equal(*ordered)
    assert not torch.equal(noise.abs(), delta.abs())


def test_small_noise_within_bounds_keeps_its_norms():
    inputs = images(3, 2, 8, 8, dtype=torch.float64)
    delta = steps(3, 2, 8, 8, dtype=torch.float64) * 0.05
    noise = same_size_noise(delta, inputs, bounds=(0.0, 1.0), generator=seeded())
    for order in (0, 1, 2, math.inf):
        lengths = [torch.linalg.vector_norm(e.flatten(1), order, dim=1) for e in (noise, delta)]
        torch.testing.assert_close(*lengths, rtol=1e-14, atol=0)


def test_places_and_signs_are_uniform_and_independent():
    delta = torch.tensor([[[0.0, -1.0, 0.0]]]).expand(1200, 1, 3)
    noise = same_size_noise(delta, torch.zeros_like(delta), bounds=None, generator=seeded(5))
    place, sign = noise.abs().argmax(-1).flatten(), noise.sum((1, 2))
    counts = [[int(((place == p) & (sign == s)).sum()) for p in range(3)] for s in (-1, 1)]
    assert sum(map(sum, counts)) == 1200
    assert scipy.stats.chisquare(np.ravel(counts)).pvalue > 0.01


def test_noise_moves_between_channels_but_not_between_images():
    delta = torch.zeros(2, 3, 8, 8)
    delta[0, 0] = 0.25
    noise = same_size_noise(delta, torch.zeros_like(delta), bounds=None, generator=seeded())
    assert noise[1].count_nonzero() == 0
    assert all(noise[0, channel].count_nonzero() > 5 for channel in range(3))


@pytest.mark.parametrize(
    "delta, message",
    [
        (torch.zeros(2, 4), r"delta: got shape \(2, 4\), expected \(2, 3\), the shape of inputs"),
        (torch.zeros(2, 3).double(), "delta: got dtype torch.float64, expected torch.float32"),
        (torch.full((2, 3), math.nan), "delta: got NaN or infinite values"),
        (torch.zeros(2, 3).long(), "delta: got dtype torch.int64, expected a floating tensor"),
    ],
)
def test_refuses_a_delta_that_does_not_fit(delta, message):
    with pytest.raises(InvalidArgument, match=message):
        same_size_noise(delta, images(2, 3), bounds=None, generator=seeded())


# --------------------------------------------------------------------------- random_direction


@pytest.mark.parametrize("shape", SHAPES)
def test_length_is_the_norm(shape):
    inputs = images(*shape, dtype=torch.float64)
    lengths = torch.linspace(0.0, 3.0, shape[0])
    for norm in (lengths, 1.5, 0):
        step = random_direction(inputs, norm=norm, bounds=None, generator=seeded())
        expected = torch.as_tensor(norm).double().expand(shape[0])
        torch.testing.assert_close(step.flatten(1).norm(dim=1), expected, rtol=1e-13, atol=0)


def test_all_directions_are_equally_likely():
    step = random_direction(torch.zeros(4000, 2), norm=1.0, bounds=None, generator=seeded(3))
    turn = torch.atan2(step[:, 0], step[:, 1]) / (2 * math.pi) + 0.5
    assert scipy.stats.kstest(turn.numpy(), "uniform").pvalue > 0.01
    # Within a quarter turn: numbers drawn from a cube favour its corners.
    assert scipy.stats.kstest((turn * 4 % 1).numpy(), "uniform").pvalue > 0.01


def test_small_step_within_bounds_keeps_its_length():
    inputs = images(3, 2, 8, 8, dtype=torch.float64)
    step = random_direction(inputs, norm=0.3, bounds=(0.0, 1.0), generator=seeded())
    torch.testing.assert_close(step.flatten(1).norm(dim=1), torch.full((3,), 0.3).double())


def test_dtypes_get_the_same_direction():
    steps_ = [
        random_direction(images(2, 9, dtype=dtype), norm=1.0, bounds=None, generator=seeded())
        for dtype in (torch.float32, torch.float64)
    ]
    assert torch.equal(steps_[0], steps_[1].float())


@pytest.mark.parametrize(
    "norm, message",
    [
        (-1.0, "norm: got -1.0, expected finite values of 0 or more"),
        (math.nan, "norm: got nan"),
        (math.inf, "norm: got inf"),
        (torch.tensor([1.0, -1.0]), "norm: got .*-1.*, expected finite"),
        (torch.ones(3), r"norm: got shape \(3,\), expected one number, or shape \(2,\)"),
        (torch.ones(2, 1), r"norm: got shape \(2, 1\)"),
    ],
)
def test_refuses_what_is_no_norm(norm, message):
    with pytest.raises(InvalidArgument, match=message):
        random_direction(images(2, 3), norm=norm, bounds=None, generator=seeded())


@pytest.mark.parametrize("inputs", [torch.ones(3), torch.ones(2, 3).long(), torch.ones(2, 0)])
def test_refuses_what_is_no_batch_of_inputs(inputs):
    with pytest.raises(InvalidArgument, match=r"^inputs: got .*, expected a floating tensor"):
        random_direction(inputs, norm=1.0, bounds=None, generator=seeded())
