"""The same seed gives the same map; another seed as well, unless noise is declared."""

import itertools
import random

import numpy as np
import pytest
import torch

import pytest_xai as xai
from fixtures.right import gradient, smooth_gradient


@pytest.mark.parametrize("explainer", [gradient, smooth_gradient], ids=["gradient", "smooth"])
@pytest.mark.parametrize("subject", ["digits", "table", "signal", "one_logit", "scalar"])
def test_right_explainers_pass(explainer, subject, verdict, request):
    passed = verdict("deterministic", explainer, request.getfixturevalue(subject))
    assert (passed.outcome, passed.figure, passed.reason) == ("passed", 0, "")


def noisy(draw, **traits):
    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) * (1 + draw())

    return xai.explainer(**traits)(explain)


DRAWS = {
    "torch": lambda: torch.rand(()).item(),
    "numpy": np.random.rand,  # the global generator is the point
    "python": random.random,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_declared_noise_is_reached_by_the_seed(draw, finding, digits):
    found, _ = finding("deterministic", noisy(draw, stochastic=True), digits)
    assert (found.values == 0).all()
    assert (found.facts["change with another seed"] > 1e-3).all()
    assert found.cause == ""


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_undeclared_noise_fails_and_says_what_to_declare(draw, verdict, digits):
    failed = verdict("deterministic", noisy(draw), digits)
    assert failed.outcome == "failed"
    says = "The map changes with the seed: declare the explainer with stochastic=True."
    assert failed.reason.startswith(says)
    assert failed.counterexample["facts"]["change with the same seed"] == 0
    assert failed.figure == failed.counterexample["facts"]["change with another seed"] > 1e-3


def test_another_run_seed_draws_other_noise(recorder, verdict, digits):
    asked = recorder(smooth_gradient, stochastic=True)
    verdict("deterministic", asked, digits, seed=0)
    verdict("deterministic", asked, digits, seed=1)
    verdict("deterministic", asked, digits, seed=0)
    assert torch.equal(asked.maps[0], asked.maps[6])
    assert not torch.equal(asked.maps[0], asked.maps[3])


def times_calls():
    calls = itertools.count(1)
    return lambda model, inputs, targets: next(calls) * gradient(model, inputs, targets)


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_figure_is_the_change_of_the_map(stochastic, finding, digits):
    """Maps m, 2m (other seed) and 3m: 2/3 of the larger, and 1/2 by the other seed."""
    found, bench = finding(
        "deterministic", xai.explainer(stochastic=stochastic)(times_calls()), digits
    )
    assert torch.allclose(found.values, torch.tensor(2 / 3).double(), atol=1e-6)
    other = found.facts["change with another seed"]
    assert torch.allclose(other, torch.tensor(1 / 2).double(), atol=1e-6)
    assert found.limits == bench.rounding
    assert "it depends on earlier calls" in found.cause


def test_a_map_that_is_zero_at_every_other_call_fails(verdict, digits):
    calls = itertools.count()

    def explain(model, inputs, targets):
        return gradient(model, inputs, targets) * (next(calls) % 2)

    assert verdict("deterministic", explain, digits).outcome == "failed"


def test_noise_of_the_size_of_rounding_passes_and_a_hundred_times_as_much_does_not(verdict, digits):
    bench = xai.Bench(digits)
    limit = bench.rounding
    bench.close()

    def off_by(share):
        calls = itertools.count()

        def explain(model, inputs, targets):
            maps = gradient(model, inputs, targets).double()
            return maps * (1 + share * (next(calls) % 2))

        return explain

    assert verdict("deterministic", off_by(limit / 4), digits).outcome == "passed"
    assert verdict("deterministic", off_by(limit * 100), digits).outcome == "failed"


def test_an_explainer_that_warms_up_has_no_second_chance_in_float64(verdict, digits):
    calls = []

    def warms_up(model, inputs, targets):
        calls.append(len(inputs))
        return gradient(model, inputs, targets) * (1 if len(calls) > 1 else 2)

    failed = verdict("deterministic", warms_up, digits)
    assert failed.outcome == "failed"
