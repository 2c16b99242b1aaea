"""One evaluation per image and pass, whoever calls the model and however."""

import contextlib
import copy

import pytest
import torch
from torch import nn

from pytest_xai import Subject
from pytest_xai.bench.bench import Bench
from pytest_xai.bench.budget import OutOfBudget
from pytest_xai.bench.evaluations import Counter, is_counting
from pytest_xai.core.verdict import Evaluations
from pytest_xai.errors import GuestError
from pytest_xai.perturbations.transformed_networks import Wrapped, mixed, widened
from pytest_xai.protocol import named


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def watched(model=None):
    model = network() if model is None else model
    counter = Counter()
    counter.watch(model)
    return model, counter


def rows(count):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1))


def gradient(model, inputs, targets):
    inputs = inputs.detach().requires_grad_()
    return torch.autograd.grad(model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]


def integrated(model, inputs, targets, steps=7, *, at_once):
    """Integrated gradients from zero by the midpoint rule, path points one by one or in one go."""
    points = [(step + 0.5) / steps * inputs for step in range(steps)]
    if at_once:
        grads = gradient(model, torch.cat(points), targets.repeat(steps)).split(len(inputs))
    else:
        grads = [gradient(model, point, targets) for point in points]
    return inputs * torch.stack(list(grads)).mean(0)


def spent_by(function, images=5):
    """What one call of an explainer on a bench costs."""
    bench = Bench(Subject(network(), rows(images)))
    bench.explain(named(function, "guest"), bench.inputs)
    bench.close()
    return bench.counter.spent


# ------------------------------------------------------------------------------ the counter itself


def test_a_forward_pass_counts_its_images():
    model, counter = watched()
    model(rows(5))
    model(rows(1))
    assert counter.spent == Evaluations(forward=6)


def test_without_gradients_only_forward_counts():
    model, counter = watched()
    with torch.no_grad():
        model(rows(5))
    assert counter.spent == Evaluations(forward=5)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_gradient_of_the_input_counts_once_per_image(frozen):
    model, counter = watched(network().requires_grad_(not frozen))
    gradient(model, rows(5), torch.zeros(5, dtype=torch.long))
    assert counter.spent == Evaluations(forward=5, backward=5)


def test_the_gradient_of_the_weights_counts_as_well():
    model, counter = watched()
    model(rows(5)).sum().backward()
    assert counter.spent == Evaluations(forward=5, backward=5)


def test_every_backward_pass_counts_also_through_one_forward_pass():
    model, counter = watched()
    inputs = rows(5).requires_grad_()
    outputs = model(inputs)
    for index in (0, 1):
        torch.autograd.grad(outputs[:, index].sum(), inputs, retain_graph=True)
    assert counter.spent == Evaluations(forward=5, backward=10)


def test_a_pass_that_ends_at_a_hidden_layer_counts():
    model, counter = watched()
    seen = []
    model[1].register_forward_hook(lambda _, __, output: seen.append(output))
    outputs = model(rows(5))
    torch.autograd.grad(outputs.sum(), seen[0])
    assert counter.spent == Evaluations(forward=5, backward=5)


def test_a_gradient_that_will_be_differentiated_again_counts_once():
    model, counter = watched()
    inputs = rows(5).requires_grad_()
    (first,) = torch.autograd.grad(model(inputs)[:, 0].sum(), inputs, create_graph=True)
    assert counter.spent == Evaluations(forward=5, backward=5)
    (second,) = torch.autograd.grad(first.square().sum(), inputs)
    assert second.abs().sum() > 0
    assert counter.spent.forward == 5


def test_an_output_without_use_has_no_backward_pass():
    model, counter = watched()
    inputs = rows(5).requires_grad_()
    model(inputs)
    kept = model(inputs)
    torch.autograd.grad(kept.sum(), inputs)
    assert counter.spent == Evaluations(forward=10, backward=5)


def test_copies_of_the_model_count_in_the_same_counter():
    model, counter = watched()
    twin = copy.deepcopy(copy.deepcopy(model))
    gradient(twin.double(), rows(5).double(), torch.zeros(5, dtype=torch.long))
    assert counter.spent == Evaluations(forward=5, backward=5)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: nn.Sequential(model, nn.Softmax(1)),
        lambda model: Wrapped(model, after=nn.Softmax(1)),
        lambda model: mixed(model, outputs=2, own=1.0, other=1.0),
        lambda model: copy.deepcopy(Wrapped(model)),
        lambda model: lambda inputs: model(inputs).softmax(1),
    ],
)
def test_a_model_inside_another_counts_once(wrap):
    model, counter = watched()
    gradient(wrap(model), rows(5), torch.zeros(5, dtype=torch.long))
    assert counter.spent == Evaluations(forward=5, backward=5)


def test_a_widened_model_counts_once():
    model, counter = watched()
    gradient(widened(model), torch.randn(5, 4), torch.zeros(5, dtype=torch.long))
    assert counter.spent == Evaluations(forward=5, backward=5)


def test_layers_of_the_model_alone_do_not_count():
    model, counter = watched()
    model[0](rows(5))
    assert counter.spent == Evaluations()


@pytest.mark.parametrize("output", [(torch.ones(2), 1), torch.tensor(1.0), None])
def test_outputs_without_images_are_let_pass(output):
    class Odd(nn.Module):
        def forward(self, inputs):
            return output

    model, counter = watched(Odd())
    assert model(rows(2)) is output
    assert counter.spent == Evaluations()


def test_counting_ends():
    model = network()
    counter = Counter()
    stop = counter.watch(model)
    outputs = model(rows(5))
    stop()
    model(rows(5))
    assert counter.spent == Evaluations(forward=5)
    assert not model._forward_hooks
    outputs.sum().backward()
    assert counter.spent == Evaluations(forward=5, backward=5)


def test_counters_of_two_models_are_apart():
    (one, first), (_, second) = watched(), watched()
    one(rows(5))
    assert (first.spent, second.spent) == (Evaluations(forward=5), Evaluations())


def test_explainer_calls_count_their_images():
    counter = Counter()
    counter.explained(3)
    counter.explained(4)
    assert counter.spent == Evaluations(explainer_calls=7)


def test_progress_is_reported_after_each_call_within_the_context():
    counter, reported = Counter(), []
    counter.add(forward=100)
    counter.explained(3)
    with counter.reporting(reported.append):
        counter.add(forward=3, backward=4)
        assert reported == []
        counter.explained(2)
        counter.add(forward=10)
        counter.explained(1)
    counter.explained(5)
    assert reported == [7, 17]


def test_progress_of_an_inner_context_is_reported_there_alone():
    counter, outer, inner = Counter(), [], []
    with counter.reporting(outer.append):
        counter.add(forward=1)
        with contextlib.suppress(ZeroDivisionError), counter.reporting(inner.append):
            counter.add(forward=2)
            counter.explained(1)
            raise ZeroDivisionError
        counter.explained(1)
    assert (outer, inner) == ([3], [2])


def test_nothing_is_counted_charged_or_refused_where_it_is_switched_off():
    model, counter = watched()
    with counter.costs.limited(4) as budget:
        with contextlib.suppress(ZeroDivisionError), counter.not_counted():
            gradient(model, rows(5), torch.zeros(5, dtype=torch.long))
            counter.explained(5)
            counter.require(5)
            raise ZeroDivisionError
        assert counter.spent == Evaluations()
        assert (budget.charged, budget.refused) == (0, False)
        model(rows(3))
        assert counter.spent == Evaluations(forward=3)
        with pytest.raises(OutOfBudget):
            model(rows(3))
    assert (budget.charged, budget.refused) == (3, True)


def test_a_keyword_call_beyond_the_budget_is_refused_after_it():
    class Keyword(nn.Module):
        def forward(self, inputs):
            return inputs

    model, counter = watched(Keyword())
    with counter.costs.limited(4) as budget, pytest.raises(OutOfBudget):
        model(inputs=rows(5))
    assert (budget.charged, budget.refused) == (5, True)


def test_a_backward_pass_beyond_the_budget_is_refused_before_it():
    model, counter = watched()
    with counter.costs.limited(9) as budget, pytest.raises(OutOfBudget):
        gradient(model, rows(5), torch.zeros(5, dtype=torch.long))
    assert counter.spent == Evaluations(forward=5)
    assert (budget.charged, budget.refused) == (5, True)


def test_only_the_hooks_of_a_counter_are_told_from_others():
    model, counter = watched()
    (hook,) = model._forward_hooks.values()
    assert is_counting(hook) is True
    stop = counter.watch(other := network())
    (hook,) = other._forward_hooks.values()
    stop()
    assert is_counting(hook) is False
    assert is_counting(print) is None


def test_adding_keeps_what_was_there():
    counter = Counter()
    counter.add(forward=1, backward=2, explainer_calls=3)
    counter.add(forward=10)
    counter.add(backward=10)
    assert counter.spent == Evaluations(forward=11, backward=12, explainer_calls=3)


# ------------------------------------------------------------------------- explainers on a bench


@pytest.mark.parametrize("at_once", [False, True])
def test_integrated_gradients_cost_their_steps(at_once):
    def guest(model, inputs, targets):
        return integrated(model, inputs, targets, 7, at_once=at_once)

    assert spent_by(guest) == Evaluations(forward=35, backward=35, explainer_calls=5)


def test_captums_integrated_gradients_cost_their_steps():
    attr = pytest.importorskip("captum.attr")

    def guest(model, inputs, targets):
        return attr.IntegratedGradients(model).attribute(inputs, target=targets, n_steps=11)

    assert spent_by(guest) == Evaluations(forward=55, backward=55, explainer_calls=5)


def test_an_explainer_that_works_on_a_copy_is_counted():
    def guest(model, inputs, targets):
        return gradient(copy.deepcopy(model), inputs, targets)

    assert spent_by(guest) == Evaluations(forward=5, backward=5, explainer_calls=5)


def test_an_explainer_without_gradients_is_counted():
    def guest(model, inputs, targets):
        with torch.no_grad():
            drops = [model(inputs.index_fill(1, torch.tensor(i), 0.0))[:, 0] for i in range(3)]
        return torch.stack(drops, 1)

    assert spent_by(guest) == Evaluations(forward=15, explainer_calls=5)


def test_an_explainer_that_never_asks_the_model_costs_nothing():
    def guest(model, inputs, targets):
        return inputs

    assert spent_by(guest) == Evaluations(explainer_calls=5)


def test_the_work_of_an_explainer_that_raises_was_spent():
    bench = Bench(Subject(network(), rows(5)))

    def guest(model, inputs, targets):
        model(inputs)
        raise ValueError

    with pytest.raises(GuestError):
        bench.explain(named(guest), bench.inputs)
    assert bench.counter.spent == Evaluations(forward=5)


@pytest.mark.parametrize("images", [1, 5])
def test_making_a_bench_costs_nothing(images):
    assert Bench(Subject(network(), rows(images))).counter.spent == Evaluations()


def test_the_bench_s_own_calls():
    bench = Bench(Subject(network(), rows(40)))
    bench.logits()
    assert bench.counter.spent == Evaluations(forward=40)
    bench.scores(bench.inputs)
    assert bench.counter.spent == Evaluations(forward=80)
    bench.gradients(bench.inputs, bench.targets)
    assert bench.counter.spent == Evaluations(forward=120, backward=40)
    bench.baseline_scores()
    assert bench.counter.spent == Evaluations(forward=121, backward=40)


def test_a_model_of_one_logit_is_counted():
    class Scalar(nn.Module):
        def forward(self, inputs):
            return inputs.sum(1)

    bench = Bench(Subject(Scalar(), rows(5)))
    bench.gradients(bench.inputs, bench.targets)
    assert bench.counter.spent == Evaluations(forward=5, backward=5)


def test_views_and_float64_twins_share_the_counter():
    bench = Bench(Subject(network(), rows(5)))
    bench.view(0, 2).logits()
    bench.double().logits()
    bench.double().view(1, 4).gradients(rows(3).double(), torch.zeros(3, dtype=torch.long))
    assert bench.counter.spent == Evaluations(forward=10, backward=3)
