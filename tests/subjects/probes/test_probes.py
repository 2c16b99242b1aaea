"""What all probes have in common, and the numbers that the literature gives."""

import collections

import pytest
import torch
from torch import nn

import pytest_xai as xai
from fixtures.loops import in_one_test
from pytest_xai.errors import InvalidArgument
from pytest_xai.subjects.probes import probes

NAMES = [
    "linear",
    "dead",
    "additive",
    "minimum",
    "saturating",
    "and",
    "difference",
    "symmetric",
    "hidden",
    "bias-free",
    "biased",
    "pair-late",
    "pair-early",
    "lrp-layer",
    "lrp-layers",
    "product",
    "game",
    "square",
    "quintic",
    "maximum",
    "largest",
    "image-linear",
    "image-hidden",
    "image-rules",
    "image-pool",
    "gap-cam",
    "gap-linear",
]
# Methods whose maps add up to f(x) - f(x').
COMPLETE = (
    "integrated_gradients",
    "deep_lift_rescale",
    "deep_lift_reveal_cancel",
    "shapley",
    "any draw of kernel_shap",
)

every_probe = in_one_test("name", NAMES)


@pytest.fixture(scope="module")
def made():
    return {name: make() for name, make in probes().items()}


def scores(subject, inputs):
    with torch.no_grad():
        return subject.model(inputs).gather(1, subject.targets[:, None]).squeeze(1)


def test_the_names_in_their_order():
    assert list(probes()) == NAMES


@every_probe
def test_a_probe_is_small_double_and_ready(name, made):
    subject = made[name]
    assert subject.name == f"probe-{name}"
    assert subject.inputs.dtype == torch.float64
    assert 2 <= len(subject) <= 6
    assert subject.inputs[0].numel() <= 64
    assert not any(module.training for module in subject.model.modules())
    assert all(parameter.dtype == torch.float64 for parameter in subject.model.parameters())
    assert len({tuple(row.flatten().tolist()) for row in subject.inputs}) >= len(subject) - 1


@every_probe
def test_its_truths_are_finite_maps_of_the_inputs(name, made):
    subject = made[name]
    spatial = (len(subject), 1, *subject.inputs.shape[2:])
    for method, truth in subject.truths.items():
        assert truth.shape in {subject.inputs.shape, spatial}, method
        assert truth.dtype == torch.float64
        assert torch.isfinite(truth).all()
        # The only unit of 1 - relu(1 - x1 - x2) has a negative weight, which is rectified.
        rectified = name == "saturating" and method in {"guided_backprop", "deconvolution"}
        assert truth.any() or rectified or method == "any draw of var_grad", method


@every_probe
def test_every_module_runs_once(name, made):
    """Libraries that replace the gradients of modules see the last call alone."""
    subject, runs = made[name], collections.Counter()
    leaves = [module for module in subject.model.modules() if not list(module.children())]
    handles = [leaf.register_forward_hook(lambda m, *_: runs.update([m])) for leaf in leaves]
    subject.model(subject.inputs)
    for handle in handles:
        handle.remove()
    assert [runs[leaf] for leaf in leaves] == [1] * len(leaves)


@every_probe
def test_no_unit_of_an_input_is_at_its_kink(name, made):
    """There the derivative is a convention, and rounding decides."""
    subject, sums = made[name], []
    relus = [module for module in subject.model.modules() if isinstance(module, nn.ReLU)]
    handles = [
        relu.register_forward_hook(lambda _, given, __: sums.append(given[0])) for relu in relus
    ]
    subject.model(subject.inputs)
    for handle in handles:
        handle.remove()
    assert all((given.abs() > 0.01).all() for given in sums)


@every_probe
def test_it_is_made_anew_without_global_random_numbers(name, made):
    state = torch.get_rng_state()
    again = probes()[name]()
    assert torch.equal(torch.get_rng_state(), state)
    assert again.model is not made[name].model
    assert torch.equal(again.inputs, made[name].inputs)
    for method, truth in again.truths.items():
        assert torch.equal(truth, made[name].truths[method])


@every_probe
def test_complete_methods_add_up(name, made):
    subject = made[name]
    baseline = subject.baseline.expand_as(subject.inputs)
    expected = scores(subject, subject.inputs) - scores(subject, baseline)
    for method in subject.truths.keys() & COMPLETE:
        total = subject.truths[method].flatten(1).sum(1)
        assert torch.allclose(total, expected, rtol=1e-12, atol=1e-13), method
    alone = name in {"biased", "image-pool"}
    assert ("integrated_gradients" in subject.truths) != alone


# ----------------------------------------------------------------------------------- known numbers


@pytest.mark.parametrize(
    "name, image, method, expected",
    [
        ("product", 0, "gradient", (3, 2)),
        ("product", 0, "integrated_gradients", (3, 3)),
        ("product", 0, "occlusion", (6, 6)),
        ("product", 1, "integrated_gradients", (1, 6)),
        ("product", 1, "shapley", (1, 6)),
        ("square", 0, "integrated_gradients", (8, 4)),
        ("square", 0, "shapley", (6, 6)),
        ("square", 0, "occlusion", (12, 12)),
        ("maximum", 0, "gradient", (1, 0)),
        ("maximum", 0, "integrated_gradients", (5, 0)),
        ("maximum", 0, "shapley", (3.5, 1.5)),
        ("maximum", 0, "occlusion", (2, 0)),
        ("maximum", 2, "integrated_gradients", (1.6, -0.6)),
        ("maximum", 2, "shapley", (1.5, -0.5)),
        ("minimum", 0, "gradient", (0, 1)),
        ("minimum", 0, "deep_lift_rescale", (0, 3)),
        ("minimum", 0, "deep_lift_reveal_cancel", (1.5, 1.5)),
        ("minimum", 0, "shapley", (1.5, 1.5)),
        ("minimum", 0, "occlusion", (3, 3)),
        ("saturating", 0, "gradient", (0, 0)),
        ("saturating", 0, "lrp_zero", (0, 0)),
        ("saturating", 0, "integrated_gradients", (0.5, 0.5)),
        ("saturating", 1, "deep_lift_rescale", (0.8, 0.2)),
        ("saturating", 1, "shapley", (0.75, 0.25)),
        ("saturating", 1, "occlusion", (0.5, 0)),
        ("and", 0, "lrp_zero", (1, 1)),
        ("and", 0, "integrated_gradients", (0.5, 0.5)),
        ("and", 0, "occlusion", (1, 1)),
        ("difference", 0, "deep_lift_rescale", (3, -1)),
        ("difference", 0, "deep_lift_reveal_cancel", (2.5, -0.5)),
        ("difference", 0, "shapley", (2.5, -0.5)),
        ("difference", 1, "integrated_gradients", (0, 0)),
        ("difference", 1, "deep_lift_reveal_cancel", (0.5, -0.5)),
        ("game", 0, "shapley", (0.5, 1, 5.5, -0.5)),
        ("pair-late", 0, "integrated_gradients", (1.5, -0.5)),
        ("pair-early", 0, "integrated_gradients", (1.5, -0.5)),
        ("pair-late", 0, "deep_lift_rescale", (1.5, -0.5)),
        ("pair-early", 0, "deep_lift_rescale", (2, -1)),
    ],
)
def test_numbers_of_the_literature(name, image, method, expected, made):
    truth = made[name].truths[method][image]
    assert torch.allclose(truth, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_pair_is_one_function_with_two_graphs(made):
    late, early = made["pair-late"], made["pair-early"]
    inputs = torch.cat([late.inputs, torch.rand(50, 2).double() + torch.tensor([1, 0])])
    assert torch.allclose(late.model(inputs), early.model(inputs))
    for method in ("gradient", "integrated_gradients", "shapley", "occlusion"):
        assert torch.equal(late.truths[method], early.truths[method])
    assert not torch.allclose(late.truths["deep_lift_rescale"], early.truths["deep_lift_rescale"])


def test_equal_inputs_of_a_symmetric_function_get_the_same(made):
    subject = made["symmetric"]
    swapped = subject.inputs[:, [1, 0, 2]]
    assert torch.equal(subject.inputs, swapped)
    noisy = subject.inputs + torch.rand_like(subject.inputs)
    assert torch.allclose(subject.model(noisy), subject.model(noisy[:, [1, 0, 2]]))
    for method, truth in subject.truths.items():
        assert torch.allclose(truth[:, 0], truth[:, 1]), method


def test_a_dead_feature_gets_nothing(made):
    for method, truth in made["dead"].truths.items():
        assert not truth[:, 1].any(), method


def test_without_biases_five_methods_are_one_from_zero(made):
    truths = made["bias-free"].truths
    for method in ("integrated_gradients", "deep_lift_rescale", "lrp_zero"):
        assert torch.allclose(truths[method], truths["input_x_gradient"], rtol=1e-14), method
    assert not torch.allclose(
        made["biased"].truths["deep_lift_rescale"], made["biased"].truths["lrp_zero"]
    )


# ---------------------------------------------------------------------------------------- subjects


def subject_with(truths):
    return xai.Subject(nn.Linear(3, 2), torch.rand(2, 3), truths=truths)


def test_a_subject_keeps_its_truths_in_the_dtype_and_copies_of_it():
    given = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    subject = subject_with({"gradient": given})
    assert subject.truths["gradient"].dtype == torch.float32
    assert not subject.truths["gradient"].requires_grad
    twin = subject.double()
    assert twin.truths["gradient"].dtype == torch.float64
    assert torch.equal(twin.truths["gradient"].float(), subject.truths["gradient"])
    assert subject.truths["gradient"].dtype == torch.float32
    assert xai.Subject(nn.Linear(3, 2), torch.rand(2, 3)).truths == {}


@pytest.mark.parametrize(
    "truths, got",
    [
        (torch.rand(2, 3), "got Tensor"),
        ({3: torch.rand(2, 3)}, "the name 3"),
        ({"": torch.rand(2, 3)}, "the name ''"),
        ({"gradient": [1.0]}, "list for 'gradient'"),
        ({"gradient": torch.ones(2, 3, dtype=torch.long)}, "Tensor for 'gradient'"),
        ({"gradient": torch.rand(1, 3)}, r"shape \(1, 3\)"),
        ({"gradient": torch.full((2, 3), torch.nan)}, "values not finite"),
    ],
)
def test_truths_that_are_none_are_refused(truths, got):
    with pytest.raises(InvalidArgument, match=f"truths: .*{got}.*expected finite floating tensors"):
        subject_with(truths)


def test_truths_of_images_may_have_one_value_for_a_place():
    images = torch.rand(2, 3, 4, 4)
    truths = {"cam": torch.rand(2, 1, 4, 4), "gradient": torch.rand(2, 3, 4, 4)}
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    assert xai.Subject(model, images, truths=truths).truths["cam"].shape == (2, 1, 4, 4)
    with pytest.raises(InvalidArgument, match=r"shape \(2, 4, 4\)"):
        xai.Subject(model, images, truths={"cam": torch.rand(2, 4, 4)})
