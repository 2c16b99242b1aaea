"""The map stands the smallest change of the prediction about as well as noise of the same size."""

from pytest_xai.attacks.comparison import dice_under_attack
from pytest_xai.attacks.prediction import deepfool
from pytest_xai.bench import Bench
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check
from pytest_xai.verdict import Finding


@check(
    family="adversarial",
    question="Does the map keep its most important pixels under DeepFool?",
    claim="For most images the map after the attack is nearer to what noise of the same size "
    "leaves of it than to the map of another image.",
    source="galli2021",
    scope="quality",
    direction=">=",
    judged="paired",
    limit_source="Halfway between the Dice after random noise of the same size and the Dice of "
    "the maps of two images (the nulls); the former where it is the smaller.",
    cost=Cost(forward=14, backward=10, explainer_calls=4),
)
def deepfool_dice(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: Dice of the top 10 % before and after, for the original target."""
    return dice_under_attack(bench, explainer, deepfool(bench), counts="flipped")
