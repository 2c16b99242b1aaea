"""Find the module at which a sum of attributions becomes wrong.

An explainer whose maps add up does so for every network, and therefore also for the rest of a
network after each of its steps. This rest is called a tail. It is explained at the activation of
the step, with the activation of the baseline as its baseline. If the tail from a step onwards fails
the check and the tail after that step passes, the step is wrong.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from pytest_xai.bench.bench import Bench
from pytest_xai.bench.evaluations import Counter
from pytest_xai.core.finding import Finding, within_limit
from pytest_xai.core.seeds import seeded
from pytest_xai.core.subject import Subject
from pytest_xai.diagnosis.graphs import TracedNetwork, trace
from pytest_xai.diagnosis.suspects import likely_causes, short_name, step_name
from pytest_xai.diagnosis.tails import Cut, Tails
from pytest_xai.errors import NotApplicable, XaiError
from pytest_xai.protocol import NEEDS_NEW, NamedExplainer

__all__ = ["FOUND", "IMAGES", "Measure", "Parts", "locate"]

# Number of images, those that exceed their limits most. More of them add no information.
IMAGES = 2
# Largest number of tails to explain: enough for a bisection of 4,000 positions, and some errors.
_TAILS = 16
# Forward evaluations while a network is traced: one image before, and one and two images after.
_TRACING = 4
# With more forward evaluations per image than this and no backward ones, an explainer is assumed to
# try subsets of the values, at a cost that may grow exponentially with their number.
_SUBSETS = 4
FOUND = "First wrong "
_NOT_FOUND = "The wrong module could not be located: "

Measure = Callable[[Bench, NamedExplainer], Finding]


def locate(
    bench: Bench, explainer: NamedExplainer, *, measure: Measure, images: Sequence[int]
) -> str:
    """Return sentences that name the module at which the sums become wrong, and likely causes.

    The search is a bisection, first over positions where a single tensor is passed on, then over
    all positions within the block that was found. Each step explains one tail, on at most two
    images. The function never raises: it returns the reason if no module was found.

    Args:
        bench: the bench on which the check failed.
        explainer: the explainer that failed.
        measure: the check, which returns a finding for a bench.
        images: positions in the bench of the images that exceed their limits, worst first.
    """
    if not bench.can_explain(explainer):
        return f"{_NOT_FOUND}the search {NEEDS_NEW}."
    try:
        with bench.guard.watch(), seeded(0):
            parts = Parts(bench, explainer, measure=measure, images=images[:IMAGES])
            return _search(parts)
    except Exception as error:  # noqa: BLE001  # user code may raise anything; the verdict stands
        reason = str(error) if isinstance(error, XaiError) else f"{type(error).__name__}: {error}"
        return f"{_NOT_FOUND}{reason.partition(chr(10))[0].rstrip('.')}."


class Parts:
    """The tails of a bench's model, and findings of a check on them.

    Args:
        bench: the bench with the model to cut.
        explainer: the explainer of the tails.
        measure: the check, see `locate`.
        images: positions of the images in the bench.

    Attributes:
        tails: the tails of a copy of the model.
        explained: number of tails explained so far.
        most: largest number of values of an activation that the explainer may be given.
        problem: error message of the last tail that could not be explained.

    Raises:
        NotApplicable: the model cannot be copied or traced.
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
        traced: TracedNetwork = trace(
            bench.copied_model(), self.inputs[:1], rounding=bench.rounding
        )
        self._count(_TRACING)
        self.tails = Tails(traced)
        self.explained = 0
        self.most = math.inf
        self.problem = ""

    def finding(self, cut: Cut) -> Finding:
        """Return the finding of the check for the tail after a cut.

        Raises:
            XaiError: the explainer or the tail raised, or the check is not applicable.
            NotApplicable: the activation has too many values for an explainer that tries subsets.
        """
        inputs, baseline = self.activations(cut)
        if inputs[0].numel() > self.most:
            raise NotApplicable(
                f"the explainer tries subsets of the values, and an activation has "
                f"{inputs[0].numel()} values, more than the {self.most} of the input"
            )
        return self.found_on(self.tails.tail(cut), inputs, baseline)

    def activations(self, cut: Cut) -> tuple[Tensor, Tensor]:
        """Return the activations of the images and of their baselines at a cut, (n, ...) each."""
        head = self.tails.head(cut)
        with torch.no_grad():
            inputs, baseline = (head(given.clone()) for given in (self.inputs, self.baseline))
        self._count(2 * len(inputs))
        return inputs.clone(), baseline.clone()

    def found_on(self, network: nn.Module, inputs: Tensor, baseline: Tensor) -> Finding:
        """Return the finding of the check for another network and inputs, with the same targets."""
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
        """Return the explainer, which limits `most` if it seems to try subsets of the values."""

        def call(model: nn.Module, inputs: Tensor, targets: Tensor, **baseline: Tensor) -> object:
            before = counter.spent
            made = self.explainer.call(model, inputs, targets, **baseline)
            own = counter.spent - before
            if own.forward > _SUBSETS * len(inputs) and not own.backward:
                self.most = inputs[0].numel()
            return made

        return replace(self.explainer, call=call)

    def fails(self, cut: Cut) -> bool | None:
        """Return whether the check fails for the tail after a cut, or None if that is unknown."""
        try:
            finding = self.finding(cut)
        except Exception as error:  # noqa: BLE001  # a part of a network on its own may raise anything
            self.problem = str(error).partition("\n")[0].rstrip(".")
            return None
        return not bool(within_limit(finding.values, finding.limits, "<=").all())

    def fails_on_identity(self) -> bool | None:
        """Return whether the check fails for one linear layer that returns the logits unchanged.

        The layer computes 2 x - x for each logit. The result is None if it cannot be explained.
        """
        with torch.no_grad():
            given = [self.bench.subject.model(x.clone()) for x in (self.inputs, self.baseline)]
        outputs, baseline = (torch.cat([logits, logits], 1) for logits in given)
        if outputs.shape[1] > self.most:
            return None
        count = outputs.shape[1] // 2
        # Without the usual initialisation, which would draw from the global random generator.
        layer = nn.utils.skip_init(nn.Linear, 2 * count, count, bias=False)
        eye = torch.eye(count)
        layer.weight = nn.Parameter(torch.cat([2 * eye, -eye], 1).to(outputs))
        try:
            finding = self.found_on(layer.eval(), outputs, baseline)
        except XaiError:
            return None
        return not bool(within_limit(finding.values, finding.limits, "<=").all())

    def _count(self, images: int) -> None:
        self.bench.counter.add(forward=images)


def _search(parts: Parts) -> str:
    cuts = parts.tails.cuts
    if not cuts or not cuts[0].plain:
        raise NotApplicable("the network has no position at which it can be cut")
    whole = parts.fails(cuts[0])
    if whole is None:
        raise NotApplicable(parts.problem)
    if not whole:
        raise NotApplicable(
            "the traced network passes the check with the failing images alone: the sums depend on "
            "the other images of the batch, or on the class of the model"
        )
    failing, passing = cuts[0], _output(parts.tails)
    for plain in (True, False):
        between = [
            cut
            for cut in cuts
            if failing.place < cut.place < passing.place and (cut.plain or not plain)
        ]
        failing, passing = _bisected(parts, [failing, *between, passing])
    return _description(parts, failing, passing)


def _output(tails: Tails) -> Cut:
    """Return the position after the last step, where nothing is left to explain."""
    return Cut(place=len(tails.steps) - 1, live=(), plain=True)


def _bisected(parts: Parts, cuts: list[Cut]) -> tuple[Cut, Cut]:
    """Return two cuts, as near as possible, such that the first tail fails and the second passes.

    Args:
        parts: the parts of the network.
        cuts: cuts in order. The tail of the first fails, and the tail of the last passes.
    """
    while len(cuts) > 2 and parts.explained < _TAILS:
        middle = len(cuts) // 2
        fails = parts.fails(cuts[middle])
        if fails is None:
            del cuts[middle]
        else:
            cuts = cuts[middle:] if fails else cuts[: middle + 1]
    return cuts[0], cuts[-1]


def _description(parts: Parts, failing: Cut, passing: Cut) -> str:
    tails, last = parts.tails, _output(parts.tails).place
    nodes = [node for node in tails.between(failing, passing) if tails.is_tensor(node)]
    if passing.place == last and parts.fails_on_identity():
        return (
            "No module is at fault: the sum is also wrong for a single linear layer that returns "
            "the logits unchanged, so that the error is in the explainer's own arithmetic."
        )
    if parts.problem and failing is tails.cuts[0] and passing.place == last:
        raise NotApplicable(parts.problem)
    _, baseline = parts.activations(failing)
    varying = bool((baseline.flatten(1).amax(1) > baseline.flatten(1).amin(1)).any())
    likely = likely_causes(tails, nodes, varying=varying)
    if passing.place == last:
        after = "no step follows"
    elif len(nodes) == 1:
        after = "from the next step onwards it passes"
    else:
        after = f"after {short_name(tails, nodes[-1])} it passes"
    return (
        f"{_first_wrong(tails, nodes)}. Explaining the network from {short_name(tails, nodes[0])} "
        f"onwards fails the sum check; {after} "
        f"({tails.traced.how}, {parts.explained} parts explained)."
        + (f" The search stopped there: {parts.problem}." if parts.problem and nodes[1:] else "")
        + (f" Likely: {likely}." if likely else "")
    )


def _first_wrong(tails: Tails, nodes: Sequence[fx.Node]) -> str:
    first, last = step_name(tails, nodes[0]), step_name(tails, nodes[-1])
    if len(nodes) > 1:
        return f"{FOUND}part: {len(nodes)} steps from {first} to {last}"
    kind = "step" if tails.module(nodes[0]) is None else "module"
    return f"{FOUND}{kind}: {first}"
