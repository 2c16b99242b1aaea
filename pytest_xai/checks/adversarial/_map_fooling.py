"""Compares maps under an attack on the map with maps under noise of the same size."""

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_xai.attacks.fooling.attack import Fooled, fool
from pytest_xai.attacks.fooling.goals import Goal, one_channel
from pytest_xai.attacks.fooling.worst import confidence, keeps_prediction
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._dice import EPSILON
from pytest_xai.core.finding import Finding
from pytest_xai.measures.reference_maps import halfway
from pytest_xai.perturbations.noise import same_size_noise
from pytest_xai.protocol import NamedExplainer

__all__ = ["kept_under_attack", "kept_under_noise"]


def kept_under_attack(
    bench: Bench,
    explainer: NamedExplainer,
    goal: Callable[[Tensor, Tensor], Goal],
    *,
    epsilon: float = EPSILON,
    gradients: bool = True,
) -> Finding:
    """Measure how much of each map is kept under the worst perturbation with the same prediction.

    One draw of noise is no fair reference for the worst of many candidates. So the limit comes
    from the worst of as many draws of noise. Each draw is the attack's own perturbation, shuffled
    over the pixels with random signs, so that it has the same size in every norm. Draws that change
    the prediction do not count, like candidates of the attack that change it.

    Args:
        bench: of the images.
        explainer: makes the maps.
        goal: makes the goal of the attack from maps and targets.
        epsilon: largest change of a value, as a share of the range of the inputs.
        gradients: whether the attack may use gradients of the explainer.
    """
    maps = bench.maps(explainer)
    aim = goal(maps, bench.targets)
    fooled = fool(bench, explainer, aim, epsilon=epsilon, gradients=gradients)
    noise = kept_under_noise(bench, explainer, aim, fooled)
    least = noise.nan_to_num(torch.inf).amin(0)
    lost = noise.isnan().all(0) & ~fooled.kept.isnan()
    least = least.where(~noise.isnan().all(0), torch.nan)
    low, high = bench.bounds
    size = (fooled.inputs - bench.inputs).abs().flatten(1).amax(1).double()
    classes = bench.predictions()
    figure = aim.figure
    return Finding(
        values=fooled.kept,
        # If noise already leaves less than the attack aims at, no more than that is required.
        limits=torch.minimum(halfway(least, aim.undone), least),
        facts={
            f"{figure} after the attack": fooled.kept,
            f"{figure} after noise of the same size": noise.nanmean(0),
            f"{figure} after the worst of {len(noise)} draws of noise": least,
            f"{figure} if the attack reached its goal": aim.undone,
            "size of the perturbation": size,
            "largest size allowed": torch.full_like(size, epsilon * (high - low)),
            "confidence before": confidence(bench.logits(), classes).double(),
            "confidence after": confidence(bench.logits(fooled.inputs), classes).double(),
            "similarity of the maps that the attack used": fooled.likeness,
        },
        tensors={
            "input": bench.inputs,
            "adversarial input": fooled.inputs,
            "map": one_channel(maps),
            "map after the attack": one_channel(fooled.maps),
            "reference map of the attack": aim.reference,
        },
        left_out={
            "maps for which the figure is not defined": int(fooled.kept.isnan().sum()),
            "noise of the same size changes the prediction": int(lost.sum()),
        },
        cause="An imperceptible perturbation that does not change the prediction changes the map: "
        "the map depends on the curvature of the network, not only on its decision.",
        notes=(f"The maps were attacked {fooled.way}; {fooled.tries} candidates per image.",),
    )


def kept_under_noise(bench: Bench, explainer: NamedExplainer, goal: Goal, fooled: Fooled) -> Tensor:
    """Return how much of the maps is kept under as many draws of noise, (tries, n).

    It is NaN where a draw changes the prediction.
    """
    random = bench.generator("noise", "fooling")
    kept = []
    for _ in range(fooled.tries):
        noise = same_size_noise(
            fooled.inputs - bench.inputs, bench.inputs, bounds=bench.bounds, generator=random
        )
        noisy = bench.inputs + noise
        seen = one_channel(bench.explain(explainer, noisy))
        kept.append(
            goal.kept(seen, goal.reference).where(keeps_prediction(bench, noisy), torch.nan)
        )
    return torch.stack(kept)
