"""Attacks on the prediction, by foolbox; their budgets and successes are verified here."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn

from pytest_xai.bench import Bench
from pytest_xai.errors import NotApplicable
from pytest_xai.optional import require
from pytest_xai.seeds import seeded

__all__ = ["Attacked", "deepfool", "fgsm"]

# Bounds and budgets are kept to this share of the range, and to the rounding of the inputs.
_SLACK = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class Attacked:
    """Inputs before and after an attack, predicted again.

    Attributes:
        inputs: after the attack, (n, *shape).
        predicted: the class predicted for them, LongTensor (n,).
        correct: the original input was predicted as its target; BoolTensor (n,).
        flipped: the prediction changed; BoolTensor (n,).
        within: bounds and budget are kept; BoolTensor (n,).
        size: norm of the perturbation in the attack's own norm, (n,).
    """

    inputs: Tensor
    predicted: Tensor
    correct: Tensor
    flipped: Tensor
    within: Tensor
    size: Tensor


def fgsm(bench: Bench, *, epsilon: float) -> Attacked:
    """One step along the sign of the gradient of the loss (Goodfellow et al. 2015, section 4).

    Args:
        bench: whose images; targets are the labels.
        epsilon: size of the step in the maximum norm, as a share of the range of the inputs.

    Raises:
        NotApplicable: the inputs have no range, or the model has no gradient.
    """
    _require_gradient(bench)
    low, high = bench.bounds
    size = epsilon * (high - low)
    adversarial = bench.share(
        ("fgsm", epsilon),
        lambda chunk: _run(chunk, lambda fb: fb.attacks.LinfFastGradientAttack(), size),
    )
    return _verified(bench, adversarial, norm=float("inf"), budget=size)


def deepfool(bench: Bench) -> Attacked:
    """The nearest decision boundary in the L2 norm (Moosavi-Dezfooli et al. 2016, algorithm 2).

    At most 50 steps towards the nearest of the 10 likeliest classes, overshooting by 2 %.

    Args:
        bench: whose images.

    Raises:
        NotApplicable: the inputs have no range, or the model has no gradient.
    """
    _require_gradient(bench)
    adversarial = bench.share(
        ("deepfool",), lambda chunk: _run(chunk, lambda fb: fb.attacks.L2DeepFoolAttack(), None)
    )
    return _verified(bench, adversarial, norm=2.0, budget=None)


def _require_gradient(bench: Bench) -> None:
    if not bench.differentiable:
        raise NotApplicable("the model has no gradient with respect to its inputs to attack by")


def _run(
    chunk: Bench,
    make: Callable[[ModuleType], Callable[..., tuple[Tensor, Tensor, Tensor]]],
    epsilon: float | None,
) -> Tensor:
    """The attack's result for one chunk; the model is given back as it was."""
    foolbox = _foolbox()
    model = chunk.subject.model
    network = _TwoLogits(model).eval() if chunk.classes == 1 else model
    labels = chunk.predictions() if chunk.classes == 1 else chunk.targets
    seed = chunk.derive_seed("attack", chunk.images)

    def attack(inputs: Tensor, classes: Tensor) -> Tensor:
        with _no_gradients_kept(model), chunk.guard.watch(), seeded(seed):
            victim = foolbox.PyTorchModel(network, bounds=chunk.bounds, device=inputs.device)
            _, clipped, _ = make(foolbox)(victim, inputs, classes, epsilons=epsilon)
        return clipped.detach()

    return chunk.batched(attack, chunk.inputs, labels)


@contextmanager
def _no_gradients_kept(model: nn.Module) -> Iterator[None]:
    """Attacks need the gradient of the input; those of the weights would cost a third more."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _verified(bench: Bench, adversarial: Tensor, *, norm: float, budget: float | None) -> Attacked:
    """Look at an attack's result with our own eyes: its success flag is never asked."""
    low, high = bench.bounds
    finite = adversarial.flatten(1).isfinite().all(1)
    whole = finite.reshape(-1, *[1] * (adversarial.ndim - 1))
    adversarial = torch.where(whole, adversarial, bench.inputs)
    rounding = torch.finfo(adversarial.dtype).eps * max(abs(low), abs(high))
    slack = _SLACK * (high - low) + rounding
    delta = (adversarial - bench.inputs).flatten(1).double()
    size = torch.linalg.vector_norm(delta, ord=norm, dim=1)
    rows = adversarial.flatten(1)
    within = finite & ((rows >= low - slack) & (rows <= high + slack)).all(1)
    if budget is not None:
        within &= size <= budget + slack
    before = bench.predictions()
    predicted = bench.predictions(adversarial)
    return Attacked(
        inputs=adversarial,
        predicted=predicted,
        correct=torch.ones_like(within) if bench.classes == 1 else before == bench.targets,
        flipped=predicted != before,
        within=within,
        size=size,
    )


class _TwoLogits(nn.Module):
    """A single logit z as the two logits (0, z): the same classifier, with classes to attack."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logit: Tensor = self.model(inputs)
        return torch.cat([torch.zeros_like(logit), logit], 1)


def _foolbox() -> ModuleType:
    # foolbox imports GitPython, which refuses to be imported where there is no git program, and
    # a name that scipy has deprecated, which would be an error where warnings are.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return require("foolbox")
