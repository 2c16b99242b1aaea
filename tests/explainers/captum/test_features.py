"""Features against blocks that are written out by hand."""

import pytest
import torch

from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.captum.features import features_of, sizes, superpixels


def test_blocks_of_a_signal():
    assert features_of(torch.zeros(2, 3, 7), 3).tolist() == [[[0, 0, 0, 1, 1, 2, 2]]]


def test_blocks_of_an_image():
    assert features_of(torch.zeros(2, 3, 4, 3), 2).tolist() == [
        [[[0, 0, 1], [0, 0, 1], [2, 2, 3], [2, 2, 3]]]
    ]


def test_blocks_of_a_volume():
    numbers = features_of(torch.zeros(1, 1, 2, 4, 2), 2)
    expected = [[[0, 1], [0, 1], [2, 3], [2, 3]], [[4, 5], [4, 5], [6, 7], [6, 7]]]
    assert numbers.tolist() == [[expected]]


@pytest.mark.parametrize(
    "shape, count",
    [((2, 100), 32), ((2, 5), 5), ((3, 224, 160), 64), ((1, 8, 8), 64), ((1, 9, 8, 7), 64)],
)
def test_default_blocks(shape, count):
    numbers = features_of(torch.zeros(1, *shape), None)
    assert numbers.shape == (1, 1, *shape[1:])
    assert sorted(numbers.unique().tolist()) == list(range(count))


@pytest.mark.parametrize("blocks", [None, 1, 3])
def test_columns_of_a_table(blocks):
    assert features_of(torch.zeros(5, 4), blocks).tolist() == [[0, 1, 2, 3]]


def test_blocks_per_channel():
    numbers = features_of(torch.zeros(1, 2, 4), 2, per_channel=True)
    assert numbers.tolist() == [[[0, 0, 1, 1], [2, 2, 3, 3]]]


def test_sizes():
    assert sizes(torch.tensor([[0, 0, 1, 2, 2, 2]])).tolist() == [[2, 2, 1, 3, 3, 3]]


@pytest.mark.parametrize("channels", [1, 3])
def test_superpixels_follow_what_is_seen(channels):
    image = torch.zeros(1, channels, 12, 12)
    image[..., :, 7:] = 1.0
    numbers = superpixels(image, 8)
    assert numbers.shape == (1, 1, 12, 12)
    count = int(numbers.max()) + 1
    assert numbers.unique().tolist() == list(range(count))
    assert 3 <= count <= 16
    dark = set(numbers[..., :7].flatten().tolist())
    assert not dark & set(numbers[..., 7:].flatten().tolist())


def test_superpixels_of_a_constant_image():
    assert superpixels(torch.ones(1, 1, 6, 6), 4).shape == (1, 1, 6, 6)


@pytest.mark.parametrize("shape", [(1, 4), (1, 1, 4), (1, 1, 4, 4, 4)])
def test_superpixels_are_of_images(shape):
    with pytest.raises(NotApplicable, match="superpixels exist for images only"):
        superpixels(torch.ones(shape), 4)
