"""Defects of the libraries behind the gallery: which check fails for them, and why."""

from dataclasses import dataclass

__all__ = ["KNOWN_DEFECTS", "Defect", "expected_failures"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """A check that an explainer of the gallery fails, because its library is wrong.

    Attributes:
        explainer: its name in the gallery.
        check: what it fails on some network; the docs show the smallest one.
        reason: what the library does wrong.
    """

    explainer: str
    check: str
    reason: str


_SHARED = (
    "a rule hooks the tensor that goes into its module, so that it also changes what another "
    "branch hands back to the same tensor"
)
_SOFTMAX = (
    "the rule for nn.Softmax subtracts a mean over the whole batch, references included, in place "
    "of each image's own"
)
_POOLED = (
    "where nn.ReLU feeds nn.MaxPool2d, each takes the other's change for its own (pytorch/captum "
    "issue 1104); where windows overlap, what two of them hand to one input is not added up"
)
_SINGLE = (
    "sums or solves in float32 whatever the dtype of the model, so that maps of a float64 model "
    "are off by float32's rounding"
)
_ADAM = (
    "the steps of Adam divide a gradient by its size, so that one of a few times its own rounding "
    "moves the map, and sums in another order move it elsewhere"
)
_FEM = (
    "a layer's activations are weighted by the share of places beyond the mean plus k standard "
    "deviations (k = 2); the paper marks these places by 1 (k = 1) and weights them by the "
    "channel's mean"
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
    """What an explainer is known to fail without a subject, for `check_explainer`.

    Args:
        spec: a name of the gallery.

    Returns:
        Reasons by name of check.
    """
    return {each.check: each.reason for each in KNOWN_DEFECTS if each.explainer == spec}
