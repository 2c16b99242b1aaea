"""Gradients under noise against closed forms: none of these numbers comes from captum."""

import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting import passes

KINDS = ["captum:SmoothGrad", "captum:SmoothGradSquared", "captum:VarGrad"]
SQUARED = KINDS[1:]


class Functions(nn.Module):
    """Classes are functions of the features, each (N, F) -> (N,)."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, inputs):
        return torch.stack([function(inputs) for function in self.functions], 1)


def other(x):
    """What a map of the wrong class would explain."""
    return -7 * x[:, 0] + 11 * x[:, 1]


WEIGHTS = torch.tensor(
    [[1.0, -2.0, 0.0, 4.0], [0.5, 3.0, -1.0, 0.0], [-2.0, 0.25, 8.0, 1.0]]
).double()
INPUTS = torch.tensor([[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 2.0, -3.0]]).double()
TARGETS = torch.tensor([2, 0])


def linear():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    model[1].weight.data.copy_(WEIGHTS)
    return model


def row(*values):
    return torch.tensor([values]).double()


def batches(model):
    sizes = []
    model.register_forward_hook(lambda _, __, output: sizes.append(len(output)))
    return sizes


def tunnel(spec, model, inputs, targets, *, seed=0, baseline=None, **options):
    torch.manual_seed(seed)
    extra = {} if baseline is None else {"baseline": baseline}
    return explainers.get(spec, **options).call(model, inputs, targets, **extra)


def smooth(model, inputs, targets, *, seed=0, **options):
    torch.manual_seed(seed)
    return explainers.get("captum:SmoothGrad", **options).call(model, inputs, targets)


def test_smooth_grad_of_a_linear_model_under_any_noise():
    assert torch.allclose(smooth(linear(), INPUTS, TARGETS, sigma=5.0), WEIGHTS[TARGETS])


def test_smooth_grad_of_a_linear_model_in_magnitude():
    maps = smooth(linear(), INPUTS, TARGETS, absolute=True)
    assert torch.allclose(maps, WEIGHTS[TARGETS].abs())


def test_smooth_grad_noise_is_a_share_of_each_images_range():
    draws, share = 4000, 0.2
    inputs = torch.tensor([[0.0, 0.2, 1.0], [-4.0, 1.0, 6.0]]).double()
    model = Functions(other, lambda x: (x**3).sum(1))
    maps = smooth(model, inputs, torch.tensor([1, 1]), draws=draws, sigma=share)
    sigma = share * torch.tensor([[1.0], [10.0]])
    # Mean and variance of 3 (x + sigma z)^2 for a standard normal z.
    expected = 3 * (inputs**2 + sigma**2)
    error = 3 * (4 * inputs**2 * sigma**2 + 2 * sigma**4).sqrt() / draws**0.5
    assert ((maps - expected).abs() <= 4 * error).all()
    assert ((maps - 3 * inputs**2).abs() > 4 * error).any(1).all()


def test_smooth_grad_without_noise_is_the_gradient():
    model = Functions(other, lambda x: (x**3).sum(1))
    inputs = torch.tensor([[0.5, 0.25], [2.0, -1.0]]).double()
    maps = smooth(model, inputs, torch.tensor([1, 1]), sigma=0.0)
    assert torch.allclose(maps, 3 * inputs**2)


def test_smooth_grad_of_a_constant_image_is_the_gradient():
    model = Functions(other, lambda x: (x**3).sum(1))
    maps = smooth(model, row(2, 2), torch.tensor([1]))
    assert torch.allclose(maps, row(12, 12))


def cubic(inputs, **options):
    model = Functions(other, lambda x: (x**3).sum(1))
    return smooth(model, inputs, torch.ones(len(inputs), dtype=torch.long), **options)


def test_smooth_grad_depends_on_the_seed_and_on_nothing_else():
    assert torch.equal(cubic(INPUTS, seed=1), cubic(INPUTS, seed=1))
    assert not torch.allclose(cubic(INPUTS, seed=1), cubic(INPUTS, seed=2))


def test_smooth_grad_draws_new_noise_at_every_call():
    first = cubic(INPUTS)
    after = torch.get_rng_state()
    model = Functions(other, lambda x: (x**3).sum(1))
    second = explainers.get("captum:SmoothGrad").call(model, INPUTS, torch.tensor([1, 1]))
    assert not torch.allclose(first, second)
    assert not torch.equal(after, torch.get_rng_state())


def test_smooth_grad_gives_every_image_of_a_batch_the_same_draws():
    twice = cubic(INPUTS[:1].repeat(2, 1))
    assert torch.equal(twice[0], twice[1])
    together = torch.get_rng_state()
    alone = cubic(INPUTS[:1])
    assert torch.equal(alone[0], twice[0])
    assert torch.equal(together, torch.get_rng_state())


def test_smooth_grad_in_passes_of_bounded_size(monkeypatch):
    model = linear()
    monkeypatch.setattr(passes, "_VALUES", 10 * 4)
    sizes = batches(model)
    smooth(model, INPUTS, TARGETS, draws=25)
    assert sizes == [10, 10, 5, 10, 10, 5]


def of_cubes(spec, draws, share):
    inputs = torch.tensor([[0.0, 0.2, 1.0], [-4.0, 1.0, 6.0]]).double()
    model = Functions(other, lambda x: (x**3).sum(1))
    maps = tunnel(spec, model, inputs, torch.tensor([1, 1]), draws=draws, sigma=share)
    return maps, inputs, share * torch.tensor([[1.0], [10.0]]).double()


# Gradients 3 (x + s z)^2: its square is 9 (x + s z)^4, its variance 9 (4 x^2 s^2 + 2 s^4).
def test_squared_gradients_of_cubes():
    draws = 4000
    maps, x, s = of_cubes("captum:SmoothGradSquared", draws, 0.2)
    expected = 9 * (x**4 + 6 * x**2 * s**2 + 3 * s**4)
    eighth = x**8 + 28 * x**6 * s**2 + 210 * x**4 * s**4 + 420 * x**2 * s**6 + 105 * s**8
    error = 4 * (81 * eighth - expected**2).sqrt() / draws**0.5
    assert ((maps - expected).abs() <= error).all()
    assert ((maps - 9 * x**4).abs() > error).any(1).all()


def test_variance_of_gradients_of_cubes():
    maps, x, s = of_cubes("captum:VarGrad", 8000, 0.2)
    expected = 9 * (4 * x**2 * s**2 + 2 * s**4)
    assert torch.allclose(maps, expected, rtol=0.2)


def test_variance_is_the_mean_square_less_the_squared_mean_of_the_same_draws():
    model = Functions(other, lambda x: (x**3).sum(1))
    smooth, squared, variance = (
        tunnel(spec, model, INPUTS, torch.tensor([1, 1]), draws=6) for spec in KINDS
    )
    assert torch.allclose(variance, squared - smooth**2, rtol=1e-9)
    assert (variance > 0).all()


def test_a_linear_model_has_no_variance():
    assert torch.allclose(
        tunnel("captum:SmoothGradSquared", linear(), INPUTS, TARGETS), WEIGHTS[TARGETS] ** 2
    )
    variance = tunnel("captum:VarGrad", linear().float(), INPUTS.float(), TARGETS, draws=7)
    assert ((variance >= 0) & (variance <= 1e-6 * 64)).all()


OVER = [
    "Saliency",
    "InputXGradient",
    "IntegratedGradients",
    "DeepLift",
    "GuidedBackprop",
    "Deconvolution",
]


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("rows", [1, 2])
def test_over_an_explainer_of_captum(over, rows):
    """The maps of the same noisy inputs, one after the other."""
    model, draws, share = network(), 5, 0.4
    baseline = torch.tensor([[0.5, 0.0, -0.5, 0.25], [1.0, 0.5, 0.0, 0.0]]).double()[:rows]
    options = {"absolute": False} if over == "Saliency" else {}
    alone = explainers.get(f"captum:{over}", **options)
    for index in range(2):
        image, target = INPUTS[index : index + 1], TARGETS[index : index + 1]
        torch.manual_seed(0)
        sigma = share * float(image.max() - image.min())
        noise = torch.normal(0, torch.full((draws, 4), sigma))
        reference = baseline[index % rows : index % rows + 1]
        maps = torch.cat(
            [
                alone.call(
                    model,
                    image + one,
                    target,
                    **({"baseline": reference} if alone.traits.needs_baseline else {}),
                )
                for one in noise
            ]
        )
        expected = [maps.mean(0), (maps**2).mean(0), maps.var(0, unbiased=False)]
        for spec, right in zip(KINDS, expected, strict=True):
            got = tunnel(
                spec, model, INPUTS, TARGETS, baseline=baseline, draws=draws, sigma=share, over=over
            )
            assert torch.allclose(got[index], right, atol=1e-6), (spec, over)


@pytest.mark.parametrize("over", ["IntegratedGradients", "DeepLift"])
def test_a_baseline_is_asked_for_where_there_is_need_of_one(over):
    with pytest.raises(InvalidArgument, match=f"baseline: got none, expected one, for {over}"):
        tunnel("captum:VarGrad", network(), INPUTS, TARGETS, over=over)


@pytest.mark.parametrize("over", ["DeepLift", "GuidedBackprop", "Deconvolution"])
def test_functional_relu_is_refused(over):
    class Functional(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs).relu()

    with pytest.raises(InvalidArgument, match=f"calls of relu outside .* {over} replaces"):
        tunnel(
            "captum:SmoothGrad",
            nn.Sequential(Functional(4, 3)).double(),
            INPUTS,
            TARGETS,
            over=over,
            baseline=INPUTS[:1],
        )


def test_a_module_used_twice_is_not_for_deep_lift():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Linear(4, 3)).double()
    with pytest.raises(NotApplicable, match="use a module twice"):
        tunnel("captum:SmoothGrad", model, INPUTS, TARGETS, over="DeepLift", baseline=INPUTS[:1])


@pytest.mark.parametrize("spec", KINDS)
@pytest.mark.parametrize("over", ["Saliency", "IntegratedGradients", "DeepLift"])
def test_passes_of_bounded_size_over(spec, over, monkeypatch):
    model = network()
    whole = tunnel(spec, model, INPUTS, TARGETS, over=over, baseline=INPUTS[:1], sigma=0.0)
    monkeypatch.setattr(passes, "_VALUES", 10 * 4)
    sizes = batches(model)
    maps = tunnel(spec, model, INPUTS, TARGETS, over=over, baseline=INPUTS[:1], sigma=0.0)
    assert max(sizes) == 10
    assert torch.allclose(maps, whole, atol=1e-6)


def claims_of(spec, **options):
    return set(explainers.get(spec, **options).traits.claims)


def test_claims_follow_what_is_smoothed():
    assert claims_of("captum:SmoothGrad", over="GuidedBackprop") == {
        "dummy_feature",
        "shift_invariance",
    }
    assert claims_of("captum:SmoothGrad", over="DeepLift") == {
        "dummy_feature",
        "linearity",
        "shift_invariance",
    }
    assert claims_of("captum:SmoothGrad", over="InputXGradient") == {
        "dummy_feature",
        "linearity",
        "implementation_invariance",
    }
    for spec in SQUARED:
        # A variance subtracts nearly equal squares, which a shift rounds otherwise.
        shifted = set() if spec == "captum:VarGrad" else {"shift_invariance"}
        rules = {"dummy_feature", "sign_convention", *shifted}
        assert claims_of(spec) == {*rules, "implementation_invariance"}
        assert claims_of(spec, over="Deconvolution") == rules


@pytest.mark.parametrize("spec", KINDS)
def test_options(spec):
    with pytest.raises(InvalidArgument, match="over: got 'Occlusion', expected one of Saliency"):
        explainers.get(spec, over="Occlusion")
    with pytest.raises(InvalidArgument, match="draws: got 0"):
        explainers.get(spec, draws=0)
    with pytest.raises(InvalidArgument, match=r"sigma: got -0.1, expected a share >= 0"):
        explainers.get(spec, sigma=-0.1)
    cost = explainers.get(spec, draws=3, over="DeepLift").traits.cost
    assert cost == "3 times the forward and backward passes of DeepLift"


def test_magnitudes_are_for_the_gradient_only():
    with pytest.raises(
        InvalidArgument, match="absolute: got True, expected False unless over is Saliency"
    ):
        explainers.get("captum:SmoothGrad", absolute=True, over="InputXGradient")


@pytest.mark.parametrize("spec", KINDS)
def test_cost_over_the_gradient(spec):
    model = linear()
    sizes = batches(model)
    tunnel(spec, model, INPUTS, TARGETS, draws=7)
    assert sum(sizes) == 2 * 7
