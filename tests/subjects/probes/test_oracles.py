"""The closed forms against other ways to the same maps: derivatives, integrals, orders, loops."""

import itertools

import pytest
import torch
from torch import nn

from fixtures.loops import in_one_test
from fixtures.right import gradient, occlusion, quadrature
from pytest_xai.subjects.probes import probes

MADE = {name: make() for name, make in probes().items()}


def having(*methods):
    return in_one_test(
        "name, method",
        [(n, method) for method in methods for n, made in MADE.items() if method in made.truths],
    )


def close(found, truth, tolerance=1e-12):
    assert found.shape == truth.shape
    return (found - truth).abs().max() <= tolerance * (1 + truth.abs().max())


@having("gradient", "absolute_gradient", "input_x_gradient")
def test_gradients(name, method):
    subject = MADE[name]
    found = gradient(subject.model, subject.inputs, subject.targets)
    if method == "absolute_gradient":
        found = found.abs()
    elif method == "input_x_gradient":
        found = found * subject.inputs
    assert close(found, subject.truths[method])


@having("integrated_gradients")
def test_integrals(name, method):
    """Four Gauss-Legendre nodes in each of 240 parts, at whose ends the units switch."""
    subject, parts = MADE[name], 240
    places, weights = quadrature("gauss", 4)
    way = torch.tensor([(part + place) / parts for part in range(parts) for place in places])
    share = torch.tensor(weights).double().repeat(parts) / parts
    baseline = subject.baseline.expand_as(subject.inputs)
    delta = subject.inputs - baseline
    nodes = way.double().reshape(-1, *[1] * subject.inputs.ndim)
    points = (baseline + nodes * delta).flatten(0, 1)
    slopes = gradient(subject.model, points, subject.targets.repeat(len(way)))
    slopes = slopes.view(len(way), *delta.shape)
    found = delta * (share.reshape(nodes.shape) * slopes).sum(0)
    assert close(found, subject.truths[method], 1e-7)


@having("occlusion", "feature_ablation")
def test_ablations(name, method):
    subject = MADE[name]
    found = occlusion(subject.model, subject.inputs, subject.targets, baseline=subject.baseline)
    if subject.truths[method].shape != found.shape:
        # Of a linear model, all channels of a place together make the sum of what each makes.
        found = found.sum(1, keepdim=True)
    assert close(found, subject.truths[method])


@having("shapley", "any draw of shapley", "any draw of kernel_shap")
def test_coalitions(name, method):
    """The mean over all orders of what a player adds to those before it."""
    subject = MADE[name]
    count, found = subject.inputs.shape[1], torch.zeros_like(subject.inputs)
    orders = list(itertools.permutations(range(count)))
    for order in orders:
        present = subject.baseline.expand_as(subject.inputs).clone()
        worth = subject.model(present).gather(1, subject.targets[:, None])
        for player in order:
            present[:, player] = subject.inputs[:, player]
            after = subject.model(present).gather(1, subject.targets[:, None])
            found[:, player] += (after - worth)[:, 0].detach() / len(orders)
            worth = after
    assert close(found, subject.truths[method])


class Ruled(torch.autograd.Function):
    """A ReLU whose gradient is given by a rule of (signal, sums)."""

    @staticmethod
    def forward(context, sums, rule):
        context.rule = rule
        context.save_for_backward(sums)
        return sums.relu()

    @staticmethod
    def backward(context, signal):
        return context.rule(signal, *context.saved_tensors), None


class Relu(nn.Module):
    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, sums):
        return Ruled.apply(sums, self.rule)


def ruled(model, rule):
    """The network with this rule in place of its ReLUs."""
    return nn.Sequential(*(Relu(rule) if isinstance(m, nn.ReLU) else m for m in model))


@having("guided_backprop", "deconvolution")
def test_rectified_signals(name, method):
    subject = MADE[name]
    guided = method == "guided_backprop"
    model = subject.model
    if isinstance(model, nn.Sequential):
        model = ruled(model, lambda signal, z: signal.relu() * ((z > 0) if guided else 1))
    found = gradient(model, subject.inputs, subject.targets)
    assert close(found, subject.truths[method])


@having("deep_lift_rescale")
def test_secants(name, method):
    """Both passes in one batch, the signal at a ReLU times the slope between them."""
    subject = MADE[name]

    def rule(signal, z):
        at, reference = z.chunk(2)
        slope = (at.relu() - reference.relu()) / (at - reference)
        slope = torch.where(at == reference, (at > 0).double(), slope)
        return signal * slope.repeat(2, *[1] * (signal.ndim - 1))

    model = subject.model
    if isinstance(model, nn.Sequential):
        model = ruled(model, rule)
    baseline = subject.baseline.expand_as(subject.inputs)
    both = torch.cat([subject.inputs, baseline]).requires_grad_()
    outputs = model(both)[: len(subject)].gather(1, subject.targets[:, None]).sum()
    slopes = torch.autograd.grad(outputs, both)[0][: len(subject)]
    assert close(slopes * (subject.inputs - baseline), subject.truths[method])


@having("deep_lift_reveal_cancel")
def test_revealed(name, method):
    """Neuron by neuron: the two players p and q of the change, in both orders."""
    subject = MADE[name]
    truth = subject.truths[method]
    linear = [m for m in subject.model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    if len(linear) == 1:
        assert torch.equal(truth, subject.truths["integrated_gradients"])
        return
    if isinstance(linear[0], nn.Conv2d):
        # Held to the explainer of our own, which works on the graph; here only to its sum.
        sums = [t.flatten(1).sum(1) for t in (truth, subject.truths["deep_lift_rescale"])]
        assert close(*sums)
        return
    hidden, out = linear
    baseline = subject.baseline.expand_as(subject.inputs)
    found = torch.zeros_like(subject.inputs)
    for image, (x, reference, target) in enumerate(
        zip(subject.inputs, baseline, subject.targets, strict=True)
    ):
        for unit, weights in enumerate(hidden.weight.detach()):
            y = float(hidden(reference)[unit].detach())
            parts = [float(part) for part in weights * (x - reference)]
            p, q = sum(max(part, 0) for part in parts), sum(min(part, 0) for part in parts)

            def g(value):
                return max(value, 0.0)

            plus = ((g(y + p) - g(y)) + (g(y + q + p) - g(y + q))) / 2
            minus = ((g(y + q) - g(y)) + (g(y + p + q) - g(y + p))) / 2
            for feature, part in enumerate(parts):
                share = plus * part / p if part > 0 else minus * part / q if part < 0 else 0
                found[image, feature] += float(out.weight.detach()[target, unit]) * share
    assert close(found, truth)


# --------------------------------------------------------------------------------------------- LRP


def shares(rule, below, weights):
    """What each lower neuron gets of an upper one's relevance, as plain numbers."""
    parts = [a * w for a, w in zip(below, weights, strict=True)]
    positive, negative = [max(part, 0) for part in parts], [min(part, 0) for part in parts]
    one_sided = {
        "plus": positive,
        "gamma": [a * (w + 0.25 * max(w, 0)) for a, w in zip(below, weights, strict=True)],
        "square": [w * w for w in weights],
        "flat": [1.0 for _ in weights],
        "box": [a * w - min(w, 0) for a, w in zip(below, weights, strict=True)],
        "zero": parts,
    }
    if rule in one_sided:
        chosen = one_sided[rule]
        whole = sum(chosen)
        return [part / whole if whole else 0.0 for part in chosen]
    if rule == "epsilon":
        whole = sum(parts)
        return [part / (whole + (1e-6 if whole >= 0 else -1e-6)) for part in parts]
    up, down = sum(positive), sum(negative)
    return [
        (2 * a / up if up else 0) - (b / down if down else 0)
        for a, b in zip(positive, negative, strict=True)
    ]


RULES = {
    "lrp_zero": ("zero", "zero"),
    "lrp_epsilon": ("epsilon", "epsilon"),
    "lrp_gamma": ("gamma", "gamma"),
    "lrp_z_plus": ("plus", "plus"),
    "lrp_alpha2_beta1": ("alpha2", "alpha2"),
    "lrp_w_square": ("square", "plus"),
    "lrp_flat": ("flat", "plus"),
    "lrp_z_box": ("box", "plus"),
    "deep_taylor": ("box", "plus"),
    "excitation_backprop": ("plus", "plus"),
}


@pytest.mark.parametrize("name", ["lrp-layer", "lrp-layers"])
@pytest.mark.parametrize("method", RULES)
def test_relevances_by_hand(name, method):
    subject, (first, others) = MADE[name], RULES[method]
    layers = [m for m in subject.model if isinstance(m, nn.Linear)]
    for image, x in enumerate(subject.inputs):
        activations = [x.tolist()]
        for layer in layers[:-1]:
            values = [
                sum(a * w for a, w in zip(activations[-1], row, strict=True))
                for row in layer.weight.tolist()
            ]
            activations.append([max(value, 0.0) for value in values])
        output = float(subject.model(x[None])[0, 0].detach())
        relevance = [0.0] * len(layers[-1].weight)
        relevance[0] = 1.0 if method == "excitation_backprop" else output
        for depth in range(len(layers) - 1, -1, -1):
            below, passed = activations[depth], [0.0] * len(activations[depth])
            for upper, row in zip(relevance, layers[depth].weight.tolist(), strict=True):
                rule = others if depth else first
                given = shares(rule, below, row) if upper else [0.0] * len(below)
                passed = [have + part * upper for have, part in zip(passed, given, strict=True)]
            relevance = passed
        truth = subject.truths[method][image]
        assert close(torch.tensor(relevance, dtype=torch.float64), truth, 1e-9)


@having("lrp_zero")
def test_lrp_zero_is_the_product_with_the_input(name, method):
    """On every network of linear layers, ReLU and max-pools (Ancona 2018)."""
    subject = MADE[name]
    product = subject.inputs * gradient(subject.model, subject.inputs, subject.targets)
    assert close(product, subject.truths[method])


# ---------------------------------------------------------------------------- class activation maps


@pytest.mark.parametrize("name", ["gap-cam", "gap-linear"])
def test_class_activation_maps(name):
    """By the derivatives for the activations of each image, as the papers define them."""
    subject = MADE[name]
    activations = subject.model[0](subject.inputs).detach().requires_grad_()
    scores = subject.model[1:](activations).gather(1, subject.targets[:, None])
    (slopes,) = torch.autograd.grad(scores.sum(), activations)
    values, truths = activations.detach(), subject.truths
    grad_cam = (slopes.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True)
    assert close(grad_cam * 16, truths["cam"])
    assert close(grad_cam.relu(), truths["grad_cam"])
    assert close((slopes * values).sum(1, keepdim=True).relu(), truths["hires_cam"])
    axioms = (slopes * values / values.sum((2, 3), keepdim=True)).sum((2, 3), keepdim=True)
    assert close((axioms * values).sum(1, keepdim=True).relu(), truths["xgrad_cam"])
    dropped = []
    for channel in range(values.shape[1]):
        without = values.clone()
        without[:, channel] = 0
        left = subject.model[1:](without).gather(1, subject.targets[:, None])
        dropped.append(((scores - left) / scores).detach())
    weights = torch.cat(dropped, 1)[:, :, None, None]
    assert close((weights * values).sum(1, keepdim=True).relu(), truths["ablation_cam"])
    guided = truths["guided_backprop"]
    assert close(truths["guided_grad_cam"], grad_cam.relu() * guided)
    if name == "gap-cam":
        assert close((slopes.relu() * values).sum(1, keepdim=True), truths["layer_cam"])
        square, cube = slopes.square(), slopes**3
        alpha = square / (2 * square + values.sum((2, 3), keepdim=True) * cube)
        plus = (alpha * slopes.relu()).sum((2, 3), keepdim=True)
        assert close((plus * values).sum(1, keepdim=True), truths["grad_cam_plus_plus"])
        for image, maps in enumerate(values):
            expected = sum(a.mean() * (a >= a.mean() + a.std(correction=0)) for a in maps.unbind(0))
            assert close(expected, truths["fem"][image, 0])


def test_stretched_maps_go_from_zero_to_one():
    for name in ("gap-cam", "gap-linear"):
        for method, truth in MADE[name].truths.items():
            if method.endswith("_scaled"):
                whole = MADE[name].truths[method.removesuffix("_scaled")]
                assert truth.flatten(1).amin(1).abs().max() == 0
                assert (truth.flatten(1).amax(1) == 1).all()
                ratio = (whole - whole.flatten(1).amin(1)[:, None, None, None]).clamp(min=0)
                top = ratio.flatten(1).amax(1)[:, None, None, None]
                assert close(ratio / top, truth)
