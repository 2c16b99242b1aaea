"""What holds for the checks of all attacks on the prediction: figure, controls, cost."""

import pytest
import torch

import pytest_xai as xai
from fixtures.controls import WRONG
from fixtures.right import input_x_gradient, integrated_gradients, occlusion, smooth_gradient
from pytest_xai import attacks, checks
from pytest_xai.attacks.noise import noise_like
from pytest_xai.checks.adversarial._dice import EPSILON
from pytest_xai.engine.run_check import run_check
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

# How each makes its adversarial inputs, what norm their size has, and whether they go as far as the
# prediction changes.
ATTACKS = {
    "fgsm_dice": (lambda b: attacks.fgsm(b, epsilon=EPSILON), torch.inf, False),
    "ifgsm_dice": (lambda b: attacks.ifgsm(b, epsilon=EPSILON), torch.inf, False),
    "pgd_dice": (lambda b: attacks.pgd(b, epsilon=EPSILON), torch.inf, False),
    "pgd_l2_dice": (lambda b: attacks.pgd(b, epsilon=EPSILON, norm="L2"), 2.0, False),
    "blackbox_dice": (lambda b: attacks.nes(b, epsilon=EPSILON), torch.inf, False),
    "deepfool_dice": (attacks.deepfool, 2.0, True),
    "deepfool_linf_dice": (lambda b: attacks.deepfool(b, norm="Linf"), torch.inf, True),
    "cw_dice": (attacks.carlini_wagner, 2.0, True),
    "jsma_dice": (attacks.jsma, 0.0, True),
    "one_pixel_dice": (attacks.one_pixel, 0.0, True),
    "lbfgs_dice": (attacks.lbfgs, 2.0, True),
}
DEFAULT = {"fgsm_dice", "pgd_dice", "deepfool_dice"}
# More than a second for an explainer.
LONG = {"one_pixel_dice", "lbfgs_dice", "cw_dice", "blackbox_dice"}
every_attack = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in ATTACKS],
)


def test_every_check_of_an_attack_is_here():
    those = {name for name in checks.names() if name.endswith("_dice")}
    assert those == set(ATTACKS)
    assert {name for name in those if checks.get(name).marks == ()} == DEFAULT
    assert {checks.get(name).marks for name in those} == {(), ("slow",)}


@pytest.fixture(scope="module")
def few():
    return load_digits(12)


@every_attack
def test_the_figure_is_that_of_its_attack_by_hand(name, recorder, dice_by_hand, following, few):
    """The attack made anew on a bench of its own; maps, predictions, masks and limits by hand."""
    make, norm, to_the_boundary = ATTACKS[name]
    bench, another = xai.Bench(few), xai.Bench(few)
    asked = recorder(input_x_gradient)
    found = checks.get(name).function(bench, named(asked))
    end = make(another).inputs
    bench.close()
    another.close()
    assert torch.equal(asked.inputs[1], end)
    # Where nothing changed, the end is the point that is held.
    before, at_end, noisy, new, after = (*asked.maps, *asked.maps[1:2] * 2)[:5]
    noise, point = asked.inputs[2], asked.inputs[-1] if len(asked.maps) == 5 else end
    with torch.no_grad():
        first, last, held, disturbed = (
            few.model(each).argmax(1) for each in (bench.inputs, end, point, noise)
        )
    right, changed = first == bench.targets, last != first
    assert len(asked.maps) == (5 if changed.any() else 3)
    if changed.any():
        assert torch.equal(asked.inputs[3], end)
        assert torch.equal(asked.targets[3], last)
    counts = right & (changed | ~torch.tensor(to_the_boundary)) & (disturbed == first)
    assert (held == first)[counts].all()
    assert counts.any()
    null = dice_by_hand(before, before[following(bench.targets)]).double()
    under_noise = dice_by_hand(before, noisy).double()
    limits = torch.minimum(under_noise, (under_noise + null) / 2)
    assert torch.allclose(found.values[counts], dice_by_hand(before, after)[counts].double())
    assert torch.allclose(found.limits[counts], limits[counts])
    assert found.values[~counts].isnan().all()
    assert sum(found.left_out.values()) == int((~counts).sum())
    size = torch.linalg.vector_norm((point - bench.inputs).flatten(1).double(), ord=norm, dim=1)
    assert torch.allclose(found.facts["size of the perturbation"][counts], size[counts])
    shown = right & changed
    for fact, maps in {"original": at_end, "new": new}.items():
        values = found.facts[f"Dice for the {fact} class where the prediction changed"]
        assert torch.allclose(values[shown], dice_by_hand(before, maps)[shown].double())
        assert values[~shown].isnan().all()
    # The same absolute changes elsewhere; of few elements, as far as there is room.
    steps = [(each - bench.inputs).flatten(1).abs().sort(1).values for each in (point, noise)]
    if norm == 0:
        assert torch.equal(*(step.count_nonzero(1) for step in steps))
        assert (steps[1] <= steps[0] + 1e-5).all()
    else:
        assert torch.allclose(*steps, atol=1e-5)


@pytest.fixture(scope="module")
def bench(digits):
    """One for all explainers: each attack is made once."""
    shared = xai.Bench(digits)
    yield shared
    shared.close()


@every_attack
@pytest.mark.parametrize(
    "explainer",
    [integrated_gradients(steps=8), occlusion, smooth_gradient],
    ids=["ig", "occlusion", "smooth"],
)
def test_right_explainers_pass(name, explainer, task_of, bench):
    passed = run_check(bench, task_of(name, named(explainer)))
    assert passed.outcome == "passed"
    assert passed.figure > 0.75


SLOW_ONES = {
    key: wrong
    for key, wrong in WRONG.items()
    if wrong.check.endswith("_dice") and wrong.check not in DEFAULT
}


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(key, marks=[pytest.mark.slow] if wrong.check in LONG else [])
        for key, wrong in SLOW_ONES.items()
    ],
)
def test_the_wrong_explainer_fails_and_a_right_one_passes(key, verdict, request):
    """Those of the default checks are tested with all others, in test_every_check.py."""
    wrong = SLOW_ONES[key]
    subject = request.getfixturevalue(wrong.subject)
    failed = verdict(wrong.check, wrong.explainer, subject)
    assert (failed.outcome, failed.limit) == ("failed", 0.5)
    assert failed.figure < 0.1
    assert wrong.says in failed.reason
    assert failed.counterexample["figure"] < failed.counterexample["limit"]
    assert verdict(wrong.check, input_x_gradient, subject).outcome == "passed"


@every_attack
def test_the_attack_is_made_once_for_all_explainers(name, few):
    bench = xai.Bench(few)
    function = checks.get(name).function
    function(bench, named(input_x_gradient))
    spent = bench.counter.spent
    function(bench, named(lambda model, inputs, targets: inputs.square()))
    own = bench.counter.spent - spent
    bench.close()
    assert (own.forward, own.backward) == (0, 0)
    assert own.explainer_calls in {3 * len(few), 5 * len(few)}


def test_noise_is_drawn_for_each_round_attack_and_seed_and_repeats(few):
    """For copies of one image, which an attack changes alike."""
    copies = xai.Subject(few.model, few.inputs[:1].repeat(64, 1, 1, 1), bounds=(0, 1))

    def noise(make, seed=0):
        bench = xai.Bench(copies, seed=seed)
        try:
            return noise_like(bench, make(bench)).inputs
        finally:
            bench.close()

    make, other = ATTACKS["fgsm_dice"][0], ATTACKS["ifgsm_dice"][0]
    first = noise(make)
    assert torch.equal(noise(make), first)
    assert len({image.numpy().tobytes() for image in first}) == 64
    for another in (noise(make, seed=1), noise(other)):
        assert not torch.isclose(another, first).flatten(1).all(1).any()


# How many of the steps that a cost is declared for an attack takes at most.
STEPS = {
    "deepfool_dice": 50,
    "deepfool_linf_dice": 50,
    "blackbox_dice": 20,
    "cw_dice": 6 * 100,
    "jsma_dice": 4,
    "lbfgs_dice": 8 * 50,
    "one_pixel_dice": 80 * 25,
}


@every_attack
def test_the_declared_cost_is_that_of_its_first_step(name, few):
    """With an explainer that does not evaluate the model."""
    bench = xai.Bench(few)
    cost = checks.get(name).cost
    checks.get(name).function(bench, named(lambda model, inputs, targets: inputs.square()))
    spent = bench.counter.spent
    bench.close()
    # Where the prediction changed, ten halvings of the way there.
    steps = STEPS.get(name, 1)
    assert spent.forward <= (steps * cost.forward + 10) * len(few)
    assert spent.backward <= steps * cost.backward * len(few)
    assert spent.forward >= cost.forward * len(few)
    assert spent.explainer_calls <= cost.explainer_calls * len(few)
    if steps == 1:
        assert spent.backward == cost.backward * len(few)


def test_a_model_without_gradient_is_attacked_by_its_scores_alone(verdict):
    class Rounded(torch.nn.Module):
        """A linear model of inputs in steps of a hundredth."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.linspace(-1, 1, 40).reshape(2, 20))

        def forward(self, inputs):
            return (inputs.detach() * 100).round() / 100 @ self.weight.detach().T

    inputs = torch.rand(8, 20, generator=torch.Generator().manual_seed(0))
    subject = xai.Subject(Rounded().eval(), inputs, bounds=(0, 1))
    for name in ATTACKS:
        explained = verdict(name, lambda model, inputs, targets: inputs, subject)
        if name in {"blackbox_dice", "one_pixel_dice"}:
            assert explained.outcome != "not_applicable"
        else:
            assert explained.outcome == "not_applicable"
            assert "no gradient" in explained.reason
