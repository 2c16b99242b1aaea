"""If the input of a unit is exactly zero, rounding decides the map and causes no failure."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from pytest_xai import explainers
from pytest_xai.bench.bench import Bench
from pytest_xai.checks._twins import steady
from pytest_xai.checks.axiomatic._path_points import along_a_path


def network(*layers, weight):
    model = nn.Sequential(*layers).double().eval()
    for name, tensor in model.state_dict().items():
        tensor.fill_(0.0 if name.endswith("bias") else weight)
    return model


def at_zero():
    """2 and -2 average to zero, from zero on: every point of the path is at the kink."""
    model = network(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), weight=1.0)
    inputs = torch.tensor([[[2.0, -2.0, -1.0, 1.0]]]).double()
    return xai.Subject(model, inputs, torch.tensor([0]))


def test_integrated_gradients_at_a_kink_are_no_counterexample(verdict):
    explainer = explainers.get("captum:IntegratedGradients", steps=20)
    assert verdict("shift_invariance", explainer, at_zero()).outcome == "passed"


def test_who_follows_zero_fails_at_a_kink_as_elsewhere(verdict):
    found = verdict("shift_invariance", lambda model, inputs, targets: inputs, at_zero())
    assert found.outcome == "failed"
    assert found.limit < 1e-13


def test_limits_grow_only_where_that_decides():
    bench = Bench(at_zero())
    maps = torch.ones(1, 1, 4).double()
    plain = bench.rounding_of(maps)

    def limits(step, value, inputs):
        def explain(images):
            return maps + step * (images != inputs)

        return steady(bench, explain, inputs, maps, torch.tensor([value]).double())

    inputs = bench.inputs
    assert torch.equal(limits(1e-3, 1e-20, inputs), plain)
    assert limits(1e-3, 9e-3, inputs).item() == pytest.approx(1e-2, rel=1e-2)
    assert torch.equal(limits(1e-3, 2e-2, inputs), plain)
    # A rounding of zero is zero.
    assert torch.equal(limits(1e-3, 9e-3, 0 * inputs), plain)
    # Float32 does not decide.
    assert torch.equal(limits(1e-3, 9e-3, inputs.float()), plain)


def test_places_on_a_path_are_in_order_and_reach_near_the_ends():
    for steps, nodes in ((4, 16), (40, 40)):
        places = along_a_path(steps)
        assert places == sorted(set(places))
        assert (places[0], places[-1]) == (0.0, 1.0)
        assert places[1] == pytest.approx(1 - places[-2]) == pytest.approx(1e-6, rel=1e-6)
        assert len(places) == nodes + 2 + 8
        assert (nodes - 0.5) / nodes in places


def test_a_norm_that_turns_near_the_baseline_widens_the_bound(verdict):
    model = nn.Sequential(nn.ReLU(), nn.GroupNorm(1, 1), nn.GroupNorm(1, 1), nn.Flatten()).double()
    inputs = torch.tensor([[[2.0, -2.0, -1.0, 1.0]]]).double()
    subject = xai.Subject(model.eval(), inputs, torch.tensor([0]))
    explainer = explainers.get("captum:IntegratedGradients", steps=20)
    assert verdict("summation_to_delta", explainer, subject).outcome == "passed"


def test_a_map_that_cancels_to_zero_in_float64_is_no_loss(verdict):
    """After a layer norm the mean of the gradient is zero, and so is every weight of Grad-CAM."""
    model = network(nn.Conv1d(1, 1, 1), nn.LayerNorm([1, 4]), nn.Flatten(), weight=0.75).float()
    inputs = torch.tensor([[[2.0, -2.0, -1.0, 1.0]], [[1.0, 0.5, -1.5, 0.0]]])
    subject = xai.Subject(model, inputs, torch.tensor([0, 1]))

    def left(scale):
        def explain(model, inputs, targets):
            return torch.full_like(inputs, scale if inputs.dtype == torch.float32 else 0.0)

        return verdict("dtype_consistent", explain, subject)

    assert left(1e-8).outcome == "undecided"
    assert left(1e-2).outcome == "failed"


def test_a_gradient_that_cancels_is_as_imprecise_as_the_models_own(verdict):
    model = nn.Sequential(nn.GroupNorm(2, 4)).eval()
    model[0].weight.data = torch.tensor([0.0, 0.5, 1.0, 0.25])
    inputs = torch.tensor([[2.0, -2.0, -1.0, 1.0], [1.5, 1.0, 1.5, -1.5]])
    subject = xai.Subject(model, inputs, torch.tensor([0, 1]))
    found = verdict("dtype_consistent", explainers.get("captum:Saliency"), subject)
    assert found.outcome == "passed"
    assert found.figure > 1e-3
