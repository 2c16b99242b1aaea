"""The map of an image does not depend on the images beside it."""

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Is the map of an image the same whatever else is in the batch?",
    claim="Other companions in the batch, or none, leave the map as it is.",
    source="design",
    scope="universal",
    limit_source="Rounding of a sum over the model: 8 eps sqrt(layers x fan-in); a failure in "
    "float32 is decided in float64, where the limit is 1 + |f|/|R| times that.",
    cost=Cost(forward=1, explainer_calls=4),
    max_images=ROUND,
    arbitrated=True,
)
def batch_independent(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest change of its map, relative to its largest value.

    Companions are exchanged at the same size of the batch, with the same seed: so the noise that
    a stochastic explainer draws stays the same, and only the companions differ. A deterministic
    explainer must give the same map to an image alone as well.
    """
    if len(bench) < 2:  # nobody to exchange
        raise NotApplicable("needs two images or more")
    together = bench.explain(explainer, bench.inputs)
    made = [together]
    changed = torch.full((len(bench),), torch.nan, dtype=torch.float64, device=together.device)
    for kept in (0, 1):
        # Every second image stays where it is, the others give way to copies of their neighbours.
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
    facts = {"change with other companions": changed}
    values = changed
    if not explainer.traits.stochastic:
        alone = torch.cat(
            [
                bench.view(i, i + 1).explain(explainer, bench.inputs[i : i + 1])
                for i in range(len(bench))
            ]
        )
        made.append(alone)
        facts["change alone"] = relative_difference(alone, together)
        values = torch.fmax(changed, facts["change alone"])
    return Finding(
        values=values,
        limits=bench.rounding_of(*made),
        facts=facts,
        cause="The map takes something from other images of the batch: a mean, a maximum or a "
        "sum over the whole batch, or one image's values for all.",
    )
