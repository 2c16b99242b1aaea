"""What explanations are about: what is served, and every kind of bad input."""

import copy
import math

import pytest
import torch
from torch import nn

from pytest_xai.core.subject import Subject, evaluating
from pytest_xai.errors import InvalidArgument

NAN, INF = math.nan, math.inf
SHAPE = (6, 3, 8, 7)


def images(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(shape or SHAPE, generator=generator, dtype=torch.float64).to(dtype)


def network(inputs, classes=4):
    """A network with batch normalisation and dropout, whose output depends on its mode."""
    torch.manual_seed(0)
    features = inputs[0].numel()
    hidden = [nn.Linear(features, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(5, classes)).to(inputs.dtype)


class Function(nn.Module):
    """A model that is a function of its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


def subject_of(**changes):
    arguments = {"model": None, "inputs": images(), **changes}
    if arguments["model"] is None:
        arguments["model"] = network(images())
    return Subject(**arguments)


def refusal(**changes):
    """The text with which a subject is refused: "<argument>: got <what came>, expected <...>"."""
    with pytest.raises(InvalidArgument) as caught:
        subject_of(**changes)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


# ------------------------------------------------------------------------------------------ refused

FLOATING = "expected a floating tensor (N, *shape) with N >= 1 and finite values"


def holed(value):
    inputs = images()
    inputs[2, 0, 3, 3] = value
    inputs[4] = value
    return inputs


@pytest.mark.parametrize(
    "inputs, got",
    [
        ([[1.0, 2.0]], "list"),
        (None, "NoneType"),
        (images().numpy(), "ndarray"),
        (torch.ones(SHAPE, dtype=torch.int64), "dtype torch.int64"),
        (torch.ones(SHAPE, dtype=torch.uint8), "dtype torch.uint8"),
        (torch.ones(SHAPE, dtype=torch.bool), "dtype torch.bool"),
        (torch.ones(SHAPE, dtype=torch.complex64), "dtype torch.complex64"),
        (torch.ones(0, 3, 8, 7), "shape (0, 3, 8, 7)"),
        (torch.ones(6, 0), "shape (6, 0)"),
        (torch.ones(6), "shape (6,)"),
        (torch.tensor(1.0), "shape ()"),
        (holed(NAN), "NaN or infinite values in image 2"),
        (holed(INF), "NaN or infinite values in image 2"),
        (holed(-INF), "NaN or infinite values in image 2"),
    ],
)
def test_inputs_are_refused(inputs, got):
    assert refusal(inputs=inputs) == f"inputs: got {got}, {FLOATING}"


@pytest.mark.parametrize(
    "targets, got",
    [
        ([0, 1, 2], "shape (3,)"),
        (torch.zeros(7, dtype=torch.long), "shape (7,)"),
        (torch.zeros(6, 1, dtype=torch.long), "shape (6, 1)"),
        ([0, 1, 2, 3, 4, 0], "values from 0 to 4"),
        ([0, 1, 2, 3, -1, 0], "values from -1 to 3"),
        (4, "values from 4 to 4"),
        (-1, "values from -1 to -1"),
        (torch.zeros(6), "dtype torch.float32"),
        ([0.0] * 6, "dtype torch.float32"),
        (0.5, "dtype torch.float32"),
        ([True] * 6, "dtype torch.bool"),
        (torch.zeros(6, dtype=torch.complex64), "dtype torch.complex64"),
        ([], "dtype torch.float32"),
        ("abc", "'abc'"),
        ([[0], [1, 2]], "[[0], [1, 2]]"),
    ],
)
def test_targets_are_refused(targets, got):
    expected = "expected 6 class indices from 0 to 3, or one for all"
    assert refusal(targets=targets) == f"targets: got {got}, {expected}"


def test_the_single_output_of_a_binary_model_is_target_0_alone():
    got = refusal(model=network(images(), 1), targets=[0, 1, 0, 1, 0, 1])
    assert got == (
        "targets: got values from 0 to 1, expected 6 class indices from 0 to 0, or one for all"
    )


@pytest.mark.parametrize(
    "baseline, got",
    [
        (torch.zeros(5), "shape (5,)"),
        (torch.zeros(2, 8, 7), "shape (2, 8, 7)"),
        (torch.zeros(3, 7, 8), "shape (3, 7, 8)"),
        (torch.zeros(4, 3, 8, 7), "shape (4, 3, 8, 7)"),
        (torch.zeros(1, 6, 3, 8, 7), "shape (1, 6, 3, 8, 7)"),
        (torch.tensor([[[[NAN]]]]), "NaN or infinite values"),
        (torch.full((3, 8, 7), INF), "NaN or infinite values"),
        (NAN, "NaN or infinite values"),
        (-INF, "NaN or infinite values"),
        # Finite, but not in the inputs' dtype.
        (1e300, "NaN or infinite values"),
        ("black", "'black'"),
        ([[0.0], [1.0, 2.0]], "[[0.0], [1.0, 2.0]]"),
    ],
)
def test_a_baseline_is_refused(baseline, got):
    expected = "a finite number or tensor that broadcasts to (6, 3, 8, 7) or (3, 8, 7)"
    assert refusal(baseline=baseline) == f"baseline: got {got}, expected {expected}"


PAIR = "expected (low, high), two finite numbers with low < high"


@pytest.mark.parametrize(
    "bounds, got",
    [
        (1.0, "1.0"),
        ((0.0,), "(0.0,)"),
        ((0.0, 0.5, 1.0), "(0.0, 0.5, 1.0)"),
        (("low", "high"), "('low', 'high')"),
        ((None, 1.0), "(None, 1.0)"),
        ((1.0, 0.0), "(1.0, 0.0)"),
        ((0.5, 0.5), "(0.5, 0.5)"),
        ((NAN, 1.0), "(nan, 1.0)"),
        ((0.0, NAN), "(0.0, nan)"),
        ((-INF, 1.0), "(-inf, 1.0)"),
        ((0.0, INF), "(0.0, inf)"),
    ],
)
def test_bounds_are_refused(bounds, got):
    assert refusal(bounds=bounds) == f"bounds: got {got}, {PAIR}"


@pytest.mark.parametrize("bounds", [(-1.0, 0.75), (0.25, 2.0), (0.25, 0.75)])
def test_bounds_that_the_inputs_leave_are_refused(bounds):
    inputs = torch.tensor([[0.0, 0.5], [0.5, 1.0]])
    low, high = bounds
    assert refusal(model=nn.Linear(2, 3), inputs=inputs, bounds=bounds) == (
        f"bounds: got ({low:g}, {high:g}) with inputs from 0 to 1, "
        "expected bounds that contain all inputs"
    )


@pytest.mark.parametrize(
    "masks, got",
    [
        ([[1]], "list"),
        (images().numpy(), "ndarray"),
        (torch.ones(6, 7, 8), "shape (6, 7, 8)"),
        (torch.ones(5, 8, 7), "shape (5, 8, 7)"),
        (torch.ones(6, 2, 8, 7), "shape (6, 2, 8, 7)"),
        (torch.ones(1, 6, 3, 8, 7), "shape (1, 6, 3, 8, 7)"),
        (torch.full((6, 8, 7), 2), "values other than 0 and 1"),
        (torch.full((6, 8, 7), -1), "values other than 0 and 1"),
        (torch.full((6, 8, 7), 0.5), "values other than 0 and 1"),
        (torch.full((6, 8, 7), 255, dtype=torch.uint8), "values other than 0 and 1"),
        (torch.full((6, 8, 7), NAN), "values other than 0 and 1"),
    ],
)
def test_masks_are_refused(masks, got):
    expected = (
        "expected a boolean or 0/1 tensor of shape (6, 8, 7) or one that broadcasts to (6, 3, 8, 7)"
    )
    assert refusal(masks=masks) == f"masks: got {got}, {expected}"


def test_masks_of_tables_have_the_shape_of_the_inputs():
    inputs = images(6, 5)
    assert refusal(model=network(inputs), inputs=inputs, masks=torch.ones(6)) == (
        "masks: got shape (6,), expected a boolean or 0/1 tensor of shape (6, 5) or one that "
        "broadcasts to (6, 5)"
    )


@pytest.mark.parametrize("model", [torch.relu, nn.Linear, "resnet18", 3])
def test_a_model_that_is_no_module_is_refused(model):
    assert refusal(model=model) == f"model: got {type(model).__name__}, expected a torch.nn.Module"


OUTPUTS = "expected outputs (N, classes), or (N,) or (N, 1) for a single logit"


@pytest.mark.parametrize(
    "function, got",
    [
        (lambda x: x, "outputs of shape (1, 3, 8, 7) for 1 inputs"),
        (lambda x: x.sum((2, 3))[:, None], "outputs of shape (1, 1, 3) for 1 inputs"),
        (lambda x: x.sum((2, 3)).repeat(2, 1), "outputs of shape (2, 3) for 1 inputs"),
        (lambda x: x.sum((2, 3))[0], "outputs of shape (3,) for 1 inputs"),
        (lambda x: x.sum(), "outputs of shape () for 1 inputs"),
        (lambda x: x.sum((2, 3))[:0], "outputs of shape (0, 3) for 1 inputs"),
        (lambda x: x.sum((2, 3))[:, :0], "outputs of shape (1, 0) for 1 inputs"),
        (lambda x: (x, x), "tuple"),
        (lambda x: {"logits": x}, "dict"),
        (lambda x: setattr(x, "seen", True), "NoneType"),
        (lambda x: x.sum((2, 3)).long(), "outputs of torch.int64"),
        (lambda x: x.sum((2, 3)) > 0, "outputs of torch.bool"),
    ],
)
def test_a_model_of_other_outputs_is_refused(function, got):
    for targets in (None, 0):
        assert refusal(model=Function(function), targets=targets) == f"model: got {got}, {OUTPUTS}"


def test_a_model_that_returns_one_row_for_a_whole_batch_is_refused():
    one_row = Function(lambda x: x.sum((2, 3)).mean(0, keepdim=True))
    for targets in (None, 0):
        got = refusal(model=one_row, targets=targets)
        assert got == f"model: got outputs of shape (1, 3) for 2 inputs, {OUTPUTS}"


def test_memory_for_one_image_is_enough_for_a_subject_with_targets():
    def small(inputs):
        if len(inputs) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inputs.sum((2, 3))

    assert len(subject_of(model=Function(small), targets=0)) == 6


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_model_of_outputs_that_are_not_finite_is_refused(value):
    broken = Function(lambda x: x.sum((2, 3)) * value)
    for targets in (None, 0):
        got = refusal(model=broken, targets=targets)
        assert got == f"model: got NaN or infinite outputs, {OUTPUTS}"


def test_a_model_that_raises_is_refused_with_its_error():
    def fail(inputs):
        raise KeyError("no such layer")

    got = "KeyError on inputs of shape (1, 3, 8, 7): 'no such layer'"
    assert refusal(model=Function(fail)) == f"model: got {got}, {OUTPUTS}"


def test_a_model_of_another_dtype_or_shape_is_refused_with_torchs_error():
    got = refusal(inputs=images(dtype=torch.float64))
    assert got.startswith("model: got RuntimeError on inputs of shape (1, 3, 8, 7): ")
    assert "must have the same dtype" in got
    assert "cannot be multiplied (1x147 and 168x5)" in refusal(inputs=images(6, 3, 7, 7))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "", 3.5, ["cpu"]])
def test_a_device_is_refused(device):
    got = refusal(device=device)
    assert got.startswith(f"device: got {device!r}, expected a device of this machine (")


@pytest.mark.parametrize("name", ["", 3, b"digits", ["digits"]])
def test_a_name_is_refused(name):
    assert refusal(name=name) == f"name: got {name!r}, expected a non-empty string"


# ------------------------------------------------------------------------------------------- served


@pytest.mark.parametrize("shape", [SHAPE, (6, 9), (6, 2, 30), (2, 1, 4, 5, 6), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_tables_signals_and_volumes_are_served(shape, dtype):
    inputs = images(*shape, dtype=dtype)
    subject = Subject(network(inputs), inputs)
    assert len(subject) == shape[0]
    assert subject.classes == 4
    assert torch.equal(subject.inputs, inputs)
    assert subject.targets.shape == shape[:1]
    assert subject.targets.dtype == torch.long
    assert torch.equal(subject.baseline, torch.zeros(1, *shape[1:], dtype=dtype))
    assert subject.baseline.dtype == dtype
    assert (subject.bounds, subject.masks) == (None, None)


@pytest.mark.parametrize("count", [1, 32, 33, 70])
def test_without_targets_the_predicted_class_is_explained(count):
    inputs = 20 * images(count, 9) - 10
    model = network(inputs).train()
    subject = Subject(model, inputs)
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(inputs).argmax(1)
    assert count == 1 or len(expected.unique()) > 1
    assert torch.equal(subject.targets, expected)
    assert subject.predicted


@pytest.mark.parametrize(
    "targets",
    [
        [3, 0, 1, 2, 0, 3],
        (3, 0, 1, 2, 0, 3),
        torch.tensor([3, 0, 1, 2, 0, 3]),
        torch.tensor([3, 0, 1, 2, 0, 3], dtype=torch.uint8),
        torch.tensor([3, 0, 1, 2, 0, 3], dtype=torch.int32).numpy(),
        torch.tensor([3, 0, 1, 2, 0, 3], dtype=torch.uint16),
        torch.tensor([3, 0, 1, 2, 0, 3], dtype=torch.uint64),
    ],
)
def test_targets_of_any_integer_kind_are_served(targets):
    subject = subject_of(targets=targets)
    assert subject.targets.tolist() == [3, 0, 1, 2, 0, 3]
    assert subject.targets.dtype == torch.long
    assert not subject.predicted


@pytest.mark.parametrize("target", [3, torch.tensor(3), torch.tensor(3).numpy()])
def test_one_target_may_stand_for_all(target):
    assert subject_of(targets=target).targets.tolist() == [3] * 6


def test_a_scalar_output_is_served_as_one_column():
    inputs = images()
    subject = Subject(Function(lambda x: x.flatten(1).sum(1)), inputs)
    assert subject.classes == 1
    assert subject.targets.tolist() == [0] * 6
    assert torch.equal(subject.model(inputs), inputs.flatten(1).sum(1, keepdim=True))


def test_layers_of_a_model_of_scalar_outputs_keep_their_names():
    class Scalar(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(9, 1)

        def forward(self, inputs):
            return self.last(inputs).squeeze(1)

    model = Scalar()
    subject = Subject(model, images(6, 9))
    assert subject.model.get_submodule("last") is model.last
    assert subject.name == "Scalar"


def test_one_logit_is_served_as_it_is():
    model = network(images(), classes=1)
    subject = subject_of(model=model)
    assert subject.model is model
    assert subject.classes == 1
    assert subject.targets.tolist() == [0] * 6
    assert subject_of(model=model, targets=0).targets.tolist() == [0] * 6


@pytest.mark.parametrize(
    "baseline",
    [
        0.5,
        0,
        [0.25],
        images(7),
        images(3, 1, 1),
        images(3, 8, 7),
        images(1, 3, 8, 7),
        images(1, 1, 1, 1),
        images(6, 3, 8, 7),
        images(6, 1, 1, 1),
        torch.ones(3, 8, 7, dtype=torch.int64),
        images(3, 8, 7, dtype=torch.float64),
    ],
)
def test_a_baseline_that_broadcasts_is_served(baseline):
    subject = subject_of(baseline=baseline)
    given = torch.as_tensor(baseline)
    rows = 6 if given.ndim == 4 and len(given) == 6 else 1
    assert subject.baseline.shape == (rows, 3, 8, 7)
    assert subject.baseline.dtype == torch.float32
    expected = given.float() + torch.zeros(SHAPE)
    assert torch.equal(subject.baseline.expand(SHAPE), expected)


@pytest.mark.parametrize(
    "shape", [(6, 8, 7), (6, 1, 8, 7), (6, 3, 8, 7), (8, 7), (1, 1, 8, 7), (3, 8, 7)]
)
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_masks_that_broadcast_are_served(shape, dtype):
    masks = torch.rand(shape, generator=torch.Generator().manual_seed(2)) > 0.5
    subject = subject_of(masks=masks.to(dtype))
    expected = masks[:, None] if shape == (6, 8, 7) else masks
    assert subject.masks.dtype == torch.bool
    assert torch.equal(subject.masks, expected.expand(SHAPE))


def test_masks_are_laid_over_the_images_also_where_sizes_are_equal():
    # As many images as channels: (3, 8, 7) is one mask per image, not one per channel.
    masks = torch.rand(3, 8, 7, generator=torch.Generator().manual_seed(2)) > 0.5
    subject = subject_of(inputs=images(3, 3, 8, 7), masks=masks)
    assert torch.equal(subject.masks, masks[:, None].expand(3, 3, 8, 7))


def test_masks_of_signals_and_tables_are_served():
    for shape, given in [((4, 2, 9), (4, 9)), ((4, 9), (4, 9)), ((4, 9), (9,))]:
        inputs = images(*shape)
        masks = torch.rand(given, generator=torch.Generator().manual_seed(2)) > 0.5
        subject = Subject(network(inputs), inputs, masks=masks)
        expected = masks[:, None] if len(shape) == 3 else masks
        assert torch.equal(subject.masks, expected.expand(shape))


@pytest.mark.parametrize(
    "bounds", [(0.0, 1.0), (0, 1), [0.0, 1.0], torch.tensor([0.0, 1.0]), (-5, 300.5)]
)
def test_bounds_are_two_numbers(bounds):
    low, high = bounds
    subject = subject_of(bounds=bounds)
    assert subject.bounds == (float(low), float(high))
    assert all(type(value) is float for value in subject.bounds)


def test_the_inputs_may_touch_their_bounds():
    inputs = torch.tensor([[-0.5, 0.5], [0.25, 1.5]])
    assert Subject(nn.Linear(2, 3), inputs, bounds=(-0.5, 1.5)).bounds == (-0.5, 1.5)


@pytest.mark.parametrize("mean, std", [(0.1307, 0.3081), (0.485, 0.229), (0.456, 0.224)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_bounds_may_differ_from_the_inputs_by_rounding(mean, std, dtype):
    inputs = (torch.tensor([[0.0, 1.0]], dtype=dtype) - mean) / std
    low, high = (0 - mean) / std, (1 - mean) / std
    subject = Subject(nn.Linear(2, 3).to(dtype), inputs, bounds=(low, high))
    assert subject.bounds == (
        min(low, float(inputs.min())),
        max(high, float(inputs.max())),
    )
    eps = torch.finfo(dtype).eps
    with pytest.raises(InvalidArgument, match="expected bounds that contain all inputs"):
        Subject(nn.Linear(2, 3).to(dtype), inputs, bounds=(low, high - 20 * eps * high))


def test_a_subject_is_named_after_its_model_unless_told():
    assert subject_of().name == "Sequential"
    assert subject_of(name="digits").name == "digits"


def test_a_subject_shows_what_it_is():
    assert repr(subject_of(name="digits", device="cpu")) == (
        "Subject('digits', inputs (6, 3, 8, 7), 4 classes, torch.float32, cpu)"
    )


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_everything_is_on_the_device(device):
    subject = subject_of(device=device, masks=torch.ones(6, 8, 7), targets=0)
    assert subject.device == torch.device("cpu")
    tensors = [subject.inputs, subject.targets, subject.baseline, subject.masks]
    assert {t.device for t in [*tensors, *subject.model.parameters()]} == {subject.device}


# -------------------------------------------------------------------------- guests stay as they are


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("training", [True, False])
def test_making_a_subject_leaves_the_model_as_it_is(training):
    model = network(images()).train(training)
    model[2].train(not training)
    modes = [module.training for module in model.modules()]
    before = state_of(model)
    assert Subject(model, images()).model is model
    assert [module.training for module in model.modules()] == modes
    after = state_of(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_refused_model_keeps_its_modes():
    model = nn.Sequential(network(images()), nn.Unflatten(1, (2, 2)))
    model[0][4].eval()
    modes = [module.training for module in model.modules()]
    assert "outputs of shape (1, 2, 2)" in refusal(model=model)
    assert [module.training for module in model.modules()] == modes


def test_the_inputs_are_detached_and_not_written():
    inputs = images().requires_grad_()
    before = inputs.detach().clone()
    subject = subject_of(inputs=inputs)
    assert not subject.inputs.requires_grad
    assert inputs.requires_grad
    assert inputs.grad is None
    assert torch.equal(inputs, before)


def test_evaluating_gives_each_module_its_own_mode_back():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    model[1][0].eval()
    modes = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert [module.training for module in model.modules()] == modes


# ------------------------------------------------------------------------------------------ float64


def test_the_double_of_a_subject_is_a_copy_in_float64():
    subject = subject_of(baseline=0.25, bounds=(0, 1), masks=torch.ones(6, 8, 7), name="digits")
    before = state_of(subject.model)
    twin = subject.double()
    assert twin.model is not subject.model
    assert {value.dtype for value in twin.model.parameters()} == {torch.float64}
    assert {twin.inputs.dtype, twin.baseline.dtype} == {torch.float64}
    assert torch.equal(twin.inputs, subject.inputs.double())
    assert torch.equal(twin.baseline, subject.baseline.double())
    assert torch.equal(twin.targets, subject.targets)
    assert (twin.name, twin.bounds, twin.classes) == ("digits", (0.0, 1.0), 4)
    # The original is still there, in float32.
    assert subject.inputs.dtype == subject.baseline.dtype == torch.float32
    after = state_of(subject.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.no_grad(), evaluating(twin.model), evaluating(subject.model):
        outputs = subject.model(subject.inputs)
        assert torch.allclose(twin.model(twin.inputs).float(), outputs, atol=1e-5)


def test_a_model_that_cannot_be_copied_has_no_double():
    class Handle:
        def __deepcopy__(self, memo):
            raise TypeError("cannot copy a handle")

    model = network(images())
    model.handle = Handle()
    with pytest.raises(TypeError, match="cannot copy a handle"):
        subject_of(model=model).double()


# --------------------------------------------------------------------------------- permuted labels


def test_without_a_model_of_permuted_labels_there_is_none():
    assert Subject(nn.Linear(2, 3), torch.rand(4, 2)).permuted() is None


@pytest.mark.parametrize("how", ["a network", "a function"])
def test_the_model_of_permuted_labels_is_a_copy_that_fits_the_inputs(how):
    other = nn.Sequential(nn.Linear(2, 3), nn.Dropout()).train()
    given = other if how == "a network" else lambda: other
    subject = Subject(nn.Linear(2, 3), torch.rand(4, 2), permuted_model=given).double()
    copy = subject.permuted()
    assert copy is not other
    assert not any(module.training for module in copy.modules())
    assert copy[0].weight.dtype == torch.float64
    assert torch.equal(copy[0].weight.float(), other[0].weight)
    assert other.training
    assert other[0].weight.dtype == torch.float32


def test_a_model_of_permuted_labels_with_one_scalar_output_has_a_column():
    flat = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
    subject = Subject(flat, torch.rand(4, 2), permuted_model=flat)
    assert subject.permuted()(subject.inputs).shape == (4, 1)


def test_a_function_is_called_when_its_model_is_needed():
    made = []

    def make():
        made.append(nn.Linear(2, 3))
        return made[-1]

    subject = Subject(nn.Linear(2, 3), torch.rand(4, 2), permuted_model=make)
    assert made == []
    subject.permuted()
    assert len(made) == 1


@pytest.mark.parametrize(
    "given, message",
    [
        (lambda: 7, "permuted_model: got int, expected a torch.nn.Module"),
        (nn.Linear(2, 4), r"permuted_model: got outputs of shape \(1, 4\) for one input, expected"),
    ],
)
def test_what_is_no_such_model_is_refused(given, message):
    subject = Subject(nn.Linear(2, 3), torch.rand(4, 2), permuted_model=given)
    with pytest.raises(InvalidArgument, match=message):
        subject.permuted()
