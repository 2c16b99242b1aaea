"""The search for the wrong module of a failed sum check, and the likely causes."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

import pytest_xai as xai
from fixtures import models
from fixtures.right import gradient, input_x_gradient, integrated_gradients
from fixtures.wrong.sums import last_run_rescaled, lrp_epsilon, of_product, scaled_at
from pytest_xai import checks, explainers
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import named

DELTA, RELEVANCE = "summation_to_delta", "relevance_conservation"
IG = integrated_gradients("gauss", 16)


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def judged(explainer, model, inputs, *, check=RELEVANCE, baseline=None):
    """The verdict of one check."""
    bench = xai.Bench(xai.Subject(model, inputs, baseline=baseline))
    try:
        return run_check(
            bench, Task(check=checks.get(check), asserted=True, explainer=named(explainer))
        )
    finally:
        bench.close()


@pytest.fixture(scope="module")
def cnn():
    return models.deep_cnn()


@pytest.fixture(scope="module")
def resnet():
    return models.resnet18()


# ------------------------------------------------------------------------------- planted defects


@pytest.mark.parametrize("name", ["conv1", "relu2", "pool2", "conv6", "fc3"])
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_defect_at_any_depth_of_twelve_layers(name, factor, cnn):
    failed = judged(scaled_at(name, factor), cnn, drawn(6, 1, 8, 8))
    kind = type(cnn.get_submodule(name)).__name__
    assert failed.outcome == "failed"
    assert f"First wrong module: `{name}` ({kind}). Explaining the network from" in failed.reason
    after = "no step follows" if name == "fc3" else "from the next step onwards it passes"
    assert f" `{name}` onwards fails the sum check; {after} (torch.fx, " in failed.reason
    assert failed.counterexample["cause"] in failed.reason


@pytest.mark.parametrize("name", ["conv2", "pool1", "fc1"])
def test_a_defect_in_an_integral(name, cnn):
    wrong = scaled_at(name, 20.0, IG)
    failed = judged(wrong, cnn, drawn(2, 1, 8, 8), check=DELTA, baseline=0.3)
    assert failed.outcome == "failed"
    assert f"First wrong module: `{name}` (" in failed.reason


@pytest.mark.parametrize(
    "name, shown",
    [
        pytest.param("conv1", "`conv1` (Conv2d)", marks=pytest.mark.slow),
        ("maxpool", "`maxpool` (MaxPool2d)"),
        pytest.param("layer1.0.bn2", "`layer1.0.bn2` (BatchNorm2d)", marks=pytest.mark.slow),
        pytest.param("layer2.0.conv2", "`layer2.0.conv2` (Conv2d)", marks=pytest.mark.slow),
        ("layer2.0.downsample.0", "`layer2.0.downsample.0` (Conv2d)"),
        ("layer3.1.relu", "`layer3.1.relu` (ReLU, run 2 of 2)"),
        pytest.param("layer4.1.conv1", "`layer4.1.conv1` (Conv2d)", marks=pytest.mark.slow),
        pytest.param("fc", "`fc` (Linear)", marks=pytest.mark.slow),
    ],
)
def test_a_defect_in_a_residual_network(name, shown, resnet):
    failed = judged(scaled_at(name), resnet, drawn(2, 3, 16, 16))
    assert failed.outcome == "failed"
    assert f"First wrong module: {shown}. " in failed.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bn1", "layer2.0.conv2", "layer4.1.bn2"])
def test_a_defect_in_the_resnet_of_torchvision(name):
    torchvision = pytest.importorskip("torchvision")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.resnet18(num_classes=5).double().eval()
    failed = judged(scaled_at(name), model, drawn(2, 3, 32, 32))
    assert f"First wrong module: `{name}` (" in failed.reason


def test_a_residual_sum_without_a_rule(resnet):
    """LRP that doubles what goes into a sum: nothing but the sum is wrong."""

    class Doubling(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            sums = func.__name__ in {"__iadd__", "__add__", "add_", "add"} and len(args) > 1
            return 2 * result - result.detach() if sums and args[1] is not args[0] else result

    def twice(model, inputs, targets):
        with Doubling():
            return input_x_gradient(model, inputs, targets)

    failed = judged(twice, resnet, drawn(2, 3, 16, 16))
    assert "First wrong step: " in failed.reason
    assert "() after `layer4.1.bn2` and `layer4.0.relu`" in failed.reason
    assert "residual sum" in failed.reason


# ------------------------------------------------------------------------------------ what is said


def test_a_relu_that_runs_twice():
    """A hook that keeps the last reference is wrong at the first run."""
    inputs = drawn(4, 5)
    failed = judged(last_run_rescaled, models.shared_relu(), inputs, check=DELTA, baseline=0.5)
    assert failed.outcome == "failed"
    assert "(ReLU, run 1 of 2)" in failed.reason
    assert "runs 2 times per forward pass; hook-based rules see only the last" in failed.reason
    apart = models.chain(5, 6, 6, 3)
    assert judged(last_run_rescaled, apart, inputs, check=DELTA, baseline=0.5).outcome == "passed"


def test_a_max_pool_after_a_relu_in_captum():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.append(nn.Linear(27, 3))
    model = model.double().eval()
    baseline = drawn(1, 1, 8, 8, seed=1)
    spec = explainers.get("captum:DeepLift")
    failed = judged(spec, model, drawn(4, 1, 8, 8), check=DELTA, baseline=baseline)
    assert failed.outcome == "failed"
    assert "First wrong module: `1` (ReLU)" in failed.reason
    assert "a max-pool after a ReLU: one nonlinearity feeds another" in failed.reason
    assert "Known causes" not in failed.reason


def test_overlapping_windows_in_captum():
    model = nn.Sequential(nn.Conv1d(1, 2, 1), nn.MaxPool1d(4, 2), nn.Flatten()).double().eval()
    spec = explainers.get("captum:DeepLift")
    failed = judged(spec, model, drawn(4, 1, 12), check=DELTA)
    assert failed.outcome == "failed"
    assert "First wrong module: `1` (MaxPool1d)" in failed.reason
    assert "max-pool windows overlap (size 4, stride 2)" in failed.reason


class Functional(nn.Module):
    """What explainers stumble over, called as functions and in place."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(5, 5), nn.Linear(5, 4)
        self.act = nn.ReLU(inplace=True)

    def forward(self, inputs):
        hidden = self.act(self.one(inputs))
        hidden = torch.sigmoid(functional.relu(hidden - 0.1) * hidden)
        return torch.softmax(self.two(hidden), 1)


@pytest.mark.parametrize(
    "function, shown, likely",
    [
        ("softmax", "softmax() after `two`", "softmax before the explained output"),
        ("sigmoid", "sigmoid() after mul()", "functional sigmoid (no module to hook)"),
        ("mul", "mul() after relu() and `act`", "a product of two activations"),
        ("relu", "relu() after sub()", "functional ReLU (no module to hook)"),
    ],
)
def test_functions_are_named_by_their_inputs(function, shown, likely):
    """Integrated Gradients whose gradient of one function is taken 40 times."""

    class Planted(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            met = func.__name__ == function and (function != "relu" or result is not args[0])
            return 40 * result - 39 * result.detach() if met else result

    @xai.explainer(needs_baseline=True, method="integrated_gradients")
    def planted(model, inputs, targets, baseline):
        def within(images):
            with Planted():
                return model(images)

        return IG(within, inputs, targets, baseline=baseline)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Functional().double().eval()
    failed = judged(planted, model, drawn(2, 5), check=DELTA, baseline=2.0)
    assert failed.outcome == "failed"
    assert f"First wrong step: {shown}. " in failed.reason
    assert likely in failed.reason


@pytest.mark.parametrize("change", [torch.abs, lambda maps: 2 * maps])
def test_an_explainer_that_is_wrong_by_itself_blames_no_module(change, cnn):
    failed = judged(of_product(change), cnn, drawn(2, 1, 8, 8))
    assert "No module is at fault" in failed.reason
    assert "First wrong" not in failed.reason


# ------------------------------------------------------------------------- networks of any making


class Branching(nn.Module):
    """Looks at its values, where torch.fx cannot follow, in one of its modules or in itself."""

    def __init__(self, body, *, inside):
        super().__init__()
        self.body, self.inside = body, inside

    def forward(self, inputs):
        if self.inside and inputs.sum() == 1234:
            return inputs
        return self.body(inputs)


def test_the_top_level_sequence_where_a_module_cannot_be_traced():
    parts = models.chain(6, 5, 4, 3)
    model = nn.Sequential(Branching(parts[:2], inside=True), parts[2], parts[3], parts[4]).eval()
    failed = judged(scaled_at("1"), model, drawn(2, 6))
    assert "First wrong module: `1` (Linear)" in failed.reason
    assert "(the top-level sequence of modules, " in failed.reason
    failed = judged(scaled_at("0.body.0"), model, drawn(2, 6))
    assert "First wrong module: `0` (Branching)" in failed.reason


def test_the_modules_in_their_order_where_the_network_itself_cannot_be_traced():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = nn.Linear(5, 3), nn.Linear(6, 5)
            self.act = nn.ReLU()

        def forward(self, inputs):
            if inputs.sum() == 1234:
                return inputs
            return self.last(self.act(self.first(inputs)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Net().double().eval()
    failed = judged(scaled_at("act"), model, drawn(2, 6))
    assert "First wrong module: `act` (ReLU)" in failed.reason
    assert "(the top-level sequence of modules, " in failed.reason


def test_a_network_that_cannot_be_followed_has_its_verdict_all_the_same():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, inputs):
            if inputs.sum() == 1234:
                return inputs
            return self.two(torch.tanh(self.one(inputs)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Net().double().eval()
    failed = judged(scaled_at("two"), model, drawn(2, 6))
    assert failed.outcome == "failed"
    assert "could not be located: torch.fx cannot trace the network (TraceError" in failed.reason


def test_sizes_that_a_network_computes_are_known_after_a_cut():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(8, 3)

        def forward(self, inputs, scale=None):
            count, _, height, width = inputs.shape
            hidden = self.conv(inputs).relu()
            return self.head(hidden.view(count, 2 * height * width // 4, -1).mean(2))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Net().double().eval()
    failed = judged(scaled_at("conv"), model, drawn(2, 1, 4, 4))
    assert "First wrong module: `conv` (Conv2d)" in failed.reason


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_scalar_output(outputs):
    model = models.chain(6, 5, 4, outputs)
    if outputs == 1:
        model = nn.Sequential(*model, nn.Flatten(0)).eval()
    failed = judged(scaled_at("model.2" if outputs == 1 else "2"), model, drawn(2, 6))
    assert "2` (Linear)" in failed.reason


# -------------------------------------------------------------------------------- user code, cost


def test_an_explainer_that_needs_the_whole_model_ends_in_a_sentence(cnn):
    wrong = scaled_at("conv3")

    def picky(model, inputs, targets):
        if not hasattr(model, "conv1"):
            raise RuntimeError("where is layer4?\nsecond line")
        return wrong(model, inputs, targets)

    failed = judged(picky, cnn, drawn(2, 1, 8, 8))
    assert failed.outcome == "failed"
    assert "could not be located: explainer 'picky' raised RuntimeError: where is" in failed.reason
    assert "second line" not in failed.reason


def test_an_explainer_for_images_only_is_followed_as_far_as_there_are_images(cnn):
    def images_only(model, inputs, targets):
        if inputs.ndim != 4:
            raise NotApplicable("made for images")
        return wrong(model, inputs, targets)

    wrong = scaled_at("conv3")
    assert (
        "First wrong module: `conv3` (Conv2d)" in judged(images_only, cnn, drawn(2, 1, 8, 8)).reason
    )
    wrong = scaled_at("fc2")
    failed = judged(images_only, cnn, drawn(2, 1, 8, 8))
    assert "steps from `flatten` (Flatten) to `fc3` (Linear). Explaining" in failed.reason
    assert "The search stopped there: made for images." in failed.reason


def doubled_shapley(asked):
    """Twice the Shapley values, by all subsets: 2^d evaluations and no gradient."""

    @xai.explainer(needs_baseline=True, method="shapley")
    def explain(model, inputs, targets, baseline):
        count = inputs.shape[1]
        asked.append(count)
        maps = torch.zeros_like(inputs)
        worth = {}
        for subset in range(2**count):
            held = torch.tensor([bool(subset >> player & 1) for player in range(count)])
            outputs = model(torch.where(held, inputs, baseline))
            worth[subset] = outputs.gather(1, targets[:, None]).squeeze(1)
        for subset, player in itertools.product(range(2**count), range(count)):
            if not subset >> player & 1:
                weight = 1 / (count * math.comb(count - 1, subset.bit_count()))
                maps[:, player] += 2 * weight * (worth[subset | 1 << player] - worth[subset])
        return maps.detach()

    return explain


def test_who_tries_subsets_is_asked_about_no_more_values_than_the_input_has():
    asked = []
    failed = judged(doubled_shapley(asked), models.chain(3, 24, 2), drawn(2, 3), check=DELTA)
    assert failed.outcome == "failed"
    assert (
        "The wrong module could not be located: the explainer tries subsets of the values, and an "
        "activation has 24 values, more than the 3 of the input."
    ) in failed.reason
    assert set(asked) == {3}


def test_who_tries_subsets_is_asked_about_as_many():
    asked = []
    failed = judged(doubled_shapley(asked), models.chain(4, 4, 2), drawn(2, 4), check=DELTA)
    assert "No module is at fault" in failed.reason
    assert max(asked) == 4


def test_the_search_goes_on_after_a_wide_activation():
    """There are 12 values after the first layer, and 3 again after the second."""
    asked = []
    failed = judged(doubled_shapley(asked), models.chain(3, 12, 3, 1), drawn(2, 3), check=DELTA)
    assert "No module is at fault" in failed.reason
    assert set(asked) <= {2, 3}


def test_what_depends_on_the_batch_is_said_to(cnn):
    def mixed_up(model, inputs, targets):
        maps = input_x_gradient(model, inputs, targets)
        return maps.mean(0, keepdim=True).expand_as(maps) if len(maps) > 4 else maps

    failed = judged(mixed_up, cnn, drawn(8, 1, 8, 8))
    assert "the sums depend on the other images of the batch" in failed.reason


def test_a_model_that_cannot_be_copied_has_its_verdict():
    class Uncopyable(nn.Sequential):
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    failed = judged(scaled_at("2"), Uncopyable(*models.chain(6, 5, 3)).eval(), drawn(2, 6))
    assert failed.outcome == "failed"
    assert "could not be located: the model cannot be copied" in failed.reason


def test_the_tails_are_few_and_all_that_they_cost_is_counted(resnet):
    inputs, calls = drawn(8, 3, 16, 16), []
    wrong = scaled_at("layer2.0.conv2")

    def counted(model, given, targets):
        calls.append(len(given))
        return wrong(model, given, targets)

    failed = judged(counted, resnet, inputs)
    assert failed.evaluations.explainer_calls == sum(calls)
    # All 8 once, and twice more in other units; two of them in a bisection of 67 places at most.
    tails = [size for size in calls[3:] if size == 2]
    assert calls[:3] == [8, 8, 8]
    assert len(tails) <= 9
    assert sum(size == 1 for size in calls) <= 12
    assert failed.evaluations.backward >= sum(calls)


def test_nothing_is_left_in_the_model_or_the_process(cnn):
    wrong = scaled_at("conv5")

    def rude(model, inputs, targets):
        maps = wrong(model, inputs, targets)
        torch.rand(3)
        torch.set_grad_enabled(False)
        for module in cnn.modules():
            module.train()
        with torch.no_grad():
            cnn.conv1.weight.zero_() if not isinstance(model, nn.Sequential) else None
        return maps

    before = {name: value.clone() for name, value in cnn.state_dict().items()}
    state = torch.get_rng_state()
    failed = judged(rude, cnn, drawn(2, 1, 8, 8))
    assert "First wrong module: `conv5`" in failed.reason
    assert all(torch.equal(value, cnn.state_dict()[name]) for name, value in before.items())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    assert not any(module.training for module in cnn.modules())


def test_a_right_explainer_pays_for_nothing_of_it(cnn):
    passed = judged(input_x_gradient, cnn, drawn(4, 1, 8, 8))
    assert passed.outcome == "passed"
    assert (passed.evaluations.forward, passed.evaluations.backward) == (12, 8)


def test_a_library_without_float64_is_located_in_float32(cnn):
    wrong = scaled_at("conv4")

    def single(model, inputs, targets):
        if inputs.dtype == torch.float64:
            raise RuntimeError("float32 only")
        return wrong(model, inputs, targets)

    model = models.deep_cnn().float()
    failed = judged(single, model, drawn(2, 1, 8, 8).float())
    assert "First wrong module: `conv4` (Conv2d)" in failed.reason
    assert "it could not be decided in float64" in failed.reason


def test_a_stabiliser_of_one_layer_is_no_module_at_fault(cnn):
    failed = judged(lrp_epsilon(0.25), cnn, drawn(2, 1, 8, 8))
    assert "a stabiliser (epsilon) that is not small compared with the activations" in failed.reason
    assert "First wrong" not in failed.reason


@pytest.mark.parametrize("wrong", [gradient, of_product(lambda maps: maps + 1)])
def test_maps_of_a_fixed_size_are_said_to_be_that(wrong, cnn):
    failed = judged(wrong, cnn, drawn(2, 1, 8, 8))
    assert failed.outcome == "failed"
    assert "the maps do not grow with the output" in failed.reason
