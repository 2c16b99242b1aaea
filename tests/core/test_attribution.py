"""Validation of maps: every accepted shape, and a refusal for everything else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_xai.core.attribution import normalise
from pytest_xai.errors import InvalidAttribution

IMAGES = torch.zeros(4, 3, 6, 5)
TABLE = torch.zeros(4, 7)
SIGNALS = torch.zeros(4, 2, 9)
VOLUMES = torch.zeros(2, 1, 3, 4, 5)


@pytest.mark.parametrize(
    "inputs, given, expected",
    [
        (IMAGES, (4, 3, 6, 5), (4, 3, 6, 5)),
        (IMAGES, (4, 1, 6, 5), (4, 1, 6, 5)),
        (IMAGES, (4, 6, 5), (4, 1, 6, 5)),
        (TABLE, (4, 7), (4, 7)),
        (SIGNALS, (4, 2, 9), (4, 2, 9)),
        (SIGNALS, (4, 1, 9), (4, 1, 9)),
        (SIGNALS, (4, 9), (4, 1, 9)),
        (VOLUMES, (2, 1, 3, 4, 5), (2, 1, 3, 4, 5)),
        (VOLUMES, (2, 3, 4, 5), (2, 1, 3, 4, 5)),
    ],
)
@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_every_accepted_shape_is_brought_to_one_of_two(inputs, given, expected, kind):
    attributions = torch.arange(float(np.prod(given))).reshape(given)
    maps = normalise(attributions if kind == "tensor" else attributions.numpy(), inputs)
    assert isinstance(maps, torch.Tensor)
    assert maps.shape == expected
    assert torch.equal(maps.flatten(), attributions.flatten())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_of_the_maps_is_kept(dtype):
    assert normalise(TABLE.to(dtype), TABLE).dtype == dtype


def test_maps_are_detached():
    attributions = torch.ones(4, 7, requires_grad=True) * 2
    maps = normalise(attributions, TABLE)
    assert not maps.requires_grad
    assert attributions.requires_grad


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "array",
    [
        np.arange(28.0).reshape(4, 7)[:, ::-1],
        np.arange(28.0).reshape(7, 4).T,
        np.broadcast_to(np.arange(7.0), (4, 7)),
        np.arange(28, dtype=">f4").reshape(4, 7),
    ],
    ids=["flipped", "transposed", "read-only", "of foreign byte order"],
)
def test_arrays_that_torch_does_not_share_are_copied(array):
    maps = normalise(array, TABLE)
    assert maps.tolist() == array.tolist()
    assert maps.dtype == (torch.float32 if array.dtype.itemsize == 4 else torch.float64)


@pytest.mark.parametrize("attributions", [np.zeros((4, 7)), torch.zeros(4, 7)])
def test_maps_do_not_change_when_the_explainer_uses_its_memory_again(attributions):
    maps = normalise(attributions, TABLE)
    attributions[:] = 1
    assert (maps == 0).all()


def refused(attributions, inputs=IMAGES):
    with pytest.raises(InvalidAttribution) as caught:
        normalise(attributions, inputs)
    return caught.value.problem, str(caught.value)


ACCEPTED = "expected a tensor of shape (4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"


@pytest.mark.parametrize(
    "thing, word",
    [
        (None, "NoneType"),
        ([[1.0]], "list"),
        (1.0, "float"),
        ((IMAGES, IMAGES), "tuple"),
        ({"map": IMAGES}, "dict"),
        (np.float64(1.0), "float64"),
    ],
)
def test_what_is_no_tensor_is_refused(thing, word):
    assert refused(thing) == ("type", f"the explainer returned {word}, {ACCEPTED}")


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_what_is_not_floating_is_refused(dtype, kind):
    attributions = torch.zeros(IMAGES.shape, dtype=dtype)
    assert refused(attributions if kind == "tensor" else attributions.numpy()) == (
        "type",
        f"the explainer returned a tensor of {dtype}, expected a floating dtype",
    )


@pytest.mark.parametrize("array", [np.full((4, 7), None), np.full((4, 7), "a")])
def test_arrays_of_objects_are_refused(array):
    assert refused(array, TABLE) == (
        "type",
        f"the explainer returned an array of dtype {array.dtype}, expected a floating dtype",
    )


def test_sparse_tensors_are_refused():
    assert refused(TABLE.to_sparse(), TABLE) == (
        "type",
        "the explainer returned a tensor of torch.sparse_coo, expected a dense tensor",
    )


@pytest.mark.parametrize(
    "inputs, shape, accepted",
    [
        (IMAGES, (3, 3, 6, 5), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (4, 2, 6, 5), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (4, 3, 5, 6), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (4, 1, 1, 1), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (4, 3), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (6, 5), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (4, 6, 5, 3), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (IMAGES, (0, 3, 6, 5), "(4, 3, 6, 5), (4, 1, 6, 5) or (4, 6, 5)"),
        (TABLE, (4, 1), "(4, 7)"),
        (TABLE, (4,), "(4, 7)"),
        (TABLE[:, :1], (4,), "(4, 1)"),
        (TABLE, (4, 1, 7), "(4, 7)"),
        (SIGNALS, (4, 2), "(4, 2, 9), (4, 1, 9) or (4, 9)"),
    ],
)
def test_another_shape_is_refused_with_those_that_fit(inputs, shape, accepted):
    problem, message = refused(torch.zeros(shape), inputs)
    assert problem == "shape"
    assert message == (
        f"the explainer returned shape {shape} for inputs of shape {tuple(inputs.shape)}, "
        f"expected {accepted}"
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("shape", [(4, 3, 6, 5), (4, 6, 5)])
def test_values_that_are_not_finite_are_refused_with_the_first_image(value, shape):
    attributions = torch.zeros(shape)
    attributions[1, ..., 2] = value
    attributions[3, ..., 0] = value
    assert refused(attributions) == (
        "finite",
        "the map holds NaN or infinite values for 2 of 4 images (first: position 1 of the batch)",
    )


sizes = st.integers(1, 3)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(sizes, min_size=2, max_size=5), st.lists(sizes, max_size=5), st.integers(0, 3))
def test_exactly_the_documented_shapes_are_accepted(inputs_shape, other, choice):
    inputs = torch.zeros(inputs_shape)
    count, _, *spatial = inputs_shape
    accepted = [tuple(inputs_shape)]
    if spatial:
        accepted += [(count, 1, *spatial), (count, *spatial)]
    # Three times of four one that fits, else anything.
    shape = accepted[choice % len(accepted)] if choice < 3 else tuple(other)
    attributions = torch.arange(float(np.prod(shape))).reshape(shape)
    if shape not in accepted:
        assert refused(attributions, inputs)[0] == "shape"
        return
    maps = normalise(attributions, inputs)
    assert maps.shape == (inputs.shape if shape == accepted[0] else (count, 1, *spatial))
    assert torch.equal(maps.flatten(), attributions.flatten())
