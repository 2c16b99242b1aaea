"""The default numbers of blocks of a grid."""

import pytest
import torch

from pytest_xai.explainers.adapting.blocks import blocks_of


@pytest.mark.parametrize(
    "shape, count", [((2, 100), 16), ((2, 5), 5), ((3, 9, 3), 12), ((1, 9, 8, 7), 27), ((6,), 6)]
)
def test_default_blocks(shape, count):
    numbers = blocks_of(torch.zeros(1, *shape), None)
    assert numbers.shape == (shape[1:] or shape)
    assert numbers.unique().tolist() == list(range(count))
