"""In float32 and in float64 the maps are the same, to the precision of float32."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pytest_xai.bench.bench import Bench
from pytest_xai.checks._twins import Twin, moved, require_repeatable
from pytest_xai.core.rounding import rounding
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_OTHER = {torch.float32: torch.float64, torch.float64: torch.float32}
# Half precision rounds a number by up to 2^-11 of it, float32 by up to 2^-24.
_LIMIT = 2.0**-14
_MARGIN = 10
# Values below this share of a map's largest are what larger ones left when they cancelled.
_COUNTED = 0.01


@check(
    family="contract",
    question="Is the map in float32 the one in float64, as far as float32 goes?",
    claim="Model and inputs in the other of float32 and float64 leave half of the values of the "
    "maps of half of the images where they are, to 2^-14 of each, and nothing is computed in less.",
    source="design",
    scope="universal",
    limit_source="An eighth of what half precision rounds at most, 2^-14; where that is not kept, "
    "also ten times what float32 does to the model's gradient, or by rounding the inputs to the "
    "map, and what it does to the outputs.",
    cost=Cost(forward=2, explainer_calls=2),
    max_images=4,
)
def dtype_consistent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image, the same for all: the typical change of a value, over the larger.

    It is at least the rounding of the coarsest dtype that the explainer computes in. Typical is
    the median of a map, and the lower median of the images: a unit whose input changes its sign
    in float32 moves some values of some maps by more than rounding.
    """
    require_repeatable(bench, explainer, "in another dtype")
    own = bench.inputs.dtype
    if own not in _OTHER:
        raise NotApplicable(f"compares float32 with float64; the inputs are in {own}")
    twin = Twin.of(bench, lambda model: model.to(_OTHER[own]), dtype=_OTHER[own])
    _require_precise(bench, twin)
    coarsest = _Coarsest()
    watched = replace(explainer, call=coarsest.watching(explainer.call))
    here, there = bench.explain(watched, bench.inputs), _elsewhere(twin, explainer, watched)
    single, double = (here, there) if own == torch.float32 else (there, here)
    changes = _typical(single, double).masked_fill(_cancelled(bench, single, double), math.nan)
    values = changes.nanmedian().expand(len(bench))
    limits, jump = torch.full_like(changes, _LIMIT), torch.full_like(changes, math.nan)
    if coarsest.dtype is not None:
        values = values.nan_to_num().clamp(min=torch.finfo(coarsest.dtype).eps / 2)
    elif (values > _LIMIT).any():
        jump = _jump(bench, explainer, twin, double)
        lost = torch.fmax(jump.nanmedian(), _of_gradients(bench, twin).nanmedian()).nan_to_num()
        limits = limits + _MARGIN * lost + _of_outputs(bench, double)
    return Finding(
        values=values,
        limits=limits,
        facts={"typical change": changes, "by float32 rounding of the input": jump},
        notes=_note(double),
        cause="The map is less precise than float32: the explainer computes in "
        f"{_word(coarsest.dtype or 'a lower precision')} or rounds to it.",
    )


class _Coarsest(TorchDispatchMode):
    """Notes the coarsest dtype below float32 in which anything is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.dtype: torch.dtype | None = None

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.is_floating_point():
                least = torch.float32 if self.dtype is None else self.dtype
                if torch.finfo(value.dtype).eps > torch.finfo(least).eps:
                    self.dtype = value.dtype
        return result

    def watching(self, call: Callable[..., object]) -> Callable[..., object]:
        """The same call, watched."""

        def watched(*given: Any, **options: Any) -> object:
            with self:
                return call(*given, **options)

        return watched


def _typical(single: Tensor, double: Tensor) -> Tensor:
    """The median change of the values that count, relative to each, (n,); NaN: an empty map.

    Relative to the larger of the two, so that two maps of which nothing is left but rounding are as
    far apart as rounding of the inputs moves them, whichever has the larger numbers.
    """
    exact, changed = double.double().flatten(1).abs(), (single.double() - double.double()).abs()
    larger = torch.maximum(exact, single.double().flatten(1).abs())
    relative = (changed.flatten(1) / larger).masked_fill(~_counts(exact), math.nan)
    lost = (exact.amax(1) == 0) & (changed.flatten(1).amax(1) > 0)
    return relative.nanmedian(1).values.masked_fill(lost, math.inf)


def _cancelled(bench: Bench, single: Tensor, double: Tensor) -> Tensor:
    """Whether a map is zero in float64, and in float32 what rounding of the outputs left, (n,)."""
    unit = rounding(bench.subject.model, torch.float32) * bench.logits().double().abs().amax(1)
    left = single.double().abs().flatten(1).amax(1) <= unit
    return left & (double.flatten(1).abs().amax(1) == 0)


def _elsewhere(twin: Twin, explainer: NamedExplainer, watched: NamedExplainer) -> Tensor:
    """Maps in the other dtype."""
    try:
        return twin.explain(watched, twin.bench.inputs)
    except GuestError as error:
        try:
            twin.explain(explainer, twin.bench.inputs)
        except GuestError:
            raise NotApplicable(f"it does not explain in {_word(twin.dtype)}: {error}") from error
        raise


def _require_precise(bench: Bench, twin: Twin) -> None:
    """Whatever the model itself loses is not the explainer's doing."""
    with _Coarsest() as coarsest:
        outputs = twin.outputs(bench.inputs)
    if outputs is None:
        raise NotApplicable(f"the model does not run in {_word(twin.dtype)}")
    reference = bench.logits().double()
    apart = (outputs.double() - reference).abs().amax(1) > _LIMIT * reference.abs().amax(1)
    if coarsest.dtype is not None or apart.sum() * 2 > len(apart):
        raise NotApplicable("the model itself is less precise than float32")


def _jump(bench: Bench, explainer: NamedExplainer, twin: Twin, double: Tensor) -> Tensor:
    """What float32 rounding of the inputs does to the float64 maps, (n,)."""

    def explain(inputs: Tensor) -> Tensor:
        if twin.dtype == torch.float64:
            return twin.explain(explainer, inputs)
        return bench.explain(explainer, inputs)

    made = moved(bench, explain, bench.inputs.double(), dtype=torch.float32)
    return torch.stack([_typical(each, double) for each in made]).amax(0)


def _of_gradients(bench: Bench, twin: Twin) -> Tensor:
    """What the model's own gradient loses in float32, (n,); NaN: there is none.

    Behind a normalisation of few values it is what large terms leave when they cancel.
    """
    if not bench.differentiable:
        return torch.full((len(bench),), math.nan, dtype=torch.float64)

    def gradient(inputs: Tensor, targets: Tensor) -> Tensor:
        inputs = inputs.detach().requires_grad_()
        return torch.autograd.grad(twin.model(inputs).gather(1, targets[:, None]).sum(), inputs)[0]

    with torch.enable_grad():
        there = bench.batched(gradient, bench.inputs.to(twin.dtype), bench.targets)
    here = bench.gradients(bench.inputs, bench.targets)
    single, double = (there, here) if twin.dtype == torch.float32 else (here, there)
    return _typical(single, double)


def _of_outputs(bench: Bench, double: Tensor) -> Tensor:
    """Rounding of the outputs in float32, relative to a value of the map, (n,).

    Occlusion and its kind subtract outputs, whose rounding does not shrink with their difference.
    """
    sizes = double.double().abs().flatten(1)
    typical = sizes.masked_fill(~_counts(sizes), math.nan).nanmedian(1).values
    outputs = bench.logits().double().abs().amax(1)
    return (rounding(bench.subject.model, torch.float32) * outputs / typical).nan_to_num()


def _counts(sizes: Tensor) -> Tensor:
    """Which values of the maps (n, values) count: what is left of cancelling does not."""
    return sizes > _COUNTED * sizes.amax(1, keepdim=True)


def _note(double: Tensor) -> tuple[str, ...]:
    if double.dtype == torch.float64:
        return ()
    dtype = _word(double.dtype)
    return (f"It returns {dtype} for inputs in float64: float64 decides nothing of it.",)


def _word(dtype: torch.dtype | str) -> str:
    return str(dtype).removeprefix("torch.")
