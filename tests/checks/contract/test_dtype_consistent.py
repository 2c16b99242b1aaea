"""The map in float32 is that in float64, as far as float32 goes."""

import copy

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import (
    gradient,
    input_x_gradient,
    integrated_gradients,
    occlusion,
    smooth_gradient,
)
from pytest_xai import explainers

CHECK = "dtype_consistent"
LIMIT = 2.0**-14
RIGHT = [gradient, input_x_gradient, integrated_gradients("gauss", 8), occlusion]


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal", "scalar"])
@pytest.mark.parametrize("explainer", RIGHT, ids=lambda each: each.__name__)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images, passed.limit) == ("passed", 4, LIMIT)
    # Of the order of float32's rounding, whichever of the two the subject is in.
    assert 1e-9 < passed.figure < LIMIT


@pytest.mark.parametrize("share, outcome", [(0.9, "passed"), (1.1, "failed")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_figure_is_the_change_of_a_value(share, outcome, dtype, verdict):
    """Maps that are higher in float32 by a share of each value."""
    weight = torch.tensor([[1.0, -2.0, 4.0]]).to(dtype)
    subject = xai.Subject(models.linear(weight), torch.ones(4, 3, dtype=dtype))

    def explain(model, inputs, targets):
        factor = 1 + share * LIMIT if inputs.dtype == torch.float32 else 1
        return factor * gradient(model, inputs, targets)

    judged = verdict(CHECK, explain, subject)
    assert judged.outcome == outcome
    assert judged.figure == pytest.approx(share * LIMIT, rel=0.01)


@pytest.mark.parametrize("jumps, outcome", [(2, "passed"), (3, "failed")])
def test_maps_of_some_images_may_jump(jumps, outcome, verdict):
    """The lower median of four images: two may be another map altogether."""
    model = models.chain(3, 2)
    inputs = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)

    def explain(_, inputs, targets):
        maps = torch.ones_like(inputs)
        jumping = inputs[:, 0] < 3 * jumps
        return torch.where(jumping[:, None] & (inputs.dtype == torch.float32), -maps, maps)

    judged = verdict(CHECK, explain, xai.Subject(model, inputs))
    assert judged.outcome == outcome
    assert judged.figure == (0 if outcome == "passed" else 2)


@pytest.mark.parametrize("changed, outcome", [(4, "passed"), (5, "failed")])
def test_half_of_the_values_may_jump(changed, outcome, verdict):
    def explain(_, inputs, targets):
        maps = torch.ones_like(inputs)
        if inputs.dtype == torch.float32:
            maps[:, :changed] = 3
        return maps

    subject = xai.Subject(models.chain(9, 2), torch.rand(4, 9).double())
    assert verdict(CHECK, explain, subject).outcome == outcome


def test_a_map_that_rounding_turns_over_passes(verdict):
    """Its values change their sign with the last bits of the input, as a unit at zero does."""

    def explain(_, inputs, targets):
        return torch.where(inputs > inputs.float().to(inputs), 1.0, -1.0).to(inputs)

    inputs = torch.rand(4, 9).double()
    inputs = inputs.float().double() * (1 + 1e-9)
    judged = verdict(CHECK, explain, xai.Subject(models.chain(9, 2), inputs))
    assert judged.outcome == "passed"
    assert judged.figure == 2
    assert judged.limit == pytest.approx(10 * 2, rel=1e-3)


def test_the_rounding_of_each_image_is_that_of_its_own_map(finding):
    """Of three images the map of one does not follow its input at all."""

    def explain(_, inputs, targets):
        turned = inputs[:, :1] > inputs[:, :1].float().to(inputs)
        maps = torch.where(turned, 1.0, -1.0).to(inputs).repeat(1, 9)
        maps[1] = 1 if inputs.dtype == torch.float32 else -1
        return maps

    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(3, 9, generator=generator).double() * (1 + 1e-9)
    found, _ = finding(CHECK, explain, xai.Subject(models.chain(9, 2), inputs))
    by_rounding = found.facts["change by float32 rounding of the input"]
    assert by_rounding.tolist() == [2, 0, 2]


@pytest.mark.parametrize("size, figure", [(1e-3, 0), (0.01, 0), (0.011, 0.5)])
def test_small_values_do_not_count(size, figure, verdict):
    """Those up to a hundredth of the largest, which cancellation makes."""

    def explain(_, inputs, targets):
        maps = torch.full_like(inputs.double(), size)
        maps[:, 0] = 1
        if inputs.dtype == torch.float32:
            maps[:, 1:] *= 2
        return maps

    subject = xai.Subject(models.chain(9, 2), torch.rand(4, 9).double())
    assert verdict(CHECK, explain, subject).figure == figure


def test_empty_maps_cannot_tell_but_an_empty_and_a_full_one_can(verdict, table):
    undecided = verdict(CHECK, lambda _, inputs, __: torch.zeros_like(inputs), table)
    assert undecided.outcome == "undecided"

    def explain(_, inputs, targets):
        return torch.full_like(inputs, float(inputs.dtype == torch.float32))

    assert verdict(CHECK, explain, table).outcome == "failed"


@pytest.mark.parametrize(
    "name, figure",
    [
        ("casts the model to bfloat16", 2**-8),
        ("rounds its map to half precision", 2**-11),
        ("rounds its map to half precision and back", 2**-11),
    ],
)
@pytest.mark.parametrize("subject", ["digits", "digits_double"])
def test_the_rounding_of_the_dtype_that_it_computes_in(name, figure, subject, verdict, request):
    failed = verdict(CHECK, WRONG[name].explainer, request.getfixturevalue(subject))
    assert failed.outcome == "failed"
    assert failed.figure >= figure
    assert failed.figure < 0.1


class Coarse(nn.Module):
    """A model that computes in less than float32 itself."""

    def __init__(self, dtype):
        super().__init__()
        self.layer, self.dtype = models.chain(5, 4, 3).float(), dtype

    def forward(self, inputs):
        hidden = self.layer(inputs)
        return hidden.to(self.dtype).to(hidden)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_the_model_loses_is_not_the_explainers_doing(dtype, verdict):
    subject = xai.Subject(Coarse(dtype).eval(), torch.rand(4, 5))
    judged = verdict(CHECK, gradient, subject)
    assert judged.outcome == "not_applicable"
    assert judged.reason == "the model itself is less precise than float32"


class Scaled(nn.Module):
    """A model whose outputs are larger in float32, or smaller."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, inputs):
        return inputs * (1 + self.share if inputs.dtype == torch.float32 else 1)


@pytest.mark.parametrize("size", [1.0, 4.0])
@pytest.mark.parametrize(
    "times, outcome",
    [(1, "passed"), (-1, "passed"), (1.5, "not_applicable"), (-1.5, "not_applicable")],
)
def test_a_model_loses_at_most_as_much_as_a_map_may(times, outcome, size, verdict):
    """Its outputs are powers of 2, so that what they lose is exact."""
    subject = xai.Subject(Scaled(times * LIMIT), torch.full((4, 3), size).double())
    assert verdict(CHECK, lambda _, inputs, __: inputs, subject).outcome == outcome


DYADIC = models.linear(torch.tensor([[-4.0, 2.0, -8.0]]).double())
UNIT = 8 * torch.finfo(torch.float32).eps * 3**0.5  # one layer, fan-in 3


@pytest.mark.parametrize(
    "share, outcome",
    [(0.9, "undecided"), (-0.9, "undecided"), (1.1, "failed"), (-1.1, "failed"), (-1e9, "failed")],
)
def test_a_zero_map_may_be_the_rounding_of_the_outputs_in_float32(share, outcome, verdict):
    """The outputs are -10."""

    def explain(_, inputs, targets):
        size = share * UNIT * 10 if inputs.dtype == torch.float32 else 0.0
        return torch.full_like(inputs, size)

    subject = xai.Subject(DYADIC, torch.ones(3, 3).double())
    assert verdict(CHECK, explain, subject).outcome == outcome


def test_a_map_below_zero_is_no_zero_map(verdict):
    def explain(_, inputs, targets):
        maps = torch.zeros_like(inputs)
        maps[:, 1:] = 1e-9 if inputs.dtype == torch.float32 else -1
        return maps

    failed = verdict(CHECK, explain, xai.Subject(DYADIC, torch.ones(3, 3).double()))
    assert failed.outcome == "failed"


def test_the_limit_grows_by_the_rounding_of_the_outputs_over_a_value_of_the_map(finding):
    """Of dyadic numbers, whose gradient loses nothing in float32."""

    def explain(_, inputs, targets):
        maps = torch.tensor([-2.0, -2.0, -0.001]).to(inputs).expand_as(inputs)
        return 1.5 * maps if inputs.dtype == torch.float32 else maps

    inputs = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [0.5, 0.5, 0.5]]).double()
    found, bench = finding(CHECK, explain, xai.Subject(DYADIC, inputs))
    outputs = 10 * bench.inputs[:, 0]
    assert found.limits == pytest.approx(LIMIT + UNIT * outputs / 2, rel=1e-9)


def test_a_model_of_one_dtype_is_not_applicable(verdict):
    class Fixed(nn.Module):
        def forward(self, inputs):
            return inputs @ torch.ones(5, 3)

    judged = verdict(CHECK, gradient, xai.Subject(Fixed(), torch.rand(4, 5)))
    assert (judged.outcome, judged.reason) == (
        "not_applicable",
        "the model does not run in float64",
    )


def test_an_explainer_of_one_dtype_is_not_applicable(verdict, digits):
    def explain(model, inputs, targets):
        if inputs.dtype == torch.float64:
            raise TypeError("only float32")
        return gradient(model, inputs, targets)

    judged = verdict(CHECK, explain, digits)
    assert judged.outcome == "not_applicable"
    assert "the explainer does not work in float64" in judged.reason
    assert "only float32" in judged.reason


def test_maps_that_are_always_float32_pass_and_it_is_said(verdict, digits):
    passed = verdict(CHECK, lambda *given: gradient(*given).float(), digits)
    assert passed.outcome == "passed"
    assert "The explainer returns float32 for inputs in float64" in passed.reason


def test_other_dtypes_and_stochastic_and_stored_maps_are_not_applicable(verdict, digits):
    half = xai.Subject(copy.deepcopy(models.chain(5, 3)).bfloat16(), torch.rand(4, 5).bfloat16())
    assert "the inputs are in torch.bfloat16" in verdict(CHECK, gradient, half).reason
    assert "draws different random numbers" in verdict(CHECK, smooth_gradient, digits).reason
    stored = explainers.from_maps(torch.rand(128, 1, 8, 8))
    assert "these maps are stored" in verdict(CHECK, stored, digits).reason


def test_a_map_of_rounding_alone_is_no_loss_of_precision(verdict):
    """Stretched rounding: 5e8 times larger in float32, and as good as drawn in both."""
    model, inputs = models.chain(3, 2), torch.tensor([[0.1, 0.7, 1.3], [0.2, 0.9, 1.1]]).double()

    def explain(_, inputs, targets):
        stretched = 1e12 * torch.finfo(inputs.dtype).eps
        return stretched * torch.cos(1e9 * inputs.double()).to(inputs)

    passed = verdict(CHECK, explain, xai.Subject(model, inputs))
    assert passed.outcome == "passed"
    assert passed.figure > 0.5


@pytest.mark.parametrize("losing, outcome", [(2, "passed"), (3, "not_applicable")])
def test_a_model_may_lose_more_on_half_of_the_images(losing, outcome, verdict):
    class Losing(nn.Module):
        def forward(self, inputs):
            loses = (inputs[:, :1] < losing) & (inputs.dtype == torch.float32)
            return torch.where(loses, 2 * inputs, inputs)

    inputs = torch.arange(4.0).double()[:, None].repeat(1, 3) + 0.5
    subject = xai.Subject(Losing(), inputs)
    assert verdict(CHECK, lambda _, inputs, __: inputs, subject).outcome == outcome


def test_the_figure_of_a_coarse_dtype_is_what_it_rounds_where_nothing_was_lost(verdict, table):
    def explain(_, inputs, targets):
        return torch.ones_like(inputs).bfloat16().to(inputs)

    failed = verdict(CHECK, explain, table)
    assert (failed.outcome, failed.figure) == ("failed", 2**-8)


def test_the_larger_of_two_values_is_the_one_farther_from_zero(verdict, table):
    def explain(_, inputs, targets):
        return torch.full_like(inputs, -4.0 if inputs.dtype == torch.float32 else -1.0)

    assert verdict(CHECK, explain, table).figure == 0.75


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_cancelling_left_of_the_models_gradient_does_not_count(dtype, finding):
    """Of the float64 gradient: what float32 makes of the other values is not what is lost."""

    class Cancelling(nn.Module):
        def forward(self, inputs):
            rest = 1.0 if inputs.dtype == torch.float32 else 0.001
            weight = torch.tensor([[1.0, rest, rest]]).to(inputs)
            return inputs @ torch.cat([weight, -weight]).T

    def explain(_, inputs, targets):
        return torch.full_like(inputs, 1.0 if inputs.dtype == torch.float32 else -1.0)

    inputs = torch.tensor([[1.0, 0.0, 0.0]]).repeat(4, 1).to(dtype)
    found, _ = finding(CHECK, explain, xai.Subject(Cancelling(), inputs))
    assert (found.limits < 0.01).all()
