"""A call that fails in the middle leaves the model and the process unchanged."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guarded_call import call_user_code
from pytest_xai.core.finding import Finding
from pytest_xai.core.seeds import seeded
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Does the explainer clean up when the model raises in the middle?",
    claim="When the model raises in a forward or backward pass, the explainer passes the error "
    "on and leaves hooks, modes, weights, gradients, attributes and settings unchanged.",
    source="design",
    figure="number of changes that the explainer left after a call in which the model raised",
    scope="universal",
    limit_source="The contract: no change is allowed.",
    cost=Cost(forward=1, explainer_calls=1),
    max_images=2,
)
def error_path_clean(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return the number of changes left by the failed calls, the same number for all images.

    In one call the middle layer of those that the model runs raises in the forward pass. In another
    call the last layer raises in the backward pass, or after its forward pass if its output has no
    gradient.
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
        raise NotApplicable("the explainer does not run the model's layers as modules")
    counts = {f"left after an error in the {way} pass": len(found) for way, found in left.items()}
    return Finding(
        values=torch.full((len(bench),), float(sum(counts.values()))),
        facts={name: torch.full((len(bench),), float(count)) for name, count in counts.items()},
        cause=" ".join(
            f"After an error in the model's {way} pass the explainer left: {_listed(found)}."
            for way, found in left.items()
            if found
        ),
    )


class _PlantedError(RuntimeError):
    """The error that the check lets a layer raise."""


@dataclass(slots=True, kw_only=True)
class _Fault:
    """A layer that raises.

    Attributes:
        backward: raise in the backward pass, or after the forward pass if the output of the layer
            has no gradient; otherwise raise before the forward pass.
        reached: the pass in which the layer raised, "forward" or "backward", or "" if none.
    """

    backward: bool
    reached: str = ""

    @contextmanager
    def planted(self, layer: nn.Module) -> Iterator[None]:
        """Let the layer raise inside the context."""

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
    """Return descriptions of the changes left by a call in which the layer raises.

    Raises:
        GuestError: the explainer raised before it ran the layer.
    """
    inputs, targets = bench.inputs.clone(), bench.targets.clone()
    options = {"baseline": bench.baseline.clone()} if explainer.traits.needs_baseline else {}
    left = []
    # The fault is removed first, so that the guard does not take it for a change by the explainer.
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
                left.append(
                    "no error at all (it was swallowed, and the explainer returned normally)"
                )
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
    """Return the layers that the model runs as modules, in order, each as often as it runs.

    Raises:
        NotApplicable: the model runs none of its layers as a module.
    """
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
    """Return the first three descriptions and the number of the others."""
    shown = "; ".join(found[:3])
    return f"{shown} (and {len(found) - 3} more)" if len(found) > 3 else shown
