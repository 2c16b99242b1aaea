"""If f(2x) = 2 f(x), derivatives stay the same and contributions double."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.right import gradient, input_x_gradient, integrated_gradients, occlusion
from pytest_xai import explainers

CHECK = "positive_homogeneity"
SUBJECTS = ["digits", "normed", "table", "signal", "scalar"]


@pytest.mark.parametrize(
    "explainer",
    [gradient, input_x_gradient, integrated_gradients(steps=4), occlusion],
    ids=["gradient", "product", "ig", "occlusion"],
)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_right_explainers_pass_exactly(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.figure, passed.images) == ("passed", 0, 32)
    assert f"Expected degree: {int(explainer is not gradient)}," in passed.reason


@pytest.mark.parametrize("subject", ["digits", "normed", "table", "signal"])
def test_network_inputs_and_baseline(subject, recorder, finding, request):
    subject = request.getfixturevalue(subject)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    asked = recorder(integrated_gradients(steps=1), needs_baseline=True)
    _, bench = finding(CHECK, asked, subject)
    model, again = asked.models
    assert model is again is not subject.model
    once, twice = asked.inputs
    assert torch.equal(once, bench.inputs)
    assert torch.equal(twice, 2 * bench.inputs)
    assert all((baseline == 0).all() for baseline in asked.baselines)
    assert torch.equal(model(twice), 2 * model(once))
    assert (model(0 * once) == 0).all()
    after = subject.model.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


@pytest.mark.parametrize(
    "method, degree, figures",
    [
        ("gradient", 0, [0, 1 / 2, 3 / 4]),
        ("integrated_gradients", 1, [1 / 2, 0, 1 / 2]),
        (None, None, [0, 0, 1 / 2]),
        ("my_own", None, [0, 0, 1 / 2]),
    ],
)
def test_the_degree_is_that_of_the_declared_method(method, degree, figures, finding, table):
    """x^0, x^1 and x^2 instead of a map."""
    for power, figure in enumerate(figures):

        def explain(model, inputs, targets, power=power):
            return inputs**power

        found, bench = finding(CHECK, xai.explainer(method=method)(explain), table)
        assert torch.allclose(found.values, torch.tensor(figure).double())
        same = torch.tensor([0, 1 / 2, 3 / 4][power]).double()
        twice = torch.tensor([1 / 2, 0, 1 / 2][power]).double()
        assert torch.allclose(found.facts["difference to R(x)"], same)
        assert torch.allclose(found.facts["difference to 2 R(x)"], twice)
        held = min(power, 1) if degree is None else degree
        assert found.notes == (f"Expected degree: {held}, on a copy without biases.",)
        assert torch.equal(found.limits, bench.rounding_of(bench.inputs**power))


@pytest.mark.parametrize("name", ["stretches contributions", "adds a constant"])
def test_wrong_explainers_fail_on_tables_too(name, verdict, table):
    failed = verdict(CHECK, WRONG[name].explainer, table)
    assert failed.outcome == "failed"
    assert failed.figure > 1e-3


def test_all_images_have_one_degree(verdict, table):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return torch.where((targets == 0)[:, None], inputs * maps, maps)

    failed = verdict(CHECK, explain, table)
    assert (failed.outcome, failed.figure) == ("failed", 0.5)


@pytest.mark.parametrize("layer", [nn.Sigmoid(), nn.GELU(), nn.LayerNorm(20), nn.Softmax(1)])
def test_layers_that_do_not_scale_make_it_not_applicable(layer, verdict, table):
    model = nn.Sequential(layer, *models.chain(20, 6, 3)).double().eval()
    nothing = verdict(CHECK, gradient, xai.Subject(model, table.inputs))
    assert nothing.outcome == "not_applicable"
    assert nothing.reason.startswith("without biases f(2x) still differs from 2 f(x) by ")


class Offset(nn.Module):
    """Outputs of -1000 and 1 for an input of ones, and a constant that no zeroed bias removes."""

    def __init__(self, constant):
        super().__init__()
        self.layer = models.linear(torch.tensor([[-500.0, -500.0], [0.5, 0.5]]).double())
        self.constant = constant

    def forward(self, inputs):
        return self.layer(inputs) + self.constant


@pytest.mark.parametrize("share, outcome", [(0.9, "passed"), (1.1, "not_applicable")])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_model_scales_to_the_rounding_of_its_largest_output(share, outcome, sign, verdict):
    unit = 8 * torch.finfo(torch.float64).eps * 2**0.5  # one layer, fan-in 2
    model = Offset(sign * share * unit * 2000).eval()
    subject = xai.Subject(model, torch.ones(4, 2).double())
    assert verdict(CHECK, gradient, subject).outcome == outcome


def test_outputs_of_zeros_tell_nothing(verdict, table):
    model = nn.Sequential(models.chain(20, 6, 3), nn.Threshold(1e9, 0)).eval()
    nothing = verdict(CHECK, gradient, xai.Subject(model, table.inputs))
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "all outputs of the model are zero without its biases"


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (30.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5
    largest = float(table.inputs.abs().max())

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps * (1 + share * unit) if inputs.abs().max() > largest else maps

    assert verdict(CHECK, explain, table).outcome == outcome


def test_zero_maps_do_not_count(verdict, digits):
    zero = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, digits)
    assert zero.outcome == "undecided"
    assert "32 images left out: zero maps." in zero.reason


@pytest.mark.parametrize(
    "spec, outcome",
    [
        ("captum:Saliency", "passed"),
        ("captum:DeepLift", "passed"),
        ("captum:LayerGradCam", "passed"),
        ("zennit:LRPZero", "passed"),
        ("zennit:LRPEpsilon", "failed"),
        ("gradcam:GradCAM", "passed"),
    ],
)
def test_methods_of_the_gallery(spec, outcome, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == outcome
