"""Compares every attack on the prediction with a second implementation, on the bundled digits.

    python -m studies.attacks [--write docs/evidence/attacks.md]

The second implementations are torchattacks and the adversarial-robustness-toolbox, which have to be
installed for this script only. The same code counts success, norms and evaluations of both sides,
on 100 images that the network classifies correctly.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pytest_xai import Bench, Subject, attacks
from pytest_xai.attacks import Attacked
from pytest_xai.subjects import load_digits
from studies.page import page_asked_for, print_or_write

IMAGES = 100
EPSILON = 0.1
# Of 64 elements with values from 0 to 1.
_LENGTH = EPSILON * 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What an attack did to the images.

    Attributes:
        success: share of the images whose prediction changed.
        norm: mean norm of the perturbation over these; NaN where there is none.
        forward: evaluations per image.
        backward: the same.
    """

    success: float
    norm: float
    forward: float
    backward: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One attack in both implementations.

    Attributes:
        ours: maps a bench to the result.
        theirs: maps the bench to adversarial inputs.
        name: of their implementation, the package first.
        why: the two differ.
        images: that both are run on.
    """

    ours: Callable[[Bench], Attacked]
    theirs: Callable[[Bench], Tensor]
    name: str
    why: str
    images: int = IMAGES


def bench(images: int = IMAGES) -> Bench:
    """A new bench, on which nothing was made yet, of images that the network gets right."""
    whole = load_digits()
    right = (whole.model(whole.inputs).argmax(1) == whole.targets).nonzero().flatten()[:images]
    subject = Subject(
        whole.model, whole.inputs[right], whole.targets[right], bounds=(0.0, 1.0), name="digits"
    )
    made = Bench(subject)
    made.predictions()
    return made


def measured(on: Bench, make: Callable[[], Tensor], norm: float) -> Result:
    """Carry an attack out and look at what came of it."""
    before = on.counter.spent
    made = make()
    paid = on.counter.spent
    flipped = on.subject.model(made).argmax(1) != on.targets
    delta = (made - on.inputs).flatten(1).double()
    # Rounding that a library adds on its way is no changed element.
    delta = torch.where(delta.abs() > 1e-6, delta, 0.0)
    size = torch.linalg.vector_norm(delta, ord=norm, dim=1)
    return Result(
        success=float(flipped.double().mean()),
        norm=float(size[flipped].mean()),
        forward=(paid.forward - before.forward) / len(on),
        backward=(paid.backward - before.backward) / len(on),
    )


def ours(row: Row) -> tuple[Result, float]:
    """Our own result, without the look at it, and the norm that it is in."""
    found: list[Attacked] = []
    on = bench(row.images)

    def make() -> Tensor:
        found.append(row.ours(on))
        return found[0].inputs

    result = measured(on, make, 2.0)
    sized = measured(on, lambda: found[0].inputs, found[0].norm)
    looked = Result(
        success=sized.success, norm=sized.norm, forward=result.forward - 1, backward=result.backward
    )
    return looked, found[0].norm


# ------------------------------------------------------------------------- second implementations


def _torchattacks(kind: str, on: Bench, **options: Any) -> Tensor:
    import torchattacks

    attack = getattr(torchattacks, kind)(on.subject.model, **options)
    torch.manual_seed(0)
    made: Tensor = attack(on.inputs, on.targets)
    return made.detach()


def _jsma(on: Bench) -> Tensor:
    import torchattacks

    attack = torchattacks.JSMA(on.subject.model, theta=1.0, gamma=0.145)
    attack.set_mode_targeted_by_label(quiet=True)
    likeliest = on.logits().scatter(1, on.targets[:, None], -torch.inf).argmax(1)
    made: Tensor = attack(on.inputs, likeliest)
    return made.detach()


class _AsFloat(torch.nn.Module):
    """Takes the float64 that the library makes of its inputs."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs.float())
        return logits


def _art(kind: str, on: Bench, **options: Any) -> Tensor:
    import numpy as np
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        _AsFloat(on.subject.model).eval(),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=tuple(on.inputs.shape[1:]),
        nb_classes=on.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    np.random.seed(0)  # noqa: NPY002  # the library draws from the global generator
    attack = getattr(evasion, kind)(classifier, verbose=False, **options)
    labels = torch.nn.functional.one_hot(on.targets, on.classes).numpy()
    return torch.from_numpy(attack.generate(on.inputs.numpy(), labels)).float()


def _foolbox(kind: str, on: Bench, **options: Any) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(on.subject.model, bounds=(0.0, 1.0), device="cpu")
    _, made, _ = getattr(foolbox.attacks, kind)(**options)(
        model, on.inputs, on.targets, epsilons=None
    )
    clipped: Tensor = made
    return clipped


ROWS: Mapping[str, Row] = {
    "fgsm": Row(
        ours=partial(attacks.fgsm, epsilon=EPSILON),
        theirs=partial(_torchattacks, "FGSM", eps=EPSILON),
        name="torchattacks FGSM",
        why="they agree",
    ),
    "ifgsm": Row(
        ours=partial(attacks.ifgsm, epsilon=EPSILON),
        theirs=partial(_torchattacks, "BIM", eps=EPSILON, alpha=EPSILON / 5, steps=10),
        name="torchattacks BIM",
        why="they agree",
    ),
    "pgd": Row(
        ours=partial(attacks.pgd, epsilon=EPSILON),
        theirs=partial(_torchattacks, "PGD", eps=EPSILON, alpha=EPSILON / 8, steps=20),
        name="torchattacks PGD",
        why="another random start",
    ),
    "pgd, L2": Row(
        ours=partial(attacks.pgd, epsilon=EPSILON, norm="L2"),
        theirs=partial(_torchattacks, "PGDL2", eps=_LENGTH, alpha=_LENGTH / 8, steps=20),
        name="torchattacks PGDL2",
        why="another random start",
    ),
    "deepfool": Row(
        ours=attacks.deepfool,
        theirs=partial(_torchattacks, "DeepFool", steps=50, overshoot=0.02),
        name="torchattacks DeepFool",
        why="theirs overshoots the last step alone: 26 images end on the boundary itself",
    ),
    "deepfool, Linf": Row(
        ours=partial(attacks.deepfool, norm="Linf"),
        theirs=partial(_foolbox, "LinfDeepFoolAttack"),
        name="foolbox LinfDeepFoolAttack",
        why="they agree; foolbox goes forward once per class, with the images that are there, too",
    ),
    "carlini_wagner": Row(
        ours=attacks.carlini_wagner,
        theirs=partial(_torchattacks, "CW", c=10, steps=600, lr=0.01),
        name="torchattacks CW",
        why="theirs has one constant, 10, for all images",
    ),
    "lbfgs": Row(
        ours=attacks.lbfgs,
        theirs=partial(_foolbox, "DDNAttack", steps=100),
        name="foolbox DDNAttack",
        why="another method for the nearest point, as no other L-BFGS is at hand: the "
        "cross-entropy leads to one class, DDN to any",
    ),
    "jsma": Row(
        ours=attacks.jsma,
        theirs=_jsma,
        name="torchattacks JSMA",
        why="theirs rounds the number of pairs up, 5 for 4; with 4 the same images succeed",
    ),
    "one_pixel": Row(
        ours=attacks.one_pixel,
        theirs=partial(_torchattacks, "OnePixel", pixels=1, steps=25, popsize=80),
        name="torchattacks OnePixel",
        why="other draws, and a score by the margin, not by the probability",
    ),
    "nes": Row(
        ours=partial(attacks.nes, epsilon=EPSILON),
        theirs=partial(
            _torchattacks,
            "SPSA",
            eps=EPSILON,
            delta=1e-3,
            lr=EPSILON / 8,
            nb_iter=20,
            nb_sample=50,
            max_batch_size=50,
        ),
        name="torchattacks SPSA",
        why="theirs draws signs, not normal numbers, steps by Adam and uses all of the budget",
    ),
    "zoo": Row(
        ours=attacks.zoo,
        theirs=partial(
            _art,
            "ZooAttack",
            max_iter=100,
            binary_search_steps=3,
            initial_const=1.0,
            learning_rate=0.05,
            nb_parallel=16,
            abort_early=False,
            variable_h=1e-3,
            use_resize=False,
            use_importance=False,
        ),
        name="adversarial-robustness-toolbox ZooAttack",
        why="theirs clips the change, not the input, to 0 to 1: it can only brighten",
        images=20,
    ),
    "hop_skip_jump": Row(
        ours=attacks.hop_skip_jump,
        theirs=partial(_art, "HopSkipJump", max_iter=10, init_eval=50, init_size=100),
        name="adversarial-robustness-toolbox HopSkipJump",
        why="theirs starts from noise, ours from the nearest input at hand",
    ),
}

_NORMS = {0.0: "L0", 2.0: "L2", float("inf"): "Linf"}


def compared(row: Row) -> tuple[float, Result, Result]:
    """The norm of an attack, and what came of both implementations."""
    mine, norm = ours(row)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        on = bench(row.images)
        return norm, mine, measured(on, lambda: row.theirs(on), norm)


def line(name: str, row: Row) -> str:
    """One row of the table."""
    norm, mine, other = compared(row)
    package, _, kind = row.name.partition(" ")
    name += "" if row.images == IMAGES else f" ({row.images} images)"
    return (
        f"| {name} | {_NORMS[norm]} | {mine.success:.2f} | {mine.norm:.3f} "
        f"| {mine.forward:.0f} + {mine.backward:.0f} | {package} `{kind}` "
        f"| {other.success:.2f} | {other.norm:.3f} | {other.forward:.0f} + {other.backward:.0f} |"
    )


def steps_of_deepfool(norm: str) -> float:
    """Steps that the images take, on average: one more changes the result of those not there."""
    on = bench()
    made = [on.inputs, *(attacks.deepfool(on, norm=norm, steps=n).inputs for n in range(1, 16))]
    moved = [(a != b).flatten(1).any(1) for a, b in pairwise(made)]
    assert not moved[-1].any()
    return float(sum(moves.double().mean() for moves in moved))


def share_of_deepfool(name: str) -> float:
    """Evaluations of DeepFool over those that its steps need: a forward, 9 backwards each."""
    result, _ = ours(ROWS[name])
    return (result.forward + result.backward) / (10 * steps_of_deepfool(name[10:] or "L2"))


def table() -> str:
    """What goes into the page, in Markdown."""
    packages = ("adversarial-robustness-toolbox", "foolbox", "torchattacks")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    names = ("attack", "norm", "success", "mean norm", "evaluations", "second implementation")
    names += ("success", "mean norm", "evaluations")
    head = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    shares = [
        f"DeepFool's evaluations are {share_of_deepfool(name):.2f} times those that its steps need "
        f"({name.partition(', ')[2] or 'L2'})."
        for name in ("deepfool", "deepfool, Linf")
    ]
    rows = [line(name, row) for name, row in ROWS.items()]
    reasons = [f"- {name}: {row.why}." for name, row in ROWS.items()]
    words = [*rows, "", "How they differ:", "", *reasons, "", *shares]
    return "\n".join([f"With {versions}.", "", *head, *words])


def main() -> None:
    """Print the table, or write it between the marks of a page."""
    print_or_write(page_asked_for(__doc__, several=False), table())


if __name__ == "__main__":
    main()
