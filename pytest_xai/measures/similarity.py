"""Similarity of two maps of the same image: correlation, ranks, direction and structure.

All functions take two batches of maps (N, *shape), compare the two maps of each image, compute in
float64 and return one value per image, (N,). The value is NaN where it is not defined: if one of
the maps holds NaN or inf, or in the cases that the function names.
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
    """Return Spearman's rank correlation of two maps, in [-1, 1].

    It is Pearson's correlation of the ranks, where tied values have their average rank (Spearman,
    C., 1904, The proof and measurement of association between two things). An increasing function
    of the values does not change it. For two unrelated smooth maps it is not 0, but often around
    -0.2 or 0.2.

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN if a map is constant.

    Raises:
        InvalidArgument: a map is not as above.

    Example:
        >>> spearman(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[0.0, 1.0, 2.0]])).item()
        1.0
    """
    a, b = float64_pair(map_a, map_b)
    return only_finite(_correlation(ranks(a), ranks(b)), a, b)


def kendall(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return Kendall's rank correlation of two maps, tau-b, in [-1, 1].

    It is the number of concordant pairs of elements minus the number of discordant pairs, divided
    by the geometric mean of the two maps' numbers of pairs without ties (Kendall, M. G., 1945, The
    treatment of ties in ranking problems).

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN if a map is constant.

    Raises:
        InvalidArgument: a map is not as above.

    Example:
        >>> kendall(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0, 2.0, 1.0]])).item()
        -1.0
    """
    a, b = float64_pair(map_a, map_b)
    if a[:1].numel() == 2:
        return spearman(a, b)  # the same for one pair, for which SciPy has no p-value
    from scipy.stats import kendalltau  # not at the top, as in `ranks`

    # The exact p-value, which is not used, would take longer to compute than tau.
    found = [
        float(kendalltau(*rows, method="asymptotic").statistic)
        for rows in zip(*(ranks(each).cpu().numpy() for each in (a, b)), strict=True)
    ]
    return only_finite(a.new_tensor(found).clamp(-1, 1), a, b)


def pearson(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return Pearson's correlation of the values of two maps, in [-1, 1].

    It is the covariance divided by the product of the standard deviations (Pearson, K., 1895, Notes
    on regression and inheritance in the case of two parents).

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN if a map is constant.

    Raises:
        InvalidArgument: a map is not as above.
    """
    a, b = float64_pair(map_a, map_b)
    return _correlation(a.flatten(1), b.flatten(1))


def cosine(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return the cosine of the angle between two maps, ``<a, b> / (|a| |b|)``, in [-1, 1].

    Args:
        map_a: floating (N, *shape).
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN if all values of a map are zero. Other constant maps have a direction.

    Raises:
        InvalidArgument: a map is not as above.
    """
    a, b = float64_pair(map_a, map_b)
    return _cosine(_to_unit(a).flatten(1), _to_unit(b).flatten(1))


def ssim(map_a: Tensor, map_b: Tensor) -> Tensor:
    """Return the structural similarity of two maps, in [-1, 1].

    It is the mean over the pixels of
    ``(2 ma mb + C1)(2 cab + C2) / ((ma^2 + mb^2 + C1)(va + vb + C2))``, where ``ma, va, cab`` are
    the mean, variance and covariance in a window around the pixel (Wang, Bovik, Sheikh, Simoncelli,
    2004, Image quality assessment, equation 13). It is computed as scikit-image does by default:
    with a uniform window of side 7, the sample covariance, and only the pixels whose window fits.
    Channels are summed (``spatial``) and each map is divided by its own largest absolute value, so
    that the scale of the maps does not matter and the data range is 2. If the smallest side is less
    than 7, the window is the largest odd one that fits.

    Args:
        map_a: floating (N, C, *spatial), one or more spatial axes.
        map_b: floating, the shape of map_a.

    Returns:
        (N,) float64; NaN if the sum over the channels of a map is constant, and for all images if
        a spatial side is less than 3.

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
    """Return the rank of each value in its map, with average ranks for ties.

    Args:
        maps: floating (N, *shape).

    Returns:
        (N, values) float64, without a graph.
    """
    rows = maps.detach().double().flatten(1)
    # Not at the top, because the import takes over half a second and listing checks needs no ranks.
    from scipy.stats import rankdata

    return torch.from_numpy(rankdata(rows.cpu().numpy(), axis=1)).to(rows.device)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return _cosine(_centred(a), _centred(b))


def _centred(rows: Tensor) -> Tensor:
    """Scale each row to [0, 1], then shift it to mean 0; NaN if it is constant or not finite.

    In this order, no square over- or underflows, and rounding of the mean cannot make a constant
    row look like a varying one.
    """
    # Not aminmax, because it has no derivative in torch 2.6.
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    unit = (rows - low) / (high - low)
    return unit - unit.mean(1, keepdim=True)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    # One square root of the product, so that equal rows give exactly 1. The clamp is there because
    # rounding errors may leave the range, and sequential tests rely on it.
    return ((a * b).sum(1) / ((a * a).sum(1) * (b * b).sum(1)).sqrt()).clamp(-1, 1)


def _to_unit(maps: Tensor) -> Tensor:
    """Divide each map by its largest absolute value; NaN if that is zero or not finite."""
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
    """Return the means of all windows that fit, computed one axis after the other."""
    for axis in range(1, maps.ndim):
        maps = maps.unfold(axis, window, 1).mean(-1)
    return maps
