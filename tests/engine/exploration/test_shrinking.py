"""From a failing example to the simplest."""

from fixtures.loops import in_one_test
from pytest_xai.engine.exploration.example import Example
from pytest_xai.engine.exploration.shrinking import simplest
from pytest_xai.networks import STRUCTURES, Plan, Step

LINEAR, RELU, FLAT = Step("linear", width=3), Step("relu"), Step("flatten")


def example_of(*steps, shape=(2, 5, 5), images=3):
    return Example(plan=Plan(shape, steps, "fine", seed=9), images=images, zeros=False)


def having(*structures):
    return lambda example: set(structures) <= example.plan.structures


@in_one_test("structure", sorted(STRUCTURES))
def test_every_structure_is_left_with_little_beside_it(structure):
    plan = STRUCTURES[structure]
    found = simplest(having(structure), Example(plan=plan, images=2, zeros=False))
    assert structure in found.plan.structures
    assert found.size <= Example(plan=plan, images=1, zeros=True).size
    assert (found.images, found.zeros, found.plan.weights) == (1, True, "ones")
    assert found.plan.layers <= 3
    assert found.subject().model(found.subject().inputs).shape == (1, found.plan.classes)


def test_what_is_not_needed_goes():
    example = example_of(
        Step("conv", width=3, kernel=2), RELU, Step("max-pool", kernel=3, stride=2), FLAT, LINEAR
    )
    found = simplest(having("max-pool"), example)
    assert found.plan.layers == 2
    assert [step.kind for step in found.plan.steps] == ["max-pool", "flatten"]
    # Two windows, for two classes.
    assert found.plan.input_shape == (1, 3)


def test_forks_are_taken_apart():
    fork = Step("residual", inner=(Step("linear", width=3), Step("relu"), LINEAR))
    example = example_of(LINEAR, fork, LINEAR, shape=(4,))
    (relu,) = simplest(having("relu"), example).plan.steps
    assert relu == RELU
    kept = simplest(having("residual", "relu"), example)
    assert [step.kind for step in kept.plan.steps] == ["residual"]
    assert kept.plan.steps[0].inner == (RELU,)


def test_nothing_is_given_back_that_does_not_fail():
    def fails(example):
        asked.append(example)
        return example.plan.layers == 4 and example.images == 3

    asked, example = [], example_of(LINEAR, RELU, RELU, LINEAR, shape=(4,))
    found = simplest(fails, example)
    assert fails(found)
    assert found.plan.layers == 4
    # With one output there is no other target.
    assert all(each.plan.classes > 1 for each in asked)


def test_what_only_some_weights_show_is_found_with_these():
    def fails(example):
        weight = example.plan.build().state_dict().get("0.weight")
        return weight is not None and float(weight.min()) < 0

    example = example_of(LINEAR, RELU, LINEAR, shape=(4,), images=1)
    found = simplest(fails, example)
    assert fails(found)
    assert found.plan.layers == 1
