"""RISE: the mean of random masks, weighted by the output for the masked input."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import choice, number, whole
from pytest_xai.explainers.adapting.entry import Claim, Entry, claims
from pytest_xai.explainers.adapting.passes import images_per_pass
from pytest_xai.explainers.own.masking import covered, probabilities, random_shifts, stretched

__all__ = ["ENTRIES", "rise"]


def rise(
    *, masks: int = 1000, cells: int = 7, probability: float = 0.5, output: str = "logit"
) -> Callable[..., Tensor]:
    """Random masks weighted by the target's output on the masked input (Petsiuk 2018, eq. 6).

    S = 1 / (N p) sum_i f(x * M_i + x' * (1 - M_i)) M_i over N masks. A mask is a grid of cells,
    each shown with probability p, interpolated linearly to the input's size with a random shift.
    For inputs (N, features) a mask has one cell per feature. Hidden positions are set to the
    subject's baseline x'; in the paper it is 0. The score of a position that the model ignores is
    the mean of f over the masks that show it, not 0, so only differences between positions matter.

    The masks come from torch's global generator and are the same for all images of a batch. Only as
    many masks as fit one pass of the model exist at a time.

    Args:
        masks: number of masks, N. The paper uses 4,000 to 8,000 for images of 224 x 224.
        cells: cells of the grid along each spatial dimension, at most one per position.
        probability: p, above 0 and below 1.
        output: the function f: "logit" for the output that is checked, in which the map is linear;
            "probability" for its softmax over the classes, as in the paper, or for the sigmoid of
            a single output.

    Returns:
        An explainer whose maps are (N, 1, *spatial), or (N, features) for such inputs.

    Raises:
        InvalidArgument: ``masks`` or ``cells`` is not a positive integer, ``probability`` is not
            between 0 and 1, or ``output`` is unknown.
    """
    masks = whole("masks", masks)
    cells = whole("cells", cells)
    output = choice("output", output, ("logit", "probability"))
    probability = number("probability", probability)
    if not 0 < probability < 1:
        raise InvalidArgument.of(
            "probability", got=repr(probability), expected="a number above 0 and below 1"
        )

    def explain(model: nn.Module, inputs: Tensor, targets: Tensor, *, baseline: Tensor) -> Tensor:
        images, references = inputs.detach(), baseline.detach().to(inputs).expand_as(inputs)
        sums = torch.zeros_like(images[:, 0] if inputs.ndim > 2 else images).flatten(1)
        with torch.no_grad():
            for shown in _chunks(inputs, masks, cells, probability):
                for row in range(len(images)):
                    one = slice(row, row + 1)
                    outputs = model(covered(images[one], references[one], shown))
                    if output == "probability":
                        outputs = probabilities(outputs)
                    sums[row] += outputs[:, targets[row]] @ shown.flatten(1)
        maps = sums / (masks * probability)
        return maps if inputs.ndim == 2 else maps.view(len(inputs), 1, *inputs.shape[2:])

    return explain


def _chunks(inputs: Tensor, masks: int, cells: int, probability: float) -> Iterator[Tensor]:
    """Yield the masks in chunks (n, 1, *spatial) or (n, features) that fit one pass.

    All shifts are drawn before the first grid, so the masks do not depend on the chunks.
    """
    spatial = tuple(inputs.shape[2:]) or tuple(inputs.shape[1:])
    grid = spatial if inputs.ndim == 2 else tuple(min(cells, side) for side in spatial)
    shifts = random_shifts(masks, grid, spatial)
    for some in shifts.split(images_per_pass(inputs)):
        grids = (torch.rand(len(some), 1, *grid) < probability).to(inputs)
        shown = stretched(grids, spatial, some)
        yield shown.squeeze(1) if inputs.ndim == 2 else shown


ENTRIES = {
    "xai:RISE": Entry(
        factory=rise,
        method="rise",
        source="petsiuk2018",
        cost="{masks} forward",
        claims=(
            *claims("petsiuk2018", "implementation_invariance"),
            *claims("kindermans2019", "shift_invariance"),
            Claim(check="positive_homogeneity", source="ancona2018", when={"output": "logit"}),
            # A probability is not linear in the logits.
            Claim(check="linearity", source="petsiuk2018", when={"output": "logit"}),
        ),
        stochastic=True,
        needs_baseline=True,
    ),
}
