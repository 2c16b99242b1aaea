"""The gradient of an attack on a map: of the explainer's own graph, or of a surrogate's."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.attacks.fooling.goals import FRACTION, Goal, one_channel
from pytest_xai.attacks.fooling.softened import softened
from pytest_xai.attacks.fooling.surrogates import SURROGATES, Form
from pytest_xai.bench.bench import Bench
from pytest_xai.bench.guarded_call import call_user_code
from pytest_xai.core.seeds import seeded
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.measures import topk_intersection
from pytest_xai.measures.reference_maps import halfway, other_images
from pytest_xai.protocol import NamedExplainer

__all__ = ["Way", "find_way"]

# A sharpness at which softplus is practically ReLU, for comparisons with the explainer's maps.
_KINKED = 1e4
_SOFT = 10.0
# Step of finite differences, as a share of the range, and the number of directions.
_STEP, _DIRECTIONS = 1e-4, 4
# Largest error of a correct slope, as a share of the larger of slope and difference.
_NEAR = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A differentiable computation of maps.

    Attributes:
        name: its name in verdicts.
        likeness: share of the top values that its maps have in common with the explainer's, (n,).
        maps: takes inputs that require gradients, targets, baselines and a sharpness; returns maps
            with a graph.
    """

    name: str
    likeness: Tensor
    maps: Callable[[Tensor, Tensor, Tensor, float], Tensor]

    def slope(self, bench: Bench, goal: Goal, inputs: Tensor, sharpness: float) -> Tensor:
        """Return the gradient of the goal's loss with respect to the inputs, (n, *shape).

        Every evaluation counts as one forward and two backward evaluations: one for the map and
        one for the loss.
        """
        counter = bench.counter

        def one_batch(batch: Tensor, classes: Tensor, base: Tensor, reference: Tensor) -> Tensor:
            leaf = batch.detach().clone().requires_grad_()
            before = counter.spent.forward
            maps = one_channel(self.maps(leaf, classes, base, sharpness))
            passes = counter.spent.forward - before
            loss = goal.loss(maps, reference.to(maps)).sum()
            counter.require(passes)
            counter.add(backward=passes)
            # The map of a linear model does not depend on the input and has no graph.
            if not loss.requires_grad:
                return torch.zeros_like(batch)
            (found,) = torch.autograd.grad(loss, leaf, allow_unused=True)
            return torch.zeros_like(batch) if found is None else found.nan_to_num(0.0, 0.0, 0.0)

        with torch.enable_grad(), seeded(bench.derive_seed("model", bench.images[0])):
            return bench.batched(one_batch, inputs, bench.targets, bench.baseline, goal.reference)


def find_way(bench: Bench, explainer: NamedExplainer, goal: Goal, start: Tensor) -> Way | None:
    """Return the explainer's own graph if it is complete, otherwise the most similar surrogate.

    A surrogate is used if its maps are on average nearer to the explainer's maps than to those of
    other images. None if there is no such surrogate or the model has no gradient.

    Args:
        bench: provides the model and the images.
        explainer: the explainer under attack.
        goal: provides the loss, for which the graph must give the correct gradient.
        start: inputs near those of the bench, (n, *shape).

    Raises:
        GuestError: the model raised.
    """
    if not bench.differentiable:
        return None
    own = Way(
        name="through the explainer's own computation",
        likeness=torch.ones(len(bench), dtype=torch.float64, device=start.device),
        maps=lambda *given: _own_maps(bench, explainer, *given),
    )
    return own if _is_whole(bench, own, goal, start) else _nearest(bench, explainer)


def _own_maps(
    bench: Bench,
    explainer: NamedExplainer,
    inputs: Tensor,
    targets: Tensor,
    baseline: Tensor,
    sharpness: float,
) -> Tensor:
    """Call the explainer, guarded, on inputs that require gradients and on a softened network.

    Raises:
        GuestError: the explainer raised.
        NotApplicable: the maps have no graph, or the explainer raised this error.
    """
    options = {"baseline": baseline.clone()} if explainer.traits.needs_baseline else {}
    guard = bench.guard
    seed = bench.derive_seed(explainer.name, "draw", 0, bench.images[0])
    with guard.watch(), seeded(seed), softened(guard.model, sharpness=sharpness):
        output = call_user_code(
            f"explainer {explainer.name!r}",
            lambda: explainer.call(guard.model, inputs, targets.clone(), **options),
        )
    bench.counter.explained(len(inputs))
    if not isinstance(output, Tensor) or not output.requires_grad:
        raise NotApplicable("the explainer's maps have no graph")
    spatial = inputs.shape[2:]
    return output.reshape(len(inputs), -1, *spatial) if spatial else output.reshape(inputs.shape)


def _is_whole(bench: Bench, own: Way, goal: Goal, start: Tensor) -> bool:
    """Return whether the slope through the explainer's graph agrees with finite differences.

    A map such as the input times a detached gradient has a graph, but an incomplete one. Agreement
    for most images and directions suffices, since max-pooling causes jumps that no slope shows.
    """
    try:
        slope = own.slope(bench, goal, start, _SOFT)
    except NotApplicable:
        return False
    except GuestError as error:
        _require_repeatable(bench, own, goal, start, error)
        return False
    low, high = bench.bounds
    size = _STEP * (high - low)
    random = bench.generator("fooling", "directions")
    along, rises = [], []
    for _ in range(_DIRECTIONS):
        drawn = torch.randint(2, start.shape, generator=random).to(start) * 2 - 1
        up, down = (_loss(bench, own, goal, start + sign * size * drawn) for sign in (1, -1))
        rises.append((up - down) / (2 * size))
        along.append((slope * drawn).flatten(1).sum(1))
    slopes, differences = torch.cat(along).double(), torch.cat(rises).double()
    larger = torch.maximum(slopes.abs(), differences.abs())
    right = (larger > 0) & ((slopes - differences).abs() <= _NEAR * larger)
    return bool(right.double().mean() > 0.5)


def _require_repeatable(
    bench: Bench, own: Way, goal: Goal, start: Tensor, error: GuestError
) -> None:
    """Ignore an error that occurs again: the explainer does not support a softened network.

    Raises:
        GuestError: the error does not occur again, so that the network is not its cause.
    """
    try:
        own.slope(bench, goal, start, _SOFT)
    except GuestError:
        return
    except NotApplicable:
        raise error from None
    raise error


def _loss(bench: Bench, own: Way, goal: Goal, inputs: Tensor) -> Tensor:
    def one_batch(batch: Tensor, classes: Tensor, base: Tensor, reference: Tensor) -> Tensor:
        leaf = batch.detach().clone().requires_grad_()
        maps = one_channel(own.maps(leaf, classes, base, _SOFT)).detach()
        return goal.loss(maps, reference.to(maps))

    return bench.batched(one_batch, inputs, bench.targets, bench.baseline, goal.reference)


def _nearest(bench: Bench, explainer: NamedExplainer) -> Way | None:
    """Return the surrogate whose maps share most top values with the explainer's maps."""
    maps = bench.maps(explainer)
    before = one_channel(maps)
    absolute = not bool((maps < 0).any())
    nearest: Way | None = None
    for name in SURROGATES:
        try:
            likeness = _like(bench, name, before, absolute=absolute)
        except NotApplicable:
            continue
        if nearest is None or likeness.nanmean() > nearest.likeness.nanmean():
            nearest = _surrogate(bench, name, likeness, absolute=absolute)
    null = topk_intersection(before, before[other_images(bench.targets)], fraction=FRACTION)
    if nearest is None or not nearest.likeness.nanmean() >= halfway(1.0, null).nanmean():
        return None
    return nearest


def _like(bench: Bench, name: str, before: Tensor, *, absolute: bool) -> Tensor:
    def one_batch(batch: Tensor, classes: Tensor, base: Tensor) -> Tensor:
        leaf = batch.detach().clone().requires_grad_()
        form = _form(bench, classes, base, absolute=absolute)
        return one_channel(SURROGATES[name](form, leaf)).detach()

    with torch.enable_grad(), seeded(bench.derive_seed("model", bench.images[0])):
        theirs = bench.batched(one_batch, bench.inputs, bench.targets, bench.baseline)
    return topk_intersection(theirs, before.to(theirs), fraction=FRACTION)


def _surrogate(bench: Bench, name: str, likeness: Tensor, *, absolute: bool) -> Way:
    noise = bench.generator("fooling", "surrogate noise")

    def maps(inputs: Tensor, targets: Tensor, baseline: Tensor, sharpness: float) -> Tensor:
        form = _form(bench, targets, baseline, absolute=absolute, sharpness=sharpness, noise=noise)
        return SURROGATES[name](form, inputs)

    size = " (magnitude)" if absolute else ""
    return Way(name=f"through a surrogate: {name}{size}", likeness=likeness, maps=maps)


def _form(
    bench: Bench,
    targets: Tensor,
    baseline: Tensor,
    *,
    absolute: bool,
    sharpness: float = _KINKED,
    noise: torch.Generator | None = None,
) -> Form:
    low, high = bench.bounds
    return Form(
        model=bench.subject.model,
        targets=targets,
        baseline=baseline,
        sharpness=sharpness,
        span=high - low,
        noise=bench.generator("fooling", "likeness") if noise is None else noise,
        absolute=absolute,
        graph=noise is not None,
    )
