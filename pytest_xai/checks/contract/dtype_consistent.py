"""The maps in float32 and in float64 agree to the precision of float32."""

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
from pytest_xai.core.finding import Finding
from pytest_xai.core.rounding import rounding
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

_OTHER = {torch.float32: torch.float64, torch.float64: torch.float32}
# The relative rounding error is up to 2^-11 in half precision and up to 2^-24 in float32.
_LIMIT = 2.0**-14
_MARGIN = 10
# Values below this share of a map's largest value may be remainders of larger terms that cancel.
_COUNTED = 0.01


@check(
    family="contract",
    question="Do the maps in float32 and in float64 agree to the precision of float32?",
    claim="Between float32 and float64 the median relative change of a map's values is at most "
    "2^-14 for at least half of the images, and nothing is computed in a lower precision.",
    source="design",
    figure="median relative change of the map's values between float32 and float64",
    scope="universal",
    limit_source="An eighth of the largest relative rounding error of half precision: 2^-14. "
    "Where that is exceeded, two terms are added: ten times the change that float32 causes in "
    "the model's gradient, or by rounding of the inputs in the map, and the rounding error of "
    "the outputs.",
    cost=Cost(forward=2, explainer_calls=2),
    max_images=4,
)
def dtype_consistent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return the typical relative change of a value of the maps, the same number for all images.

    The number is at least the rounding error of the coarsest dtype that the explainer computes
    in. "Typical" means the median over the values of a map, and then the lower median over the
    images: where the input of a unit changes its sign in float32, some values of some maps change
    by more than the rounding error.
    """
    require_repeatable(bench, explainer, "in another dtype")
    own = bench.inputs.dtype
    if own not in _OTHER:
        raise NotApplicable(f"the check compares float32 with float64, and the inputs are in {own}")
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
        facts={"typical change": changes, "change by float32 rounding of the input": jump},
        notes=_note(double),
        cause="The map is less precise than float32: the explainer computes in "
        f"{_word(coarsest.dtype or 'a lower precision')} or rounds to it.",
    )


class _Coarsest(TorchDispatchMode):
    """Records the coarsest dtype below float32 in which anything is computed."""

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
        """Return the same call, with its dtypes recorded."""

        def watched(*given: Any, **options: Any) -> object:
            with self:
                return call(*given, **options)

        return watched


def _typical(single: Tensor, double: Tensor) -> Tensor:
    """Return the median relative change of the values that count, (n,), NaN for a map of zeros.

    The change is relative to the larger of the two values. Two maps that consist of rounding errors
    alone are then as far apart as rounding of the inputs moves them, in either order.
    """
    exact, changed = double.double().flatten(1).abs(), (single.double() - double.double()).abs()
    larger = torch.maximum(exact, single.double().flatten(1).abs())
    relative = (changed.flatten(1) / larger).masked_fill(~_counts(exact), math.nan)
    lost = (exact.amax(1) == 0) & (changed.flatten(1).amax(1) > 0)
    return relative.nanmedian(1).values.masked_fill(lost, math.inf)


def _cancelled(bench: Bench, single: Tensor, double: Tensor) -> Tensor:
    """Return where a map is zero in float64 and only rounding error in float32, (n,)."""
    unit = rounding(bench.subject.model, torch.float32) * bench.logits().double().abs().amax(1)
    left = single.double().abs().flatten(1).amax(1) <= unit
    return left & (double.flatten(1).abs().amax(1) == 0)


def _elsewhere(twin: Twin, explainer: NamedExplainer, watched: NamedExplainer) -> Tensor:
    """Return the maps in the other dtype.

    Raises:
        NotApplicable: the explainer raises in that dtype.
    """
    try:
        return twin.explain(watched, twin.bench.inputs)
    except GuestError as error:
        try:
            twin.explain(explainer, twin.bench.inputs)
        except GuestError:
            raise NotApplicable(
                f"the explainer does not work in {_word(twin.dtype)}: {error}"
            ) from error
        raise


def _require_precise(bench: Bench, twin: Twin) -> None:
    """Require that the model itself keeps the precision of float32.

    Raises:
        NotApplicable: the model loses precision, which is not the explainer's fault.
    """
    with _Coarsest() as coarsest:
        outputs = twin.outputs(bench.inputs)
    if outputs is None:
        raise NotApplicable(f"the model does not run in {_word(twin.dtype)}")
    reference = bench.logits().double()
    apart = (outputs.double() - reference).abs().amax(1) > _LIMIT * reference.abs().amax(1)
    if coarsest.dtype is not None or apart.sum() * 2 > len(apart):
        raise NotApplicable("the model itself is less precise than float32")


def _jump(bench: Bench, explainer: NamedExplainer, twin: Twin, double: Tensor) -> Tensor:
    """Return the change of the float64 maps by float32 rounding of the inputs, (n,)."""

    def explain(inputs: Tensor) -> Tensor:
        if twin.dtype == torch.float64:
            return twin.explain(explainer, inputs)
        return bench.explain(explainer, inputs)

    made = moved(bench, explain, bench.inputs.double(), dtype=torch.float32)
    return torch.stack([_typical(each, double) for each in made]).amax(0)


def _of_gradients(bench: Bench, twin: Twin) -> Tensor:
    """Return the relative change of the model's own gradient in float32, (n,), NaN without one.

    After a normalisation of few values the gradient is a remainder of large terms that cancel.
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
    """Return the rounding error of the float32 outputs, relative to a typical map value, (n,).

    Occlusion and similar methods subtract outputs, and the rounding error of an output does not
    shrink with the difference.
    """
    sizes = double.double().abs().flatten(1)
    typical = sizes.masked_fill(~_counts(sizes), math.nan).nanmedian(1).values
    outputs = bench.logits().double().abs().amax(1)
    return (rounding(bench.subject.model, torch.float32) * outputs / typical).nan_to_num()


def _counts(sizes: Tensor) -> Tensor:
    """Return which values of the maps count, (n, values): remainders of cancelled terms do not."""
    return sizes > _COUNTED * sizes.amax(1, keepdim=True)


def _note(double: Tensor) -> tuple[str, ...]:
    if double.dtype == torch.float64:
        return ()
    dtype = _word(double.dtype)
    return (f"The explainer returns {dtype} for inputs in float64, so that float64 cannot decide.",)


def _word(dtype: torch.dtype | str) -> str:
    return str(dtype).removeprefix("torch.")
