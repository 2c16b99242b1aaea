"""If the output stays the same when the input moves, the map moves with the input."""

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures import models
from fixtures.controls import WRONG
from fixtures.loops import crossed
from fixtures.right import gradient, input_x_gradient, integrated_gradients, occlusion
from pytest_xai import explainers
from pytest_xai.checks.axiomatic import translation_equivariance
from pytest_xai.errors import GuestError

CHECK = "translation_equivariance"


def pooled(*layers, mode="circular"):
    """A network of convolutions with a global mean, of images of one channel."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = (
            nn.Conv2d(1, 4, 3, padding=1, padding_mode=mode),
            nn.ReLU(),
            *layers,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
        return nn.Sequential(*body).double().eval()


def images(height=8, width=8):
    generator = torch.Generator().manual_seed(5)
    return torch.rand(32, 1, height, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    *crossed(
        [gradient, input_x_gradient, integrated_gradients(steps=4), occlusion],
        ["gradient", "product", "ig", "occlusion"],
        subjects=["digits", "normed", "signal"],
    )
)
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict(CHECK, explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.images) == ("passed", 32)
    assert passed.figure < 1e-5


@pytest.mark.parametrize(
    "model, size, shift, what",
    [
        (pooled(), (8, 8), 1, "the model itself"),
        (pooled(nn.MaxPool2d(2)), (8, 6), 2, "the model itself"),
        (pooled(mode="zeros"), (8, 8), 1, "a copy with circular padding"),
        (pooled(nn.MaxPool2d(4), mode="zeros"), (8, 8), 4, "a copy with circular padding"),
        (models.functional_net(), (6, 6), 3, "the model applied to the mean of"),
    ],
    ids=["own", "stride", "padded", "padded stride", "none"],
)
def test_the_network_is_invariant(model, size, shift, what, recorder, finding):
    subject = xai.Subject(model, images(*size))
    asked = recorder(integrated_gradients("gauss", 2), needs_baseline=True)
    found, bench = finding(CHECK, asked, subject)
    assert found.notes[0].startswith(f"Rolled by {shift}, on {what}")
    network, again = asked.models
    inputs, rolled = asked.inputs
    dims = (3,) if what.startswith("the model applied") else (2, 3)
    assert torch.equal(inputs, bench.inputs)
    assert torch.equal(rolled, inputs.roll((shift,) * len(dims), dims))
    noise = torch.randn_like(inputs)
    assert torch.allclose(network(noise), network(noise.roll((shift,) * len(dims), dims)))
    assert network is again
    assert set(found.left_out.values()) == {0}
    assert (network is model) == (what == "the model itself")
    assert (found.values < found.limits).all()


def test_the_baseline_moves_along(recorder, finding):
    baseline = images()
    subject = xai.Subject(pooled(), images() / 2, baseline=baseline)
    asked = recorder(integrated_gradients("gauss", 2), needs_baseline=True)
    found, bench = finding(CHECK, asked, subject)
    first, second = asked.baselines
    assert torch.equal(first, bench.baseline)
    assert torch.equal(second, bench.baseline.roll((1, 1), (2, 3)))
    assert (found.values < found.limits).all()


def test_a_dark_border_hides_no_padding(finding):
    """The output stays where the border is zero, and the gradient still knows the border."""
    inputs = torch.zeros(32, 1, 12, 12, dtype=torch.float64)
    inputs[:, :, 4:8, 4:8] = images(4, 4)
    model = pooled(mode="zeros")
    assert torch.allclose(model(inputs), model(inputs.roll((1, 1), (2, 3))))
    found, _ = finding(CHECK, gradient, xai.Subject(model, inputs))
    assert found.notes == ("Rolled by 1, on a copy with circular padding.",)
    assert (found.values < found.limits).all()


def test_the_figure_is_the_difference_to_the_rolled_map(finding):
    def explain(model, inputs, targets):
        maps = torch.ones_like(inputs)
        maps[..., 0, 0] = 5
        return maps

    found, _ = finding(CHECK, explain, xai.Subject(pooled(), images()))
    assert torch.allclose(found.values, torch.tensor(4 / 5).double())


@pytest.mark.parametrize("name", ["weighs the middle", "cuts the border"])
@pytest.mark.parametrize("subject", ["normed", "signal"])
def test_wrong_explainers_fail(name, subject, verdict, request):
    failed = verdict(CHECK, WRONG[name].explainer, request.getfixturevalue(subject))
    assert failed.outcome == "failed"
    assert failed.figure > 0.1


@pytest.mark.parametrize("share, outcome", [(0.3, "passed"), (1e4, "failed")])
def test_the_tolerance_is_that_of_rounding(share, outcome, verdict):
    subject = xai.Subject(pooled(), images())
    unit = 8 * torch.finfo(torch.float64).eps * (2 * 9) ** 0.5
    known = subject.inputs.flatten(1)[:, 0]

    def explain(model, inputs, targets):
        maps = gradient(model, inputs, targets)
        # Rounding of the inputs does not make them others.
        same = (inputs.flatten()[0] - known).abs().min() < 1e-9
        return maps if same else maps * (1 + share * unit)

    assert verdict(CHECK, explain, subject).outcome == outcome


def test_no_sides_or_odd_ones(verdict, table):
    nothing = verdict(CHECK, gradient, table)
    assert nothing.outcome == "not_applicable"
    assert nothing.reason == "the inputs have no spatial dimension along which they could be rolled"
    odd = nn.Sequential(nn.Flatten(), models.chain(15, 4, 3)).double().eval()
    nothing = verdict(CHECK, gradient, xai.Subject(odd, images(3, 5)))
    assert nothing.outcome == "not_applicable"
    assert "no side of the inputs has an even length" in nothing.reason
    even = nn.Sequential(nn.Flatten(), models.chain(20, 4, 3)).double().eval()
    assert verdict(CHECK, gradient, xai.Subject(even, images(4, 5))).outcome == "passed"


def test_a_maximum_in_two_places_cannot_tell(verdict):
    """All places are equal, and the gradient of the global maximum is that of the first."""
    layers = (pooled()[0], nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), pooled()[4])
    model = nn.Sequential(*layers).eval()
    flat = xai.Subject(model, images(1, 1).expand(-1, -1, 8, 8), bounds=(0, 1))
    tied = verdict(CHECK, gradient, flat)
    assert tied.outcome == "undecided"
    assert (
        "32 images left out: the model's own gradient does not move with the input." in tied.reason
    )
    assert verdict(CHECK, gradient, xai.Subject(model, images())).outcome == "passed"
    failed = verdict(CHECK, WRONG["weighs the middle"].explainer, xai.Subject(model, images()))
    assert failed.outcome == "failed"


def test_a_network_that_is_dead_at_the_input_cannot_tell(verdict):
    """Its outputs stay when the input moves, as they do not depend on it."""
    convolution = nn.Conv1d(1, 1, 1)
    nn.init.constant_(convolution.weight, -0.1)
    nn.init.constant_(convolution.bias, -1.0)
    model = nn.Sequential(convolution, nn.ReLU(), nn.Flatten()).double().eval()
    inputs = torch.rand(8, 1, 2, dtype=torch.float64)
    subject = xai.Subject(model, inputs, torch.zeros(8, dtype=torch.long))
    for explainer in ("captum:Deconvolution", "captum:Saliency"):
        found = verdict(CHECK, explainers.get(explainer), subject)
        assert found.outcome == "undecided"
        assert (
            "8 images left out: the model's own gradient does not move with the input."
            in found.reason
        )


def test_zero_maps_do_not_count(verdict, signal):
    zero = verdict(CHECK, lambda model, inputs, targets: 0 * inputs, signal)
    assert zero.outcome == "undecided"
    assert "32 images left out: zero maps." in zero.reason


@pytest.mark.parametrize(
    "spec, outcome",
    [
        ("captum:Saliency", "passed"),
        ("captum:DeepLift", "passed"),
        ("captum:GuidedBackprop", "passed"),
        ("zennit:LRPZero", "passed"),
        ("zennit:EpsilonPlusFlat", "passed"),
        ("xai:DeepLiftRescale", "passed"),
        ("captum:LRP", "passed"),
    ],
)
def test_methods_of_the_gallery(spec, outcome, verdict):
    subject = xai.Subject(pooled(nn.MaxPool2d(2), mode="zeros"), images())
    assert verdict(CHECK, explainers.get(spec), subject).outcome == outcome


@pytest.mark.parametrize("sign", [1, -1])
def test_outputs_that_all_rise_or_all_fall_are_not_left_as_they_were(sign):
    class Counting(nn.Module):
        """A model whose outputs follow how often it ran."""

        calls = 0

        def forward(self, inputs):
            self.calls += 1
            return sign * self.calls * torch.ones(len(inputs), 3).to(inputs)

    bench = xai.Bench(xai.Subject(Counting(), torch.rand(2, 1, 4, 4), bounds=(0, 1)))
    assert translation_equivariance._shift(bench, bench.subject.model, (2, 3)) == 0
    bench.close()


class Every(nn.Module):
    """The sum of every k-th value, which a roll by k leaves, twice with a sign."""

    def __init__(self, step, sign):
        super().__init__()
        self.step, self.sign = step, sign

    def forward(self, inputs):
        total = inputs[..., :: self.step].sum((1, 2))
        return self.sign * torch.stack([total, total + 1], 1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "step, shift", [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (32, 32), (64, 0)]
)
def test_the_least_power_of_two_up_to_32_that_leaves_the_outputs(step, shift, sign):
    inputs = torch.rand(2, 1, 64, generator=torch.Generator().manual_seed(0)).double()
    bench = xai.Bench(xai.Subject(Every(step, sign), inputs, bounds=(0, 1)))
    assert translation_equivariance._shift(bench, bench.subject.model, (2,)) == step % 64
    bench.close()


def test_a_copy_that_does_not_run_is_left_out_and_the_model_itself_is_not():
    class Failing(nn.Module):
        """A model that raises after a few runs."""

        left = 100

        def forward(self, inputs):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("no more")
            return inputs.flatten(1).sum(1, keepdim=True)

    bench = xai.Bench(xai.Subject(Failing(), torch.rand(2, 1, 4).double(), bounds=(0, 1)))
    bench.subject.model.left = 0
    with pytest.raises(GuestError, match="no more"):
        translation_equivariance._shift(bench, bench.subject.model, (2,))
    copied = Failing()
    copied.left = 0
    assert translation_equivariance._shift(bench, copied, (2,)) == 0
    bench.close()
