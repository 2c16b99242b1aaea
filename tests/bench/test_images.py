"""The images of a bench: their random order, views of it, and batches that depend on shapes."""

import pytest
import torch
from torch import nn

from pytest_xai import Subject
from pytest_xai.bench.images import ROUND, Images
from pytest_xai.errors import NotApplicable


def subject_of(count=9, shape=(3,), **options):
    torch.manual_seed(0)
    inputs = torch.randn(count, *shape)
    model = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(2))
    return Subject(model, inputs, targets=torch.arange(count) % 2, name="one", **options)


def images_of(count=9, seed=0, **options):
    return Images.shuffled(subject_of(count, **options), seed)


# ---------------------------------------------------------------------------------------- order


def test_all_images_are_there_in_an_order_of_the_seed_and_the_name():
    subject = subject_of(50)
    first, again, other = (Images.shuffled(subject, seed).indices for seed in (0, 0, 1))
    assert sorted(first) == sorted(other) == list(range(50))
    assert first == again != other
    assert first != list(range(50))
    subject.name = "two"
    assert Images.shuffled(subject, 0).indices != first


def test_the_order_does_not_change_between_releases():
    """Verdicts that were published name these images."""
    assert images_of(9).indices == [3, 0, 1, 7, 4, 5, 6, 8, 2]


# ---------------------------------------------------------------------------------------- views


def test_a_view_of_a_view_holds_consecutive_images():
    images = images_of(9)
    view = images.view(2, 8)
    part = view.view(1, 5)
    assert part.indices == images.indices[3:7]
    assert (images.span, view.span, part.span) == ((0, 9), (2, 6), (3, 4))
    assert len(part) == 4
    assert part.subject is images.subject


def test_rows_are_the_places_of_a_view_among_its_images():
    view = images_of(9).view(2, 8)
    part = view.view(1, 5)
    assert view.rows(part) == slice(1, 5)
    assert view.indices[view.rows(part)] == part.indices


def test_images_of_another_subject_are_the_same_positions():
    part = images_of(9).view(2, 5)
    other = subject_of(9).double()
    moved = part.of(other)
    assert moved.subject is other
    assert (moved.indices, moved.span) == (part.indices, part.span)
    assert moved.inputs.dtype == torch.float64


# -------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize(
    "shape, size", [((1,), 32), ((3, 158, 158), 32), ((3, 159, 159), 16), ((3, 1024, 1024), 1)]
)
def test_the_batch_size_depends_on_the_shape_alone(shape, size):
    model = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(2))
    for count in (1, 3):
        subject = Subject(model, torch.zeros(1).expand(count, *shape), targets=0)
        assert Images.shuffled(subject, 0).batch_size == size
    assert ROUND % size == 0


@pytest.mark.parametrize("count, spans", [
    (5, [(0, 5)]), (32, [(0, 32)]), (70, [(0, 32), (32, 32), (64, 6)]),
])  # fmt: skip
def test_chunks_are_whole_batches_and_a_rest(count, spans):
    images = images_of(count)
    chunks = list(images.chunks())
    assert [chunk.span for chunk in chunks] == spans
    assert [index for chunk in chunks for index in chunk.indices] == images.indices


def test_chunks_of_a_later_round_are_those_of_all_images():
    images = images_of(100)
    assert list(images.view(32, 96).chunks()) == list(images.chunks())[1:3]


# -------------------------------------------------------------------------------------- tensors


@pytest.mark.parametrize("rows", [1, 9])
def test_tensors_are_those_of_the_images_in_their_order(rows):
    baseline = torch.randn(rows, 3)
    images = images_of(9, baseline=baseline).view(2, 7)
    subject = images.subject
    assert torch.equal(images.inputs, subject.inputs[images.indices])
    assert torch.equal(images.targets, subject.targets[images.indices])
    expected = baseline.expand(9, 3)[images.indices]
    assert torch.equal(images.baseline, expected)


def test_bounds_are_the_subject_s_or_the_range_of_all_its_inputs():
    assert images_of(9, bounds=(-9, 9)).bounds == (-9.0, 9.0)
    images = images_of(9)
    inputs = images.subject.inputs
    assert images.bounds == images.view(0, 1).bounds == (inputs.min(), inputs.max())


def test_inputs_of_one_value_have_no_bounds():
    subject = Subject(nn.Linear(3, 2), torch.ones(4, 3))
    with pytest.raises(NotApplicable, match="all inputs have one value"):
        _ = Images.shuffled(subject, 0).bounds
