"""zennit's rules on calls: functions, reused layers, residual sums, normalisation, refusals."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional

from fixtures.loops import in_one_test
from pytest_xai.errors import NotApplicable
from pytest_xai.explainers.zennit import ENTRIES

RELEVANCE = [
    name for name in ENTRIES if name.partition(":")[2] not in ("GuidedBackprop", "Deconvnet")
]
INPUT_RULES = [
    "zennit:LRPZero",
    "zennit:ZPlus",
    "zennit:AlphaBeta",
    "zennit:LRPGamma",
    "zennit:DTD",
]


def explain(name, model, inputs, targets, **options):
    return ENTRIES[name].factory(**options)(model, inputs, targets)


def same(one, two, *, rtol=1e-9):
    torch.testing.assert_close(one, two, rtol=rtol, atol=1e-13 * float(two.abs().max()) + 1e-30)


class Body(nn.Module):
    """Runs what it is given, with two convolutions, a head and the modules that are passed in."""

    def __init__(self, run, **modules):
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Conv2d(2, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        self.relu = nn.ReLU()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)
        self.double().eval()

    def forward(self, images):
        return self.run(self, images)


def case():
    torch.manual_seed(3)
    return torch.rand(3, 2, 6, 6).double(), torch.tensor([0, 2, 1])


def pooled(net, hidden):
    return net.head(net.pool(hidden).flatten(1))


def with_modules(net, images):
    hidden = net.two(net.relu(net.one(images)))
    return pooled(net, net.relu(hidden))


def pool():
    return nn.AdaptiveAvgPool2d(1)


EQUAL = {
    "F.relu": lambda net, x: pooled(net, functional.relu(net.two(functional.relu(net.one(x))))),
    "x.relu_": lambda net, x: pooled(net, net.two(net.one(x).relu_()).relu_()),
    "F.relu inplace": lambda net, x: pooled(
        net, functional.relu(net.two(functional.relu(net.one(x), inplace=True)), inplace=True)
    ),
    "clamp": lambda net, x: pooled(net, net.two(net.one(x).clamp(min=0)).clamp_min(0)),
    "where": lambda net, x: pooled(
        net, net.relu(net.two(torch.where(net.one(x) > 0, net.one(x), torch.zeros(()).double())))
    ),
    "mean": lambda net, x: net.head(net.relu(net.two(net.relu(net.one(x)))).mean((2, 3))),
    "sum / n": lambda net, x: net.head(net.relu(net.two(net.relu(net.one(x)))).sum((2, 3)) / 36),
    "F.avg_pool2d": lambda net, x: net.head(
        functional.avg_pool2d(net.relu(net.two(net.relu(net.one(x)))), 6).view(-1, 4)
    ),
    "F.linear": lambda net, x: functional.linear(
        net.pool(net.relu(net.two(net.relu(net.one(x))))).flatten(1),
        weight=net.head.weight,
        bias=net.head.bias,
    ),
    "F.conv2d": lambda net, x: pooled(
        net,
        net.relu(functional.conv2d(net.relu(net.one(x)), net.two.weight, net.two.bias, padding=1)),
    ),
    "scaled": lambda net, x: pooled(net, net.relu(net.two(2 * net.relu(net.one(x)) / 2))),
    "pieces": lambda net, x: pooled(
        net, torch.cat(net.relu(net.two(net.relu(net.one(x)))).split(2, 1), 1).permute(0, 1, 3, 2)
    ),
}


@pytest.mark.parametrize("name", RELEVANCE)
@in_one_test("form", EQUAL)
def test_a_function_has_the_rule_of_its_module(name, form):
    images, targets = case()
    expected = explain(name, Body(with_modules, pool=pool()), images, targets)
    found = explain(name, Body(EQUAL[form], pool=pool()), images, targets)
    assert expected.abs().max() > 0
    same(found, expected)


@pytest.mark.parametrize("name", RELEVANCE)
def test_a_layer_that_runs_twice_is_two_layers(name):
    """zennit's own hooks would use the inputs of the second run for both."""

    def twice(net, images):
        hidden = net.relu(net.one(images))
        return pooled(net, net.relu(net.small(net.two(net.small(hidden)))))

    def unrolled(net, images):
        hidden = net.relu(net.one(images))
        return pooled(net, net.relu(net.other(net.two(net.small(hidden)))))

    images, targets = case()
    torch.manual_seed(5)
    small, other = nn.Conv2d(4, 4, 2), nn.Conv2d(4, 4, 2)
    other.load_state_dict(small.state_dict())
    reused = explain(name, Body(twice, pool=pool(), small=small), images, targets)
    apart = Body(unrolled, pool=pool(), small=small, other=other)
    same(reused, explain(name, apart, images, targets))


SUMS = {
    "x + y": lambda x, y: x + y,
    "y += x": lambda x, y: y.__iadd__(x),
    "torch.add": lambda x, y: torch.add(x, other=y),
    "x - (-y)": lambda x, y: x - (-y),
    "x.add_(y)": lambda x, y: x.clone().add_(y),
}


def gradient_times_input(model, images, targets):
    values = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(values).gather(1, targets[:, None]).sum(), values)
    return (values * gradient).detach()


@pytest.mark.parametrize("form", SUMS)
def test_residual_sums_split_relevance_in_proportion(form):
    def residual(net, images):
        hidden = net.relu(net.one(images))
        return pooled(net, net.relu(SUMS[form](hidden, net.two(hidden))))

    images, targets = case()
    model = Body(residual, pool=pool())
    expected = gradient_times_input(model, images, targets)
    same(explain("zennit:LRPZero", model, images, targets), expected)


@pytest.mark.parametrize("form", SUMS)
def test_a_sum_in_closed_form(form):
    """R_a = a / (a + b) R, for both sides, and the input is a multiple of either."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(1, 1, bias=False)
            self.two = nn.Linear(1, 1, bias=False)
            self.one.weight.data.fill_(3)
            self.two.weight.data.fill_(-1)

        def forward(self, values):
            first, second = values[:, :1], values[:, 1:]
            return SUMS[form](self.one(first), self.two(second))

    inputs = torch.tensor([[2.0, 2.0], [1.0, -1.0], [1.0, 3.0]])
    found = explain("zennit:LRPZero", Two(), inputs, torch.zeros(3).long())
    expected = torch.tensor([[6.0, -2.0], [3.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(found, expected)
    # Without proportions, each side would have got all of it, 4 and 4 in the first row.


def normalised(kind, channels):
    norm = kind(channels).double().eval()
    torch.manual_seed(7)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.normal_()
        norm.bias.normal_()
    return norm


def folded(layer, norm, *, transposed=False):
    """By hand: w s and (b - m) s + t, with s = g / sqrt(v + eps)."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shape = [1] * layer.weight.ndim
    shape[1 if transposed else 0] = -1
    other = type(layer)(*arguments(layer), **keywords(layer)).double()
    bias = 0 if layer.bias is None else layer.bias
    other.weight.data.copy_(layer.weight * scale.reshape(shape))
    other.bias.data.copy_((bias - norm.running_mean) * scale + norm.bias)
    return other


def arguments(layer):
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels, layer.kernel_size


def keywords(layer):
    return {} if isinstance(layer, nn.Linear) else {"groups": layer.groups}


FOLDS = [
    (nn.Linear(4, 6), nn.BatchNorm1d, (4,)),
    (nn.Linear(4, 6, bias=False), nn.BatchNorm1d, (4,)),
    (nn.Conv1d(4, 6, 3), nn.BatchNorm1d, (4, 7)),
    (nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d, (4, 5, 5)),
    (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d, (4, 5, 5)),
    (nn.Conv3d(4, 6, 3), nn.BatchNorm3d, (4, 4, 4, 4)),
    (nn.ConvTranspose2d(4, 6, 2), nn.BatchNorm2d, (4, 3, 3)),
]


@pytest.mark.parametrize("name", RELEVANCE)
@in_one_test("layer, kind, shape", FOLDS)
def test_batch_normalisation_is_folded_into_the_layer_before_it(name, layer, kind, shape):
    torch.manual_seed(1)
    layer = layer.double()
    layer.reset_parameters()
    norm = normalised(kind, 6)
    tail = [nn.ReLU(), nn.Flatten(), nn.LazyLinear(3, dtype=torch.float64)]
    inputs, targets = torch.rand(3, *shape).double(), torch.tensor([0, 1, 2])
    model = nn.Sequential(layer, norm, *tail).eval()
    transposed = isinstance(layer, nn.ConvTranspose2d)
    twin = nn.Sequential(folded(layer, norm, transposed=transposed), *tail)
    model(inputs)
    torch.testing.assert_close(twin(inputs), model(inputs))
    same(explain(name, model, inputs, targets), explain(name, twin, inputs, targets))


@pytest.mark.parametrize("order", ["registered the other way round", "pre-activation", "first"])
def test_batch_normalisation_anywhere_leaves_lrp_zero_the_gradient_times_input(order):
    def other_way(net, images):
        return pooled(net, net.relu(net.norm(net.two(net.relu(net.one(images))))))

    def before(net, images):
        hidden = net.one(images)
        return pooled(net, hidden + net.two(net.relu(net.norm(hidden))))

    def first(net, images):
        return with_modules(net, net.norm(images))

    run = {"registered the other way round": other_way, "pre-activation": before, "first": first}
    images, targets = case()
    channels = 2 if order == "first" else 4
    model = Body(run[order], pool=pool(), norm=normalised(nn.BatchNorm2d, channels))
    if order == "pre-activation":
        with pytest.raises(NotApplicable, match="output that is read by more than its batch_norm"):
            explain("zennit:LRPZero", model, images, targets)
        return
    expected = gradient_times_input(model, images, targets)
    same(explain("zennit:LRPZero", model, images, targets), expected)


def test_batch_normalisation_without_a_layer_before_it():
    """It shifts single values: under LRP-0 its constant takes a share, elsewhere none."""

    def run(net, images):
        hidden = net.relu(net.one(images))
        return pooled(net, hidden + net.two(net.relu(net.norm(hidden))))

    images, targets = case()
    model = Body(run, pool=pool(), norm=normalised(nn.BatchNorm2d, 4))
    expected = gradient_times_input(model, images, targets)
    same(explain("zennit:LRPZero", model, images, targets), expected)
    outputs = model(images).gather(1, targets[:, None]).squeeze(1).detach()
    sums = explain("zennit:DTD", model, images, targets, domain="real").sum((1, 2, 3))
    torch.testing.assert_close(sums, outputs)


def test_what_is_no_longer_the_output_of_a_layer_is_not_folded():
    """Rectified in place, the tensor is the same object."""

    def run(net, images, rectified):
        return pooled(net, net.norm(rectified(net.one(images))))

    images, targets = case()
    norm = normalised(nn.BatchNorm2d, 4)
    found = Body(lambda net, x: run(net, x, torch.Tensor.relu_), pool=pool(), norm=norm)
    expected = Body(lambda net, x: run(net, x, torch.relu), pool=pool(), norm=norm)
    for name in RELEVANCE:
        same(explain(name, found, images, targets), explain(name, expected, images, targets))


def test_a_transposed_convolution_with_groups_is_not_folded():
    torch.manual_seed(0)
    layers = [nn.ConvTranspose2d(4, 6, 2, groups=2), normalised(nn.BatchNorm2d, 6), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 3)).double().eval()
    inputs, targets = torch.rand(3, 4, 3, 3).double(), torch.tensor([0, 1, 2])
    expected = gradient_times_input(model, inputs, targets)
    same(explain("zennit:LRPZero", model, inputs, targets), expected)


def test_a_pixel_that_is_masked_out_gets_nothing_from_any_rule():
    mask = torch.ones(6, 6).double()
    mask[:3] = 0
    images, targets = case()
    model = Body(lambda net, x: with_modules(net, (x - 0.5) * mask), pool=pool())
    for name in RELEVANCE:
        maps = explain(name, model, images, targets)
        assert (maps[:, :, :3] == 0).all(), name
        assert (maps[:, :, 3:] != 0).any(), name


def test_the_first_layer_is_the_one_that_runs_first():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 3)
            self.body = nn.Linear(4, 6)
            self.branch = nn.Linear(4, 6)

        def forward(self, values):
            return self.head((self.body(values) + self.branch(values.flip(1))).relu())

    torch.manual_seed(2)
    model, inputs = Backwards().double(), torch.randn(5, 4).double()
    targets = torch.tensor([0, 1, 2, 0, 1])
    found = explain("zennit:Flat", model, inputs, targets)
    # Equal parts in every layer that reads the inputs: all features the same.
    torch.testing.assert_close(found, found[:, :1].expand(5, 4))
    assert found.abs().max() > 0


def resnet():
    # Imported here: collecting the tests does not wait for it.
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return model.double().eval()


PRESETS = [
    "zennit:EpsilonPlus",
    "zennit:EpsilonPlusFlat",
    "zennit:EpsilonAlpha2Beta1",
    "zennit:EpsilonAlpha2Beta1Flat",
    "zennit:EpsilonGammaBox",
]


def by_zennit(name, model, images, targets, **options):
    """Its own composite, with denominators that are stabilised by next to nothing."""
    from zennit import composites
    from zennit.attribution import Gradient
    from zennit.torchvision import ResNetCanonizer

    if name == "zennit:EpsilonGammaBox":
        options = {key: torch.tensor(value) for key, value in options.items()}
    preset = getattr(composites, name.partition(":")[2])
    composite = preset(stabilizer=1e-30, canonizers=[ResNetCanonizer()], **options)

    def start(outputs):
        return torch.zeros_like(outputs).scatter(
            1, targets[:, None], outputs.gather(1, targets[:, None])
        )

    with Gradient(model, composite) as attributor:
        return attributor(images.clone(), start)[1].detach()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_on_a_resnet_are_those_of_zennit_with_its_canonizer(name):
    model = resnet()
    box = {"low": -4.0, "high": 4.0} if "Box" in name else {}
    torch.manual_seed(1)
    images, targets = torch.randn(1, 3, 24, 24).double().clamp(-4, 4), torch.tensor([4])
    found = explain(name, model, images, targets, **box)
    theirs = by_zennit(name, model, images, targets, **box)
    gap = float((found - theirs).abs().max() / theirs.abs().max())
    # zennit keeps 1 / sqrt(1 + eps) of every normalisation that it merged, with eps = 1e-5.
    assert 1e-7 < gap < 1e-3
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    exact = explain(name, model, images, targets, **box)
    same(exact, by_zennit(name, model, images, targets, **box), rtol=1e-7)


def test_lrp_zero_on_a_resnet_is_gradient_times_input():
    model = resnet()
    torch.manual_seed(1)
    images, targets = torch.randn(2, 3, 32, 32).double(), torch.tensor([1, 4])
    expected = gradient_times_input(model, images, targets)
    found = explain("zennit:LRPZero", model, images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


REFUSED = {
    "layer_norm in inserted (LayerNorm)": (
        nn.LayerNorm(6),
        lambda net, x: pooled(net, net.inserted(net.one(x))),
    ),
    "group_norm in inserted (GroupNorm)": (
        nn.GroupNorm(2, 4),
        lambda net, x: pooled(net, net.inserted(net.one(x))),
    ),
    "instance_norm in inserted (InstanceNorm2d)": (
        nn.InstanceNorm2d(4),
        lambda net, x: pooled(net, net.inserted(net.one(x))),
    ),
    "local_response_norm in inserted": (
        nn.LocalResponseNorm(2),
        lambda net, x: pooled(net, net.inserted(net.one(x))),
    ),
    "batch_norm with the statistics of the batch in inserted (BatchNorm2d)": (
        nn.BatchNorm2d(4, track_running_stats=False),
        lambda net, x: pooled(net, net.inserted(net.one(x))),
    ),
    "softmax in inserted (Softmax)": (
        nn.Softmax(1),
        lambda net, x: net.inserted(with_modules(net, x)),
    ),
    "multi_head_attention_forward in inserted (MultiheadAttention)": (
        nn.MultiheadAttention(4, 2, batch_first=True),
        lambda net, x: net.head(net.inserted(*[net.one(x).flatten(2).mT] * 3)[0].mean(1)),
    ),
    "lstm in inserted (LSTM)": (
        nn.LSTM(4, 4, batch_first=True),
        lambda net, x: net.head(net.inserted(net.one(x).flatten(2).mT)[0][:, -1]),
    ),
    "dropout in training mode in inserted (Dropout)": (
        nn.Dropout(),
        lambda net, x: pooled(net, net.inserted.train()(net.one(x))),
    ),
    "mul in Body": (None, lambda net, x: pooled(net, net.one(x) * net.one(x).sigmoid())),
    "matmul in Body": (None, lambda net, x: pooled(net, net.one(x) @ net.one(x))),
    "division by an activation in Body": (
        None,
        lambda net, x: pooled(net, torch.div(torch.ones(()).double(), net.one(x))),
    ),
    "pow in Body": (None, lambda net, x: pooled(net, net.one(x) ** 2)),
    "conv2d with weights that depend on the inputs in Body": (
        None,
        lambda net, x: pooled(net, functional.conv2d(net.one(x), net.two.weight * x.sum())),
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_rule_is_not_applicable(reason):
    module, run = REFUSED[reason]
    images, targets = case()
    model = Body(run, pool=pool(), inserted=module)
    for name in ("zennit:LRPZero", "zennit:DTD"):
        with pytest.raises(NotApplicable) as caught:
            explain(name, model, images, targets)
        assert f"there is no rule of relevance propagation for {reason}" in str(caught.value)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_layer_that_more_than_its_normalisation_reads_is_refused_in_either_order():
    def after(net, images):
        hidden = net.one(images)
        return pooled(net, net.norm(hidden) + hidden)

    def ahead(net, images):
        hidden = net.one(images)
        other = net.two(hidden)
        return pooled(net, net.norm(hidden) + other)

    images, targets = case()
    for run in (after, ahead):
        model = Body(run, pool=pool(), norm=normalised(nn.BatchNorm2d, 4))
        with pytest.raises(NotApplicable, match="read by more than its batch_norm"):
            explain("zennit:ZPlus", model, images, targets)


class OptimizedModule(nn.Sequential):
    """What torch.compile returns has this name; compiling takes seconds."""


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_closed_models_and_constant_ones_are_not_applicable():
    images, targets = case()
    model = nn.Sequential(nn.Conv2d(2, 3, 6), nn.Flatten()).double()
    with pytest.raises(NotApplicable, match="scripted or compiled modules"):
        explain("zennit:LRPZero", torch.jit.script(model), images, targets)
    with pytest.raises(NotApplicable, match="scripted or compiled modules"):
        explain("zennit:LRPZero", OptimizedModule(model), images, targets)
    constant = Body(lambda net, x: net.head(x.new_ones(len(x), 4)))
    with pytest.raises(NotApplicable, match="no gradient with respect to the inputs"):
        explain("zennit:LRPZero", constant, images, targets)


@pytest.mark.parametrize(
    "module",
    [
        nn.LeakyReLU(0.1),
        nn.ELU(),
        nn.GELU(),
        nn.SiLU(),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.PReLU(),
        nn.ReLU6(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_activations_pass_relevance_on(module):
    """w2 above nothing: what reaches the first layer is what the second one sends to it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), module, nn.Linear(4, 2)).double()
    inputs, targets = torch.randn(5, 3).double(), torch.tensor([0, 1, 0, 1, 0])
    hidden = model[1](model[0](inputs)).detach()
    outputs = model(inputs).gather(1, targets[:, None]).detach()
    weight, bias = model[2].weight[targets].detach(), model[2].bias[targets].detach()
    relevance = hidden * weight / ((hidden * weight).sum(1) + bias)[:, None] * outputs
    first = model[0].weight.detach()
    z = model[0](inputs).detach()
    expected = ((relevance / z) @ first) * inputs
    same(explain("zennit:LRPZero", model, inputs, targets), expected)


def test_an_activation_in_place_is_seen_by_all_who_read_its_input():
    """A pre-activation block with an in-place ReLU adds the rectified values."""

    def block(net, images, relu):
        hidden = net.one(images)
        return pooled(net, net.two(relu(hidden)) + hidden)

    def plain(net, images):
        hidden = net.relu(net.one(images))
        return pooled(net, net.two(hidden) + hidden)

    images, targets = case()
    expected = Body(plain, pool=pool())
    found = Body(lambda net, x: block(net, x, nn.ReLU(inplace=True)), pool=pool())
    torch.testing.assert_close(found(images), expected(images))
    for name in RELEVANCE:
        same(explain(name, found, images, targets), explain(name, expected, images, targets))


def test_weights_that_a_model_computes_are_taken_as_they_are():
    images, targets = case()
    plain = Body(with_modules, pool=pool())
    normed = Body(with_modules, pool=pool())
    nn.utils.parametrizations.weight_norm(normed.two)
    normed.eval()
    torch.testing.assert_close(normed(images), plain(images))
    for name in RELEVANCE:
        same(explain(name, normed, images, targets), explain(name, plain, images, targets))


@pytest.mark.parametrize("name", ENTRIES)
@in_one_test("dtype", [torch.float32, torch.float64])
@in_one_test(
    "layers",
    [
        (nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Dropout()),
        (nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5), nn.ReLU(), nn.MaxPool1d(2), nn.AvgPool1d(2)),
        (nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.MaxPool2d(3, 1)),
        (nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.AdaptiveAvgPool2d(1)),
        (nn.Conv3d(3, 5, 3), nn.BatchNorm3d(5), nn.ReLU(), nn.MaxPool3d(2), nn.AvgPool3d(1)),
    ],
)
def test_all_kinds_of_inputs_without_a_trace(name, layers, dtype):
    torch.manual_seed(0)
    spatial = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[type(layers[0])]
    model = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3)).to(dtype).eval()
    layers[0].reset_parameters()
    inputs = torch.rand(4, 3, *[8] * spatial, dtype=dtype)
    targets = torch.tensor([0, 1, 2, 1])
    model(inputs)
    next(model.parameters()).requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    places = {key: value.data_ptr() for key, value in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in model.parameters()]
    given, state = inputs.clone(), torch.get_rng_state()
    with torch.no_grad():
        maps = explain(name, model, inputs, targets)
        again = torch.cat(
            [explain(name, model, inputs[i : i + 1], targets[i : i + 1]) for i in range(4)]
        )
        assert not torch.is_grad_enabled()
    assert maps.shape == inputs.shape
    assert maps.dtype == dtype
    assert not maps.requires_grad
    assert torch.isfinite(maps).all()
    assert maps.abs().max() > 0
    rtol = 1e-3 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(maps, again, rtol=rtol, atol=rtol * float(maps.abs().max()))
    assert torch.equal(inputs, given)
    assert inputs.requires_grad is False
    assert torch.equal(torch.get_rng_state(), state)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(after[key].data_ptr() == place for key, place in places.items())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    for module in model.modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        assert not any(hooks)


@pytest.mark.parametrize("name", ENTRIES)
def test_one_pass_forward_and_one_backward(name):
    images, targets = case()
    model = Body(with_modules, pool=pool())
    spent = [0, 0]

    def count(_, __, output):
        spent[0] += len(output)
        output.register_hook(lambda _: spent.__setitem__(1, spent[1] + len(output)))

    model.register_forward_hook(count)
    explain(name, model, images, targets)
    assert spent == [3, 3]
    assert ENTRIES[name].traits({}, library="zennit").cost == "1 forward + 1 backward"


def test_large_batches_go_through_in_parts(monkeypatch):
    images, targets = case()
    model = Body(with_modules, pool=pool())
    whole = {name: explain(name, model, images, targets) for name in ENTRIES}
    sizes = []
    model.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    for module in ("relevance", "relus"):
        path = f"pytest_xai.explainers.zennit.{module}.images_per_pass"
        monkeypatch.setattr(path, lambda inputs: 2)
    for name, maps in whole.items():
        same(explain(name, model, images, targets), maps)
    assert sizes == [2, 1] * len(ENTRIES)


@pytest.mark.parametrize("name", ["zennit:LRPGamma", "zennit:GuidedBackprop"])
def test_memory_is_freed_without_the_garbage_collector(name):
    images, targets = case()
    kept = []

    def run(net, x):
        hidden = net.relu(net.one(x))
        kept.append(weakref.ref(hidden))
        return pooled(net, hidden)

    model = Body(run, pool=pool())
    gc.collect()
    gc.disable()
    try:
        explain(name, model, images, targets)
        assert kept[0]() is None
    finally:
        gc.enable()
