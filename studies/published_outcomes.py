"""Compares the randomisation checks with published outcomes of methods, on bundled subjects.

    python -m studies.published_outcomes [--write docs/evidence/published-outcomes.md]

Prints a table in Markdown for each subject and check: figure, limit, interval and outcome of every
method, the published outcome, and, if the two differ, the measured reason. The verdicts are those
of `check_explainer`. The tests compare the page with this file, and some of its rows with a run
(tests/checks/randomisation/test_published_outcomes.py).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from pytest_xai import Subject, Verdict, check_explainer, explainers
from pytest_xai.subjects import load_digits, load_shapes
from studies.page import page_asked_for, print_or_write

ALPHA = 0.01
RESPONDS, BLIND = "responds", "blind"
_SAYS = {"passed": RESPONDS, "failed": BLIND}

_ADEBAYO = ("mprt_cascading", "mprt_independent", "data_randomisation")
_SIXT = ("mprt_cascading", "random_logit")
# The network of the shapes has 17 layers, and there is none with permuted labels.
CHECKS: Mapping[str, tuple[str, ...]] = {
    "digits": (
        "mprt_cascading",
        "mprt_independent",
        "mprt_bottom_up",
        "efficient_mprt",
        "random_logit",
        "data_randomisation",
    ),
    "shapes": ("mprt_cascading", "random_logit"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One method, and what the papers report.

    Attributes:
        name: as in the tables.
        spec: in the gallery.
        options: of it.
        published: "responds" or "blind" by the name of the check; no entry: not reported.
    """

    name: str
    spec: str
    options: Mapping[str, object] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)


def _reported(outcome: str, *checks: str) -> dict[str, str]:
    return dict.fromkeys(checks, outcome)


_BOTH = ("mprt_cascading", "mprt_independent", "data_randomisation", "random_logit")
METHODS: tuple[Method, ...] = (
    Method(
        name="gradient",
        spec="captum:Saliency",
        options={"absolute": False},
        published=_reported(RESPONDS, *_BOTH),
    ),
    Method(
        name="gradient, absolute values",
        spec="captum:Saliency",
        published=_reported(RESPONDS, *_ADEBAYO),
    ),
    Method(
        name="SmoothGrad",
        spec="captum:SmoothGrad",
        options={"draws": 10},
        published=_reported(RESPONDS, *_ADEBAYO),
    ),
    Method(
        name="Integrated Gradients",
        spec="captum:IntegratedGradients",
        options={"steps": 10},
        published=_reported(RESPONDS, *_ADEBAYO),
    ),
    Method(
        name="gradient x input",
        spec="captum:InputXGradient",
        published=_reported(RESPONDS, *_ADEBAYO),
    ),
    Method(name="Grad-CAM", spec="captum:LayerGradCam", published=_reported(RESPONDS, *_ADEBAYO)),
    Method(name="LRP-0", spec="zennit:LRPZero", published=_reported(RESPONDS, *_SIXT)),
    Method(name="LRP-epsilon", spec="zennit:LRPEpsilon", published=_reported(RESPONDS, *_SIXT)),
    Method(name="DeepLIFT", spec="xai:DeepLiftRescale", published=_reported(RESPONDS, *_SIXT)),
    Method(name="occlusion", spec="captum:Occlusion"),
    Method(
        name="guided backpropagation",
        spec="zennit:GuidedBackprop",
        published=_reported(BLIND, *_BOTH),
    ),
    Method(
        name="guided Grad-CAM",
        spec="captum:GuidedGradCam",
        published=_reported(BLIND, *_ADEBAYO),
    ),
    Method(name="deconvolution", spec="zennit:Deconvnet", published=_reported(BLIND, *_SIXT)),
    Method(
        name="LRP-alpha1-beta0",
        spec="zennit:AlphaBeta",
        options={"alpha": 1.0},
        published=_reported(BLIND, *_SIXT),
    ),
    Method(
        name="LRP-alpha2-beta1",
        spec="zennit:AlphaBeta",
        options={"alpha": 2.0},
        published=_reported(BLIND, *_SIXT),
    ),
    Method(name="LRP-z-plus", spec="zennit:ZPlus", published=_reported(BLIND, *_SIXT)),
    Method(
        name="w-squared, then z-plus", spec="zennit:WSquare", published=_reported(BLIND, *_SIXT)
    ),
    Method(name="DTD", spec="zennit:DTD", published=_reported(BLIND, *_SIXT)),
    Method(
        name="excitation backpropagation",
        spec="zennit:ExcitationBackprop",
        published=_reported(BLIND, *_SIXT),
    ),
    Method(
        name="edge detector", spec="control:EdgeDetector", published=_reported(BLIND, *_ADEBAYO)
    ),
    Method(name="the input itself", spec="control:InputItself"),
    Method(name="constant map", spec="control:ConstantMap"),
    Method(name="random map, seeded", spec="control:RandomMap"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Why a verdict is not what the paper reports.

    Attributes:
        subject: where.
        check: which.
        methods: whose.
        why: a sentence; names of figures in braces stand for what the run has measured.
    """

    subject: str
    check: str
    methods: tuple[str, ...]
    why: str


_PARTLY = (
    "partly blind: {figure} (limit {limit}) is far above the {unrelated_maps} of unrelated images, "
    "but not beyond halfway; "
)
_ALPHA2 = (
    "its maps have pixels of both signs, and are not as similar as those of the rules without "
    "negative parts: {figure} (limit {limit}; unrelated images {unrelated_maps}). Without "
    "the signs of the pixels it is {without_sign} (unrelated images "
    "{without_sign_of_unrelated_maps}): where the relevance lies stays much the same, what is for "
    "and what is against does not"
)
_LATER = (
    "after the head alone it is {after_head}, where the limit is {limit}: it hardly sees "
    "that layer, as reported. With all 17 layers drawn it is {after_all}, so that it does "
    "see the lower ones, and the mean over the cascade is {figure}"
)
_PATTERN = (
    "maps of two different images have a similarity of {unrelated_maps} here, so that the limit of "
    "{limit} is hard to exceed, and this check can hardly tell: {figure}"
)

# Short names, for the sentences below, of facts that the checks report.
_SHORT = {
    "absolute rank correlation of unrelated maps": "unrelated_maps",
    "rank correlation of absolute values": "without_sign",
    "rank correlation of absolute values of unrelated maps": "without_sign_of_unrelated_maps",
    "absolute rank correlation after re-initialising the head": "after_head",
    "absolute rank correlation after re-initialising all layers": "after_all",
    "absolute rank correlation after re-initialising the head alone": "after_head_alone",
    "absolute rank correlation after re-initialising the first layer alone": "after_first_alone",
    "absolute rank correlation of the model's own gradients": "gradients",
    "share of equal predictions of the two networks": "same_predictions",
}

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        subject="digits",
        check="mprt_cascading",
        methods=("guided Grad-CAM",),
        why=_PARTLY + "after the head it is {after_head}, with all layers drawn {after_all}. "
        "It is the product of guided backpropagation with Grad-CAM, which does respond",
    ),
    Difference(
        subject="digits", check="mprt_cascading", methods=("LRP-alpha2-beta1",), why=_ALPHA2
    ),
    Difference(
        subject="digits",
        check="mprt_independent",
        methods=("guided Grad-CAM",),
        why=_PARTLY + "the head alone gives {after_head_alone}, the first layer alone "
        "{after_first_alone}",
    ),
    Difference(subject="digits", check="random_logit", methods=("LRP-alpha2-beta1",), why=_ALPHA2),
    Difference(
        subject="digits",
        check="data_randomisation",
        methods=("guided Grad-CAM",),
        why=_PARTLY + "the two networks agree on {same_predictions} of the images",
    ),
    Difference(
        subject="shapes",
        check="mprt_cascading",
        methods=(
            "guided backpropagation",
            "guided Grad-CAM",
            "LRP-alpha1-beta0",
            "LRP-z-plus",
            "w-squared, then z-plus",
            "DTD",
            "excitation backpropagation",
        ),
        why=_LATER,
    ),
    Difference(
        subject="shapes",
        check="mprt_cascading",
        methods=("LRP-alpha2-beta1",),
        why="the head alone already changes its maps: {after_head} (limit {limit}), and with "
        "all 17 layers drawn it is {after_all}; the mean over the cascade is {figure}",
    ),
    Difference(
        subject="shapes",
        check="mprt_cascading",
        methods=("deconvolution",),
        why=_PATTERN + " over the cascade, {after_head} after the head alone",
    ),
    Difference(
        subject="shapes",
        check="random_logit",
        methods=("deconvolution",),
        why=_PATTERN,
    ),
    Difference(subject="shapes", check="random_logit", methods=("LRP-alpha2-beta1",), why=_ALPHA2),
)


@cache
def subject_of(name: str) -> Subject:
    """The bundled subject, with as many images as are looked at."""
    return load_digits(256) if name == "digits" else load_shapes(64)


@cache
def verdict_of(method_name: str, subject: str, check: str) -> Verdict:
    """The verdict on one method."""
    method = next(each for each in METHODS if each.name == method_name)
    explainer = explainers.get(method.spec, **method.options)
    (verdict,) = check_explainer(
        explainer, subject_of(subject), checks=[check], on_fail="ignore", alpha=ALPHA
    )
    return verdict


def measured(verdict: Verdict) -> dict[str, str]:
    """The means of the facts that have a short name, and the figure and the limit of a verdict."""
    _, _, means = verdict.reason.partition("Means over the images: ")
    found = dict(re.findall(r"([a-zA-Z][\w ,'()-]*?) (-?\d[\d.e-]*)(?:, |\.(?: |$))", means))
    facts = {_SHORT[name]: f"{float(value):.2f}" for name, value in found.items() if name in _SHORT}
    return facts | {"figure": f"{verdict.figure:.2f}", "limit": f"{verdict.limit:.2f}"}


def agreement(published: str | None, outcome: str) -> str:
    """Whether the verdict is what the paper reports."""
    if published is None:
        return ""
    return "yes" if _SAYS.get(outcome) == published else "no"


def row(method: Method, subject: str, check: str) -> str:
    """A row of a table."""
    verdict = verdict_of(method.name, subject, check)
    published = method.published.get(check)
    cells: list[str] = [method.name]
    if verdict.figure is None or verdict.limit is None or verdict.interval is None:
        cells += ["", "", ""]
    else:
        low, high = verdict.interval
        cells += [f"{verdict.figure:.2f}", f"{verdict.limit:.2f}", f"{low:.2f} to {high:.2f}"]
    cells += [str(verdict.images), verdict.outcome, published or ""]
    return f"| {' | '.join([*cells, agreement(published, verdict.outcome)])} |"


def reasons(subject: str, check: str) -> Iterator[str]:
    """Why verdicts differ from the papers, with what was measured."""
    for difference in DIFFERENCES:
        if (difference.subject, difference.check) == (subject, check):
            for name in difference.methods:
                facts = measured(verdict_of(name, subject, check))
                yield f"- {name}: {difference.why.format(**facts)}."


def tables() -> str:
    """All tables, each with its reasons."""
    parts = []
    for subject, checks in CHECKS.items():
        for check in checks:
            parts += [f"## {check}, {subject}", ""]
            parts += ["| method | figure | limit | interval | images | outcome | paper | agrees |"]
            parts += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
            parts += [row(method, subject, check) for method in METHODS]
            why = list(reasons(subject, check))
            parts += ["", *(["Where they differ:", "", *why, ""] if why else [])]
    return "\n".join(parts).strip()


def main() -> None:
    """Print the tables, or write them between the marks of a page."""
    print_or_write(page_asked_for(__doc__), tables())


if __name__ == "__main__":
    main()
