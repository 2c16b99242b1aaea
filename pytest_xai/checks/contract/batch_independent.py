"""The map of an image does not depend on the other images of the batch."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Is the map of an image independent of the other images in the batch?",
    claim="The map of an image stays the same when the other images of the batch change.",
    source="design",
    figure="largest change of the map, relative to its largest value",
    scope="universal",
    limit_source="The rounding error of a sum over the model: 8 eps sqrt(layers x fan-in). A "
    "failure in float32 is repeated in float64, where the limit is 1 + |f|/|R| times as large.",
    cost=Cost(forward=1, explainer_calls=4),
    max_images=ROUND,
    arbitrated=True,
)
def batch_independent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest change of its map, relative to its largest value.

    The check replaces the other images of the batch and keeps the size of the batch and the seed.
    A stochastic explainer therefore draws the same noise, and only the other images differ. A
    deterministic explainer must also return the same map when it explains an image alone.
    """
    if len(bench) < 2:  # there is no other image to replace
        raise NotApplicable("needs two images or more")
    together = bench.explain(explainer, bench.inputs)
    made = [together]
    changed = torch.full((len(bench),), torch.nan, dtype=torch.float64, device=together.device)
    for kept in (0, 1):
        # Every second image stays, and copies of the neighbours replace the others.
        stays = torch.arange(len(bench), device=together.device) % 2 == kept
        source = torch.arange(len(bench), device=together.device)
        source[~stays] = (source[~stays] + 1 - 2 * kept) % len(bench)
        others = bench.explain(
            explainer,
            bench.inputs[source],
            bench.targets[source],
            baseline=bench.baseline[source],
        )
        changed[stays] = relative_difference(others, together)[stays]
        others[~stays] = together[~stays]
        made.append(others)
    facts = {"change with other images in the batch": changed}
    values = changed
    if not explainer.traits.stochastic:
        alone = torch.cat(
            [
                bench.view(i, i + 1).explain(explainer, bench.inputs[i : i + 1])
                for i in range(len(bench))
            ]
        )
        made.append(alone)
        facts["change when explained alone"] = relative_difference(alone, together)
        values = torch.fmax(changed, facts["change when explained alone"])
    return Finding(
        values=values,
        limits=bench.rounding_of(*made),
        facts=facts,
        cause="The map takes something from other images of the batch, such as a mean, a maximum "
        "or a sum over the whole batch, or one image's values for all images.",
    )
