"""What an attack on the maps left of them, next to as many draws of noise of the same size."""

from collections.abc import Callable

import torch
from torch import Tensor

from pytest_xai.attacks.fooling.attack import Fooled, fool
from pytest_xai.attacks.fooling.goals import Goal, one_channel
from pytest_xai.attacks.fooling.worst import confidence, keeps_prediction
from pytest_xai.bench.bench import Bench
from pytest_xai.checks.adversarial._dice import EPSILON
from pytest_xai.core.verdict import Finding
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
    """What the worst perturbation found leaves of each map while the prediction stays.

    The worst of some candidates is no fair match for one draw of noise: the limit comes from the
    worst of as many draws, each the attack's own perturbation shuffled over the pixels with random
    signs, so that it has the same size in every norm. Draws that change the prediction do not
    count, as no candidate of the attack does.

    Args:
        bench: whose images.
        explainer: whose maps.
        goal: what the attack is after, of maps and targets.
        epsilon: largest change of a value, as a share of the range of the inputs.
        gradients: False: an attack that needs none.
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
        # Where noise leaves less than the attack could want, no more than it is asked for.
        limits=torch.minimum(halfway(least, aim.undone), least),
        facts={
            f"{figure} after the attack": fooled.kept,
            "after noise of the same size": noise.nanmean(0),
            f"after the worst of {len(noise)} draws of it": least,
            "if the attack had all it wants": aim.undone,
            "size of the perturbation": size,
            "largest size allowed": torch.full_like(size, epsilon * (high - low)),
            "confidence before": confidence(bench.logits(), classes).double(),
            "confidence after": confidence(bench.logits(fooled.inputs), classes).double(),
            "likeness of the maps attacked through": fooled.likeness,
        },
        tensors={
            "input": bench.inputs,
            "adversarial input": fooled.inputs,
            "map": one_channel(maps),
            "map after the attack": one_channel(fooled.maps),
            "map wanted or kept": aim.reference,
        },
        left_out={
            "maps for which it is not defined": int(fooled.kept.isnan().sum()),
            "noise of the same size changes the prediction": int(lost.sum()),
        },
        cause="A perturbation that nobody sees and that leaves the prediction alone makes the "
        "map say something else: it follows how the network bends, not how it decides.",
        notes=(f"The maps were attacked {fooled.way}; {fooled.tries} candidates per image.",),
    )


def kept_under_noise(bench: Bench, explainer: NamedExplainer, goal: Goal, fooled: Fooled) -> Tensor:
    """What as many draws of noise of the attack's sizes leave of the maps, (tries, n).

    NaN where a draw does not keep the prediction as a candidate of the attack has to.
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
