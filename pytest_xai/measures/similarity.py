"""How alike two maps of the same image are: ranks, correlation, direction, structure.

All take two batches of maps (N, *shape), compare the maps of each image, compute in float64 and
return one value per image, (N,). NaN says that the value is not defined for that image: one of its
maps holds NaN or inf, or is of the kind that the function names.
"""

import torch
from torch import Tensor

from pytest_xai.errors import InvalidArgument
from pytest_xai.measures.arguments import float64_pair, only_finite
from pytest_xai.measures.masks import spatial

__all__ = ["cosine", "kendall", "pearson", "ranks", "spearman", "ssim"]

_WINDOW = 7  # side of the SSIM window, scikit-image's default
_STABILISERS = ((0.01 * 2) ** 2, (0.03 * 2) ** 2)  # C1, C2 of Wang et al. for a data range of 2


def spearman(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Rank correlation of two maps, signed, in [-1, 1].

    Pearson's correlation of the ranks, tied values at their average rank (Spearman, C., 1904, The
    proof and measurement of association between two things). Blind to any increasing change of the
    values. Two unrelated smooth maps do not have 0 but something like -0.2 or 0.2.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN where a map is constant.

    Raises:
        InvalidArgument: a map is not as above.

    Example:
        >>> spearman(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 1.0, 2.0]])).item()
        1.0
    """
    a, b = float64_pair(map_a, map_b)
    return only_finite(_correlation(ranks(a), ranks(b)), a, b)


def kendall(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Rank correlation by pairs of values, tau-b, signed, in [-1, 1].

    Of all pairs of places, those that both maps order alike less those that they order against
    each other, over the root of the numbers of pairs that either map orders at all (Kendall, M. G.,
    1945, The treatment of ties in ranking problems).

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN where a map is constant.

    Raises:
        InvalidArgument: a map is not as above.

    Example:
        >>> kendall(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0, 2.0, 1.0]])).item()
        -1.0
    """
    a, b = float64_pair(map_a, map_b)
    if a[:1].numel() == 2:
        return spearman(a, b)  # the same of one pair, for which SciPy has no p-value
    from scipy.stats import kendalltau  # not at the top, as in `ranks`

    # The exact distribution behind a p-value that nobody asked for would take longer than tau.
    found = [
        float(kendalltau(*rows, method="asymptotic").statistic)
        for rows in zip(*(ranks(each).cpu().numpy() for each in (a, b)), strict=True)
    ]
    return only_finite(a.new_tensor(found).clamp(-1, 1), a, b)


def pearson(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Correlation of the values of two maps, signed, in [-1, 1].

    Covariance over the product of the standard deviations (Pearson, K., 1895, Notes on regression
    and inheritance in the case of two parents).

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN where a map is constant.

    Raises:
        InvalidArgument: a map is not as above.
    """
    a, b = float64_pair(map_a, map_b)
    return _correlation(a.flatten(1), b.flatten(1))


def cosine(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Cosine of the angle between two maps seen as vectors, ``<a, b> / (|a| |b|)``, in [-1, 1].

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN where a map is all zero. Other constant maps have a direction.

    Raises:
        InvalidArgument: a map is not as above.
    """
    a, b = float64_pair(map_a, map_b)
    return _cosine(_to_unit(a).flatten(1), _to_unit(b).flatten(1))


def ssim(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Structural similarity of two maps, in [-1, 1].

    Mean over the pixels of ``(2 ma mb + C1)(2 cab + C2) / ((ma^2 + mb^2 + C1)(va + vb + C2))`` with
    ``ma, va, cab`` the mean, variance and covariance in a window around the pixel (Wang, Bovik,
    Sheikh, Simoncelli, 2004, Image quality assessment, equation 13), computed as scikit-image does
    by default: uniform window of side 7, sample covariance, only pixels whose window fits. Channels
    are summed (``spatial``) and each map is divided by its own largest absolute value, so that maps
    of different scale compare and the data range is 2. Where the smallest side is under 7 the
    window is the largest odd one that fits.

    Args:
        map_a: floating (N, C, *spatial), one or more spatial axes.
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN where a map with its channels summed is constant, and for all images
        where a spatial side is under 3.

    Raises:
        InvalidArgument: a map is not as above. Tables (N, F) have no windows.
    """
    a, b = float64_pair(map_a, map_b)
    if a.ndim < 3:
        raise InvalidArgument.of(
            "map_a", got=f"shape {tuple(a.shape)}", expected="(N, C, *spatial)"
        )
    a, b = spatial(a), spatial(b)
    side = min(_WINDOW, *a.shape[1:])
    window = side - 1 + side % 2
    if window < 3:
        return a.new_full((len(a),), torch.nan)
    values = _windowed_similarity(_to_unit(a), _to_unit(b), window)
    return values.masked_fill(_constant(a) | _constant(b), torch.nan)


def ranks(maps: Tensor) -> Tensor:
    """Rank of each value in its map, tied values at their average: (N, *shape) to (N, values)."""
    rows = maps.detach().double().flatten(1)
    # Not at the top: it takes over half a second to import, and listing checks needs no ranks.
    from scipy.stats import rankdata

    return torch.from_numpy(rankdata(rows.cpu().numpy(), axis=1)).to(rows.device)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return _cosine(_centred(a), _centred(b))


def _centred(rows: Tensor) -> Tensor:
    """Each row shifted and scaled to [0, 1], then to mean 0; NaN in a row constant or not finite.

    In this order, no square over- or underflows, and a constant row cannot pass as a varying one
    because its mean was rounded.
    """
    # Not aminmax, which has no derivative in torch 2.6.
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    unit = (rows - low) / (high - low)
    return unit - unit.mean(1, keepdim=True)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    # One root of the product: equal rows give exactly 1. The clamp: rounding may leave the range by
    # an ulp, and sequential tests rely on the range.
    return ((a * b).sum(1) / ((a * a).sum(1) * (b * b).sum(1)).sqrt()).clamp(-1, 1)


def _to_unit(maps: Tensor) -> Tensor:
    """Each map divided by its largest absolute value; NaN in a map all zero or not finite."""
    axes = tuple(range(1, maps.ndim))
    return maps / maps.abs().amax(axes, keepdim=True)


def _constant(maps: Tensor) -> Tensor:
    low, high = maps.flatten(1).aminmax(dim=1)
    return low == high


def _windowed_similarity(a: Tensor, b: Tensor, window: int) -> Tensor:
    size: int = window ** (a.ndim - 1)
    to_sample = size / (size - 1)
    mean_a, mean_b = _box_mean(a, window), _box_mean(b, window)
    squares = mean_a * mean_a + mean_b * mean_b
    spread = to_sample * (_box_mean(a * a + b * b, window) - squares)
    joint = to_sample * (_box_mean(a * b, window) - mean_a * mean_b)
    c1, c2 = _STABILISERS
    luminance = (2 * mean_a * mean_b + c1) / (squares + c1)
    structure = (2 * joint + c2) / (spread + c2)
    return (luminance * structure).flatten(1).mean(1).clamp(-1, 1)


def _box_mean(maps: Tensor, window: int) -> Tensor:
    """Means of all windows that fit, one axis after the other: any number of axes, few sums."""
    for axis in range(1, maps.ndim):
        maps = maps.unfold(axis, window, 1).mean(-1)
    return maps
