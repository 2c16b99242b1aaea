"""The only feature that changes the output gets an attribution."""

import torch
from torch import Tensor

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check

# Features tried per image: those with the largest difference times slope, and random ones.
_STEEPEST, _DRAWN = 3, 3
# Number of parts of the path from the baseline, and the largest share of the change in one part.
_PARTS, _JUMP = 4, 0.75


@check(
    family="axiomatic",
    question="Does the only feature that changes the output get an attribution?",
    claim="If input and baseline differ in one feature and have different outputs, the "
    "attribution of that feature is not zero.",
    source="sundararajan2017",
    figure="attribution of the only changed feature, relative to the map's largest value",
    scope="claimed",
    direction=">=",
    limit_source="The rounding error of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in). Smaller values count as zero.",
    cost=Cost(forward=11, backward=1, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def sensitivity_a(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the absolute attribution of that feature over the map's largest value.

    The check tries six features of each image and uses the one that changes the output most. It
    leaves out images for which no feature changes the output, and those for which more than three
    quarters of the change fall into one quarter of the path: a method that samples the path may
    miss the change.
    """
    inputs, feature, change = _one_feature(bench)
    output, reference = bench.scores(inputs).double(), bench.baseline_scores().double()
    still = ~(change > bench.rounding * (output.abs() + reference.abs()))
    sudden = _largest_part(bench, inputs, output, reference) > _JUMP
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
            "the output jumps on the path from the baseline": int((sudden & ~still).sum()),
        },
        tensors={"input": inputs, "map": maps},
        cause="The only feature that differs from the baseline gets no attribution, although the "
        "output differs: the gradient at the input is taken where the model is saturated, the "
        "map is displaced or filtered, or the explainer skips the feature.",
    )


def _one_feature(bench: Bench) -> tuple[Tensor, Tensor, Tensor]:
    """Return the changed baselines, the changed features and the changes of the output.

    Returns:
        Baselines with one feature of the image, (n, *shape), the index of that feature, (n,), and
        the absolute change of the output, (n,).
    """
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
    """Return the features to try, LongTensor (n, up to 6), for differences (n, F)."""
    features = difference.shape[1]
    noise = torch.rand(difference.shape, generator=bench.generator("sensitivity_a"))
    drawn = noise.to(difference.device) * (difference != 0)
    places = [drawn.topk(min(_DRAWN, features), 1).indices]
    if bench.differentiable:
        slope = bench.gradients(bench.baseline, bench.targets).flatten(1)
        places.append((slope * difference).abs().topk(min(_STEEPEST, features), 1).indices)
    return torch.cat(places, 1)


def _largest_part(bench: Bench, inputs: Tensor, output: Tensor, reference: Tensor) -> Tensor:
    """Return the largest share of the output's variation in one of four parts of the path, (n,)."""
    delta = inputs - bench.baseline
    scores = [
        bench.scores(bench.baseline + (number / _PARTS) * delta).double()
        for number in range(1, _PARTS)
    ]
    steps = torch.stack([reference, *scores, output]).diff(dim=0).abs()
    return steps.amax(0) / steps.sum(0)
