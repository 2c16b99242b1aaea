"""Strategies: what they draw is well-formed, runs as printed, and shrinks to what it must."""

import collections
import copy

import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_xai import strategies as xst
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.networks import STRUCTURES, Plan, Step

ALWAYS_THE_SAME = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=list(HealthCheck),
)
ALL_KINDS = ("table", "signal", "image", "volume")
FLAT = Step("flatten")


def smallest(strategy, holds, *, examples=1000):
    return find(strategy, holds, settings=settings(ALWAYS_THE_SAME, max_examples=examples))


def drawn(strategy, count):
    found = []

    @settings(ALWAYS_THE_SAME, max_examples=count)
    @given(strategy)
    def collect(value):
        found.append(value)

    collect()
    return found


# -------------------------------------------------------------------------------------- well-formed


def assert_runs_as_printed(plan):
    made = {}
    exec(plan.script(), made)  # noqa: S102
    exec(plan.inputs_script(2), made)  # noqa: S102
    model, inputs = plan.build(), plan.inputs(2)
    assert inputs.equal(made["inputs"])
    state = made["model"].state_dict()
    assert all(tensor.equal(state[key]) for key, tensor in model.state_dict().items())
    outputs = model(inputs.requires_grad_())
    assert outputs.equal(made["model"](made["inputs"]))
    assert outputs.shape == (2, plan.classes)
    assert plan.classes > 1
    assert torch.autograd.grad(outputs.sum(), inputs)[0].isfinite().all()


@ALWAYS_THE_SAME
@given(xst.plans(kinds=ALL_KINDS))
def test_generated_networks_run_as_printed(plan):
    assert_runs_as_printed(plan)
    assert plan.layers <= 6


@pytest.mark.slow
def test_many_generated_networks_run_as_printed_and_have_every_structure():
    plans = drawn(xst.plans(kinds=ALL_KINDS), 3000)
    for plan in plans:
        assert_runs_as_printed(plan)
    counted = collections.Counter(name for plan in set(plans) for name in plan.structures)
    assert counted.keys() == STRUCTURES.keys()
    assert len(set(plans)) > 1500
    assert {plan.kind for plan in plans} == set(ALL_KINDS)
    assert {plan.layers for plan in plans} == set(range(1, 7))


def test_only_what_was_asked_for_is_drawn():
    asked = {"kinds": ["signal"], "structures": ["max-pool-overlapping"], "max_layers": 4}
    plans = drawn(xst.plans(**asked, weights=["fine"]), 60)
    met = set().union(*(plan.structures for plan in plans))
    pools = {"max-pool", "max-pool-1d", "max-pool-overlapping"}
    assert met == {"linear", "conv", "relu", "flatten"} | pools
    assert {(plan.kind, plan.weights) for plan in plans} == {("signal", "fine")}
    assert max(plan.layers for plan in plans) <= 4


@pytest.mark.parametrize(
    "given_, error, told",
    [
        ({"kinds": ["video"]}, UnknownName, "unknown kind 'video'"),
        ({"kinds": []}, InvalidArgument, "kinds: got none"),
        ({"weights": ["small"]}, UnknownName, "unknown weight 'small'"),
        ({"structures": ["max-pol"]}, UnknownName, "Did you mean 'max-pool'?"),
        ({"max_layers": 1}, InvalidArgument, "max_layers: got 1, expected 2 or more"),
    ],
)
@pytest.mark.parametrize("strategy", [xst.plans, xst.networks, xst.subjects])
def test_what_cannot_be_drawn_is_refused_at_once(strategy, given_, error, told):
    with pytest.raises(error) as caught:
        strategy(**given_)
    assert told in str(caught.value)


# ---------------------------------------------------------------------------------------- shrinking


def test_the_plainest_of_all_is_one_linear_layer_of_ones():
    least = Plan((2,), (Step("linear", width=2),), weights="ones")
    assert smallest(xst.plans(kinds=ALL_KINDS), lambda plan: True) == least


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, shape, steps",
    [
        ("functional-relu", (2,), (Step("functional-relu"),)),
        ("inplace-relu", (2,), (Step("linear", width=2), Step("inplace-relu"))),
        ("max-pool-overlapping", (1, 4), (Step("max-pool", kernel=2), FLAT)),
    ],
)
def test_a_structure_shrinks_to_no_more_than_itself(name, shape, steps):
    found = smallest(xst.plans(), lambda plan: name in plan.structures)
    assert found == Plan(shape, steps, weights="ones")


def gradient(model, inputs):
    inputs = inputs.clone().requires_grad_()
    return torch.autograd.grad(model(inputs).sum(), inputs)[0]


def last_call_only(model, inputs):
    """The gradient by hooks that keep one mask for each ReLU: the last call's."""
    model, masks = copy.deepcopy(model), {}

    def keep(module, given_, output):
        masks[module] = (output > 0).to(output.dtype)

    def use(module, below, above):
        return (above[0] * masks[module],)

    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(keep)
            module.register_full_backward_hook(use)
    return gradient(model, inputs)


@pytest.mark.slow
def test_a_reused_relu_that_matters_shrinks_to_three_layers():
    def wrong(plan):
        if "inplace-relu" in plan.structures or plan.classes == 1:
            return False
        model, inputs = plan.build(), plan.inputs(4)
        try:
            maps = last_call_only(model, inputs)
        except RuntimeError:  # the mask of another call does not even fit
            return False
        return not torch.allclose(maps, gradient(model, inputs))

    found = smallest(xst.plans(kinds=["table"], structures=["relu-used-twice"]), wrong)
    assert "relu-used-twice" in found.structures
    assert found.layers <= 3


def without_indices(plan):
    """Whether sharing a maximum out over its whole window shows: true of every max-pool."""
    if "max-pool" not in plan.structures:
        return False
    model, inputs = plan.build(), plan.inputs(4)
    true = gradient(model, inputs)
    for name, module in model.named_modules():
        if isinstance(module, nn.MaxPool1d):
            mean = nn.AvgPool1d(module.kernel_size, module.stride, module.padding)
            model.set_submodule(name, mean)
    return not torch.allclose(true, gradient(model, inputs))


def test_a_max_pool_that_matters_shrinks_to_two_layers():
    asked = {"kinds": ["signal"], "structures": ["max-pool", "max-pool-overlapping"]}
    found = smallest(xst.plans(**asked), without_indices)
    assert [step.kind for step in found.steps] == ["max-pool", "flatten"]
    assert found.script().count("nn.MaxPool1d(2") == 1
    assert (found.input_shape, found.weights) == ((1, 4), "ones")


# ---------------------------------------------------------------------------- networks and subjects


@pytest.mark.slow
def test_a_network_is_a_module_whose_repr_makes_it():
    network = smallest(
        xst.networks(kinds=["image"]), lambda network: "residual" in network.plan.structures
    )
    assert isinstance(network, nn.Module)
    assert not network.training
    assert repr(network) == network.plan.script()
    made = {}
    exec(repr(network), made)  # noqa: S102
    inputs = network.plan.inputs(2)
    assert made["model"](inputs).equal(network(inputs))
    twin = copy.deepcopy(network)
    assert repr(twin) == repr(network)
    assert repr(network.plan.build()) != repr(network)


def test_the_repr_of_a_chain_does_not_change_that_of_other_sequentials():
    network = smallest(xst.networks(), lambda network: True)
    assert isinstance(network, nn.Sequential)
    assert type(network).__name__ == "Sequential"
    assert repr(nn.Sequential(nn.ReLU())) == "Sequential(\n  (0): ReLU()\n)"


@settings(ALWAYS_THE_SAME, max_examples=20)
@given(xst.subjects(kinds=ALL_KINDS))
def test_the_repr_of_a_subject_makes_it(subject):
    made = {}
    exec(repr(subject), made)  # noqa: S102
    other = made["subject"]
    assert subject.inputs.equal(other.inputs)
    assert subject.targets.equal(other.targets)
    assert subject.baseline.equal(other.baseline)
    assert subject.bounds == other.bounds == (-2.0, 2.0)
    assert subject.model(subject.inputs).equal(other.model(other.inputs))
    assert len(subject) == 2
    assert subject.classes == subject.plan.classes


@pytest.mark.slow
def test_subjects_shrink_to_first_targets_and_a_baseline_of_zero():
    subject = smallest(xst.subjects(), lambda subject: True)
    assert subject.targets.tolist() == [0, 0]
    assert (subject.baseline == 0).all()
    other = smallest(xst.subjects(), lambda subject: subject.targets.tolist() != [0, 0])
    assert sorted(other.targets.tolist()) == [0, 1]


def test_a_failing_test_prints_a_script_that_can_be_cut_out():
    @settings(ALWAYS_THE_SAME, max_examples=5, report_multiple_bugs=False)
    @given(xst.networks())
    def fails(network):
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its notes are what counts
        fails()
    told = "\n".join(caught.value.__notes__)
    assert "\nimport torch\nfrom torch import nn\n\nmodel = nn.Sequential(\n" in told


# ------------------------------------------------------------------------------------------ tensors


@settings(ALWAYS_THE_SAME, max_examples=25)
@given(xst.inputs((2, 3), count=3, bounds=(0.0, 1.0), dtype=torch.float64))
def test_inputs_keep_their_shape_dtype_and_bounds(inputs):
    assert inputs.shape == (3, 2, 3)
    assert inputs.dtype == torch.float64
    assert ((inputs >= 0) & (inputs <= 1)).all()


def test_inputs_shrink_to_the_middle_but_for_what_matters():
    assert (smallest(xst.inputs((2, 2)), lambda inputs: True) == 0).all()
    one = smallest(xst.inputs((2, 2), count=1), lambda inputs: inputs[0, 1, 0] > 1)
    assert one.tolist() == [[[0.0, 0.0], [1.25, 0.0]]]
    assert (smallest(xst.inputs((2,), bounds=(0.0, 1.0)), lambda inputs: True) == 0.5).all()


def test_large_inputs_are_drawn_from_a_seed_and_differ():
    found = drawn(xst.inputs((3, 16, 16), count=1), 8)
    assert {tuple(inputs.shape) for inputs in found} == {(1, 3, 16, 16)}
    assert len({inputs.sum().item() for inputs in found}) > 4
    assert all(inputs.abs().max() == 2 for inputs in found)


@settings(ALWAYS_THE_SAME, max_examples=20)
@given(st.integers(1, 5).flatmap(lambda k: st.tuples(st.just(k), xst.targets(k, count=4))))
def test_targets_are_classes(drawn_):
    classes, targets = drawn_
    assert targets.dtype == torch.int64
    assert targets.shape == (4,)
    assert ((targets >= 0) & (targets < classes)).all()


def test_targets_shrink_to_the_first_class_and_reach_the_last():
    assert smallest(xst.targets(3), lambda targets: True).tolist() == [0, 0]
    assert smallest(xst.targets(3), lambda targets: targets[1] == 2).tolist() == [0, 2]


def test_baselines_are_zeros_first_then_flat_then_varied():
    strategy = xst.baselines((1, 2))
    assert smallest(strategy, lambda baseline: True).tolist() == [[[0.0, 0.0]]]
    flat = smallest(strategy, lambda baseline: baseline.min() > 0)
    assert flat.tolist() == [[[0.25, 0.25]]]
    varied = smallest(strategy, lambda baseline: baseline[0, 0, 0] != baseline[0, 0, 1])
    assert varied.count_nonzero() == 1
    within = drawn(xst.baselines((3,), bounds=(1.0, 2.0)), 20)
    assert all(((each >= 1) & (each <= 2)).all() and each.shape == (1, 3) for each in within)


def test_perturbations_have_the_norm_and_shrink_to_a_shift_upwards():
    inputs = torch.arange(12.0).reshape(3, 4)
    strategy = xst.perturbations(inputs, norm=0.5)
    found = drawn(strategy, 30)
    for step in found:
        assert step.shape == inputs.shape
        torch.testing.assert_close(step.norm(dim=1), torch.full((3,), 0.5))
    assert smallest(strategy, lambda step: True).equal(torch.full((3, 4), 0.25))
    assert any(step[0, 0] == -0.25 for step in found)
    assert any(len(step.unique()) > 1 for step in found)


def test_perturbations_keep_the_bounds():
    inputs = torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    for step in drawn(xst.perturbations(inputs, norm=0.3, bounds=(0.0, 1.0)), 20):
        assert ((inputs + step >= 0) & (inputs + step <= 1)).all()
        torch.testing.assert_close(step.norm(dim=1), torch.full((2,), 0.3))


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: xst.inputs((0,)), "shape, count: got (2, 0)"),
        (lambda: xst.inputs((2,), count=0), "shape, count: got (0, 2)"),
        (lambda: xst.inputs((2,), bounds=(1.0, 1.0)), "bounds: got (1.0, 1.0)"),
        (lambda: xst.inputs((2,), dtype=torch.int64), "dtype: got torch.int64"),
        (lambda: xst.targets(0), "classes: got 0"),
        (lambda: xst.targets(2, count=0), "shape, count: got (0,)"),
        (lambda: xst.baselines((2,), bounds=(2.0, 1.0)), "bounds: got (2.0, 1.0)"),
        (lambda: xst.perturbations(torch.ones(1, 2), norm=-1.0), "norm: got -1.0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, told):
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert told in str(caught.value)
