"""Which copies and images count in the six checks, what is left out, and what they cost."""

import itertools

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures.right import gradient, input_x_gradient
from pytest_xai import checks
from pytest_xai.checks.robustness._neighbours import COPIES
from pytest_xai.protocol import named
from pytest_xai.registry import Cost

SIX = (
    "avg_sensitivity",
    "local_lipschitz",
    "max_sensitivity",
    "relative_input_stability",
    "relative_output_stability",
    "relative_representation_stability",
)
ALL = ("continuity", *SIX)


def test_six_checks_cost_one_set_of_maps(bench_of, recorder, digits):
    bench, asked = bench_of(digits), recorder(input_x_gradient)
    for name in SIX:
        checks.get(name).function(bench, named(asked))
    assert len(asked.maps) == COPIES + 1
    # Nine answers and nine maps of a forward and a backward pass each.
    spent = bench.counter.spent
    assert (spent.forward, spent.backward) == (18 * 32, 9 * 32)
    for name in SIX:  # each of them declares what it would cost alone
        assert checks.get(name).cost == Cost(forward=9, explainer_calls=9)
    other = recorder(gradient)
    checks.get("local_lipschitz").function(bench, named(other))
    assert len(other.maps) == COPIES + 1
    for ours, theirs in zip(asked.inputs, other.inputs, strict=True):
        assert torch.equal(ours, theirs)
    assert bench.counter.spent.forward == 27 * 32


@pytest.mark.parametrize("name", ALL[:-1])
def test_only_copies_of_the_same_prediction_count(
    name, finding, near_the_border, wild_beyond, recorder
):
    asked = recorder(wild_beyond)
    found, bench = finding(name, asked, near_the_border)
    same = [bench.predictions(each) == bench.predictions() for each in asked.inputs]
    count = sum(one.double() for one in same[1:])
    assert 0 < count.mean() < len(same) - 1
    tame, _ = finding(name, input_x_gradient, near_the_border)
    assert torch.equal(found.values.isnan(), tame.values.isnan())
    assert torch.allclose(found.values, tame.values, equal_nan=True)
    if name == "continuity":
        count = sum((one & other).double() for one, other in itertools.pairwise(same))
        assert torch.equal(found.facts["steps that kept the prediction"], count)
        assert found.left_out["no step kept the prediction"] == int((count == 0).sum())
    else:
        assert torch.equal(found.facts["copies that kept the prediction"], count)
        assert found.left_out["no copy kept the prediction"] == int((count == 0).sum())


class Spike(nn.Module):
    """The second class at tenths alone; a parameter, so that something can be explained."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, inputs):
        off = (inputs - (10 * inputs).round() / 10).abs().sum(1)
        return self.scale * torch.stack([inputs.sum(1) * 1e-3, 1 - 1e6 * off], 1)


@pytest.mark.parametrize("name", ALL[:-1])
def test_an_image_whose_copies_are_all_predicted_otherwise_is_left_out(name, verdict):
    inputs = torch.randint(1, 9, (8, 6), generator=torch.Generator().manual_seed(0)).double() / 10
    subject = xai.Subject(Spike().eval(), inputs, torch.ones(8).long(), bounds=(0, 1))
    judged = verdict(name, input_x_gradient, subject)
    assert judged.outcome == "undecided"
    what = "step" if name == "continuity" else "copy"
    assert judged.reason.startswith(
        f"No image could be judged. 8 images left out: no {what} kept the prediction"
    )


@pytest.mark.parametrize("name", SIX)
def test_zero_maps_do_not_count(name, finding, digits):
    def explain(model, inputs, targets):
        maps = input_x_gradient(model, inputs, targets)
        maps[:5] = 0
        return maps

    found, bench = finding(name, explain, digits)
    assert found.left_out["zero maps"] == 5
    assert found.values[:5].isnan().all() or found.limits[:5].isnan().all()
    # Images whose null is the map of one of those have nothing to compare with.
    assert found.left_out["no step to compare with"] == int(
        (found.values + found.limits)[5:].isnan().sum()
    )
    assert len(bench) == 32
