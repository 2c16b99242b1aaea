"""How an attack gets at a map: the explainer's own graph, a surrogate's, or none."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import pytest_xai as xai
from fixtures.right import gradient, input_x_gradient, integrated_gradients, smooth_gradient
from pytest_xai import explainers
from pytest_xai.attacks.fooling import mass_centre, softened, target_map, top_values
from pytest_xai.attacks.fooling.descent import random_start
from pytest_xai.attacks.fooling.ways import find_way
from pytest_xai.attacks.fooling.worst import Ball
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.protocol import NamedExplainer, named
from pytest_xai.subjects import load_digits

OWN = "through the explainer's own computation"


def with_graph(model, inputs, targets):
    """The gradient, differentiable."""
    scores = model(inputs).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(scores, inputs, create_graph=True)[0]


def found(bench, explainer, goal=top_values):
    explainer = explainer if isinstance(explainer, NamedExplainer) else named(explainer)
    aim = goal(bench.maps(explainer), bench.targets)
    start = random_start(bench, Ball.around(bench, 0.05))
    return find_way(bench, explainer, aim, start), aim, start


@pytest.fixture
def digits(bench_of):
    return bench_of(load_digits(16))


@xai.explainer
def safe_gradient(model, inputs, targets):
    """As above for plain inputs, which `with_graph` asks to require gradients."""
    return with_graph(model, inputs if inputs.requires_grad else inputs.requires_grad_(), targets)


@pytest.mark.parametrize("goal", [top_values, mass_centre])
def test_a_map_with_a_whole_graph_is_its_own_way(goal, digits):
    way, _, _ = found(digits, safe_gradient, goal)
    assert way.name == OWN


def test_half_a_graph_is_none(digits):
    """The input times a gradient without a graph: its slope leaves half of the change out."""
    way, _, _ = found(digits, input_x_gradient)
    assert way.name == "through a surrogate: input x gradient"


@pytest.mark.parametrize(
    "explainer, name",
    [
        pytest.param(gradient, "gradient", id="gradient"),
        (input_x_gradient, "input x gradient"),
        (integrated_gradients("midpoint", 6), "integrated gradients"),
        (smooth_gradient, "SmoothGrad"),
        ("captum:Saliency", "gradient (magnitude)"),
        ("captum:LayerGradCam", "Grad-CAM (magnitude)"),
        ("captum:GuidedBackprop", "guided backpropagation"),
        ("zennit:LRPZero", "input x gradient"),
    ],
)
def test_the_surrogate_is_the_method_most_like_it(explainer, name, digits):
    given = explainers.get(explainer) if isinstance(explainer, str) else explainer
    way, _, _ = found(digits, given)
    assert way.name == f"through a surrogate: {name}"
    assert way.likeness.nanmean() > 0.6


def test_what_is_like_no_method_has_no_way(digits):
    def blind(model, inputs, targets):
        return inputs.flip(-1).detach()

    assert found(digits, blind)[0] is None


def test_a_model_without_gradients_has_no_way(bench_of):
    class Rounding(nn.Module):
        def forward(self, inputs):
            with torch.no_grad():
                return torch.stack([inputs.sum(1), -inputs.sum(1)], 1).round()

    inputs = torch.rand(8, 5, generator=torch.Generator().manual_seed(0))
    bench = bench_of(xai.Subject(Rounding(), inputs, bounds=(0, 1)))
    assert found(bench, lambda model, inputs, targets: inputs.clone())[0] is None


def test_the_slope_is_that_of_the_softened_map(bench_of, tiny):
    """By differences of the loss, in float64, for the own graph and for a surrogate."""
    bench = bench_of(tiny)
    signs = torch.randn(
        tiny.inputs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    for explainer, name in ((safe_gradient, OWN), (gradient, "through a surrogate: gradient")):
        way, aim, start = found(bench, explainer, target_map)
        assert way.name == name

        def loss(inputs, aim=aim):
            leaf = inputs.clone().requires_grad_()
            # The unit of the bend is the layer's, and is not differentiated: nearly so.
            with softened(bench.subject.model, sharpness=20.0):
                maps = with_graph(bench.subject.model, leaf, bench.targets)
            return aim.loss(maps.detach(), aim.reference)

        rise = (loss(start + 1e-5 * signs) - loss(start - 1e-5 * signs)) / 2e-5
        slope = (way.slope(bench, aim, start, 20.0) * signs).flatten(1).sum(1)
        assert torch.cosine_similarity(slope, rise, dim=0) > 0.999


def test_a_step_counts_one_forward_and_two_backward_for_each_pass(bench_of):
    bench = bench_of(load_digits(4))
    for explainer, passes in (("captum:Saliency", 1), ("captum:IntegratedGradients", 6)):
        way, aim, start = found(bench, explainers.get(explainer))
        before = bench.counter.spent
        way.slope(bench, aim, start, 20.0)
        spent = bench.counter.spent - before
        assert (spent.forward, spent.backward) == (4 * passes, 8 * passes)


def test_a_linear_model_has_a_slope_of_zero(bench_of):
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).eval()
    inputs = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    bench = bench_of(xai.Subject(model, inputs, bounds=(0, 1)))
    way, aim, start = found(bench, gradient)
    assert not way.slope(bench, aim, start, 20.0).any()


# ------------------------------------------------------------------------------------ broken guests


def test_an_explainer_that_cannot_do_with_bends_gets_a_surrogate(digits):
    def picky(model, inputs, targets):
        if inputs.requires_grad:
            raise ValueError("no inputs with gradients, please")
        return gradient(model, inputs, targets)

    assert found(digits, picky)[0].name == "through a surrogate: gradient"


def test_one_that_says_it_does_not_apply_gets_a_surrogate(digits):
    def declining(model, inputs, targets):
        if inputs.requires_grad:
            raise NotApplicable("not for these")
        return gradient(model, inputs, targets)

    assert found(digits, declining)[0].name == "through a surrogate: gradient"


def test_an_error_that_does_not_come_again_is_an_error(digits):
    calls = []

    def stumbling(model, inputs, targets):
        calls.append(inputs.requires_grad)
        if calls.count(True) == 1 and inputs.requires_grad:
            raise RuntimeError("the disk is full")
        return gradient(model, inputs, targets)

    with pytest.raises(GuestError, match="the disk is full"):
        found(digits, stumbling)


def test_explainers_see_their_own_network_contained(digits):
    """The very model, with its names and modules, bent; what they do to it is undone."""
    seen = []

    def curious(model, inputs, targets):
        with torch.no_grad():
            bent = functional.relu is not None and model(inputs.detach())
        seen.append((model is digits.subject.model, bent))
        model.extra = 1
        model.conv1.weight.data += 1
        maps = gradient(model, inputs.detach(), targets)
        model.conv1.weight.data -= 1
        return maps

    before = {name: value.clone() for name, value in digits.subject.model.state_dict().items()}
    found(digits, curious)
    assert all(same for same, _ in seen)
    plain, softened_outputs = seen[0][1], seen[-1][1]
    assert not torch.allclose(plain, softened_outputs)
    assert not hasattr(digits.subject.model, "extra")
    after = digits.subject.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
