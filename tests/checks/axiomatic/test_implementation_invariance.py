"""Two networks that compute the same function have the same maps."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.loops import crossed
from fixtures.right import gradient, integrated_gradients, occlusion
from pytest_xai import explainers
from pytest_xai.checks.axiomatic import implementation_invariance

CHECK = "implementation_invariance"


@pytest.mark.parametrize(
    *crossed(
        [gradient, integrated_gradients(steps=4), occlusion],
        ["gradient", "ig", "occlusion"],
        subjects=["digits", "normed", "table", "signal", "one_logit", "scalar"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert passed.outcome == "passed"
    assert passed.images == 32


REWRITTEN = {
    "batch norms": (
        models.normed,
        (2, 6, 5),
        "norm1 folded into conv1; norm2 folded into conv2; head split in two; and 1 more.",
    ),
    "convolution and linear": (
        models.signal_net,
        (2, 12),
        "4 split in two; 1 ReLU modules written as products.",
    ),
    "functions for ReLU": (models.functional_net, (1, 6, 6), "head split in two."),
    "one ReLU for all": (
        models.shared_relu,
        (5,),
        "4 split in two; 1 ReLU modules written as products.",
    ),
    "ReLU alone": (
        lambda: nn.Sequential(nn.Flatten(), nn.ReLU()).eval(),
        (3,),
        "1 ReLU modules written as products.",
    ),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_the_other_network_computes_the_same_by_other_means(name, recorder, finding):
    make, shape, said = REWRITTEN[name]
    model = make()
    inputs = torch.rand(32, *shape, generator=torch.Generator().manual_seed(0)).double()
    subject = xai.Subject(model, inputs)
    asked = recorder(gradient)
    found, bench = finding(CHECK, asked, subject)
    assert found.notes == (f"Rewritten: {said}",)
    first, second = asked.models
    assert first is model
    assert torch.allclose(second(bench.inputs), model(bench.inputs), rtol=0, atol=1e-13)
    assert [type(each) for each in second.modules()] != [type(each) for each in model.modules()]
    assert all(torch.equal(targets, bench.targets) for targets in asked.targets)
    assert all(torch.equal(given, bench.inputs) for given in asked.inputs)
    assert (found.values <= found.limits).all()


@pytest.mark.parametrize("name", REWRITTEN)
def test_the_model_itself_stays_as_it_is(name, verdict, photograph, changed):
    make, shape, _ = REWRITTEN[name]
    model = make()
    subject = xai.Subject(model, torch.rand(32, *shape).double())
    before = photograph(model)
    verdict(CHECK, gradient, subject)
    assert changed(before, photograph(model)) == []


def test_maps_that_follow_one_module_differ_by_its_factor(finding, table):
    """The last layer is split into a reversal times 2 and the rest over 2: half its weights."""

    def explain(model, inputs, targets):
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        return gradient(model, inputs, targets) * last.weight.detach().abs().mean()

    found, _ = finding(CHECK, explain, table)
    assert torch.allclose(found.values, torch.tensor(0.5).double())


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (30.0, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict, table):
    unit = 8 * torch.finfo(torch.float64).eps * (3 * 20) ** 0.5

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        return maps * (1 + share * unit) if model is not table.model else maps

    assert verdict(CHECK, explain, table).outcome == outcome


def test_folding_alone_is_noticed(verdict):
    """A map that looks for batch norms, on a network whose only other layers are convolutions."""
    layers = (nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    subject = xai.Subject(nn.Sequential(*layers).eval(), torch.rand(8, 1, 6, 6))

    def explain(model, inputs, targets):
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        return gradient(model, inputs, targets) * (1 + norms)

    failed = verdict(CHECK, explain, subject)
    assert failed.outcome == "failed"
    assert failed.figure == pytest.approx(0.5)
    assert "Rewritten: 1 folded into 0." in failed.reason
    assert verdict(CHECK, gradient, subject).outcome == "passed"


def test_nothing_to_write_differently(verdict):
    nothing = verdict(CHECK, gradient, xai.Subject(models.Product(), torch.rand(4, 2)))
    assert nothing.outcome == "not_applicable"
    assert nothing.reason.startswith(
        "the model has no ReLU module, linear layer or batch norm after a conv"
    )


def test_a_batch_norm_that_is_not_directly_after_its_convolution_stays(verdict):
    layers = (nn.Conv2d(1, 3, 3), nn.Sigmoid(), nn.BatchNorm2d(3), nn.Flatten())
    subject = xai.Subject(nn.Sequential(*layers).eval(), torch.rand(4, 1, 4, 4))
    assert verdict(CHECK, gradient, subject).outcome == "not_applicable"


class Twice(nn.Module):
    """A convolution that is used with its norm and without it: folding would change both."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.norm = nn.BatchNorm2d(1)
        nn.init.constant_(self.norm.weight, 3.0)

    def forward(self, inputs):
        return (self.norm(self.conv(inputs)) + self.conv(inputs)).flatten(1)


def test_a_convolution_that_is_used_twice_is_not_folded(verdict):
    subject = xai.Subject(Twice().eval(), torch.rand(4, 1, 4, 4))
    assert verdict(CHECK, gradient, subject).outcome == "not_applicable"


class Fickle(nn.Module):
    """Computes something else when its ReLU is exchanged."""

    def __init__(self, factor):
        super().__init__()
        self.relu, self.factor = nn.ReLU(), factor

    def forward(self, inputs):
        return self.relu(inputs) * (1 if isinstance(self.relu, nn.ReLU) else self.factor)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_network_that_is_not_the_same_function_is_no_evidence(factor, verdict):
    nothing = verdict(CHECK, gradient, xai.Subject(Fickle(factor), torch.rand(4, 3)))
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "the rewritten network does not compute the same function"


def test_a_model_is_looked_at_with_an_image(verdict):
    """One that refuses an empty batch."""

    class Counting(nn.Sequential):
        def forward(self, inputs):
            if len(inputs) == 0:
                raise ValueError("nothing given")
            return super().forward(inputs)

    model = Counting(*models.chain(3, 4, 2)).eval()
    passed = verdict(CHECK, gradient, xai.Subject(model, torch.rand(4, 3).double()))
    assert passed.outcome == "passed"


def test_a_relu_at_its_kink_has_one_derivative_in_both(verdict):
    """Inputs of exactly zero: 0 on both sides, as torch defines it."""
    layers = (nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.tensor([[0.0, 1.0, -1.0, 0.0]] * 4)
    subject = xai.Subject(nn.Sequential(*layers).eval(), inputs)
    passed = verdict(CHECK, gradient, subject)
    assert (passed.outcome, passed.figure) == ("passed", 0)


def test_a_difference_of_float32_is_decided_in_float64(verdict, digits):
    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        spoilt = maps.dtype == torch.float32 and model is not digits.model
        return maps * 1.01 if spoilt else maps

    passed = verdict(CHECK, explain, digits)
    assert passed.outcome == "passed"
    assert "Decided in float64" in passed.reason


def test_a_map_that_is_zero_on_one_network_alone_fails(verdict, digits):
    def explain(model, inputs, targets):
        relus = any(isinstance(module, nn.ReLU) for module in model.modules())
        return gradient(model, inputs, targets) * (not relus)

    assert verdict(CHECK, explain, digits).outcome == "failed"


def test_nothing_is_drawn_from_the_callers_generators(verdict, digits):
    state = torch.get_rng_state()
    verdict(CHECK, gradient, digits)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "spec, outcome",
    [
        ("captum:Saliency", "passed"),
        ("captum:IntegratedGradients", "passed"),
        ("captum:SmoothGrad", "passed"),
        ("captum:GuidedBackprop", "failed"),
        ("captum:Deconvolution", "failed"),
        ("captum:DeepLift", "not_applicable"),  # it refuses ReLUs written as products
    ],
)
def test_methods_of_captum(spec, outcome, verdict, digits):
    assert verdict(CHECK, explainers.get(spec), digits).outcome == outcome


class Off(nn.Module):
    """Outputs of about -1000 and 1; elsewhere than at home all of them are off."""

    def __init__(self):
        super().__init__()
        self.layer, self.home, self.off = models.linear(torch.eye(2).double()), None, 0.0

    def forward(self, inputs):
        return self.layer(inputs) + (0.0 if self.home == id(self) else self.off)


@pytest.mark.parametrize("share, outcome", [(0.995, "passed"), (1.005, "not_applicable")])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_function_is_so_to_a_hundred_times_the_rounding_of_its_outputs(
    share, outcome, sign, verdict
):
    model = Off().eval()
    model.home = id(model)
    subject = xai.Subject(model, torch.tensor([[-1000.0, 1.0]]).double().repeat(4, 1))
    bench = xai.Bench(subject)
    rounding = bench.rounding
    bench.close()
    model.off = sign * share * 100 * rounding * 1000
    judged = verdict(CHECK, gradient, subject)
    assert judged.outcome == outcome
    if outcome == "not_applicable":
        assert judged.reason == "the rewritten network does not compute the same function"


@pytest.mark.parametrize("names, said", [("abc", "a; b; c"), ("abcde", "a; b; c; and 2 more")])
def test_three_things_that_were_rewritten_are_named(names, said):
    assert implementation_invariance._summary(list(names)) == said
