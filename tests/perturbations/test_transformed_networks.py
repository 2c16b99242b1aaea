"""Networks made from others: the same function where that is promised, a known one elsewhere."""

import copy

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from pytest_xai.core.subject import SingleOutput
from pytest_xai.perturbations.transformed_networks import Wrapped, equal_function, mixed, widened

# A running variance of 3.75 and an epsilon of 0.25 make a scale of 1/2: nothing is rounded.
EXACT = {"eps": 0.25, "variance": 3.75}


def whole(tensor, seed, low=-3, high=4):
    """Small whole numbers in place of a tensor's values: sums of products of them are exact."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(low, high, tensor.shape, generator=generator)
    return tensor.copy_(values.to(tensor))


def exact(model, seed=0):
    """The model in float64 with weights of whole numbers: its arithmetic rounds nothing."""
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            whole(parameter, seed + index)
        for index, module in enumerate(model.modules()):
            if (
                isinstance(module, nn.modules.batchnorm._BatchNorm)
                and module.running_mean is not None
            ):
                module.eps = EXACT["eps"]
                module.running_var.fill_(EXACT["variance"])
                whole(module.running_mean, seed + 100 + index)
    return model.double().eval()


def inputs_for(shape, count=6):
    return whole(torch.empty(count, *shape, dtype=torch.float64), seed=7)


def outputs_and_gradients(model, inputs):
    """Outputs, and the gradient of every one of them with respect to the inputs."""
    inputs = inputs.clone().requires_grad_()
    outputs = model(inputs)
    gradients = [
        torch.autograd.grad(outputs[:, index].sum(), inputs, retain_graph=True)[0]
        for index in range(outputs.shape[1])
    ]
    return outputs.detach(), torch.stack(gradients)


def assert_same_function(model, twin, inputs):
    for one, other in zip(
        outputs_and_gradients(model, inputs), outputs_and_gradients(twin, inputs), strict=True
    ):
        assert torch.equal(one, other)


# ------------------------------------------------------------------------------------- Wrapped


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
        self.classes = ["no", "yes"]

    def forward(self, inputs):
        return self.blocks(self.stem(inputs))

    def describe(self):
        return f"{len(self.classes)} classes"


def test_a_wrapped_model_runs_what_is_before_and_behind():
    model = Named()
    inputs = torch.randn(5, 3)
    wrapped = Wrapped(model, before=lambda x: 2 * x, after=nn.Softmax(1))
    assert torch.equal(wrapped(inputs), model(2 * inputs).softmax(1))
    assert torch.equal(Wrapped(model)(inputs), model(inputs))


def test_names_of_the_model_are_found_in_the_wrapper():
    model = Named()
    wrapped = Wrapped(Wrapped(model))
    assert wrapped.stem is model.stem
    assert wrapped.classes is model.classes
    assert wrapped.describe() == "2 classes"
    assert wrapped.get_submodule("blocks.1") is model.blocks[1]
    with pytest.raises(AttributeError, match="head"):
        wrapped.head  # noqa: B018
    with pytest.raises(AttributeError, match="head"):
        wrapped.get_submodule("head")


def test_layers_are_found_under_the_model_s_names_not_the_wrapper_s():
    model = nn.ModuleDict({"model": nn.ReLU(), "after": nn.Tanh()})
    wrapped = Wrapped(model)
    for name in ("model", "after"):
        assert wrapped.get_submodule(name) is model[name]
    assert wrapped.get_submodule("") is model


def test_the_wrapper_has_the_model_s_parameters_and_modules():
    model = Named()
    wrapped = Wrapped(model)
    assert [id(p) for p in wrapped.parameters()] == [id(p) for p in model.parameters()]
    assert set(model.modules()) <= set(wrapped.modules())


@pytest.mark.parametrize("training", [False, True])
def test_the_wrapper_is_in_the_model_s_mode_and_leaves_it(training):
    model = Named().train(training)
    model.blocks[0].train(not training)
    wrapped = Wrapped(model, after=nn.Dropout())
    assert (wrapped.training, wrapped.after.training) == (training, training)
    assert (model.training, model.blocks[0].training) == (training, not training)


def test_a_copy_of_the_wrapper_is_a_wrapper():
    for model in (Named(), fx.symbolic_trace(Named())):
        wrapped = Wrapped(model, before=lambda x: 2 * x)
        twin = copy.deepcopy(wrapped)
        inputs = torch.randn(2, 3)
        assert isinstance(twin, Wrapped)
        assert torch.equal(twin(inputs), wrapped(inputs))
        assert twin.stem.weight is not wrapped.stem.weight


# --------------------------------------------------------------------------- widened and mixed


@pytest.mark.parametrize("shape", [(3,), (3, 7), (3, 5, 6), (3, 2, 3, 4)])
def test_a_widened_model_reads_nothing_of_the_last_channel(shape):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    inputs = torch.randn(2, *shape)
    expected = model(inputs)
    for fill in (0.0, 5.0, torch.inf, torch.nan):
        channel = torch.full_like(inputs[:, :1], fill)
        wide = torch.cat([inputs, channel], 1).requires_grad_()
        outputs = widened(model)(wide)
        assert torch.equal(outputs, expected)
        (gradient,) = torch.autograd.grad(outputs.sum(), wide)
        assert (gradient[:, -1] == 0).all()
        assert gradient[:, :-1].abs().sum() > 0


def test_a_widened_model_may_view_its_inputs():
    class Viewing(nn.Module):
        def forward(self, inputs):
            return inputs.view(-1, 5).sum(1).view(len(inputs), -1)

    inputs = torch.randn(2, 4, 5)
    assert torch.equal(widened(Viewing())(inputs), inputs[:, :-1].sum(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outputs", [2, 3, 7])
def test_mixed_outputs_are_the_sum_of_two(outputs, dtype):
    torch.manual_seed(0)
    model = nn.Linear(4, outputs).to(dtype)
    inputs = torch.randn(5, 4, dtype=dtype)
    found = mixed(model, outputs=outputs, own=2.0, other=-0.5)(inputs)
    logits = model(inputs)
    for index in range(outputs):
        expected = 2 * logits[:, index] - 0.5 * logits[:, (index + 1) % outputs]
        assert torch.allclose(found[:, index], expected, atol=1e-6)
    assert found.dtype == dtype


def test_a_single_output_is_scaled():
    model = nn.Linear(4, 1)
    inputs = torch.randn(5, 4)
    found = mixed(model, outputs=1, own=2.0, other=-0.5)(inputs)
    assert torch.allclose(found, 1.5 * model(inputs))


def test_mixing_adds_no_weight_to_learn():
    network = mixed(nn.Linear(4, 3), outputs=3, own=1.0, other=1.0)
    assert sum(parameter.requires_grad for parameter in network.parameters()) == 2


@pytest.mark.parametrize("kind", ["buffers", "integers", "nothing"])
def test_models_without_floating_parameters_are_mixed_too(kind):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            if kind == "buffers":
                self.register_buffer("scale", torch.ones(3))
            if kind == "integers":
                self.codes = nn.Parameter(torch.arange(3), requires_grad=False)
                self.register_buffer("scale", torch.ones(3))

        def forward(self, inputs):
            return inputs * self.scale if kind != "nothing" else 2 * inputs

    dtype = torch.float32 if kind == "nothing" else torch.float64
    model = Fixed().to(dtype)
    inputs = torch.randn(2, 3, dtype=dtype)
    found = mixed(model, outputs=3, own=1.0, other=1.0)(inputs)
    assert torch.allclose(found, model(inputs) + model(inputs).roll(-1, dims=1))


# ------------------------------------------------------------------------------ equal_function


class Residual(nn.Module):
    """Two blocks with a shortcut each, ReLU modules used twice, as in torchvision's ResNets."""

    def __init__(self, *, inplace=False):
        super().__init__()
        self.stem = nn.Conv2d(2, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=inplace)
        self.left = nn.Conv2d(3, 3, 3, padding=1)
        self.left_norm = nn.BatchNorm2d(3)
        self.shortcut = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(12, 3)

    def forward(self, inputs):
        outputs = self.relu(self.norm(self.stem(inputs)))
        left = self.left_norm(self.left(outputs))
        left += self.shortcut(outputs)
        outputs = self.relu(left)
        return self.head(self.pool(outputs).flatten(1))


def block(dimensions, head):
    conv, norm = getattr(nn, f"Conv{dimensions}d"), getattr(nn, f"BatchNorm{dimensions}d")
    return nn.Sequential(conv(2, 3, 2), norm(3), nn.ReLU(), nn.Flatten(), nn.Linear(head, 3))


EQUAL = {
    "linear": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)),
        (5,),
        ["1 split in two"],
    ),
    "one linear layer": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 2, bias=False)),
        (2, 3),
        ["1 split in two"],
    ),
    "relu": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
        (5,),
        ["2 split in two", "1 ReLU modules written as products"],
    ),
    "relus alone": (
        lambda: nn.Sequential(nn.ReLU(), nn.Flatten(), nn.ReLU()),
        (2, 2),
        ["2 ReLU modules written as products"],
    ),
    "conv1d": (lambda: block(1, 9), (2, 4), ["1 folded into 0", "4 split in two", "1 ReLU"]),
    "conv2d": (lambda: block(2, 27), (2, 4, 4), ["1 folded into 0", "4 split in two", "1 ReLU"]),
    "conv3d": (lambda: block(3, 81), (2, 4, 4, 4), ["1 folded into 0", "4 split", "1 ReLU"]),
    "norm without weights": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 2, bias=False), nn.BatchNorm2d(3, affine=False), nn.Flatten()
        ),
        (2, 4, 4),
        ["1 folded into 0"],
    ),
    "residual": (
        Residual,
        (2, 4, 4),
        [
            "norm folded into stem",
            "left_norm folded into left",
            "shortcut.1 folded into shortcut.0",
            "head split in two",
            "1 ReLU",
        ],
    ),
    "residual, in place": (
        lambda: Residual(inplace=True),
        (2, 4, 4),
        [
            "norm folded into stem",
            "left_norm folded into left",
            "shortcut.1 folded into shortcut.0",
            "head split in two",
            "1 ReLU",
        ],
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_the_function_is_the_same_to_the_last_digit(name):
    build, shape, expected = EQUAL[name]
    model, inputs = exact(build()), inputs_for(shape)
    twin, rewritten = equal_function(model, inputs[:1])
    assert len(rewritten) == len(expected)
    for found, start in zip(rewritten, expected, strict=True):
        assert found.startswith(start)
    assert_same_function(model, twin, inputs)


@pytest.mark.parametrize("name", EQUAL)
def test_the_function_is_the_same_where_every_relu_is_at_its_kink(name):
    build, shape, _ = EQUAL[name]
    model = exact(build())
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            parameter.data.zero_()
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.zero_()
    inputs = torch.zeros(2, *shape, dtype=torch.float64)
    twin, _ = equal_function(model, inputs)
    assert_same_function(model, twin, inputs)
    # Nothing of a dead unit comes through: subgradient 0, as torch has it.
    if any(isinstance(module, nn.ReLU) for module in model.modules()):
        assert (outputs_and_gradients(twin, inputs)[1] == 0).all()


@pytest.mark.parametrize("name", EQUAL)
def test_the_rewritten_network_has_nothing_of_what_was_rewritten(name):
    build, shape, _ = EQUAL[name]
    model = exact(build())
    twin, _ = equal_function(model, inputs_for(shape))
    assert not any(
        isinstance(module, (nn.ReLU, nn.modules.batchnorm._BatchNorm)) for module in twin.modules()
    )
    linear = [[m for m in net.modules() if isinstance(m, nn.Linear)] for net in (model, twin)]
    assert len(linear[1]) == len(linear[0]) + bool(linear[0])


@pytest.mark.parametrize("name", EQUAL)
def test_the_original_is_untouched(name):
    build, shape, _ = EQUAL[name]
    model = exact(build())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    kinds = [type(module) for module in model.modules()]
    twin, _ = equal_function(model, inputs_for(shape))
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in (*model.modules(), *twin.modules()))
    theirs = {id(tensor) for tensor in (*twin.parameters(), *twin.buffers())}
    assert theirs.isdisjoint(id(tensor) for tensor in (*model.parameters(), *model.buffers()))
    assert not any(module.training for module in twin.modules())


def test_real_weights_round_no_more_than_a_sum_does():
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = models.resnet18(num_classes=5)
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32))
    model = model.double().eval()
    inputs = torch.randn(2, 3, 32, 32).double()
    twin, rewritten = equal_function(model, inputs[:1])
    assert len(rewritten) == 20 + 1 + 1
    with torch.no_grad():
        expected = model(inputs)
        assert torch.allclose(
            twin(inputs), expected, rtol=0, atol=1e-12 * float(expected.abs().max())
        )


def test_nothing_to_rewrite():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 3))

        def forward(self, inputs):
            return functional.linear(inputs, self.weight).relu()

    model = Own()
    twin, rewritten = equal_function(model, torch.randn(1, 3))
    assert rewritten == []
    assert twin is not model


def test_a_linear_layer_too_large_to_split_is_passed_over():
    large = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4097), nn.Linear(4097, 2))
    twin, rewritten = equal_function(large.eval(), torch.randn(1, 3))
    assert rewritten == ["1 split in two"]
    assert isinstance(twin[2], nn.Linear)


class Twice(nn.Module):
    """One convolution, or one normalisation, that runs twice."""

    def __init__(self, twice):
        super().__init__()
        self.twice = twice
        self.first, self.second = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.norm, self.other = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def forward(self, inputs):
        if self.twice == "norm":
            outputs = self.norm(self.second(self.norm(self.first(inputs))))
        else:
            outputs = self.other(self.first(self.norm(self.first(inputs))))
        return outputs.flatten(1)


@pytest.mark.parametrize("twice", ["norm", "convolution"])
def test_modules_that_run_twice_are_not_folded(twice):
    model, inputs = exact(Twice(twice)), inputs_for((2, 3, 3))
    twin, rewritten = equal_function(model, inputs[:1])
    assert rewritten == []
    assert_same_function(model, twin, inputs)


def test_a_shared_linear_layer_is_split_wherever_it_runs():
    shared = nn.Linear(4, 4)
    model = exact(nn.Sequential(shared, nn.ReLU(), shared))
    inputs = inputs_for((4,))
    twin, rewritten = equal_function(model, inputs[:1])
    assert len(rewritten) == 2
    assert_same_function(model, twin, inputs)


def test_a_normalisation_of_something_else_than_the_convolution_is_not_folded():
    class Between(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)

        def forward(self, inputs):
            return self.norm(self.conv(inputs) + 1).flatten(1)

    model, inputs = exact(Between()), inputs_for((2, 3, 3))
    twin, rewritten = equal_function(model, inputs[:1])
    assert rewritten == []
    assert_same_function(model, twin, inputs)


def test_batch_statistics_are_not_folded():
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, track_running_stats=False))
    _, rewritten = equal_function(model.eval(), torch.randn(2, 2, 3, 3))
    assert rewritten == []


class Scaled(nn.Conv2d):
    """A convolution of its own kind, such as those that standardise their weights."""

    def forward(self, inputs):
        return 2 * super().forward(inputs)


class Activated(nn.BatchNorm2d):
    """A normalisation of its own kind, with the activation inside."""

    def forward(self, inputs):
        return super().forward(inputs).relu()


class Headed(nn.Module):
    """A convolution, a normalisation and a linear layer; subclasses say how they run."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(27, 2)


class ChangedInPlace(Headed):
    def forward(self, inputs):
        outputs = self.conv(inputs)
        functional.relu(outputs, inplace=True)
        return self.head(self.norm(outputs).flatten(1))


class OverwrittenByRelu(Headed):
    def forward(self, inputs):
        outputs = self.conv(inputs)
        return self.head((self.relu(outputs) + outputs).flatten(1))


class UnderAnotherName(Headed):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(self.conv, nn.BatchNorm2d(3))

    def forward(self, inputs):
        return self.head(self.features(inputs).flatten(1))


class OwnConvolution(Headed):
    def __init__(self):
        super().__init__()
        self.conv = Scaled(2, 3, 1)

    def forward(self, inputs):
        return self.head(self.norm(self.conv(inputs)).flatten(1))


class OwnNormalisation(Headed):
    def __init__(self):
        super().__init__()
        self.norm = Activated(3)

    def forward(self, inputs):
        return self.head(self.norm(self.conv(inputs)).flatten(1))


class Hooked(Headed):
    """Its own hooks work on the outputs of its layers."""

    def __init__(self):
        super().__init__()
        for layer in (self.conv, self.head):
            layer.register_forward_hook(lambda _, __, output: output + 1)

    def forward(self, inputs):
        return self.head(self.norm(self.conv(inputs)).flatten(1))


@pytest.mark.parametrize(
    "kind",
    [
        ChangedInPlace,
        OverwrittenByRelu,
        UnderAnotherName,
        OwnConvolution,
        OwnNormalisation,
        Hooked,
    ],
)
def test_what_cannot_be_rewritten_is_left(kind):
    model, inputs = exact(kind()), inputs_for((2, 3, 3))
    twin, rewritten = equal_function(model, inputs[:1])
    assert_same_function(model, twin, inputs)
    assert bool(rewritten) == (kind is not Hooked), "the rest is rewritten all the same"


@pytest.mark.parametrize("wrap", [Wrapped, SingleOutput])
def test_a_wrapped_model_is_rewritten_as_well(wrap):
    model = exact(wrap(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))))
    inputs = inputs_for((5,))
    twin, rewritten = equal_function(model, inputs[:1])
    assert len(rewritten) == 2
    with torch.no_grad():
        assert torch.equal(twin(inputs), model(inputs))


def test_nothing_is_drawn_from_the_global_generator():
    model = exact(Residual())
    before = torch.get_rng_state()
    equal_function(model, inputs_for((2, 4, 4)))
    mixed(model, outputs=3, own=1.0, other=1.0)
    widened(model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "normed",
    [
        nn.utils.spectral_norm,
        nn.utils.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
    ],
)
def test_weights_that_are_computed_from_others_are_left(normed):
    torch.manual_seed(0)
    model = nn.Sequential(
        normed(nn.Conv2d(2, 3, 1)), nn.BatchNorm2d(3), nn.Flatten(), normed(nn.Linear(27, 2))
    )
    model = model.double().eval()
    inputs = torch.randn(3, 2, 3, 3).double()
    with torch.no_grad():
        expected = model(inputs)
        twin, _ = equal_function(model, inputs[:1])
        assert torch.allclose(twin(inputs), expected, atol=1e-12)


def test_the_split_is_not_the_identity():
    """Guided rules and LRP see two layers, neither of which is trivial."""
    model = exact(nn.Sequential(nn.Linear(4, 3)))
    twin, _ = equal_function(model, inputs_for((4,)))
    first, second = (layer.weight for layer in twin[0])
    assert not torch.equal(first.abs(), torch.eye(4).double())
    assert torch.equal(second @ first, model[0].weight)
    assert not torch.equal(second, model[0].weight)
