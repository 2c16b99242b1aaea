"""Methods by their names alone, each with the implementation that is right on the most networks."""

from dataclasses import dataclass

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """The implementation that stands for a method.

    Attributes:
        spec: its name in the gallery.
        reason: why this one.
    """

    spec: str
    reason: str


_AGREE = "the implementations agree, and captum has no other requirement"
_CALLS = (
    "its rules follow calls, so functional and reused ReLUs, residual sums and batch normalisation "
    "have theirs; captum's LRP knows few modules"
)
_RELU = (
    "right where the input of a ReLU feeds another branch too, as in pre-activation residual "
    "blocks, where captum's is wrong"
)

METHODS: dict[str, Method] = {
    "Saliency": Method(spec="captum:Saliency", reason=_AGREE),
    "InputXGradient": Method(spec="captum:InputXGradient", reason=_AGREE),
    "IntegratedGradients": Method(spec="captum:IntegratedGradients", reason=_AGREE),
    "SmoothGrad": Method(spec="captum:SmoothGrad", reason=_AGREE),
    "ExpectedGradients": Method(
        spec="captum:GradientShap",
        reason="it takes float64 and the inputs to sample from as they are",
    ),
    "DeepLift": Method(
        spec="xai:DeepLiftRescale",
        reason="right where a ReLU feeds a max-pool, windows overlap, or a ReLU is functional or "
        "reused: captum and shap are wrong there or refuse",
    ),
    "RevealCancel": Method(
        spec="xai:DeepLiftRevealCancel", reason="no library has this rule of DeepLIFT"
    ),
    "GuidedBackprop": Method(spec="zennit:GuidedBackprop", reason=_RELU),
    "Deconvolution": Method(spec="zennit:Deconvnet", reason=_RELU),
    "LRPZero": Method(spec="zennit:LRPZero", reason=_CALLS),
    "LRPEpsilon": Method(spec="zennit:LRPEpsilon", reason=_CALLS),
    "LRPGamma": Method(spec="zennit:LRPGamma", reason=_CALLS),
    "AlphaBeta": Method(spec="zennit:AlphaBeta", reason=_CALLS),
    "DTD": Method(spec="zennit:DTD", reason=_CALLS),
    "ExcitationBackprop": Method(
        spec="zennit:ExcitationBackprop", reason="zennit alone has this method"
    ),
    "CAM": Method(spec="xai:CAM", reason="no library has the method without gradients"),
    "GradCAM": Method(
        spec="captum:LayerGradCam",
        reason="it keeps float64, the scale of the map and maps without positive values, and "
        "takes signals; grad-cam scales to [0, 1]",
    ),
    "GuidedGradCAM": Method(spec="captum:GuidedGradCam", reason="captum alone has this method"),
    "GradCAMPlusPlus": Method(
        spec="gradcam:GradCAMPlusPlus", reason="grad-cam alone has this method"
    ),
    "ScoreCAM": Method(spec="gradcam:ScoreCAM", reason="grad-cam alone has this method"),
    "FEM": Method(
        spec="xai:FEM",
        reason="it follows the paper in one to three dimensions; grad-cam's weights differ",
    ),
    "Occlusion": Method(spec="captum:Occlusion", reason="captum alone has this method"),
    "KernelShap": Method(
        spec="shap:KernelExplainer",
        reason="it solves in float64, which captum does not, so linearity holds to rounding",
    ),
    "Lime": Method(
        spec="captum:Lime",
        reason="it explains signals, volumes and tables too, and hides by the subject's baseline",
    ),
    "RISE": Method(spec="xai:RISE", reason="no library has this method in torch"),
    "SIDU": Method(spec="xai:SIDU", reason="no library has this method in torch"),
    "MeaningfulPerturbation": Method(
        spec="xai:MeaningfulPerturbation", reason="no kept library has this method"
    ),
}
