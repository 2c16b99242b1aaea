"""Known defects of the libraries: which explainer fails which check, and why."""

from dataclasses import dataclass

__all__ = ["KNOWN_DEFECTS", "Defect", "expected_failures"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """A check that an explainer of the gallery fails because of a defect in its library.

    Attributes:
        explainer: its name in the gallery.
        check: name of the check that it fails on some network; the docs show the smallest one.
        reason: the error of the library, as a clause.
    """

    explainer: str
    check: str
    reason: str


_SHARED = (
    "the hook of a rule is set on the input tensor of its module, so it also changes the gradient "
    "that another branch passes back to the same tensor"
)
_SOFTMAX = (
    "the rule for nn.Softmax subtracts the mean over the whole batch, references included, instead "
    "of the mean of each image"
)
_POOLED = (
    "where nn.ReLU feeds nn.MaxPool2d, each module mistakes the other's difference for its own "
    "(pytorch/captum issue 1104); where pooling windows overlap, the contributions of two windows "
    "to the same input are not added up"
)
_SINGLE = (
    "the sums or the regression are computed in float32 for every dtype of the model, so maps of a "
    "float64 model have the rounding errors of float32"
)
_ADAM = (
    "Adam divides each gradient by its magnitude, so even a gradient that is little more than "
    "rounding error changes the map, and sums in another order change it differently"
)
_FEM = (
    "the activations of each channel are weighted by the share of positions above the mean plus k "
    "standard deviations (k = 2); the paper sets these positions to 1 (k = 1) and weights them by "
    "the channel's mean"
)


def _defects(reason: str, explainers: tuple[str, ...], *checks: str) -> tuple[Defect, ...]:
    return tuple(
        Defect(explainer=explainer, check=check, reason=reason)
        for explainer in explainers
        for check in checks
    )


_DEEP_LIFT = ("captum:DeepLift", "captum:DeepLiftShap")

KNOWN_DEFECTS = (
    *_defects(_SOFTMAX, ("captum:DeepLift",), "batch_independent"),
    *_defects(_POOLED, _DEEP_LIFT, "ground_truth"),
    *_defects(_SHARED, _DEEP_LIFT, "sensitivity_a"),
    *_defects(f"{_SOFTMAX}; {_SHARED}", _DEEP_LIFT, "sign_convention"),
    *_defects(f"{_SOFTMAX}; {_SHARED}; {_POOLED}", _DEEP_LIFT, "summation_to_delta"),
    *_defects(_SHARED, ("captum:LRP",), "relevance_conservation"),
    *_defects(
        _SINGLE,
        ("captum:KernelShap", "captum:ShapleyValueSampling"),
        "linearity",
        "summation_to_delta",
    ),
    *_defects(_ADAM, ("xai:MeaningfulPerturbation",), "memory_format_consistent"),
    *_defects(_FEM, ("gradcam:FEM",), "ground_truth"),
)


def expected_failures(spec: str) -> dict[str, str]:
    """Return the checks that an explainer is known to fail, for `check_explainer`.

    Args:
        spec: the name of the explainer in the gallery.

    Returns:
        The reasons, by the name of the check.
    """
    return {each.check: each.reason for each in KNOWN_DEFECTS if each.explainer == spec}
