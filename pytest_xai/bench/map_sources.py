"""Gets maps from an explainer: one source calls it, the other one reads maps that are stored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pytest_xai.bench.guarded_call import in_batches
from pytest_xai.bench.images import Images
from pytest_xai.core.attribution import normalise
from pytest_xai.errors import NotApplicable
from pytest_xai.protocol import NEEDS_NEW, Archive, NamedExplainer, archive_of

__all__ = ["MapSource", "Request", "source_of"]

CallExplainer = Callable[[Tensor, Tensor, Tensor, int], object]
"""Calls an explainer with inputs, targets and baseline; the integer is the position of the first
of these inputs among those of the request. Returns the output unchanged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Asks for maps.

    Attributes:
        images: of the bench; the inputs stand for them, one by one.
        inputs: (n, *shape).
        targets: LongTensor (n,).
        baseline: (n, *shape).
        draw: number of the draw.
        other_model: the maps are those of another model than the subject's.
    """

    images: Images
    inputs: Tensor
    targets: Tensor
    baseline: Tensor
    draw: int = 0
    other_model: bool = False

    def is_original(self) -> bool:
        """Return whether it asks for the first draw on the images themselves."""
        if self.other_model or self.draw != 0:
            return False
        given = (self.inputs, self.targets, self.baseline)
        own = (self.images.inputs, self.images.targets, self.images.baseline)
        return all(torch.equal(theirs, ours) for theirs, ours in zip(given, own, strict=True))


class MapSource(Protocol):
    """Gives the maps of one explainer.

    Attributes:
        makes_new: it can explain any inputs.
    """

    makes_new: bool

    def output(self, request: Request, call: CallExplainer) -> object:
        """Return what the explainer gives for the whole request, unchanged.

        Raises:
            NotApplicable: there are no such maps.
        """

    def maps(self, request: Request, call: CallExplainer) -> Tensor:
        """Return maps, (n, *shape) or (n, 1, *spatial).

        Raises:
            InvalidAttribution: what the explainer gave is no map.
            NotApplicable: there are no such maps.
        """

    def rounding(self, dtype: torch.dtype) -> float:
        """Return the relative rounding of values of this dtype by being stored."""


class _Called:
    """Calls the explainer for every request."""

    makes_new = True

    def output(self, request: Request, call: CallExplainer) -> object:
        return call(request.inputs, request.targets, request.baseline, 0)

    def maps(self, request: Request, call: CallExplainer) -> Tensor:
        offset = 0

        def one_batch(inputs: Tensor, targets: Tensor, baseline: Tensor) -> Tensor:
            nonlocal offset
            output = call(inputs, targets, baseline, offset)
            offset += len(inputs)
            return normalise(output, inputs)

        given = (request.inputs, request.targets, request.baseline)
        return in_batches(one_batch, given, request.images.batch_size)

    def rounding(self, dtype: torch.dtype) -> float:
        return 0.0


class _Stored:
    """Reads stored maps, and refuses requests for any others."""

    makes_new = False

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def output(self, request: Request, call: CallExplainer) -> object:
        if not request.is_original():
            raise NotApplicable(NEEDS_NEW)
        images = request.images
        return self._archive.stored_maps(images.indices, len(images.subject))

    def maps(self, request: Request, call: CallExplainer) -> Tensor:
        return normalise(self.output(request, call), request.inputs)

    def rounding(self, dtype: torch.dtype) -> float:
        return torch.finfo(dtype).eps / 2


def source_of(explainer: NamedExplainer) -> MapSource:
    """Return the source of an explainer's maps."""
    archive = archive_of(explainer)
    return _Called() if archive is None else _Stored(archive)
