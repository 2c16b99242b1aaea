"""Where a sum of attributions breaks: the step at which the first tail fails that holds behind it.

An explainer whose maps add up does so on every network, so on the part behind each step of one as
well: the tail, explained at the step's activation, with the baseline's activation as its baseline.
If a tail fails and the one behind the next step holds, that step is at fault.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.evaluations import Counter
from pytest_xai.core.seeds import seeded
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Finding, holds
from pytest_xai.diagnosis.graphs import Drawn, draw
from pytest_xai.diagnosis.suspects import named, suspicion
from pytest_xai.diagnosis.tails import Cut, Tails
from pytest_xai.errors import NotApplicable, XaiError
from pytest_xai.protocol import NEEDS_NEW, NamedExplainer

__all__ = ["IMAGES", "PLACE", "Measure", "Parts", "locate"]

# The images that are furthest beyond their limits: more of them tell nothing new.
IMAGES = 2
# Tails that may be explained: a bisection of 4,000 places, and some that raise.
_TAILS = 16
# Images that pass a network while it is drawn: one before, one and two after.
_DRAWN = 4
# Evaluations per image, none of them backward, beyond which an explainer is taken to try subsets of
# the values: twice as many values may cost it the square.
_SUBSETS = 4
PLACE = "It breaks at "
_LOST = "Where it breaks could not be located: "

Measure = Callable[[Bench, NamedExplainer], Finding]


def locate(
    bench: Bench, explainer: NamedExplainer, *, measure: Measure, images: Sequence[int]
) -> str:
    """Name the module at which the sums break, and the likely cause, in sentences.

    It explains a tail in each step of a bisection, first between places where one tensor
    carries everything, then between all places within the block that was found, on two images at
    the most. Never raises: what went wrong is said.

    Args:
        bench: where the check failed.
        explainer: that failed.
        measure: the check: its finding on a bench keeps its limits or does not.
        images: positions in the bench of the images that are beyond their limits, worst first.
    """
    if not bench.can_explain(explainer):
        return f"{_LOST}it {NEEDS_NEW}."
    try:
        with bench.guard.watch(), seeded(0):
            parts = Parts(bench, explainer, measure=measure, images=images[:IMAGES])
            return _search(parts)
    except Exception as error:  # noqa: BLE001  # guests' code in any of its forms; a verdict stands
        reason = str(error) if isinstance(error, XaiError) else f"{type(error).__name__}: {error}"
        return f"{_LOST}{reason.partition(chr(10))[0].rstrip('.')}."


@dataclass(slots=True)
class _Search:
    """What is known of the tails at the places looked at."""

    fails: int
    holds: int
    unknown: set[int] = field(default_factory=set)


class Parts:
    """The tails of a bench's model, and a measure of an explainer on them.

    Args:
        bench: whose model is cut.
        explainer: who explains the tails.
        measure: see `locate`.
        images: positions in the bench.

    Attributes:
        tails: of a copy of the model.
        explained: tails that were explained.
        most: values of an activation that the explainer is asked about.
        problem: what the last tail that could not be explained said.

    Raises:
        NotApplicable: the model cannot be copied or followed.
    """

    def __init__(
        self,
        bench: Bench,
        explainer: NamedExplainer,
        *,
        measure: Measure,
        images: Sequence[int],
    ) -> None:
        self.bench, self.explainer, self.measure = bench, explainer, measure
        rows = list(images)
        self.inputs, self.baseline = bench.inputs[rows], bench.baseline[rows]
        self.targets = bench.targets[rows]
        drawn: Drawn = draw(bench.copied_model(), self.inputs[:1], rounding=bench.rounding)
        self._count(_DRAWN)
        self.tails = Tails(drawn)
        self.explained = 0
        self.most = math.inf
        self.problem = ""

    def finding(self, cut: Cut) -> Finding:
        """What the check finds on the tail behind a cut.

        Raises:
            XaiError: the explainer or the tail raised, or the check does not apply.
            NotApplicable: the tail does not compute the same as the whole, or has too many values
                for an explainer that tries subsets of them.
        """
        inputs, baseline = self.activations(cut)
        if inputs[0].numel() > self.most:
            raise NotApplicable(
                f"it tries subsets of the values, and an activation of {inputs[0].numel()} has "
                f"more of them than the {self.most} of the input"
            )
        return self.found_on(self.tails.tail(cut), inputs, baseline)

    def activations(self, cut: Cut) -> tuple[Tensor, Tensor]:
        """Of the images and of their baselines, (n, ...) each."""
        head = self.tails.head(cut)
        with torch.no_grad():
            inputs, baseline = (head(given.clone()) for given in (self.inputs, self.baseline))
        self._count(2 * len(inputs))
        return inputs.clone(), baseline.clone()

    def found_on(self, network: nn.Module, inputs: Tensor, baseline: Tensor) -> Finding:
        """What the check finds on another network and inputs, the images' targets kept."""
        self.explained += 1
        name = self.bench.subject.name
        subject = Subject(network, inputs, self.targets, baseline=baseline, name=name)
        bench = Bench(subject, seed=self.bench.seed)
        explainer = self.explainer if self.explained > 1 else self._watched(bench.counter)
        try:
            return self.measure(bench, explainer)
        finally:
            bench.close()
            spent = bench.counter.spent
            self.bench.counter.add(
                forward=spent.forward,
                backward=spent.backward,
                explainer_calls=spent.explainer_calls,
            )

    def _watched(self, counter: Counter) -> NamedExplainer:
        """The explainer; what it spends on the whole network tells what it may be asked."""

        def call(model: nn.Module, inputs: Tensor, targets: Tensor, **baseline: Tensor) -> object:
            before = counter.spent
            made = self.explainer.call(model, inputs, targets, **baseline)
            own = counter.spent - before
            if own.forward > _SUBSETS * len(inputs) and not own.backward:
                self.most = inputs[0].numel()
            return made

        return replace(self.explainer, call=call)

    def breaks(self, cut: Cut) -> bool | None:
        """Whether the check fails on the tail behind a cut; None: it cannot be told."""
        try:
            finding = self.finding(cut)
        except Exception as error:  # noqa: BLE001  # a guest's part on its own may do anything
            self.problem = str(error).partition("\n")[0].rstrip(".")
            return None
        return not bool(holds(finding.values, finding.limits, "<=").all())

    def on_nothing(self) -> bool | None:
        """Whether the check fails on a linear layer that hands the logits on, 2 x - x of each."""
        with torch.no_grad():
            given = [self.bench.subject.model(x.clone()) for x in (self.inputs, self.baseline)]
        outputs, baseline = (torch.cat([logits, logits], 1) for logits in given)
        if outputs.shape[1] > self.most:
            return None
        count = outputs.shape[1] // 2
        # Without its usual start, which would draw from the global generator.
        layer = nn.utils.skip_init(nn.Linear, 2 * count, count, bias=False)
        eye = torch.eye(count)
        layer.weight = nn.Parameter(torch.cat([2 * eye, -eye], 1).to(outputs))
        try:
            finding = self.found_on(layer.eval(), outputs, baseline)
        except XaiError:
            return None
        return not bool(holds(finding.values, finding.limits, "<=").all())

    def _count(self, images: int) -> None:
        self.bench.counter.add(forward=images)


def _search(parts: Parts) -> str:
    cuts = parts.tails.cuts
    if not cuts or not cuts[0].plain:
        raise NotApplicable("the network has no place at which it can be cut")
    whole = parts.breaks(cuts[0])
    if whole is None:
        raise NotApplicable(parts.problem)
    if not whole:
        raise NotApplicable(
            "on the network as it was traced, with these images alone, the sums hold: it depends "
            "on the other images of the batch, or on the model's own class"
        )
    fails, behind = cuts[0], _output(parts.tails)
    for plain in (True, False):
        places = [
            cut
            for cut in cuts
            if fails.place < cut.place < behind.place and (cut.plain or not plain)
        ]
        fails, behind = _bisected(parts, [fails, *places, behind])
    return _said(parts, fails, behind)


def _output(tails: Tails) -> Cut:
    """The place behind the last step, where nothing is left to explain."""
    return Cut(place=len(tails.steps) - 1, live=(), plain=True)


def _bisected(parts: Parts, places: list[Cut]) -> tuple[Cut, Cut]:
    """The last place whose tail fails before the first whose tail holds.

    Args:
        parts: of the network.
        places: the first fails, the last holds.
    """
    while len(places) > 2 and parts.explained < _TAILS:
        middle = len(places) // 2
        breaks = parts.breaks(places[middle])
        if breaks is None:
            del places[middle]
        else:
            places = places[middle:] if breaks else places[: middle + 1]
    return places[0], places[-1]


def _said(parts: Parts, fails: Cut, behind: Cut) -> str:
    tails, last = parts.tails, _output(parts.tails).place
    nodes = [node for node in tails.between(fails, behind) if tails.is_tensor(node)]
    if behind.place == last and parts.on_nothing():
        return (
            "It breaks without any of the model's modules: for one linear layer that hands the "
            "logits on the sum is wrong as well, so it is the explainer's own arithmetic."
        )
    if parts.problem and fails is tails.cuts[0] and behind.place == last:
        raise NotApplicable(parts.problem)
    names = [named(tails, node) for node in nodes]
    shown = names[0] if len(names) == 1 else f"{len(names)} steps from {names[0]} to {names[-1]}"
    _, baseline = parts.activations(fails)
    varying = bool((baseline.flatten(1).amax(1) > baseline.flatten(1).amin(1)).any())
    likely = suspicion(tails, nodes, varying=varying)
    return (
        f"{PLACE}{shown}: what begins with it does not add up, what is behind it does "
        f"({tails.drawn.how}, {parts.explained} tails explained)."
        + (f" No closer: {parts.problem}." if parts.problem and names[1:] else "")
        + (f" Likely: {likely}." if likely else "")
    )
