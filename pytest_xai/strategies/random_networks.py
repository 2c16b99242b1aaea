"""Random networks and subjects whose repr is the source that makes them."""

from collections.abc import Collection
from typing import Any, Protocol

from hypothesis import strategies as st
from torch import nn

from pytest_xai.core.subject import Subject
from pytest_xai.networks import Plan
from pytest_xai.strategies.plans import plans

__all__ = ["GeneratedSubject", "networks", "subjects"]

_COUNT = 2  # images of a subject: one in a batch with another


class _Printer(Protocol):
    """The part of hypothesis's pretty printer that is used here."""

    def text(self, text: str, /) -> None:
        """Print as it is."""


class GeneratedSubject(Subject):
    """A subject with the plan of its network; its repr is Python that makes it as it was drawn.

    Attributes:
        plan: of the network.
        script: what `repr` gives.
    """

    plan: Plan
    script: str

    def __repr__(self) -> str:
        return self.script

    def _repr_pretty_(self, printer: _Printer, cycle: bool) -> None:  # noqa: FBT001  # IPython's form
        printer.text(f"\n{self.script}\n")


def networks(
    *,
    kinds: Collection[str] = ("table", "signal", "image"),
    structures: Collection[str] | None = None,
    max_layers: int = 6,
    weights: Collection[str] = ("ones", "quarters", "fine"),
) -> st.SearchStrategy[nn.Module]:
    """Random small networks in evaluation mode, well-formed by construction.

    Each has the attribute ``plan`` (its `Plan`, which also draws inputs for it), and its repr is
    Python that makes it as it was drawn, with torch alone. It shrinks to the fewest layers, the
    smallest shapes and the plainest weights.

    Args:
        kinds: of inputs: "table" (N, F), "signal" (N, C, L), "image" (N, C, H, W), "volume"
            (N, C, D, H, W), plainest first.
        structures: names from `pytest_xai.networks.STRUCTURES` that a network may have, beside
            plain linear layers, convolutions, ReLU and flatten; None: all of them.
        max_layers: the most steps, those inside forks and a flatten before the outputs included.
        weights: "ones" (all alike), "quarters" (few levels, so that values tie now and then),
            "fine" (they do not), plainest first.

    Raises:
        UnknownName: there is no such kind, structure or kind of weights.
        InvalidArgument: nothing is left to choose from.
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
    """Random small subjects: a network, two inputs, a target each, a baseline, the bounds (-2, 2).

    The repr is Python that makes the subject as it was drawn.

    Args:
        kinds: as of `networks`.
        structures: as of `networks`.
        max_layers: as of `networks`.
        weights: as of `networks`.

    Raises:
        UnknownName: there is no such kind, structure or kind of weights.
        InvalidArgument: nothing is left to choose from.
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
    # A class of its own, because Python looks for __repr__ there and not in the object.
    base = type(model)
    shown = {"__repr__": _script, "_repr_pretty_": _pretty, "__module__": base.__module__}
    model.__class__ = type(base.__name__, (base,), shown)
    model.plan = plan  # type: ignore[assignment]  # an attribute of a module need be no tensor
    return model


def _script(model: Any) -> str:
    script: str = model.plan.script()
    return script


def _pretty(model: Any, printer: _Printer, cycle: bool) -> None:  # noqa: FBT001  # IPython's form
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
