"""Strategies for random networks and subjects, whose repr is source code."""

from collections.abc import Collection
from typing import Any, Protocol

from hypothesis import strategies as st
from torch import nn

from pytest_xai.core.subject import Subject
from pytest_xai.networks import Plan
from pytest_xai.strategies.plans import plans

__all__ = ["GeneratedSubject", "networks", "subjects"]

_COUNT = 2  # images of a subject; two, so that batches have more than one image


class _Printer(Protocol):
    """The part of the pretty printer of hypothesis that is used here."""

    def text(self, text: str, /) -> None:
        """Print a text unchanged."""


class GeneratedSubject(Subject):
    """A subject with the plan of its network; its repr is Python code that creates it.

    Attributes:
        plan: the plan of the network.
        script: the code that `repr` returns.
    """

    plan: Plan
    script: str

    def __repr__(self) -> str:
        return self.script

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:  # noqa: FBT001  # signature of IPython
        printer.text(f"\n{self.script}\n")


def networks(
    *,
    kinds: Collection[str] = ("table", "signal", "image"),
    structures: Collection[str] | None = None,
    max_layers: int = 6,
    weights: Collection[str] = ("ones", "quarters", "fine"),
) -> st.SearchStrategy[nn.Module]:
    """Draw small networks in evaluation mode, which are well-formed by construction.

    Each network has the attribute ``plan`` (its `Plan`, which can also draw inputs). Its repr is
    Python code that creates the network and needs only torch. It shrinks to the fewest layers, the
    smallest shapes and the simplest weights.

    Args:
        kinds: kinds of inputs, "table" (N, F), "signal" (N, C, L), "image" (N, C, H, W), "volume"
            (N, C, D, H, W), simplest first.
        structures: names from `pytest_xai.networks.STRUCTURES` that a network may have in
            addition to linear layers, convolutions, ReLU and flatten; None: all names.
        max_layers: maximum number of steps, including those inside forks and the flatten before
            the outputs; at least 2.
        weights: "ones" (all equal), "quarters" (few levels, so that some values are equal),
            "fine" (no equal values), simplest first.

    Raises:
        UnknownName: a kind, a structure or a kind of weights is unknown.
        InvalidArgument: an argument is empty, or ``max_layers`` is below 2.
    """
    drawn = plans(kinds=kinds, structures=structures, max_layers=max_layers, weights=weights)
    return drawn.map(_network)


def subjects(
    *,
    kinds: Collection[str] = ("table", "signal", "image"),
    structures: Collection[str] | None = None,
    max_layers: int = 6,
    weights: Collection[str] = ("ones", "quarters", "fine"),
) -> st.SearchStrategy[GeneratedSubject]:
    """Draw small subjects: a network, two inputs with targets, a baseline, the bounds (-2, 2).

    The repr is Python code that creates the subject.

    Args:
        kinds: as in `networks`.
        structures: as in `networks`.
        max_layers: as in `networks`.
        weights: as in `networks`.

    Raises:
        UnknownName: a kind, a structure or a kind of weights is unknown.
        InvalidArgument: an argument is empty, or ``max_layers`` is below 2.
    """
    return st.builds(
        _subject,
        plans(kinds=kinds, structures=structures, max_layers=max_layers, weights=weights),
        seed=st.integers(0, 255),
        targets=st.tuples(*[st.integers(0, 11)] * _COUNT),
        baseline=st.sampled_from((0.0, 0.5, -1.0)),
    )


def _network(plan: Plan) -> nn.Module:
    model = plan.build()
    # A new class, because Python looks up __repr__ in the class, not in the object.
    base = type(model)
    shown = {"__repr__": _script, "_repr_pretty_": _pretty, "__module__": base.__module__}
    model.__class__ = type(base.__name__, (base,), shown)
    model.plan = plan  # type: ignore[assignment]  # attributes of modules need not be tensors
    return model


def _script(model: Any) -> str:
    script: str = model.plan.script()
    return script


def _pretty(model: Any, printer: _Printer, cycle: bool) -> None:  # noqa: FBT001  # signature of IPython
    printer.text(f"\n{_script(model)}\n")


def _subject(
    plan: Plan, *, seed: int, targets: tuple[int, ...], baseline: float
) -> GeneratedSubject:
    chosen = [target % plan.classes for target in targets]
    inputs = plan.inputs(_COUNT, seed)
    subject = GeneratedSubject(
        plan.build(), inputs, chosen, baseline=baseline, bounds=(-2.0, 2.0), name="generated"
    )
    subject.plan = plan
    subject.script = (
        "from pytest_xai import Subject\n"
        f"{plan.script()}\n{plan.inputs_script(_COUNT, seed)}\n"
        f"subject = Subject(model, inputs, {chosen}, baseline={baseline}, bounds=(-2.0, 2.0))"
    )
    return subject
