"""Runs the model and the explainers on one subject: counted, within a budget, kept from changes."""

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import overload

import torch
from torch import Tensor, nn

from pytest_xai.bench.artefacts import Artefacts
from pytest_xai.bench.budget import Budget
from pytest_xai.bench.evaluations import Counter
from pytest_xai.bench.guard import Guard
from pytest_xai.bench.guarded_call import Call, call, call_user_code, in_batches
from pytest_xai.bench.images import ROUND, Images
from pytest_xai.bench.map_sources import CallExplainer, Request, source_of
from pytest_xai.core.rounding import rounding
from pytest_xai.core.seeds import derive_seed, generator, seeded
from pytest_xai.core.subject import Subject
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NEEDS_NEW, NamedExplainer

__all__ = ["ROUND", "Bench", "predicted"]


@dataclass(slots=True, kw_only=True)
class _Shared:
    """What all views of one bench have in common.

    Attributes:
        guard: of the model.
        counter: of the evaluations of the model and of its copies.
        artefacts: tensors that checks share.
        is_copy: the model is a float64 copy of the subject's.
        rounding: of a sum over the model; None: not computed yet.
        double: the bench on the float64 copy; None: not made yet.
    """

    guard: Guard
    counter: Counter
    artefacts: Artefacts
    is_copy: bool = False
    rounding: float | None = None
    double: "Bench | None" = None


class Bench:
    """Runs the model and explainers on one subject, or on some of its images.

    The images are in a random order that follows from the seed. A bench made by `view` holds
    consecutive images of that order: all its tensors are of those images only.

    Args:
        subject: whose model is explained. The model is in evaluation mode until `close`.
        seed: of the run.

    Attributes:
        subject: as given.
        seed: as given.
        differentiable: whether the outputs have a gradient with respect to the inputs.

    Raises:
        GuestError: the model raised.
    """

    def __init__(self, subject: Subject, *, seed: int = 0) -> None:
        self.subject = subject
        self.seed = seed
        self._images = Images.shuffled(subject, seed)
        self._training = [module for module in subject.model.modules() if module.training]
        subject.model.eval()
        counter = Counter()
        self._stop_counting = counter.watch(subject.model)
        self._shared = _Shared(
            guard=Guard(subject.model),
            counter=counter,
            artefacts=Artefacts(counter.costs, owner="model"),
        )
        try:
            self._learn_own_effects()
        except BaseException:
            self.close()
            raise

    # -- images ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._images)

    @property
    def images(self) -> list[int]:
        """Positions of this bench's images in the subject, in the order of the bench."""
        return self._images.indices

    def view(self, start: int, stop: int) -> "Bench":
        """This bench on the images from ``start`` to ``stop`` of its order."""
        return self._on(self._images.view(start, stop))

    def rows(self, part: "Bench") -> slice:
        """Positions of the images of a view of this bench among its own."""
        return self._images.rows(part._images)

    def chunks(self) -> Iterator["Bench"]:
        """Views of consecutive images, with at most one batch each."""
        return map(self._on, self._images.chunks())

    @property
    def batch_size(self) -> int:
        """The number of images per batch, a power of two up to 32; only the shape decides it."""
        return self._images.batch_size

    @property
    def inputs(self) -> Tensor:
        """The inputs of the bench's images, (n, *shape)."""
        return self._images.inputs

    @property
    def targets(self) -> Tensor:
        """The targets of the bench's images, LongTensor (n,)."""
        return self._images.targets

    @property
    def baseline(self) -> Tensor:
        """The baseline of each image, (n, *shape)."""
        return self._images.baseline

    @property
    def bounds(self) -> tuple[float, float]:
        """The subject's bounds; without them, the least and largest value of all its inputs.

        Raises:
            NotApplicable: the subject has no bounds, and all values of its inputs are equal.
        """
        return self._images.bounds

    @property
    def classes(self) -> int:
        """Number of outputs of the model."""
        return self.subject.classes

    # -- randomness -----------------------------------------------------------------------------

    def generator(self, *parts: object) -> torch.Generator:
        """A generator seeded by the run's seed, the subject, ``parts`` and these images."""
        return generator(self.seed, self.subject.name, *parts, self._images.start)

    def derive_seed(self, *parts: object) -> int:
        """A seed derived from the run's seed, the subject and ``parts``."""
        return derive_seed(self.seed, self.subject.name, *parts)

    # -- counting -------------------------------------------------------------------------------

    @property
    def counter(self) -> Counter:
        """Counts the evaluations of all views of this bench together."""
        return self._shared.counter

    def budget(self, limit: int | None) -> AbstractContextManager[Budget]:
        """Charge the evaluations within the context to a new budget; refuse those beyond it.

        Args:
            limit: model evaluations; None: there is no limit.

        Returns:
            A context manager that yields the budget.
        """
        return self.counter.costs.limited(limit)

    def reporting(self, progress: Callable[[int], None]) -> AbstractContextManager[None]:
        """Report progress within the context, after every call of an explainer.

        Args:
            progress: called with the model evaluations since the context was entered.
        """
        return self.counter.reporting(progress)

    # -- the model ------------------------------------------------------------------------------

    @property
    def guard(self) -> Guard:
        """Restores the subject's model after each call of an explainer."""
        return self._shared.guard

    def logits(self, inputs: Tensor | None = None) -> Tensor:
        """Outputs of the model, (n, classes).

        Args:
            inputs: (n, *shape); None: those of the bench, whose logits are shared between checks.

        Raises:
            GuestError: the model raised.
        """
        if inputs is None:
            return self.share("logits", lambda chunk: chunk.logits(chunk.inputs))
        with torch.no_grad(), self._seeded_model():
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
        logits = self._shared.artefacts.once(
            ("baseline logits",), lambda: self.logits(self.subject.baseline)
        )
        return logits[0, self.targets]

    def gradients(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Gradient of the explained output with respect to the inputs, (n, *shape)."""

        def gradient(batch: Tensor, classes: Tensor) -> Tensor:
            batch = batch.detach().requires_grad_()
            scores = self.subject.model(batch).gather(1, classes[:, None]).sum()
            return torch.autograd.grad(scores, batch)[0]

        with torch.enable_grad(), self._seeded_model():
            return self.batched(gradient, inputs, targets)

    @property
    def rounding(self) -> float:
        """Relative rounding error of a sum over this model, in the inputs' dtype."""
        if self._shared.rounding is None:
            model, dtype = self.subject.model, self.subject.inputs.dtype
            self._shared.rounding = rounding(model, dtype)
        return self._shared.rounding

    def rounding_of(self, *maps: Tensor) -> Tensor:
        """Relative rounding error in the map of each image, (n,).

        It is that of a sum over the model. In float64, where a verdict is final, that of the
        outputs is added: occlusion and similar methods subtract outputs, whose rounding does not
        become smaller with their difference. In float32 that would hide a real change of a small
        gradient.

        Args:
            maps: of the bench's images, (n, ...). Pass all maps that are compared: one of them may
                be zero where the others are rounding noise.
        """
        largest = torch.stack([each.double().abs().flatten(1).amax(1) for each in maps]).amax(0)
        if self.inputs.dtype != torch.float64:
            return torch.full_like(largest, self.rounding)
        outputs = self.logits().abs().amax(1)
        return self.rounding * (1 + torch.where(largest > 0, outputs / largest, 0))

    # -- explainers -----------------------------------------------------------------------------

    def can_explain(self, explainer: NamedExplainer) -> bool:
        """Return whether the explainer makes new maps; False: its maps are stored."""
        return source_of(explainer).makes_new

    def require_new_maps(self, explainer: NamedExplainer) -> None:
        """Check that the explainer makes new maps.

        Raises:
            NotApplicable: its maps are stored.
        """
        if not self.can_explain(explainer):
            raise NotApplicable(NEEDS_NEW)

    def maps(self, explainer: NamedExplainer, targets: Tensor | None = None) -> Tensor:
        """Maps of the bench's images, (n, *shape) or (n, 1, *spatial); shared between checks.

        Args:
            explainer: makes the maps.
            targets: classes to explain; None: those of the bench.

        Raises:
            GuestError: the explainer or the model raised.
            InvalidAttribution: what the explainer returned is no map.
            NotApplicable: as `explain`.
        """
        classes = None if targets is None else tuple(targets.tolist())
        identity = self._shared.artefacts.keep_alive(explainer.call)

        def explain(chunk: Bench) -> Tensor:
            own = None if targets is None else targets[self.rows(chunk)]
            return chunk.explain(explainer, chunk.inputs, own)

        return self.share(("maps", explainer.name, identity, classes), explain)

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

        Stored maps are known for the bench's own images, targets and model only.

        Args:
            explainer: makes the maps.
            inputs: (n, *shape).
            targets: LongTensor (n,); None: those of the bench.
            baseline: (n, *shape); None: that of the bench.
            draw: number of the draw: the same draw has the same seed, whatever the model.
            on: guard of another model, which is explained instead of the subject's.

        Returns:
            (n, *shape) or (n, 1, *spatial).

        Raises:
            GuestError: the explainer or the model raised.
            InvalidAttribution: what the explainer returned is no map.
            NotApplicable: the explainer says so, or its maps are stored and others are asked for.
        """
        request = Request(
            images=self._images,
            inputs=inputs,
            targets=self.targets if targets is None else targets,
            baseline=self.baseline if baseline is None else baseline,
            draw=draw,
            other_model=on is not None or self._shared.is_copy,
        )
        return source_of(explainer).maps(request, self._caller(explainer, draw, on))

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
        """Call an explainer once on copies of the arguments, and restore the model.

        Args:
            explainer: what to call.
            inputs: (n, *shape).
            targets: LongTensor (n,).
            baseline: (n, *shape); passed on to explainers that need one.
            seed: for the global generators; None: that of the first draw.
            on: guard of another model, which is explained instead of the subject's.

        Raises:
            GuestError: the explainer raised; its traceback is kept.
        """
        if seed is None:
            seed = self.derive_seed(explainer.name, "draw", 0, self._images.start)
        guard = self.guard if on is None else on
        made = call(guard, explainer, inputs, targets, baseline=baseline, seed=seed)
        self.counter.explained(len(inputs))
        return made

    def output(self, explainer: NamedExplainer, inputs: Tensor | None = None) -> object:
        """What the explainer returns for the bench's images in one call, unchanged.

        Stored maps are returned as they are stored; their explainer is not called.

        Args:
            explainer: what to call.
            inputs: (n, *shape), which stand for the bench's images; None: those of the bench.

        Raises:
            GuestError: the explainer raised; its traceback is kept.
            InvalidArgument: there are not as many stored maps as the subject has inputs.
            NotApplicable: the explainer says so, or its maps are stored and others are asked for
                (of other inputs, or of the float64 copy of the model).
        """
        request = Request(
            images=self._images,
            inputs=self.inputs if inputs is None else inputs,
            targets=self.targets,
            baseline=self.baseline,
            other_model=self._shared.is_copy,
        )
        return source_of(explainer).output(request, self._caller(explainer))

    def storage_rounding(self, explainer: NamedExplainer, maps: Tensor) -> float:
        """Relative rounding of each value of the maps by being stored; 0 for new maps.

        Args:
            explainer: gave the maps.
            maps: in the dtype in which it gave them.
        """
        return source_of(explainer).rounding(maps.dtype)

    # -- sharing and batches --------------------------------------------------------------------

    @overload
    def share(self, key: Hashable, make: Callable[["Bench"], Tensor]) -> Tensor: ...
    @overload
    def share(
        self, key: Hashable, make: Callable[["Bench"], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]: ...
    def share(
        self,
        key: Hashable,
        make: Callable[["Bench"], Tensor] | Callable[["Bench"], Mapping[str, Tensor]],
    ) -> Tensor | dict[str, Tensor]:
        """One or several tensors of the bench's images, made by chunks and kept for other checks.

        Args:
            key: its name, with all that it depends on besides the images.
            make: maps a view of one chunk to a tensor (n, ...), or to several by name.

        Returns:
            (N, ...), or such tensors by name. They are copies: the caller may change them.
        """
        makers = {images.span: partial(make, self._on(images)) for images in self._images.chunks()}
        return self._shared.artefacts.share(key, makers)

    def batched(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply a function of (n, ...) tensors in batches; halve a batch when memory runs out.

        Raises:
            GuestError: the model raised, or memory does not even hold one image.
        """
        return in_batches(function, tensors, self.batch_size)

    # -- copies ---------------------------------------------------------------------------------

    def double(self) -> "Bench":
        """This bench on float64 copies of the model and the inputs, for arbitration.

        Raises:
            NotApplicable: the model cannot be copied to float64; the message says why.
        """
        if self._shared.double is None:
            self._shared.double = self._copied_to_double()
        twin = copy.copy(self._shared.double)
        twin._images = self._images.of(twin.subject)
        return twin

    def copied_model(self) -> nn.Module:
        """A deep copy of the model as it is between calls of explainers.

        Raises:
            NotApplicable: the model cannot be copied; the message says why.
        """
        self._settle()
        try:
            return copy.deepcopy(self.subject.model)
        except Exception as error:
            raise NotApplicable(f"the model cannot be copied: {error}") from error

    def close(self) -> None:
        """Restore the model's state and training mode, and stop counting its evaluations."""
        self._settle()
        self._stop_counting()
        for module in self._training:
            module.training = True

    # -- inside ---------------------------------------------------------------------------------

    def _on(self, images: Images) -> "Bench":
        """This bench on some of its images."""
        part = copy.copy(self)
        part._images = images
        return part

    def _copied_to_double(self) -> "Bench":
        self._settle()
        try:
            subject = self.subject.double()
        except Exception as error:
            raise NotApplicable(f"no float64 copy of the model: {error}") from error
        twin = copy.copy(self)
        twin.subject = subject
        # The copied model counts through the copied hooks, into the same counter.
        twin._shared = _Shared(
            guard=Guard(subject.model),
            counter=self.counter,
            artefacts=Artefacts(self.counter.costs, owner="float64 copy"),
            is_copy=True,
        )
        return twin

    def _seeded_model(self) -> AbstractContextManager[None]:
        """Seed the global generators, for models that draw from them."""
        return seeded(self.derive_seed("model", self._images.start))

    def _learn_own_effects(self) -> None:
        """Run the model alone: the changes that it makes to itself are not the explainers'."""
        inputs = self.subject.inputs[:1].clone().requires_grad_()
        with self.counter.not_counted(), self.guard.watch() as effects, seeded(0):
            outputs = call_user_code("the model", lambda: self.subject.model(inputs))
            slope = None
            if outputs.requires_grad:
                (slope,) = torch.autograd.grad(outputs.sum(), inputs, allow_unused=True)
        self.differentiable = slope is not None
        self.guard.learn(effects)

    def _caller(
        self, explainer: NamedExplainer, draw: int = 0, on: Guard | None = None
    ) -> CallExplainer:
        """A function that calls the explainer, with the seed of a draw."""

        def call_explainer(
            inputs: Tensor, targets: Tensor, baseline: Tensor, offset: int
        ) -> object:
            seed = self.derive_seed(explainer.name, "draw", draw, self._images.start + offset)
            made = self.call(explainer, inputs, targets, baseline=baseline, seed=seed, on=on)
            return made.output

        return call_explainer

    def _settle(self) -> None:
        """Undo what the model changed in itself: kept activations cannot be copied."""
        with self.guard.watch():
            pass


def predicted(logits: Tensor) -> Tensor:
    """The class that logits (n, classes) predict, LongTensor (n,).

    The class of the largest logit; of a single logit 1 above zero, else 0.
    """
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
