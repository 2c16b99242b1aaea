"""The relative size of rounding errors, computed by hand."""

import math

import pytest
import torch
from torch import nn

from pytest_xai.core.rounding import rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_rounding_follows_the_number_of_weights_and_the_largest_fan_in(dtype):
    # Fan-ins 3 * 5 * 5 = 75 and 7; vectors do not count.
    model = nn.Sequential(nn.Conv2d(3, 7, 5), nn.BatchNorm2d(7), nn.Linear(7, 2))
    expected = 8 * torch.finfo(dtype).eps * math.sqrt(2 * 75)
    assert rounding(model, dtype) == pytest.approx(expected, rel=1e-12)


def test_rounding_of_a_model_without_weights_is_a_few_units():
    assert rounding(nn.ReLU(), torch.float32) == 8 * torch.finfo(torch.float32).eps
    assert rounding(nn.BatchNorm1d(100), torch.float32) == 8 * torch.finfo(torch.float32).eps
