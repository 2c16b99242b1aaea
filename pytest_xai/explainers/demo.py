"""What ``pytest --xai --xai-demo`` runs: explainers of the gallery, and the failures known."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["EXPECTED_FAILURES", "EXPLAINERS", "DemoExplainer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoExplainer:
    """One explainer of the demo.

    Attributes:
        name: how its reports call it.
        spec: its name in the gallery.
        options: its options in the gallery.
    """

    name: str
    spec: str
    options: Mapping[str, object] = field(default_factory=dict)


EXPLAINERS = (
    DemoExplainer(name="saliency", spec="captum:Saliency"),
    DemoExplainer(name="input_x_gradient", spec="captum:InputXGradient"),
    DemoExplainer(name="integrated_gradients", spec="captum:IntegratedGradients"),
    DemoExplainer(name="deep_lift", spec="captum:DeepLift"),
    DemoExplainer(name="guided_backprop", spec="captum:GuidedBackprop"),
    DemoExplainer(name="deconvolution", spec="captum:Deconvolution"),
    DemoExplainer(name="grad_cam", spec="captum:LayerGradCam"),
    DemoExplainer(name="occlusion", spec="captum:Occlusion"),
    DemoExplainer(name="smooth_grad", spec="captum:SmoothGrad"),
    DemoExplainer(name="random_map", spec="control:RandomMap"),
    DemoExplainer(name="constant_map", spec="control:ConstantMap"),
    DemoExplainer(name="input_itself", spec="control:InputItself"),
    DemoExplainer(name="edge_detector", spec="control:EdgeDetector"),
    DemoExplainer(name="other_class", spec="control:OtherClass"),
)

_UPPER_LAYERS = "a rectified backward signal hardly depends on the upper layers"
_NO_TARGET = "a control: its map does not depend on the target"
_NO_MODEL = "a control: its map does not depend on the model"

# "explainer::check" -> why it fails. Strict: one that passes fails the run.
EXPECTED_FAILURES: Mapping[str, str] = {
    "deep_lift::summation_to_delta": "captum's DeepLift gives wrong multipliers where nn.ReLU "
    "feeds nn.MaxPool2d (pytorch/captum issue 1104)",
    "guided_backprop::mprt_cascading": f"{_UPPER_LAYERS} (Adebayo 2018)",
    "deconvolution::mprt_cascading": f"{_UPPER_LAYERS} (Sixt 2020)",
    "random_map::target_sensitive": _NO_TARGET,
    "random_map::mprt_cascading": _NO_MODEL,
    "constant_map::target_sensitive": _NO_TARGET,
    "input_itself::target_sensitive": _NO_TARGET,
    "input_itself::mprt_cascading": _NO_MODEL,
    "edge_detector::target_sensitive": _NO_TARGET,
    "edge_detector::mprt_cascading": _NO_MODEL,
}
