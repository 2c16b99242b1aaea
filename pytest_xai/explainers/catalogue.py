"""The table of the gallery: what each explainer is, promises and costs, next to what builds it.

A new explainer is a factory function with typed keyword options and one `Entry` here.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from torch import Tensor

from pytest_xai.explainers.captum_grad_cam import layer_grad_cam
from pytest_xai.explainers.captum_gradients import (
    input_x_gradient,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from pytest_xai.explainers.captum_occlusion import occlusion
from pytest_xai.explainers.captum_rules import deconvolution, deep_lift, guided_backprop
from pytest_xai.explainers.controls import (
    constant_map,
    edge_detector,
    input_itself,
    other_class,
    random_map,
)
from pytest_xai.protocol import Traits

__all__ = ["ENTRIES", "Entry"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One explainer of the gallery.

    Attributes:
        factory: builds the callable from keyword options; its first docstring line is the summary.
        method: the family, for checks that know its right map.
        source: key of the paper in docs/references.bib.
        cost: model evaluations per image; names of options in braces stand for their values.
        claims: names of the checks that it promises to pass, whatever its options.
        claims_when: (option, value, claim): a promise that holds for this value of this option.
        stochastic: its maps depend on the seed.
        needs_baseline: it is called with the subject's baseline.
    """

    factory: Callable[..., Callable[..., Tensor]]
    method: str | None = None
    source: str = ""
    cost: str = ""
    claims: frozenset[str] = frozenset()
    claims_when: tuple[tuple[str, object, str], ...] = ()
    stochastic: bool = False
    needs_baseline: bool = False

    @property
    def summary(self) -> str:
        """What it is, in one line."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, object]:
        """Its options with their defaults."""
        parameters = inspect.signature(self.factory).parameters
        return {name: parameter.default for name, parameter in parameters.items()}

    def traits(self, spec: str, options: Mapping[str, object]) -> Traits:
        """What the gate should know of it with these options, the others at their defaults.

        Args:
            spec: its name in the gallery.
            options: some of its options.
        """
        values = {**self.options, **options}
        earned = {claim for name, value, claim in self.claims_when if values[name] is value}
        return Traits(
            claims=self.claims | earned,
            method=self.method,
            stochastic=self.stochastic,
            needs_baseline=self.needs_baseline,
            source=self.source,
            cost=self.cost.format(**values),
            library=_library(spec.partition(":")[0]),
        )


def _library(prefix: str) -> str:
    package = "pytest-xai" if prefix == "control" else prefix
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} (not installed)"


# The claims are those of the papers; whether an implementation keeps them is the gate's question.
ENTRIES: dict[str, Entry] = {
    "captum:Saliency": Entry(
        factory=saliency,
        method="gradient",
        source="simonyan2014",
        cost="1 forward + 1 backward",
        claims=frozenset({"dummy_feature", "implementation_invariance"}),
        claims_when=(("absolute", False, "linearity"),),
    ),
    "captum:InputXGradient": Entry(
        factory=input_x_gradient,
        method="input_x_gradient",
        source="shrikumar2016",
        cost="1 forward + 1 backward",
        claims=frozenset({"dummy_feature", "implementation_invariance", "linearity"}),
    ),
    "captum:IntegratedGradients": Entry(
        factory=integrated_gradients,
        method="integrated_gradients",
        source="sundararajan2017",
        cost="{steps} forward + {steps} backward",
        claims=frozenset(
            {"summation_to_delta", "dummy_feature", "implementation_invariance", "linearity"}
        ),
        needs_baseline=True,
    ),
    "captum:DeepLift": Entry(
        factory=deep_lift,
        method="deep_lift_rescale",
        source="shrikumar2017",
        cost="2 forward + 2 backward",
        claims=frozenset({"summation_to_delta", "dummy_feature", "linearity"}),
        needs_baseline=True,
    ),
    "captum:GuidedBackprop": Entry(
        factory=guided_backprop,
        method="guided_backprop",
        source="springenberg2015",
        cost="1 forward + 1 backward",
        claims=frozenset({"dummy_feature"}),
    ),
    "captum:Deconvolution": Entry(
        factory=deconvolution,
        method="deconvolution",
        source="zeiler2014",
        cost="1 forward + 1 backward",
        claims=frozenset({"dummy_feature"}),
    ),
    "captum:LayerGradCam": Entry(
        factory=layer_grad_cam,
        method="grad_cam",
        source="selvaraju2017",
        cost="1 forward per call, then 1 forward + 1 backward",
    ),
    "captum:Occlusion": Entry(
        factory=occlusion,
        method="occlusion",
        source="zeiler2014",
        cost="1 forward + 1 for each window position",
        claims=frozenset({"implementation_invariance", "linearity"}),
        # A window over all channels gives a channel that the model ignores the drop of the others.
        claims_when=(("per_channel", True, "dummy_feature"),),
        needs_baseline=True,
    ),
    "captum:SmoothGrad": Entry(
        factory=smooth_grad,
        method="smooth_grad",
        source="smilkov2017",
        cost="{draws} forward + {draws} backward",
        claims=frozenset({"dummy_feature", "implementation_invariance"}),
        claims_when=(("absolute", False, "linearity"),),
        stochastic=True,
    ),
    "control:RandomMap": Entry(factory=random_map, cost="none", stochastic=True),
    "control:ConstantMap": Entry(factory=constant_map, cost="none"),
    "control:InputItself": Entry(factory=input_itself, cost="none"),
    "control:EdgeDetector": Entry(factory=edge_detector, source="adebayo2018", cost="none"),
    "control:OtherClass": Entry(factory=other_class, cost="1 forward + 1 backward"),
}
