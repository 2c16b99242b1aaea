"""SP-LIME: selection of a few explained images that a person should inspect."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_xai.core.optional import require
from pytest_xai.errors import InvalidArgument
from pytest_xai.explainers.adapting.arguments import whole

__all__ = ["submodular_pick"]


def submodular_pick(maps: Tensor, budget: int, *, features: int | None = None) -> list[int]:
    """Choose images whose maps together cover the most important features (Ribeiro 2016, alg. 2).

    A feature, here a position of the map, has the importance sqrt(sum over images of |R|), and is
    covered if one of the chosen maps is not zero there. lime chooses greedily, which covers at
    least 1 - 1/e of the importance that the best choice of equally many images covers.

    It is meant for maps whose features have the same meaning in every image: tables, or maps on a
    grid (``lime:LimeImage`` with ``segments="grid"``). If no value of a map is zero, each image
    covers every feature; in that case limit the number of values with ``features``.

    Args:
        maps: floating-point maps (N, ...).
        budget: number of images to choose, 1 to N.
        features: number of values per map, those of the largest magnitude, that count as its
            explanation, as in sparse linear models; None uses all values that are not zero.

    Returns:
        Positions of the chosen images, in the order of choice. Among equally good images the last
        one is chosen first, as in lime.

    Raises:
        InvalidArgument: ``maps`` are not finite floating-point maps, or ``budget`` or ``features``
            is not such a number.
        MissingDependency: lime is not installed.
    """
    _require_maps(maps)
    budget = whole("budget", budget)
    if budget > len(maps):
        raise InvalidArgument.of("budget", got=str(budget), expected=f"at most {len(maps)} images")
    rows = maps.detach().double().flatten(1).cpu()
    if features is not None:
        count = min(whole("features", features), rows.shape[1])
        # The sort is stable: among equal magnitudes the first position counts.
        kept = rows.abs().argsort(dim=1, descending=True, stable=True)[:, :count]
        rows = torch.zeros_like(rows).scatter(1, kept, rows.gather(1, kept))
    library = require("lime.submodular_pick", extra="lime")
    picked = library.SubmodularPick(
        _Existing(), rows.numpy(), None, method="full", num_exps_desired=budget
    )
    return [int(position) for position in picked.V]


def _require_maps(maps: object) -> None:
    expected = "a floating-point tensor (N, ...) of finite maps, N >= 1"
    if not isinstance(maps, Tensor) or not maps.is_floating_point():
        got = maps.dtype if isinstance(maps, Tensor) else type(maps).__name__
        raise InvalidArgument.of("maps", got=got, expected=expected)
    if maps.ndim < 2 or maps.numel() == 0:
        raise InvalidArgument.of("maps", got=f"shape {tuple(maps.shape)}", expected=expected)
    if not torch.isfinite(maps).all():
        raise InvalidArgument.of("maps", got="NaN or infinite values", expected=expected)


class _Existing:
    """The explainer that lime calls, which returns an explanation that already exists."""

    def explain_instance(
        self, row: np.ndarray[Any, Any], _: None, *, num_features: int, top_labels: int
    ) -> "_Explanation":
        return _Explanation(row)


class _Explanation:
    """One map in the form of lime's explanations."""

    mode = "regression"

    def __init__(self, row: np.ndarray[Any, Any]) -> None:
        self.row = row

    def as_list(self, label: int) -> list[tuple[int, float]]:
        """Return the features that are not zero, with their weights."""
        return [(int(place), float(self.row[place])) for place in np.flatnonzero(self.row)]
