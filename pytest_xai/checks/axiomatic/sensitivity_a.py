"""A feature that alone makes the output what it is gets an attribution."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Features tried per image: the largest products of difference and slope, and as many at random.
_STEEPEST, _DRAWN = 3, 3
# Stretches of the way from the baseline, and the largest share of the change for one of them.
_STRETCHES, _JUMP = 4, 0.75


@check(
    family="axiomatic",
    question="Does a feature that alone changes the output get an attribution?",
    claim="Of an input that differs from the baseline in one feature, and in the output, that "
    "feature's attribution is not zero.",
    source="sundararajan2017",
    scope="claimed",
    direction=">=",
    limit_source="Rounding of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in). What is not beyond it is zero.",
    cost=Cost(forward=11, backward=1, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def sensitivity_a(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: that feature's attribution over the map's largest, both without sign.

    Of six features of each image the one counts that changes the output most. Images are left out
    where none does, or where three quarters of the change and more fall into one quarter of the
    way: a method that samples the way may step over it.
    """
    inputs, feature, change = _one_feature(bench)
    output, reference = bench.scores(inputs).double(), bench.baseline_scores().double()
    still = ~(change > bench.rounding * (output.abs() + reference.abs()))
    sudden = _largest_stretch(bench, inputs, output, reference) > _JUMP
    maps = bench.explain(explainer, inputs, baseline=bench.baseline)
    rows = maps.double().abs().flatten(1)
    # A map without channels has one value per place, whichever channel was changed.
    own = rows.gather(1, (feature % rows.shape[1])[:, None]).squeeze(1)
    largest = rows.amax(1)
    share = torch.where(largest > 0, own / largest, 0.0)
    return Finding(
        values=torch.where(still | sudden, torch.nan, share),
        limits=bench.rounding,
        facts={"change of the output": change, "attribution": own, "largest attribution": largest},
        left_out={
            "no single feature changes the output": int(still.sum()),
            "the output jumps on the way from the baseline": int((sudden & ~still).sum()),
        },
        tensors={"input": inputs, "map": maps},
        cause="The only feature that differs from the baseline gets nothing, although the output "
        "differs: the gradient at the input is taken where the model is saturated, the map is "
        "displaced or filtered, or the feature is skipped.",
    )


def _one_feature(bench: Bench) -> tuple[Tensor, Tensor, Tensor]:
    """The baseline with one feature of the image, (n, *shape), which one, and what it changes."""
    rows, reference = bench.inputs.flatten(1), bench.baseline.flatten(1)
    before, place = bench.baseline_scores().double(), torch.arange(len(rows), device=rows.device)
    best, feature = reference, torch.zeros_like(place)
    most = torch.full_like(before, -1.0)
    for tried in _candidates(bench, rows - reference).unbind(1):
        changed = reference.clone()
        changed[place, tried] = rows[place, tried]
        change = (bench.scores(changed.view_as(bench.inputs)).double() - before).abs()
        better = change > most
        best = torch.where(better[:, None], changed, best)
        feature, most = torch.where(better, tried, feature), torch.where(better, change, most)
    return best.view_as(bench.inputs), feature, most


def _candidates(bench: Bench, difference: Tensor) -> Tensor:
    """Features to try, LongTensor (n, up to 6), of differences (n, F)."""
    features = difference.shape[1]
    noise = torch.rand(difference.shape, generator=bench.generator("sensitivity_a"))
    drawn = noise.to(difference.device) * (difference != 0)
    places = [drawn.topk(min(_DRAWN, features), 1).indices]
    if bench.differentiable:
        slope = bench.gradients(bench.baseline, bench.targets).flatten(1)
        places.append((slope * difference).abs().topk(min(_STEEPEST, features), 1).indices)
    return torch.cat(places, 1)


def _largest_stretch(bench: Bench, inputs: Tensor, output: Tensor, reference: Tensor) -> Tensor:
    """The largest share of the output's variation in one of four stretches from baseline, (n,)."""
    delta = inputs - bench.baseline
    scores = [
        bench.scores(bench.baseline + (number / _STRETCHES) * delta).double()
        for number in range(1, _STRETCHES)
    ]
    steps = torch.stack([reference, *scores, output]).diff(dim=0).abs()
    return steps.amax(0) / steps.sum(0)
