"""Explainers made from stored maps, which were computed outside pytest-xai."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_xai.errors import InvalidArgument, NotApplicable
from pytest_xai.explainers.adapting.arguments import choice, text
from pytest_xai.explainers.adapting.entry import Claim, Entry
from pytest_xai.protocol import NEEDS_NEW, NamedExplainer

__all__ = ["ENTRIES", "StoredMaps", "from_maps", "stored_maps"]

_SUMS = ("delta", "output")


class StoredMaps:
    """An explainer that holds one map for each input of one subject and cannot compute others.

    Args:
        maps: floating-point maps, one for each input of the subject, in the order of the inputs:
            (N, *shape), (N, 1, *spatial) or (N, *spatial).
        origin: the name of the maps in error messages.

    Raises:
        InvalidArgument: ``maps`` is not a floating-point tensor or array of at least one map.
    """

    def __init__(self, maps: Tensor | np.ndarray[Any, Any], *, origin: str = "maps") -> None:
        expected = "a floating-point tensor or array (N, ...) of maps"
        if isinstance(maps, np.ndarray):
            if maps.dtype.kind != "f" or maps.dtype.itemsize > 8:
                raise InvalidArgument.of(origin, got=f"dtype {maps.dtype}", expected=expected)
            maps = torch.from_numpy(np.array(maps, dtype=maps.dtype.newbyteorder("="), order="C"))
        if not isinstance(maps, Tensor):
            raise InvalidArgument.of(origin, got=type(maps).__name__, expected=expected)
        if not maps.is_floating_point():
            raise InvalidArgument.of(origin, got=f"dtype {maps.dtype}", expected=expected)
        if maps.ndim < 2 or len(maps) == 0:
            raise InvalidArgument.of(origin, got=f"shape {tuple(maps.shape)}", expected=expected)
        self._maps = maps.detach().clone()
        self._origin = origin

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Refuse to compute a map.

        Raises:
            NotApplicable: always.
        """
        raise NotApplicable(NEEDS_NEW)

    def stored_maps(self, images: Sequence[int], count: int) -> Tensor:
        """Return the stored maps of some images of the subject.

        Args:
            images: positions of the images in the subject.
            count: number of inputs that the subject has.

        Raises:
            InvalidArgument: the number of maps differs from the number of inputs.
        """
        if len(self._maps) != count:
            raise InvalidArgument.of(
                self._origin,
                got=f"{len(self._maps)} maps",
                expected=f"{count}, one for each input of the subject, in the order of the inputs",
            )
        return self._maps[list(images)]


def stored_maps(
    *, path: str | None = None, key: str | None = None, sums_to: str | None = None
) -> Callable[..., Tensor]:
    """Maps from a file, for checks that need no new explanation (.npy or .safetensors).

    Args:
        path: path of the file, which must be given; a relative path starts at the current
            directory. The file holds one map for each input of the subject, in the same order.
        key: name of the tensor in a .safetensors file; None if the file holds a single tensor.
        sums_to: the value that each map should sum to, which is then checked: "delta" for the
            difference between the outputs at the input and at the baseline, "output" for the
            output. None makes no such claim.

    Raises:
        InvalidArgument: there is no such file or tensor, or it does not hold floating-point maps.
    """
    if path is None:
        raise InvalidArgument.of("path", got="None", expected="a .npy or .safetensors file of maps")
    key = None if key is None else text("key", key)
    if sums_to is not None:
        choice("sums_to", sums_to, _SUMS)
    file = Path(path if isinstance(path, Path) else text("path", path))
    return StoredMaps(_read(file, key), origin=str(file))


def from_maps(
    maps: Tensor | np.ndarray[Any, Any] | str | Path,
    *,
    key: str | None = None,
    sums_to: str | None = None,
) -> NamedExplainer:
    """Make an explainer from maps in memory or in a file.

        >>> import torch
        >>> from pytest_xai.explainers import from_maps
        >>> from_maps(torch.rand(3, 1, 8, 8), sums_to="delta").traits.claims
        frozenset({'summation_to_delta'})

    Args:
        maps: maps as for `StoredMaps`, or the path of a .npy or .safetensors file.
        key: as for `stored_maps`.
        sums_to: as for `stored_maps`.

    Returns:
        The explainer with the name "stored". `named` or a registration can give it another name.

    Raises:
        InvalidArgument: an argument is wrong, as described for `StoredMaps` and `stored_maps`.
    """
    if isinstance(maps, (str, Path)):
        call = stored_maps(path=str(maps), key=key, sums_to=sums_to)
    else:
        if key is not None:
            raise InvalidArgument.of(
                "key", got=repr(key), expected="None, since a tensor in memory has no key"
            )
        if sums_to is not None:
            choice("sums_to", sums_to, _SUMS)
        call = StoredMaps(maps)
    traits = ENTRIES["xai:StoredMaps"].traits({"sums_to": sums_to}, library="pytest-xai")
    return NamedExplainer(name="stored", call=call, traits=traits)


def _read(file: Path, key: str | None) -> Tensor | np.ndarray[Any, Any]:
    if not file.is_file():
        raise InvalidArgument.of("path", got=repr(str(file)), expected="a file that exists")
    if file.suffix == ".npy":
        if key is not None:
            raise InvalidArgument.of(
                "key", got=repr(key), expected="None, since a .npy file has no keys"
            )
        return _array(file)
    if file.suffix == ".safetensors":
        return _tensor(file, key)
    raise InvalidArgument.of("path", got=repr(str(file)), expected="a .npy or .safetensors file")


def _array(file: Path) -> np.ndarray[Any, Any]:
    try:
        # A pickle could run any code, so it is never loaded.
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InvalidArgument.of(
            "path", got=f"{str(file)!r} ({error})", expected="a .npy file of numbers"
        ) from error
    if not isinstance(array, np.ndarray):
        raise InvalidArgument.of("path", got=f"{str(file)!r}, an archive", expected="a .npy file")
    return array


def _tensor(file: Path, key: str | None) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InvalidArgument.of(
            "path", got=f"{str(file)!r} ({error})", expected="a .safetensors file"
        ) from error
    if key is None and len(tensors) == 1:
        return next(iter(tensors.values()))
    if key is None or key not in tensors:
        raise InvalidArgument.of(
            "key",
            got=repr(key),
            expected=f"one of {', '.join(sorted(tensors))}" if tensors else "a file with tensors",
        )
    return tensors[key]


ENTRIES = {
    "xai:StoredMaps": Entry(
        factory=stored_maps,
        cost="none",
        claims=(
            Claim(check="summation_to_delta", source="sundararajan2017", when={"sums_to": "delta"}),
            Claim(check="relevance_conservation", source="bach2015", when={"sums_to": "output"}),
        ),
    ),
}
