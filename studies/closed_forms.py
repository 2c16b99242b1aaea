"""Compares the explainers of the gallery with maps that are known in closed form.

    python -m studies.closed_forms [--write docs/evidence/closed-forms.md]

Prints two tables in Markdown: for every explainer and method the largest error on the probe
networks, and the pairs that are not right to 1e-6. The tests check that each pair is in the right
table (tests/subjects/probes/test_closed_forms.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from pytest_xai import explainers
from pytest_xai.core.subject import Subject
from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.subjects.probes import probes
from studies.page import page_asked_for, print_or_write

LIMIT = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """One explainer, and the truth that it is held to.

    Attributes:
        method: the truth's name in `Subject.truths`.
        spec: a name of the gallery.
        options: of the explainer.
        probes: the probes on which it is held to it; None: all that have it.
    """

    method: str
    spec: str
    options: Mapping[str, object] = field(default_factory=dict)
    probes: frozenset[str] | None = None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.spec}({given})" if given else self.spec


def _form(truth: str, spec: str, /, **options: object) -> Form:
    return Form(method=truth, spec=spec, options=options)


_CAMS = {
    "grad_cam": "GradCAM",
    "hires_cam": "HiResCAM",
    "xgrad_cam": "XGradCAM",
    "layer_cam": "LayerCAM",
    "ablation_cam": "AblationCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
}
# Their units switch on the way from the baseline, at multiples of 1/240.
_SWITCHING = frozenset(
    {
        "additive",
        "minimum",
        "saturating",
        "and",
        "symmetric",
        "hidden",
        "pair-late",
        "pair-early",
        "maximum",
        "image-hidden",
    }
)
FORMS: tuple[Form, ...] = (
    _form("gradient", "captum:Saliency", absolute=False),
    _form("absolute_gradient", "captum:Saliency"),
    _form("largest_gradient", "captum:Saliency", channels="max"),
    _form("input_x_gradient", "captum:InputXGradient"),
    Form(
        method="integrated_gradients",
        spec="captum:IntegratedGradients",
        probes=frozenset(probes()) - _SWITCHING,
    ),
    # Midpoints are exact where units switch between two of them.
    Form(
        method="integrated_gradients",
        spec="captum:IntegratedGradients",
        options={"steps": 240, "method": "riemann_middle"},
        probes=_SWITCHING,
    ),
    _form("integrated_gradients", "captum:IntegratedGradients", method="riemann_trapezoid"),
    _form("deep_lift_rescale", "captum:DeepLift"),
    _form("deep_lift_rescale", "captum:DeepLiftShap"),
    _form("deep_lift_rescale", "shap:DeepExplainer"),
    _form("deep_lift_rescale", "xai:DeepLiftRescale"),
    _form("deep_lift_reveal_cancel", "xai:DeepLiftRevealCancel"),
    _form("guided_backprop", "captum:GuidedBackprop"),
    _form("guided_backprop", "zennit:GuidedBackprop"),
    _form("deconvolution", "captum:Deconvolution"),
    _form("deconvolution", "zennit:Deconvnet"),
    _form("lrp_zero", "zennit:LRPZero"),
    _form("lrp_zero", "captum:LRP"),
    _form("lrp_epsilon", "zennit:LRPEpsilon"),
    _form("lrp_gamma", "zennit:LRPGamma"),
    _form("lrp_gamma", "captum:LRP", rule="gamma"),
    _form("lrp_z_plus", "zennit:ZPlus"),
    _form("lrp_z_plus", "zennit:AlphaBeta", alpha=1.0),
    _form("lrp_z_plus", "captum:LRP", rule="alpha1beta0"),
    _form("lrp_alpha2_beta1", "zennit:AlphaBeta"),
    _form("lrp_w_square", "zennit:WSquare"),
    _form("lrp_flat", "zennit:Flat"),
    _form("lrp_z_box", "zennit:ZBox"),
    _form("deep_taylor", "zennit:DTD"),
    _form("excitation_backprop", "zennit:ExcitationBackprop"),
    _form("occlusion", "captum:Occlusion"),
    _form("feature_ablation", "captum:FeatureAblation"),
    _form("any draw of shapley", "captum:ShapleyValueSampling"),
    _form("any draw of shapley", "captum:KernelShap"),
    _form("any draw of kernel_shap", "shap:KernelExplainer"),
    _form("any draw of lime", "captum:Lime"),
    _form("any draw of smooth_grad", "captum:SmoothGrad"),
    _form("any draw of smooth_grad_squared", "captum:SmoothGradSquared"),
    _form("any draw of var_grad", "captum:VarGrad"),
    _form("any draw of expected_gradients", "captum:GradientShap"),
    _form("any draw of expected_gradients", "shap:GradientExplainer"),
    _form("cam", "xai:CAM"),
    _form("cam_rectified", "xai:CAM", rectify=True),
    _form("grad_cam", "captum:LayerGradCam"),
    _form("guided_grad_cam", "captum:GuidedGradCam"),
    _form("conductance", "captum:LayerConductance"),
    _form("fem_scaled", "xai:FEM"),
    _form("fem_scaled", "gradcam:FEM", k=1.0),
    *(_form(f"{method}_scaled", f"gradcam:{name}") for method, name in _CAMS.items()),
)


# Why these are not right; any other pair has to be.
DEVIATIONS: Mapping[tuple[str, str], str] = {
    (
        "captum:IntegratedGradients(method='riemann_trapezoid')",
        "integrated_gradients",
    ): "n nodes of weight 1/n with the ends halved: the weights sum to (n - 1)/n, "
    "and an end where no unit has a derivative loses half a node more",
    ("captum:DeepLift", "deep_lift_rescale"): "a max-pool next to a ReLU: each takes the "
    "other's change for its own (pytorch/captum issue 1104)",
    ("captum:DeepLiftShap", "deep_lift_rescale"): "as captum:DeepLift",
    ("gradcam:FEM(k=1.0)", "fem_scaled"): "weights a channel by its share of places beyond the "
    "threshold, times the activation",
}
REFUSALS = "captum's LRP has no rule for modules of this type: 0 (Unflatten)"


@cache
def subjects() -> Mapping[str, Subject]:
    """All probes by name."""
    return {name: make() for name, make in probes().items()}


def pairs() -> Iterator[tuple[Form, str]]:
    """Every form with each probe that has its truth."""
    for form in FORMS:
        for name, subject in subjects().items():
            if form.method in subject.truths and (form.probes is None or name in form.probes):
                yield form, name


def errors(form: Form, name: str) -> float | str:
    """Largest error of a map over the largest value of the right one, or why there is no map."""
    subject = subjects()[name]
    try:
        explainer = explainers.get(form.spec, **form.options)
        baseline = {}
        if explainer.traits.needs_baseline:
            baseline["baseline"] = subject.baseline.expand_as(subject.inputs)
        torch.manual_seed(0)
        maps = explainer.call(subject.model, subject.inputs, subject.targets, **baseline)
    except (InvalidArgument, NotApplicable) as reason:
        return str(reason)
    assert isinstance(maps, Tensor)
    truth = subject.truths[form.method]
    largest = truth.abs().max()
    difference = (maps.double() - truth).abs().max()
    return float(difference / largest if largest > 0 else difference)


def measured() -> dict[Form, dict[str, float]]:
    """Errors by form and probe, without the pairs that an explainer refuses."""
    found: dict[Form, dict[str, float]] = {}
    for form, name in pairs():
        error = errors(form, name)
        if isinstance(error, str):
            assert error == REFUSALS, error
        else:
            found.setdefault(form, {})[name] = error
    return found


def table() -> str:
    """Both tables in Markdown."""
    found = measured()
    lines = [
        "| truth | explainer | probes | largest error |",
        "| --- | --- | --- | --- |",
    ]
    for form, by_probe in found.items():
        right = [error for error in by_probe.values() if error <= LIMIT]
        share = f"{len(right)} of {len(by_probe)}" if len(right) < len(by_probe) else len(right)
        worst = f"{max(right):.0e}" if right else "see below"
        lines.append(f"| {form.method} | `{form}` | {share} | {worst} |")
    lines += ["", "| explainer | errors | probes | why |", "| --- | --- | --- | --- |"]
    for form, by_probe in found.items():
        wrong = {name: error for name, error in by_probe.items() if error > LIMIT}
        if wrong:
            least, most = (f"{error:.3f}" for error in (min(wrong.values()), max(wrong.values())))
            span = least if least == most else f"{least} to {most}"
            names = "all" if len(wrong) == len(by_probe) else ", ".join(wrong)
            why = DEVIATIONS[str(form), form.method]
            lines.append(f"| `{form}` | {span} | {names} | {why} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables, or write them between the marks of a page."""
    print_or_write(page_asked_for(__doc__), table())


if __name__ == "__main__":
    main()
