"""Maps before and after an attack, next to noise of the same size and to unrelated maps."""

from typing import Literal

import torch
from torch import Tensor

from pytest_xai.attacks.prediction import Attacked
from pytest_xai.bench import Bench
from pytest_xai.measures import dice, spatial
from pytest_xai.nulls import halfway, unrelated
from pytest_xai.perturbations.noise import same_size_noise
from pytest_xai.protocol import NamedExplainer
from pytest_xai.verdict import Finding

__all__ = ["dice_under_attack"]


def dice_under_attack(
    bench: Bench,
    explainer: NamedExplainer,
    attacked: Attacked,
    *,
    counts: Literal["any", "flipped"],
) -> Finding:
    """Dice of the masks of the largest 10 % of the map before and after an attack, per image.

    After Galli et al. 2021; the share of 10 % and both nulls are ours. Noise is the attack's own
    perturbation shuffled over the pixels, so that it has the same size in every norm.

    Args:
        bench: whose images.
        explainer: whose maps.
        attacked: the images after the attack, predicted again.
        counts: which of them count: all whose budget is kept, or only those whose prediction
            changed. Images that the model gets wrong before the attack never do.
    """
    before = spatial(bench.maps(explainer))
    noise = same_size_noise(
        attacked.inputs - bench.inputs,
        bench.inputs,
        bounds=bench.bounds,
        generator=bench.generator("noise", "attack"),
    )
    after = spatial(bench.explain(explainer, attacked.inputs))
    new = spatial(bench.explain(explainer, attacked.inputs, _explained(bench, attacked)))
    noisy = spatial(bench.explain(explainer, bench.inputs + noise))
    value, under_noise = dice(before, after), dice(before, noisy)
    null = unrelated(before, bench.targets, dice)
    usable, left_out = _usable(attacked, counts)
    undefined = usable & (value + under_noise + null).isnan()
    return Finding(
        values=torch.where(usable, value, torch.nan),
        # Where noise already leaves less than unrelated maps share, no more than it is asked for.
        limits=torch.minimum(halfway(under_noise, null), under_noise),
        facts={
            "Dice for the original target": _only(usable, value),
            "Dice for the new prediction": _only(usable, dice(before, new)),
            "Dice after noise of the same size": _only(usable, under_noise),
            "Dice of unrelated maps": _only(usable, null),
            "share of predictions changed": _only(usable, attacked.flipped.double()),
            "size of the perturbation": _only(usable, attacked.size),
        },
        tensors={
            "input": bench.inputs,
            "adversarial input": attacked.inputs,
            "map": before,
            "map after the attack": after,
            "map after noise": noisy,
        },
        left_out={**left_out, "constant maps": int(undefined.sum())},
        cause="The attack moves the map further than noise of the same size does: its most "
        "important pixels can be moved without a visible change of the input.",
    )


def _explained(bench: Bench, attacked: Attacked) -> Tensor:
    """The new prediction; a single output has no other class to explain."""
    return bench.targets if bench.classes == 1 else attacked.predicted


def _usable(attacked: Attacked, counts: Literal["any", "flipped"]) -> tuple[Tensor, dict[str, int]]:
    wrong, outside = ~attacked.correct, ~attacked.within
    held = ~attacked.flipped if counts == "flipped" else torch.zeros_like(wrong)
    return ~(wrong | outside | held), {
        "misclassified before the attack": int(wrong.sum()),
        "attack beyond its budget or the bounds": int((outside & ~wrong).sum()),
        "attack did not change the prediction": int((held & ~wrong & ~outside).sum()),
    }


def _only(usable: Tensor, values: Tensor) -> Tensor:
    return torch.where(usable, values, torch.nan)
