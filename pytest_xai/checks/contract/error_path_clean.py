"""A call that failed in the middle leaves the model and the process as it found them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guarded_call import call_user_code
from pytest_xai.core.seeds import seeded
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Does the explainer clean up when the model raises in the middle?",
    claim="After a call in which the model raised, forward or backward, hooks, modes, weights, "
    "gradients, attributes and settings are what they were, and the error was passed on.",
    source="design",
    scope="universal",
    limit_source="The contract: nothing is changed.",
    cost=Cost(forward=1, explainer_calls=1),
    max_images=2,
)
def error_path_clean(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image, the same for all: how many things the calls that failed left behind.

    The layer in the middle of those that the model runs raises in the forward pass, and in another
    call the last one in the backward pass, or after it ran where that has no gradient.
    """
    bench.require_new_maps(explainer)
    layers = _ran(bench)
    left: dict[str, list[str]] = {}
    for layer, backward in ((layers[len(layers) // 2], False), (layers[-1], True)):
        fault = _Fault(backward=backward)
        found = _attempt(bench, explainer, layer, fault)
        if fault.reached:
            left[fault.reached] = [*left.get(fault.reached, []), *found]
    if not left:
        raise NotApplicable("it does not run the model's layers as modules")
    counts = {f"left after an error {way}": len(found) for way, found in left.items()}
    return Finding(
        values=torch.full((len(bench),), float(sum(counts.values()))),
        facts={name: torch.full((len(bench),), float(count)) for name, count in counts.items()},
        cause=" ".join(
            f"The model raised in its {way} pass, and of the call there is left: {_listed(found)}."
            for way, found in left.items()
            if found
        ),
    )


class _PlantedError(RuntimeError):
    """What the layer raises."""


@dataclass(slots=True, kw_only=True)
class _Fault:
    """A layer that raises.

    Attributes:
        backward: in the backward pass; where its output has none, after the forward pass.
        reached: the pass in which it did, "forward" or "backward"; empty: it was never run.
    """

    backward: bool
    reached: str = ""

    @contextmanager
    def planted(self, layer: nn.Module) -> Iterator[None]:
        """Let the layer raise inside."""

        def before(*_: object) -> None:
            self._raise("forward")

        def after(_: nn.Module, __: object, output: object) -> None:
            if not isinstance(output, Tensor) or not output.requires_grad:
                self._raise("forward")
            else:
                output.register_hook(lambda _: self._raise("backward"))

        handle = (
            layer.register_forward_hook(after)
            if self.backward
            else layer.register_forward_pre_hook(before)
        )
        try:
            yield
        finally:
            handle.remove()

    def _raise(self, way: str) -> None:
        self.reached = way
        raise _PlantedError(f"an error in the {way} pass, planted by the check")


def _attempt(bench: Bench, explainer: NamedExplainer, layer: nn.Module, fault: _Fault) -> list[str]:
    """What is left of a call in which the layer raises."""
    inputs, targets = bench.inputs.clone(), bench.targets.clone()
    options = {"baseline": bench.baseline.clone()} if explainer.traits.needs_baseline else {}
    left = []
    # The fault goes first: the guard shall not take it for the explainer's.
    with (
        bench.guard.watch() as effects,
        seeded(bench.derive_seed("error path")),
        fault.planted(layer),
    ):
        try:
            call_user_code(
                f"explainer {explainer.name!r}",
                lambda: explainer.call(bench.subject.model, inputs, targets, **options),
            )
            if fault.reached:
                left.append("no error at all: it was swallowed, and something was returned")
        except GuestError:
            if not fault.reached:
                raise
    left += map(str, effects)
    if inputs.requires_grad:
        left.append("requires_grad of the inputs")
    if not torch.equal(inputs.detach(), bench.inputs):
        left.append("other values in the inputs")
    return left


def _ran(bench: Bench) -> list[nn.Module]:
    """The layers that the model runs as modules, in order, one as often as it runs."""
    ran: list[nn.Module] = []

    def note(module: nn.Module, _: object) -> None:
        ran.append(module)

    layers = [
        module
        for module in bench.subject.model.modules()
        if not any(True for _ in module.children())
    ]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        bench.logits(bench.inputs)
    finally:
        for handle in handles:
            handle.remove()
    if not ran:
        raise NotApplicable("the model runs none of its layers as a module")
    return ran


def _listed(found: list[str]) -> str:
    """The first few, and how many there are."""
    shown = "; ".join(found[:3])
    return f"{shown} (and {len(found) - 3} more)" if len(found) > 3 else shown
