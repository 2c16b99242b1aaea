"""Holds the images of a bench: their order, their tensors, and how they are cut into batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_xai.core.seeds import generator
from pytest_xai.core.subject import Subject
from pytest_xai.errors import NotApplicable

__all__ = ["ROUND", "Images"]

# Images of a bench's first round. The batch size divides it, so that every view of whole rounds
# has the same batches.
ROUND = 32
# Input elements per batch: 16 images of 3 x 224 x 224, whose activations stay below 2 GiB in
# the networks of torchvision.
_ELEMENTS = 16 * 3 * 224 * 224


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """Some images of a subject, in the random order of the bench.

    Attributes:
        subject: holds the images.
        indices: positions of the images in the subject, in the order of the bench.
        start: position of the first image in the order of the bench.
    """

    subject: Subject
    indices: list[int]
    start: int = 0

    @classmethod
    def shuffled(cls, subject: Subject, seed: int) -> "Images":
        """All images of a subject, in an order that follows from the seed and its name."""
        order = torch.randperm(len(subject), generator=generator(seed, subject.name, "order"))
        return cls(subject=subject, indices=order.tolist())

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def span(self) -> tuple[int, int]:
        """Position of the first image in the order of the bench, and the number of images."""
        return self.start, len(self)

    def view(self, start: int, stop: int) -> "Images":
        """The images from ``start`` to ``stop`` of these."""
        return Images(
            subject=self.subject, indices=self.indices[start:stop], start=self.start + start
        )

    def of(self, subject: Subject) -> "Images":
        """The same images of another subject, such as a copy in float64."""
        return Images(subject=subject, indices=self.indices, start=self.start)

    def rows(self, part: "Images") -> slice:
        """Positions of the images of a view among these."""
        first = part.start - self.start
        return slice(first, first + len(part))

    def chunks(self) -> Iterator["Images"]:
        """Views of consecutive images, with at most one batch each."""
        size = self.batch_size
        for start in range(0, len(self), size):
            yield self.view(start, min(start + size, len(self)))

    @property
    def batch_size(self) -> int:
        """Images per batch: a power of two up to 32 that depends on the inputs' shape alone."""
        elements = self.subject.inputs[0].numel()
        size = ROUND
        while size > 1 and size * elements > _ELEMENTS:
            size //= 2
        return size

    @property
    def inputs(self) -> Tensor:
        """(n, *shape)."""
        return self.subject.inputs[self.indices]

    @property
    def targets(self) -> Tensor:
        """LongTensor (n,)."""
        return self.subject.targets[self.indices]

    @property
    def baseline(self) -> Tensor:
        """The baseline of each image, (n, *shape)."""
        baseline = self.subject.baseline
        return baseline.expand_as(self.inputs) if len(baseline) == 1 else baseline[self.indices]

    @property
    def bounds(self) -> tuple[float, float]:
        """The subject's bounds; without them, the least and largest value of all its inputs.

        Raises:
            NotApplicable: the subject has no bounds, and all values of its inputs are equal.
        """
        if self.subject.bounds is not None:
            return self.subject.bounds
        low, high = float(self.subject.inputs.min()), float(self.subject.inputs.max())
        if not low < high:
            raise NotApplicable("all inputs have one value: pass Subject(bounds=(low, high))")
        return low, high
