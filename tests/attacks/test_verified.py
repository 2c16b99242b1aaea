"""What every attack says of its result, what it leaves behind, and what is believed of it."""

import itertools
import random
from functools import partial

import foolbox
import numpy as np
import pytest
import torch
from torch import nn

from pytest_xai import InvalidArgument, attacks
from pytest_xai.attacks.verified import make_and_verify
from pytest_xai.errors import GuestError, NotApplicable


def test_all_fields_are_looked_at_again(attack, network, images, bench_of):
    model = network()
    targets = model(images()).argmax(1)
    targets[::2] = (targets[::2] + 1) % 3
    bench = bench_of(model, targets=targets)
    found = attack(bench)
    before, after = model(bench.inputs).argmax(1), model(found.inputs).argmax(1)
    assert torch.equal(found.predicted, after)
    assert torch.equal(found.flipped, after != before)
    assert torch.equal(found.correct, before == bench.targets)
    assert found.correct.sum() == 3
    assert found.within.all()
    assert ((found.inputs >= 0) & (found.inputs <= 1)).all()
    delta = (found.inputs - bench.inputs).double().flatten(1)
    assert torch.allclose(found.size, torch.linalg.vector_norm(delta, ord=found.norm, dim=1))
    assert not found.inputs.requires_grad


def test_every_attack_leads_some_image_astray(attack, bench_of, images):
    found = attack(bench_of(inputs=images(12)))
    assert found.flipped.any()
    assert (found.size[found.flipped] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_keep_their_dtype(attack, network, images, bench_of, dtype):
    found = attack(bench_of(network(dtype=dtype), images(2, dtype=dtype)))
    assert found.inputs.dtype == dtype


def test_a_single_logit_is_attacked_over_zero(attack, images, bench_of):
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
        moved = found.size > 0
        assert ((after - before).sign() == -before.sign())[moved].all()


@pytest.mark.parametrize("shape", [(8,), (2, 9)], ids=["table", "signal"])
def test_tables_and_signals_are_attacked_too(attack, bench_of, shape):
    torch.manual_seed(1)
    features = int(np.prod(shape))
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 3, bias=False))
    bench = bench_of(model, torch.rand(8, *shape))
    found = attack(bench)
    assert found.inputs.shape == bench.inputs.shape
    assert found.within.all()
    assert found.flipped.any()


def test_inputs_of_one_value_have_no_range(attack, bench_of):
    with pytest.raises(NotApplicable, match="bounds"):
        attack(bench_of(inputs=torch.full((3, 1, 6, 6), 0.5), bounds=None))
    assert attack(bench_of(inputs=torch.full((3, 1, 6, 6), 0.5))).within.all()


def test_wrong_bounds_are_refused(attack, bench_of):
    with pytest.raises(InvalidArgument, match="^bounds: got .*, expected bounds that contain all"):
        attack(bench_of(bounds=(0.4, 0.6)))


def test_a_second_use_costs_nothing(attack, bench_of):
    bench = bench_of()
    first = attack(bench)
    spent = bench.counter.spent
    second = attack(bench)
    assert torch.equal(second.inputs, first.inputs)
    assert torch.equal(second.predicted, first.predicted)
    assert bench.counter.spent == spent


@pytest.mark.parametrize("attack_of", [attacks.deepfool, partial(attacks.fgsm, epsilon=0.1)])
def test_views_share_the_attacks_of_their_images(attack_of, images, bench_of):
    bench = bench_of(inputs=images(34))
    whole = attack_of(bench)
    spent = bench.counter.spent
    part = attack_of(bench.view(0, 32))
    assert torch.equal(part.inputs, whole.inputs[:32])
    assert torch.equal(part.predicted, whole.predicted[:32])
    assert bench.counter.spent == spent


def test_the_model_and_the_process_stay_as_they_were(attack, network, bench_of):
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


def test_what_is_drawn_follows_from_the_seed_alone_and_gradients_are_on(attack, bench_of):
    one, other = bench_of(), bench_of()
    torch.manual_seed(5)
    first = attack(one)
    torch.manual_seed(6)
    with torch.no_grad():
        assert torch.equal(attack(other).inputs, first.inputs)
        assert not torch.is_grad_enabled()


class Noisy(nn.Module):
    """Draws at every call, as dropout does that is left at work."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        return self.inner(inputs + 0.1 * torch.randn(inputs.shape))


def test_a_model_that_draws_is_attacked_alike_whatever_was_drawn_before(
    attack_by_gradient, network, bench_of
):
    found = []
    for seed in (1, 2):
        bench = bench_of(Noisy(network()), targets=0)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(attack_by_gradient(bench))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0].inputs, found[1].inputs)
    assert torch.equal(found[0].predicted, found[1].predicted)


def test_frozen_models_are_attacked_too(network, bench_of):
    model = network().requires_grad_(False)
    found = attacks.deepfool(bench_of(model))
    assert (found.size > 0).all()
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_weights_need_no_gradient_meanwhile(attack, network, bench_of):
    """Their gradients would be made as well, at a third of the time."""
    model = network()
    required = []
    bench = bench_of(model)
    model.register_forward_hook(lambda *_: required.append(model[0].weight.requires_grad))
    attack(bench)
    assert required.count(False) >= 2
    assert model[0].weight.requires_grad


def test_images_come_in_the_bench_s_batches_and_points_in_larger_ones(
    attack, network, images, bench_of
):
    sizes = []
    model = network()
    model.register_forward_hook(lambda _, __, output: sizes.append(len(output)))
    bench = bench_of(model, images(40), targets=0)
    sizes.clear()
    found = attack(bench)
    assert len(found.inputs) == 40
    by_points = found.name[0] in {"nes", "zoo"}
    assert max(sizes) <= (512 if by_points else 32)


def test_a_batch_beyond_memory_is_halved(attack, network, images, bench_of):
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, inputs):
            if len(inputs) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.inner(inputs)

    found = attack(bench_of(Small(), targets=network()(images()).argmax(1)))
    assert found.within.all()
    assert (found.size > 0).any()


def test_a_model_that_raises_under_attack_is_named(attack, network, images, bench_of):
    armed = []

    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, inputs):
            if armed and not torch.equal(inputs, armed[0]):
                raise ValueError("boo")
            return self.inner(inputs)

    bench = bench_of(Raises())
    armed.append(bench.inputs)
    with pytest.raises(GuestError, match=r"^the model raised ValueError: boo$"):
        attack(bench)
    assert bench.subject.model.inner[0].weight.requires_grad


class NoGradients(nn.Module):
    def __init__(self, inner, how):
        super().__init__()
        self.inner = inner
        self.how = how

    def forward(self, inputs):
        if self.how == "no path":  # the weights have a gradient, the inputs have none
            return self.inner(inputs.detach())
        with torch.no_grad():
            return self.inner(inputs)


@pytest.mark.parametrize("how", ["no graph", "no path"])
def test_what_needs_a_gradient_does_not_apply_without(attack_by_gradient, network, bench_of, how):
    with pytest.raises(NotApplicable, match="no gradient"):
        attack_by_gradient(bench_of(NoGradients(network(), how)))


@pytest.mark.parametrize("how", ["no graph", "no path"])
def test_scores_and_decisions_are_enough_for_the_others(attack_by_score, network, bench_of, how):
    bench = bench_of(NoGradients(network(), how), name="same")
    found = attack_by_score(bench)
    assert torch.equal(found.inputs, attack_by_score(bench_of(network(), name="same")).inputs)
    assert bench.counter.spent.backward == 0


OPTIONS = [
    (attacks.fgsm, {"epsilon": 0}),
    (attacks.fgsm, {"epsilon": float("nan")}),
    (attacks.ifgsm, {"epsilon": 0.1, "steps": 0}),
    (attacks.pgd, {"epsilon": 0.1, "norm": "L1"}),
    (attacks.pgd, {"epsilon": 0.1, "steps": 2.5}),
    (attacks.deepfool, {"norm": "L0"}),
    (attacks.deepfool, {"candidates": 1}),
    (attacks.carlini_wagner, {"searches": 0}),
    (attacks.hop_skip_jump, {"draws": 0}),
    (attacks.lbfgs, {"iterations": -1}),
    (attacks.jsma, {"share": 1.5}),
    (attacks.one_pixel, {"population": 4}),
    (attacks.nes, {"epsilon": float("inf")}),
    (attacks.nes, {"epsilon": 0.1, "samples": 1}),
    (attacks.zoo, {"coordinates": 0}),
]


@pytest.mark.parametrize(
    "attack_of, options", OPTIONS, ids=[f"{attack.__name__}-{given}" for attack, given in OPTIONS]
)
def test_wrong_options_are_refused_before_anything_is_run(attack_of, options, bench_of):
    bench = bench_of()
    with pytest.raises(InvalidArgument, match=f"^{list(options)[-1]}: got "):
        attack_of(bench, **options)
    assert bench.counter.spent.forward == 0


# ------------------------------------------------------------------------- attacks that lie


def test_what_changed_nothing_is_no_success(attack, bench_of, lying):
    lying(lambda inputs: inputs)
    found = attack(bench_of())
    assert not found.flipped.any()
    assert (found.size == 0).all()
    assert found.within.all()


@pytest.mark.parametrize("flag", [True, False])
def test_foolbox_s_word_for_success_is_not_asked(bench_of, monkeypatch, flag):
    assert attacks.fgsm(bench_of(), epsilon=0.3).flipped.any()

    def lie(self, model, inputs, criterion, *, epsilons):
        raw = torch.full_like(inputs, 99.0)  # before the clipping to the budget
        return raw, inputs.clone(), torch.full((len(inputs),), flag)

    monkeypatch.setattr(foolbox.attacks.LinfFastGradientAttack, "__call__", lie)
    found = attacks.fgsm(bench_of(), epsilon=0.3)
    assert not found.flipped.any()
    assert (found.size == 0).all()


@pytest.mark.parametrize("beyond", [-1e-4, 1 + 1e-4, torch.inf, torch.nan])
def test_a_result_beyond_the_bounds_does_not_count(bench_of, lying, beyond):
    def change(inputs):
        inputs[1, 0, 2, 3] = beyond
        return inputs

    lying(change)
    found = attacks.deepfool(bench_of())
    assert found.within.tolist() == [True, False, True, True, True, True]


def test_what_is_not_a_number_is_not_passed_on(bench_of, lying):
    def change(inputs):
        inputs[1] = torch.nan
        return inputs

    lying(change)
    bench = bench_of()
    found = attacks.deepfool(bench)
    assert found.inputs.isfinite().all()
    assert torch.equal(found.inputs[1], bench.inputs[1])
    assert not found.within[1]
    assert not found.flipped[1]


@pytest.mark.parametrize(
    "excess, kept", [(1.0, True), (1 + 1e-6, True), (1.001, False), (2.0, False)]
)
def test_a_result_beyond_the_budget_does_not_count(excess, kept, images, bench_of, lying):
    def change(inputs):
        inputs[1, 0, 2, 3] += 0.1 * excess
        inputs[2] -= 0.05
        return inputs

    lying(change)
    found = attacks.fgsm(bench_of(inputs=images(low=0.4, high=0.6)), epsilon=0.1)
    assert found.within.tolist() == [True, kept, True, True, True, True]
    assert found.size[1].item() == pytest.approx(0.1 * excess, rel=1e-4)
    assert found.size[2].item() == pytest.approx(0.05, rel=1e-4)


BUDGETS = {
    "in every element": (lambda b: attacks.pgd(b, epsilon=0.1, norm="L2"), 0.1, 0.10004),
    "in few": (lambda b: attacks.pgd(b, epsilon=0.01, norm="L2"), 0.06 / 6, 0.0605 / 6),
}


@pytest.mark.parametrize("attack_of, size, more", BUDGETS.values(), ids=BUDGETS)
def test_the_budget_of_the_l2_norm_grows_with_the_number_of_elements(
    attack_of, size, more, images, bench_of, lying
):
    """A change of all 36 elements by epsilon is of the budget's size."""
    for change, kept in ((size, True), (more, False)):
        lying(lambda inputs, change=change: inputs + change)
        found = attack_of(bench_of(inputs=images(low=0.2, high=0.8)))
        assert found.within.tolist() == [kept] * 6


@pytest.mark.parametrize(
    "attack_of, allowed",
    [
        (lambda b: attacks.jsma(b, share=0.1), 2),
        (lambda b: attacks.jsma(b, share=0.25), 8),
        (lambda b: attacks.one_pixel(b, pixels=3), 3),
    ],
    ids=["jsma", "jsma, more", "one pixel"],
)
def test_the_budget_of_the_l0_norm_is_a_number_of_elements(
    attack_of, allowed, images, bench_of, lying
):
    for count in (allowed, allowed + 1):

        def change(inputs, count=count):
            inputs.flatten(1)[:, :count] += 0.1
            return inputs

        lying(change)
        found = attack_of(bench_of(inputs=images(low=0.2, high=0.8)))
        assert (found.size == count).all()
        assert found.within.tolist() == [count == allowed] * 6


def test_the_budget_is_a_share_of_the_range(images, bench_of, lying):
    lying(lambda inputs: inputs + 0.9)
    inputs = images(low=3.0, high=7.0)
    wide, narrow = (
        bench_of(inputs=inputs, bounds=(0.0, 10.0)),
        bench_of(inputs=inputs, bounds=(0, 8)),
    )
    for attack_of in (attacks.fgsm, attacks.ifgsm, attacks.pgd, attacks.nes):
        assert attack_of(wide, epsilon=0.1).within.all()
        assert not attack_of(narrow, epsilon=0.1).within.any()


def test_what_seeks_the_nearest_has_no_budget(bench_of, lying):
    lying(lambda inputs: 1 - inputs)
    for attack_of in (
        attacks.deepfool,
        attacks.carlini_wagner,
        attacks.lbfgs,
        attacks.zoo,
        attacks.hop_skip_jump,
    ):
        found = attack_of(bench_of())
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
def test_rounding_is_not_called_a_breach(dtype, bounds, images, bench_of):
    inputs = images(40, dtype=torch.float64, low=bounds[0], high=bounds[1]).to(dtype)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).to(dtype)
    bench = bench_of(model, inputs.clamp(*bounds), bounds=bounds)
    assert attacks.fgsm(bench, epsilon=8 / 255).within.all()
    # In float16 foolbox's L2 norms are beyond the largest number.
    if dtype != torch.float16:
        assert attacks.pgd(bench, epsilon=8 / 255, norm="L2").within.all()


def test_what_one_makes_oneself_is_looked_at_alike(bench_of):
    bench = bench_of()
    found = make_and_verify(
        bench, ("mine", 1), lambda chunk: 1 - chunk.inputs, norm=torch.inf, budget=0.5
    )
    assert found.name == ("mine", 1)
    assert torch.equal(found.within, found.size <= 0.5)
    assert torch.equal(found.predicted, bench.subject.model(1 - bench.inputs).argmax(1))
