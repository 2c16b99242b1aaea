"""Two features with the same value and the same role in the model get the same attribution."""

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import Guard
from pytest_xai.core.finding import Finding
from pytest_xai.errors import NotApplicable
from pytest_xai.measures import relative_difference
from pytest_xai.perturbations.constrained_networks import mirror_averaged, mirrored
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="axiomatic",
    question="Do interchangeable features get the same attribution?",
    claim="For a network that depends only on the mean of an input and its mirror image, the map "
    "of a mirror-symmetric input is mirror-symmetric.",
    source="sundararajan2017",
    figure="largest difference between map and mirror image, relative to the largest value",
    scope="claimed",
    limit_source="The rounding error of a sum over the model, relative to the map's largest value: "
    "8 eps sqrt(layers x fan-in). A failure in float32 is repeated in float64, where the limit is "
    "1 + |f|/|R| times as large.",
    cost=Cost(forward=1, explainer_calls=1),
    max_images=ROUND,
    arbitrated=True,
)
def symmetry(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the largest difference of map and mirror image over the largest value.

    The network averages its input with the mirror image along the last dimension (the columns of an
    image, the features of a table) and then runs the model. Mirrored features are therefore
    interchangeable for every model. The check averages input and baseline in the same way.
    """
    if bench.inputs.shape[-1] < 2:
        raise NotApplicable("inputs with a single column have no mirror image")
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
        cause="The map depends on the position of a feature and not only on its effect: features "
        "are taken in a fixed order, the map is displaced, windows are not symmetric, or noise "
        "is drawn per position.",
    )
