"""Two features that the model treats alike, and that are alike, get the same attribution."""

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.verdict import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.constrained_networks import mirror_averaged, mirrored
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="axiomatic",
    question="Do features that the model treats alike get the same attribution?",
    claim="On a network that sees only the mean of an input and its mirror image, the map of a "
    "mirror-symmetric input is mirror-symmetric.",
    source="sundararajan2017",
    scope="claimed",
    limit_source="Rounding of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in); a failure in float32 is decided in float64, where the limit is "
    "1 + |f|/|R| times that.",
    cost=Cost(forward=1, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def symmetry(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: the largest difference of the map and its mirror image over its largest.

    The network is the model behind the mean of its input and of the input mirrored along the last
    dimension (the columns of an image, the features of a table): mirrored features are
    exchangeable, whatever the model. Input and baseline are such means themselves.
    """
    if bench.inputs.shape[-1] < 2:
        raise NotApplicable("inputs of a single column have no mirror image")
    inputs, baseline = mirror_averaged(bench.inputs), mirror_averaged(bench.baseline)
    network = Guard(mirrored(bench.subject.model))
    maps = bench.explain(explainer, inputs, baseline=baseline, on=network)
    difference = relative_difference(maps, maps.flip(-1))
    return Finding(
        values=difference,
        limits=bench.rounding_of(maps),
        facts={"largest attribution": maps.double().abs().flatten(1).amax(1)},
        left_out={"zero maps": int(difference.isnan().sum())},
        tensors={"input": inputs, "map": maps},
        cause="The map depends on where a feature is, not on what it does: features are taken in "
        "an order, the map is displaced, windows do not mirror, or noise is drawn per place.",
    )
