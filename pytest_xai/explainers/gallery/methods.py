"""The implementation that is used for each method named without a library."""

from dataclasses import dataclass

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """The implementation that is used for a method.

    Attributes:
        spec: name of the explainer in the gallery.
        reason: the reason for this choice, as a clause.
    """

    spec: str
    reason: str


_AGREE = "all implementations agree, and captum's has no further requirements"
_CALLS = (
    "its rules apply to function calls and so cover functional and reused ReLUs, residual sums and "
    "batch normalisation; captum's LRP supports few modules"
)
_RELU = (
    "it is also right where the input of a ReLU feeds another branch, as in pre-activation "
    "residual blocks, where captum's is wrong"
)

METHODS: dict[str, Method] = {
    "Saliency": Method(spec="captum:Saliency", reason=_AGREE),
    "InputXGradient": Method(spec="captum:InputXGradient", reason=_AGREE),
    "IntegratedGradients": Method(spec="captum:IntegratedGradients", reason=_AGREE),
    "SmoothGrad": Method(spec="captum:SmoothGrad", reason=_AGREE),
    "ExpectedGradients": Method(
        spec="captum:GradientShap",
        reason="it works in float64 and accepts a set of reference inputs to sample from",
    ),
    "DeepLift": Method(
        spec="xai:DeepLiftRescale",
        reason="it is right where a ReLU feeds a max-pool, pooling windows overlap, or a ReLU is "
        "functional or reused; captum and shap give wrong maps or refuse there",
    ),
    "RevealCancel": Method(
        spec="xai:DeepLiftRevealCancel", reason="no other library has this rule of DeepLIFT"
    ),
    "GuidedBackprop": Method(spec="zennit:GuidedBackprop", reason=_RELU),
    "Deconvolution": Method(spec="zennit:Deconvnet", reason=_RELU),
    "LRPZero": Method(spec="zennit:LRPZero", reason=_CALLS),
    "LRPEpsilon": Method(spec="zennit:LRPEpsilon", reason=_CALLS),
    "LRPGamma": Method(spec="zennit:LRPGamma", reason=_CALLS),
    "AlphaBeta": Method(spec="zennit:AlphaBeta", reason=_CALLS),
    "DTD": Method(spec="zennit:DTD", reason=_CALLS),
    "ExcitationBackprop": Method(
        spec="zennit:ExcitationBackprop", reason="only zennit has this method"
    ),
    "CAM": Method(
        spec="xai:CAM", reason="no other library has this method, which needs no gradients"
    ),
    "GradCAM": Method(
        spec="captum:LayerGradCam",
        reason="it keeps float64 and the scale of the map, and explains signals; grad-cam scales "
        "each map to [0, 1]",
    ),
    "GuidedGradCAM": Method(spec="captum:GuidedGradCam", reason="only captum has this method"),
    "GradCAMPlusPlus": Method(
        spec="gradcam:GradCAMPlusPlus", reason="only grad-cam has this method"
    ),
    "ScoreCAM": Method(spec="gradcam:ScoreCAM", reason="only grad-cam has this method"),
    "FEM": Method(
        spec="xai:FEM",
        reason="it follows the paper in one to three dimensions; grad-cam uses other weights",
    ),
    "Occlusion": Method(spec="captum:Occlusion", reason="only captum has this method"),
    "KernelShap": Method(
        spec="shap:KernelExplainer",
        reason="it solves the regression in float64, so linearity holds; captum uses float32",
    ),
    "Lime": Method(
        spec="captum:Lime",
        reason="it also explains signals, volumes and tables, and hides with the baseline",
    ),
    "RISE": Method(spec="xai:RISE", reason="no other library has this method for torch"),
    "SIDU": Method(spec="xai:SIDU", reason="no other library has this method for torch"),
    "MeaningfulPerturbation": Method(
        spec="xai:MeaningfulPerturbation", reason="no maintained library has this method"
    ),
}
