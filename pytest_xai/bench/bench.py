"""The workbench of one subject: runs the model and the explainer, counts, remembers, contains."""

import copy
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_xai.bench.evaluations import Counter
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import Call, call, called, in_batches
from pytest_xai.core.attribution import normalise
from pytest_xai.core.rounding import rounding
from pytest_xai.core.seeds import derive_seed, generator, seeded
from pytest_xai.core.subject import Subject
from pytest_xai.errors import GuestError, NotApplicable
from pytest_xai.protocol import NEEDS_NEW, NamedExplainer, archive_of

__all__ = ["ROUND", "Bench", "predicted"]

# Largest round of images; a chunk divides it, so that chunks are the same whoever asks.
ROUND = 32
# Input elements per chunk: 16 images of 3 x 224 x 224, whose activations stay below 2 GiB in
# the networks of torchvision.
_ELEMENTS = 16 * 3 * 224 * 224


@dataclass(slots=True)
class _Shared:
    """What all views of one bench have in common."""

    guard: Guard
    counter: Counter
    artefacts: dict[Hashable, Any] = field(default_factory=dict)
    twin: "Bench | None" = None


class Bench:
    """Runs the model and explainers on one subject, or on some of its images.

    Images are looked at in a random order that the seed fixes. A bench made by `view` holds a
    stretch of that order: all its tensors are of those images only.

    Args:
        subject: what explanations are about. Its model is in evaluation mode until `close`.
        seed: of the run.

    Attributes:
        subject: as given.
        seed: as given.
        images: indices of this bench's images in the subject, in order.
        differentiable: whether the outputs have a gradient with respect to the inputs.
    """

    def __init__(self, subject: Subject, *, seed: int = 0) -> None:
        self.subject = subject
        self.seed = seed
        self._is_twin = False
        order = torch.randperm(len(subject), generator=generator(seed, subject.name, "order"))
        self.images: list[int] = order.tolist()
        self._start = 0
        self._training = [module for module in subject.model.modules() if module.training]
        subject.model.eval()
        counter = Counter()
        self._stop_counting = counter.watch(subject.model)
        self._shared = _Shared(guard=Guard(subject.model), counter=counter)
        try:
            self._learn_own_effects()
        except GuestError:
            self.close()
            raise

    # -- images ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.images)

    def view(self, start: int, stop: int) -> "Bench":
        """This bench on the images from ``start`` to ``stop`` of its order."""
        part = copy.copy(self)
        part.images = self.images[start:stop]
        part._start = self._start + start
        return part

    def rows(self, part: "Bench") -> slice:
        """Where the images of a view of this bench are among its own."""
        first = part._start - self._start
        return slice(first, first + len(part))

    def chunks(self) -> Iterator["Bench"]:
        """Views of at most one batch each, the same wherever the round begins."""
        size = self.batch_size
        for start in range(0, len(self), size):
            yield self.view(start, min(start + size, len(self)))

    @property
    def batch_size(self) -> int:
        """Images per batch: a power of two up to 32 that follows from the shape alone."""
        elements = self.subject.inputs[0].numel()
        size = ROUND
        while size > 1 and size * elements > _ELEMENTS:
            size //= 2
        return size

    @property
    def inputs(self) -> Tensor:
        """(n, *shape)."""
        return self.subject.inputs[self.images]

    @property
    def targets(self) -> Tensor:
        """LongTensor (n,)."""
        return self.subject.targets[self.images]

    @property
    def baseline(self) -> Tensor:
        """The reference inputs, (n, *shape)."""
        baseline = self.subject.baseline
        return baseline.expand_as(self.inputs) if len(baseline) == 1 else baseline[self.images]

    @property
    def bounds(self) -> tuple[float, float]:
        """The subject's bounds, or the range of its inputs where it has none.

        Raises:
            NotApplicable: it has none, and its inputs have no range.
        """
        if self.subject.bounds is not None:
            return self.subject.bounds
        low, high = float(self.subject.inputs.min()), float(self.subject.inputs.max())
        if not low < high:
            raise NotApplicable("all inputs have one value: pass Subject(bounds=(low, high))")
        return low, high

    @property
    def classes(self) -> int:
        """Outputs of the model."""
        return self.subject.classes

    # -- randomness -----------------------------------------------------------------------------

    def generator(self, *parts: object) -> torch.Generator:
        """A generator for these images, of the run's seed, the subject and ``parts``."""
        return generator(self.seed, self.subject.name, *parts, self._start)

    def derive_seed(self, *parts: object) -> int:
        """A seed of the run's seed, the subject and ``parts``."""
        return derive_seed(self.seed, self.subject.name, *parts)

    # -- the model ------------------------------------------------------------------------------

    @property
    def counter(self) -> Counter:
        """What was spent so far, by all views together."""
        return self._shared.counter

    @property
    def guard(self) -> Guard:
        """Contains guests of the subject's model."""
        return self._shared.guard

    def logits(self, inputs: Tensor | None = None) -> Tensor:
        """Outputs of the model, (n, classes); None: of the bench's own images, and then shared."""
        if inputs is None:
            return self.share("logits", lambda chunk: chunk.logits(chunk.inputs))
        with torch.no_grad(), seeded(self.derive_seed("model", self._start)):
            return self.batched(self.subject.model, inputs)

    def scores(self, inputs: Tensor | None = None, targets: Tensor | None = None) -> Tensor:
        """The output that is explained, (n,)."""
        targets = self.targets if targets is None else targets
        return self.logits(inputs).gather(1, targets[:, None]).squeeze(1)

    def predictions(self, inputs: Tensor | None = None) -> Tensor:
        """The predicted class, LongTensor (n,); for a single output 1 above zero, else 0."""
        return predicted(self.logits(inputs))

    def baseline_scores(self) -> Tensor:
        """The explained output at the baseline, (n,)."""
        if len(self.subject.baseline) > 1:
            return self.share("baseline scores", lambda chunk: chunk.scores(chunk.baseline))
        logits = self._once(("baseline logits",), lambda: self.logits(self.subject.baseline))
        return logits[0, self.targets]

    def gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Gradient of the explained output with respect to the inputs, (n, *shape)."""

        def gradient(batch: Tensor, classes: Tensor) -> Tensor:
            batch = batch.detach().requires_grad_()
            scores = self.subject.model(batch).gather(1, classes[:, None]).sum()
            return torch.autograd.grad(scores, batch)[0]

        with torch.enable_grad(), seeded(self.derive_seed("model", self._start)):
            return self.batched(gradient, inputs, targets)

    @property
    def rounding(self) -> float:
        """Relative size of rounding in sums over this model, in the inputs' dtype."""
        key = ("rounding",)
        if key not in self._shared.artefacts:
            model, dtype = self.subject.model, self.subject.inputs.dtype
            self._shared.artefacts[key] = rounding(model, dtype)
        share: float = self._shared.artefacts[key]
        return share

    def rounding_of(self, *maps: Tensor) -> Tensor:
        """Relative size of rounding in the map of each image, (n,).

        That of a sum over the model; in float64, where a verdict is final, also that of the
        outputs: occlusion and its kind subtract outputs, whose rounding does not shrink with
        their difference. In float32 that would hide a real change of a small gradient.

        Args:
            maps: of the bench's images, (n, ...); several that are compared: one of them may be
                zero where the others are what rounding leaves.
        """
        largest = torch.stack([each.double().abs().flatten(1).amax(1) for each in maps]).amax(0)
        if self.inputs.dtype != torch.float64:
            return torch.full_like(largest, self.rounding)
        outputs = self.logits().abs().amax(1)
        return self.rounding * (1 + torch.where(largest > 0, outputs / largest, 0))

    # -- explainers -----------------------------------------------------------------------------

    def maps(self, explainer: NamedExplainer, targets: Tensor | None = None) -> Tensor:
        """Maps of the bench's own images, (n, *shape) or (n, 1, *spatial); shared between checks.

        Args:
            explainer: whose maps.
            targets: classes to explain; None: the bench's own.

        Raises:
            GuestError: the explainer or the model raised.
            InvalidAttribution: what it returned is no map.
            NotApplicable: as `explain`.
        """
        classes = None if targets is None else tuple(targets.tolist())
        key = ("maps", explainer.name, id(explainer.call), classes)
        # The identity is only unique while the callable lives: keep it.
        self._shared.artefacts[("explainer", id(explainer.call))] = explainer.call

        def explain(chunk: Bench) -> Tensor:
            own = None if targets is None else targets[self.rows(chunk)]
            return chunk.explain(explainer, chunk.inputs, own)

        return self.share(key, explain)

    def explain(
        self,
        explainer: NamedExplainer,
        inputs: Tensor,
        targets: Tensor | None = None,
        *,
        baseline: Tensor | None = None,
        draw: int = 0,
        on: Guard | None = None,
    ) -> Tensor:
        """Maps of any inputs that stand for the bench's images, one by one.

        Maps that are stored are those of the bench's own images and targets on its own model.

        Args:
            explainer: whose maps.
            inputs: (n, *shape).
            targets: LongTensor (n,); None: the bench's own.
            baseline: (n, *shape); None: the bench's own.
            draw: number of the draw: the same draw has the same seed, whatever the model.
            on: guards another model than the subject's.

        Returns:
            (n, *shape) or (n, 1, *spatial).

        Raises:
            GuestError: the explainer or the model raised.
            InvalidAttribution: what it returned is no map.
            NotApplicable: the explainer says so, or its maps are stored and others are asked for.
        """
        targets = self.targets if targets is None else targets
        baseline = self.baseline if baseline is None else baseline
        if archive_of(explainer) is not None:
            own = on is None and draw == 0 and self._are_own(inputs, targets, baseline)
            if not own:
                raise NotApplicable(NEEDS_NEW)
            return normalise(self.output(explainer), inputs)
        offset = 0

        def one_batch(batch: Tensor, classes: Tensor, reference: Tensor) -> Tensor:
            nonlocal offset
            seed = self.derive_seed(explainer.name, "draw", draw, self._start + offset)
            made = self.call(explainer, batch, classes, baseline=reference, seed=seed, on=on)
            offset += len(batch)
            return normalise(made.output, batch)

        return self.batched(one_batch, inputs, targets, baseline)

    def call(
        self,
        explainer: NamedExplainer,
        inputs: Tensor,
        targets: Tensor,
        *,
        baseline: Tensor,
        seed: int | None = None,
        on: Guard | None = None,
    ) -> Call:
        """Call an explainer once, contained, on copies of the arguments.

        Args:
            explainer: whom to call.
            inputs: (n, *shape).
            targets: LongTensor (n,).
            baseline: (n, *shape); passed on to explainers that need one.
            seed: for the global generators; None: that of the first draw.
            on: guards another model than the subject's.

        Raises:
            GuestError: it raised; its traceback is kept.
        """
        if seed is None:
            seed = self.derive_seed(explainer.name, "draw", 0, self._start)
        guard = self.guard if on is None else on
        made = call(guard, explainer, inputs, targets, baseline=baseline, seed=seed)
        self.counter.explained(len(inputs))
        return made

    def output(self, explainer: NamedExplainer) -> object:
        """What the explainer returns for the bench's images, in one call, as it comes.

        Args:
            explainer: whom to ask; one whose maps are stored gives those, and is not called.

        Raises:
            GuestError: it raised; its traceback is kept.
            InvalidArgument: there are not as many stored maps as the subject has inputs.
            NotApplicable: the explainer says so, or this is a float64 copy of the bench, which
                stored maps are not about.
        """
        archive = archive_of(explainer)
        if archive is None:
            return self.call(explainer, self.inputs, self.targets, baseline=self.baseline).output
        if self._is_twin:
            raise NotApplicable(NEEDS_NEW)
        return archive.stored_maps(self.images, len(self.subject))

    def storage_rounding(self, explainer: NamedExplainer, maps: Tensor) -> float:
        """Relative rounding of each value of the maps by being stored; 0 for those just made.

        Args:
            explainer: whose maps.
            maps: in the dtype that they came in.
        """
        return 0.0 if archive_of(explainer) is None else torch.finfo(maps.dtype).eps / 2

    # -- sharing and batches --------------------------------------------------------------------

    def share(self, key: Hashable, make: Callable[["Bench"], Tensor]) -> Tensor:
        """A tensor of the bench's images, made chunk by chunk and remembered for other checks.

        Args:
            key: names it; whatever it depends on besides the images is part of the key.
            make: maps a view of one chunk to (n, ...).
        """
        parts = []
        for chunk in self.chunks():
            place = ("chunk", key, chunk._start, len(chunk))
            parts.append(self._once(place, partial(make, chunk)))
        return torch.cat(parts)

    def _once(self, place: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What several checks need is made for the first of them; each of them owes it."""
        artefacts, ledger = self._shared.artefacts, self.counter.ledger
        key = (self._is_twin, place)
        if place in artefacts:
            ledger.use(key)
        else:
            with ledger.making(key):
                artefacts[place] = make()
        made: Tensor = artefacts[place]
        return made

    def batched(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply a function of (n, ...) tensors in batches; halves them when memory runs out.

        Raises:
            GuestError: the model raised, or memory does not even hold one image.
        """
        return in_batches(function, tensors, self.batch_size)

    def double(self) -> "Bench":
        """This bench on float64 copies of the model and the inputs, for arbitration.

        Raises:
            NotApplicable: the model has no float64 copy, and why.
        """
        if self._shared.twin is None:
            self._settle()
            try:
                subject = self.subject.double()
            except Exception as error:
                raise NotApplicable(f"no float64 copy of the model: {error}") from error
            twin = copy.copy(self)
            twin.subject = subject
            twin._is_twin = True
            # The copied model counts through the copied hook, into the same counter.
            twin._shared = _Shared(guard=Guard(subject.model), counter=self.counter)
            self._shared.twin = twin
        twin = copy.copy(self._shared.twin)
        twin.images, twin._start = self.images, self._start
        return twin

    def copied_model(self) -> nn.Module:
        """A deep copy of the model as it is between guests.

        Raises:
            NotApplicable: the model cannot be copied, and why.
        """
        self._settle()
        try:
            return copy.deepcopy(self.subject.model)
        except Exception as error:
            raise NotApplicable(f"the model cannot be copied: {error}") from error

    def close(self) -> None:
        """Give the model back as it was."""
        self._settle()
        self._stop_counting()
        for module in self._training:
            module.training = True

    # -- inside ---------------------------------------------------------------------------------

    def _learn_own_effects(self) -> None:
        """Whatever the bare model changes in itself is not the explainers' doing."""
        before = self.counter.spent
        inputs = self.subject.inputs[:1].clone().requires_grad_()
        with self.guard.watch() as effects, seeded(0):
            outputs = called("the model", lambda: self.subject.model(inputs))
            slope = None
            if outputs.requires_grad:
                (slope,) = torch.autograd.grad(outputs.sum(), inputs, allow_unused=True)
        self.differentiable = slope is not None
        self.guard.learn(effects)
        self.counter.spent = before

    def _are_own(self, *given: Tensor) -> bool:
        """Whether these are the bench's own inputs, targets and baseline."""
        own = (self.inputs, self.targets, self.baseline)
        return all(torch.equal(theirs, ours) for theirs, ours in zip(given, own, strict=True))

    def _settle(self) -> None:
        """Undo what the model changed in itself: kept activations, which no copy can hold."""
        with self.guard.watch():
            pass


def predicted(logits: Tensor) -> Tensor:
    """The class that logits (n, classes) predict, LongTensor (n,).

    The largest one; of a single logit 1 above zero, else 0.
    """
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
