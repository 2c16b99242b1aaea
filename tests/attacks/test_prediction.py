"""Attacks on the prediction against their formulas, and what of their results is believed."""

import itertools
import os
import random
import subprocess
import sys

import foolbox
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_xai import Subject
from pytest_xai.attacks import prediction
from pytest_xai.attacks.prediction import deepfool, fgsm
from pytest_xai.bench import Bench
from pytest_xai.errors import GuestError, NotApplicable

DTYPES = [torch.float32, torch.float64]


def network(classes=3, *, dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, classes)).to(
        dtype
    )


def images(count=6, *, dtype=torch.float32, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(count, 1, 6, 6, generator=generator, dtype=torch.float64)
    return (low + (high - low) * drawn).to(dtype).clamp(low, high)


def bench_of(model=None, inputs=None, **options):
    options = {"bounds": (0.0, 1.0), **options}
    return Bench(
        Subject(
            network() if model is None else model, images() if inputs is None else inputs, **options
        )
    )


def stepped(model, inputs, targets, step, bounds):
    """The fast gradient sign method in its own words."""
    inputs = inputs.clone().requires_grad_()
    loss = functional.cross_entropy(model(inputs), targets, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, inputs)
    return (inputs + step * gradient.sign()).clamp(*bounds).detach()


# ---------------------------------------------------------------------------------------- fgsm


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0)])
def test_fgsm_is_one_step_along_the_sign_of_the_gradient(bounds, dtype):
    model = network(dtype=dtype)
    inputs = images(dtype=dtype)
    bench = bench_of(model, inputs, targets=[0, 1, 2, 0, 1, 2], bounds=bounds)
    found = fgsm(bench, epsilon=0.1)
    step = 0.1 * (bounds[1] - bounds[0])
    expected = stepped(model, bench.inputs, bench.targets, step, bounds)
    assert found.inputs.dtype == dtype
    assert torch.equal(found.inputs, expected)
    assert found.within.all()
    assert torch.allclose(found.size, (expected - bench.inputs).double().abs().flatten(1).amax(1))


def test_fgsm_without_bounds_keeps_the_range_of_the_inputs():
    inputs = images(low=-2.0, high=5.0)
    bench = bench_of(inputs=inputs, bounds=None)
    low, high = float(inputs.min()), float(inputs.max())
    found = fgsm(bench, epsilon=0.1)
    expected = stepped(
        bench.subject.model, bench.inputs, bench.targets, 0.1 * (high - low), (low, high)
    )
    assert torch.equal(found.inputs, expected)
    assert found.inputs.min() == low
    assert found.inputs.max() == high


def test_fgsm_raises_the_loss_of_the_target_not_of_the_prediction():
    model = network()
    bench = bench_of(model, targets=(model(images()).argmax(1) + 1) % 3)
    found = fgsm(bench, epsilon=1e-3)
    before, after = model(bench.inputs), model(found.inputs)
    losses = [functional.cross_entropy(z, bench.targets, reduction="none") for z in (before, after)]
    assert (losses[1] > losses[0]).all()
    assert not found.correct.any()


def test_a_larger_budget_is_another_attack():
    bench = bench_of()
    small, large = fgsm(bench, epsilon=0.01), fgsm(bench, epsilon=0.2)
    assert small.size.max() < 0.0101
    assert large.size.min() > 0.19
    assert torch.equal(fgsm(bench, epsilon=0.01).inputs, small.inputs)


# ------------------------------------------------------------------------------------- deepfool


def linear(classes=3, *, dtype=torch.float64, scale=1.0):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, classes)).to(dtype)
    with torch.no_grad():
        model[1].weight.mul_(scale)
    return model


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_deepfool_goes_to_the_nearest_boundary_of_a_linear_model(classes):
    """The distance to the boundary with class k is (f_c - f_k) / |w_c - w_k|; 2 % further."""
    model = linear(classes)
    bench = bench_of(model, images(dtype=torch.float64), bounds=(-100.0, 100.0))
    found = deepfool(bench)
    weight = model[1].weight.detach()
    for row, (logits, target) in enumerate(zip(bench.logits(), bench.targets, strict=True)):
        # The ten likeliest classes are tried.
        others = [k for k in logits.argsort(descending=True)[:10].tolist() if k != target]
        margins = logits[target] - logits[others]
        distances = margins / (weight[target] - weight[others]).norm(dim=1)
        # foolbox adds 1e-4 to the distance, for stability.
        assert found.size[row].item() == pytest.approx(
            1.02 * (distances.min().item() + 1e-4), rel=1e-3
        )
        assert found.predicted[row] == others[int(distances.argmin())]
    assert found.flipped.all()
    assert found.correct.all()
    assert found.within.all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_deepfool_flips_a_network_within_its_bounds(dtype):
    model = network(dtype=dtype)
    bench = bench_of(model, images(dtype=dtype))
    found = deepfool(bench)
    assert found.inputs.dtype == dtype
    assert found.flipped.all()
    assert found.within.all()
    assert ((found.inputs >= 0) & (found.inputs <= 1)).all()
    assert torch.equal(found.predicted, model(found.inputs).argmax(1))
    distance = (found.inputs - bench.inputs).double().flatten(1).norm(dim=1)
    assert torch.allclose(found.size, distance)
    assert (distance > 0).all()


def test_deepfool_is_smaller_than_the_gradient_step_that_flips():
    bench = bench_of()
    one_step, nearest = fgsm(bench, epsilon=0.5), deepfool(bench)
    both = one_step.flipped & nearest.flipped
    assert both.any()
    step = (one_step.inputs - bench.inputs).double().flatten(1).norm(dim=1)
    assert (nearest.size < step)[both].all()


# ---------------------------------------------------------------------- what every attack says


ATTACKS = {"fgsm": lambda bench: fgsm(bench, epsilon=0.3), "deepfool": deepfool}
both = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@both
def test_all_fields_are_looked_at_again(attack):
    model = network()
    predicted = model(images()).argmax(1)
    targets = predicted.clone()
    targets[::2] = (targets[::2] + 1) % 3
    bench = bench_of(model, targets=targets)
    found = attack(bench)
    before, after = model(bench.inputs).argmax(1), model(found.inputs).argmax(1)
    assert torch.equal(found.predicted, after)
    assert torch.equal(found.flipped, after != before)
    assert torch.equal(found.correct, before == bench.targets)
    assert found.correct.sum() == 3
    assert len({len(field) for field in (found.inputs, found.within, found.size)}) == 1
    assert not found.inputs.requires_grad


@both
def test_a_single_logit_is_attacked_over_zero(attack):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 1))
    with torch.no_grad():
        model[1].bias.sub_(model(images()).mean())
    for classifier in (model, nn.Sequential(model, nn.Flatten(0))):
        bench = bench_of(classifier)
        found = attack(bench)
        before, after = model(bench.inputs)[:, 0], model(found.inputs)[:, 0]
        assert torch.equal(found.predicted, (after > 0).long())
        assert torch.equal(found.flipped, (after > 0) != (before > 0))
        assert found.flipped.any()
        assert found.correct.all()
        # Against the side on which it stands, whichever that is.
        assert ((after - before).sign() == -before.sign()).all()


def test_fgsm_of_a_single_logit_is_that_of_two():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 1))
    bench = bench_of(model)

    def two(inputs):
        return torch.cat([torch.zeros(len(inputs), 1), model(inputs)], 1)

    labels = (model(bench.inputs)[:, 0] > 0).long()
    expected = stepped(two, bench.inputs, labels, 0.1, (0.0, 1.0))
    assert torch.equal(fgsm(bench, epsilon=0.1).inputs, expected)


@both
def test_inputs_of_one_value_have_no_range(attack):
    with pytest.raises(NotApplicable, match="bounds"):
        attack(bench_of(inputs=torch.full((3, 1, 6, 6), 0.5), bounds=None))
    assert attack(bench_of(inputs=torch.full((3, 1, 6, 6), 0.5))).within.all()


@both
def test_a_second_use_costs_nothing_but_the_look(attack):
    bench = bench_of()
    first = attack(bench)
    spent = bench.counter.spent
    second = attack(bench)
    assert torch.equal(second.inputs, first.inputs)
    more = bench.counter.spent - spent
    assert (more.forward, more.backward) == (len(bench), 0)


@both
def test_views_share_the_attacks_of_their_images(attack):
    bench = bench_of(inputs=images(40))
    whole = attack(bench)
    spent = bench.counter.spent
    part = attack(bench.view(0, 32))
    assert torch.equal(part.inputs, whole.inputs[:32])
    assert (bench.counter.spent - spent).backward == 0


@both
def test_the_model_and_the_process_stay_as_they_were(attack):
    model = network()
    model[0].bias.requires_grad_(False)
    model[3].bias.grad = torch.ones(3)
    bench = bench_of(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in model.parameters()]
    grads = [parameter.grad for parameter in model.parameters()]
    hooks = [list(module._forward_hooks) for module in model.modules()]
    inputs = bench.subject.inputs.clone()
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    attack(bench)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert (
        [parameter.requires_grad for parameter in model.parameters()]
        == flags
        == [True, False, True, True]
    )
    assert [parameter.grad for parameter in model.parameters()] == grads
    assert (model[3].bias.grad == 1).all()
    assert [list(module._forward_hooks) for module in model.modules()] == hooks
    assert not any(module.training for module in model.modules())
    assert torch.equal(bench.subject.inputs, inputs)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]


@both
def test_gradients_are_on_for_the_attack_alone(attack):
    expected = attack(bench_of()).inputs
    with torch.no_grad():
        assert torch.equal(attack(bench_of()).inputs, expected)
        assert not torch.is_grad_enabled()


class Noisy(nn.Module):
    """Draws at every call, as dropout does that is left at work."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, inputs):
        return self.inner(inputs + 0.1 * torch.randn(inputs.shape))


@both
def test_a_model_that_draws_is_attacked_alike_whatever_was_drawn_before(attack):
    found = []
    for seed in (1, 2):
        bench = bench_of(Noisy(), targets=0)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(attack(bench))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0].inputs, found[1].inputs)
    assert torch.equal(found[0].predicted, found[1].predicted)


@both
def test_frozen_models_are_attacked_too(attack):
    model = network().requires_grad_(False)
    found = attack(bench_of(model))
    assert (found.size > 0).all()
    assert not any(parameter.requires_grad for parameter in model.parameters())


@both
def test_the_weights_need_no_gradient_meanwhile(attack):
    """foolbox would make the gradients of the weights as well, at a third of the time."""
    model = network()
    wanted = []
    bench = bench_of(model)
    model.register_forward_hook(lambda *_: wanted.append(model[0].weight.requires_grad))
    attack(bench)
    assert wanted.count(False) >= 2
    assert model[0].weight.requires_grad


@both
def test_attacks_are_made_in_the_bench_s_batches(attack):
    sizes = []
    model = network()
    model.register_forward_hook(lambda _, __, output: sizes.append(len(output)))
    attack(bench_of(model, images(40), targets=0))
    # The first three: the subject's looks at its model, and the bench's.
    assert sizes[:3] == [1, 2, 1]
    assert set(sizes[3:]) == {32, 8}


@both
def test_a_batch_beyond_memory_is_halved(attack):
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, inputs):
            if len(inputs) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.inner(inputs)

    targets = network()(images()).argmax(1)
    found = attack(bench_of(Small(), targets=targets, name="same"))
    expected = attack(bench_of(targets=targets, name="same"))
    assert torch.allclose(found.inputs, expected.inputs, atol=1e-4)


@both
def test_a_model_that_raises_under_attack_is_named(attack):
    armed = []

    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, inputs):
            if armed and inputs.requires_grad:
                raise ValueError("boo")
            return self.inner(inputs)

    bench = bench_of(Raises())
    armed.append(True)
    with pytest.raises(GuestError, match=r"^the model raised ValueError: boo$"):
        attack(bench)
    assert bench.subject.model.inner[0].weight.requires_grad


@both
@pytest.mark.parametrize("how", ["no graph", "no path"])
def test_a_model_without_gradients_cannot_be_attacked(how, attack):
    class NoGradients(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, inputs):
            if how == "no path":  # the weights have a gradient, the inputs have none
                return self.inner(inputs.detach())
            with torch.no_grad():
                return self.inner(inputs)

    with pytest.raises(NotApplicable, match="no gradient"):
        attack(bench_of(NoGradients()))


# ------------------------------------------------------------------------- attacks that lie


def lying(monkeypatch, change, *, flag=True):
    """foolbox returns what ``change`` makes of the inputs, and calls it a success."""

    def run(self, model, inputs, criterion, *, epsilons):
        made = change(inputs.clone())
        raw = torch.full_like(made, 99.0)  # before the clipping to the budget
        return raw, made, torch.full((len(inputs),), flag)

    for name in ("LinfFastGradientAttack", "L2DeepFoolAttack"):
        monkeypatch.setattr(getattr(foolbox.attacks, name), "__call__", run)


@both
def test_a_success_flag_is_not_believed(attack, monkeypatch):
    lying(monkeypatch, lambda inputs: inputs)
    found = attack(bench_of())
    assert not found.flipped.any()
    assert (found.size == 0).all()
    assert found.within.all()


@both
def test_neither_is_a_flag_of_failure(attack, monkeypatch):
    flips = deepfool(bench_of()).inputs
    lying(monkeypatch, lambda _: flips, flag=False)
    assert attack(bench_of()).flipped.all()


@both
@pytest.mark.parametrize("beyond", [-1e-4, 1 + 1e-4, torch.inf, torch.nan])
def test_a_result_beyond_the_bounds_does_not_count(attack, beyond, monkeypatch):
    def change(inputs):
        inputs[1, 0, 2, 3] = beyond
        return inputs

    lying(monkeypatch, change)
    found = attack(bench_of())
    assert found.within.tolist() == [True, False, True, True, True, True]


@both
def test_what_is_not_a_number_is_not_passed_on(attack, monkeypatch):
    def change(inputs):
        inputs[1] = torch.nan
        return inputs

    lying(monkeypatch, change)
    bench = bench_of()
    found = attack(bench)
    assert found.inputs.isfinite().all()
    assert torch.equal(found.inputs[1], bench.inputs[1])
    assert not found.within[1]


@pytest.mark.parametrize(
    "excess, kept", [(1.0, True), (1 + 1e-6, True), (1.001, False), (2.0, False)]
)
def test_a_result_beyond_the_budget_does_not_count(excess, kept, monkeypatch):
    inputs = images(low=0.4, high=0.6)

    def change(inputs):
        inputs[1, 0, 2, 3] += 0.1 * excess
        inputs[2] -= 0.05
        return inputs

    lying(monkeypatch, change)
    found = fgsm(bench_of(inputs=inputs), epsilon=0.1)
    assert found.within.tolist() == [True, kept, True, True, True, True]
    assert found.size[1].item() == pytest.approx(0.1 * excess, rel=1e-4)
    assert found.size[2].item() == pytest.approx(0.05, rel=1e-4)


def test_the_budget_is_a_share_of_the_range(monkeypatch):
    def change(inputs):
        return inputs + 0.9

    lying(monkeypatch, change)
    inputs = images(low=3.0, high=7.0)
    assert fgsm(bench_of(inputs=inputs, bounds=(0.0, 10.0)), epsilon=0.1).within.all()
    assert not fgsm(bench_of(inputs=inputs, bounds=(0.0, 8.0)), epsilon=0.1).within.any()


def test_deepfool_has_no_budget(monkeypatch):
    lying(monkeypatch, lambda inputs: 1 - inputs)
    found = deepfool(bench_of())
    assert found.within.all()
    assert (found.size > 1).all()


@pytest.mark.parametrize(
    "dtype, bounds",
    [
        *itertools.product(
            (torch.bfloat16, torch.float16, torch.float32), ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
        ),
        # Elsewhere numbers of fewer digits are further apart than the step is long.
        (torch.float32, (1000.0, 1001.0)),
    ],
)
def test_rounding_is_not_called_a_breach(dtype, bounds):
    inputs = images(40, dtype=torch.float64, low=bounds[0], high=bounds[1]).to(dtype)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).to(dtype)
    found = fgsm(bench_of(model, inputs.clamp(*bounds), bounds=bounds), epsilon=8 / 255)
    assert found.within.all()


# ---------------------------------------------------------------------------------- the import


def test_foolbox_is_imported_where_there_is_no_git(tmp_path):
    code = (
        "import shutil, warnings; assert shutil.which('git') is None\n"
        "warnings.simplefilter('error')\n"
        "from pytest_xai.attacks.prediction import _foolbox\n"
        "print(_foolbox().__name__)\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "PATH": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "foolbox", done.stderr


def test_the_user_s_own_setting_for_git_stays(monkeypatch):
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "warn")
    prediction._foolbox()
    assert os.environ["GIT_PYTHON_REFRESH"] == "warn"
