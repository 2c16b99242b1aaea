"""Networks whose outputs are nothing but rounding are left out of the search."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from pytest_xai.bench.bench import Bench
from pytest_xai.engine.exploration.cancelling import outputs_cancel

INPUTS = torch.tensor([[2.0, -2.0, -1.0, 1.0, 1.5], [1.0, 1.5, -1.5, -1.5, -2.0]])


def bench(*layers, weight):
    model = nn.Sequential(*layers).eval()
    for name, tensor in model.state_dict().items():
        tensor.fill_(0.0 if name.endswith("bias") else weight)
    return Bench(xai.Subject(model, INPUTS, targets=torch.tensor([0, 1])))


@pytest.mark.parametrize(
    "cancels, layers",
    [
        (True, (nn.LayerNorm(5), nn.Linear(5, 2))),
        (False, (nn.Linear(5, 2),)),
        (False, (nn.LayerNorm(5),)),
        # An output that does not change has a map of zeros: that can be told.
        (False, (nn.Linear(5, 2), nn.Threshold(1e9, 0.5))),
    ],
)
def test_a_sum_behind_a_normalisation_cancels(cancels, layers):
    assert outputs_cancel(bench(*layers, weight=0.25)) is cancels
