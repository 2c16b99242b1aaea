"""Simulates how often the sequential tests are wrong, and after how many images they decide.

    python -m studies.false_alarms [--runs 20000] [--images 10000] [--seed 0]

False alarms: the true mean is exactly at the limit, so every decision is wrong. The test is
evaluated after every round of the real schedule, and also after every single value. The table has
the share of runs that ever decide, for either side, which has to be at most alpha. The Monte-Carlo
error of a share at alpha is printed above the table.

Dependent scores: the same for scores whose neighbours have an image in common, as for checks that
compare with the map of the next image, and for scores of which 16 share a draw of random weights,
each with the strongest possible dependence. The bound does not cover these; the table shows the
error there.

Power: the true mean is 0.1 beyond the limit. The table has the median number of images until the
decision, and the number that a test of fixed size needs for the same alpha and the same power:
that of the sequential test on all images, but at most 1 - 1/runs, the largest that so many runs
can show. The test of fixed size has the same assumption, that scores are from 0 to 1: Hoeffding's
inequality in its sharper form, with the relative entropy (1963, theorem 1). For the sign test, and
for scores that are known to be 0 or 1, it is the exact binomial test. Exits with 1 if a share
exceeds alpha.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from pytest_xai.engine.run_check import rounds
from pytest_xai.statistics.betting import log_capital
from pytest_xai.statistics.sequential import barrier

_Floats = NDArray[np.float64]
_Draw = Callable[[np.random.Generator, tuple[int, int]], _Floats]

_ALPHAS = (0.05, 0.01, 0.001)
_BLOCK = 100
_MOST = 1 / 3
# The largest number of images that nearly all runs with a mean 0.1 beyond the limit need.
_USUALLY = 2048


# -------------------------------------------------------------------------------------- the scores


def coin(mean: float) -> _Draw:
    """0 or 1."""
    return lambda rng, size: (rng.random(size) < mean).astype(np.float64)


def beta(mean: float, concentration: float) -> _Draw:
    """Beta; a concentration below 1 piles the values up at both ends."""
    return lambda rng, size: rng.beta(mean * concentration, (1 - mean) * concentration, size)


def sixths(mean: float) -> _Draw:
    """Dice of masks of six pixels: 0, 1/6, ..., 1."""
    return lambda rng, size: rng.binomial(6, mean, size) / 6


def signs(above: float, equal: float) -> _Draw:
    """1 above the image's own limit, 1/2 on it, 0 below."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> _Floats:
        uniform = rng.random(size)
        return np.where(uniform < above, 1.0, np.where(uniform < above + equal, 0.5, 0.0))

    return draw


def neighbours(rng: np.random.Generator, size: tuple[int, int]) -> _Floats:
    """Each score is half its own image and half the next one: a correlation of 1/2."""
    images = (rng.random((size[0], size[1] + 1)) < 0.5).astype(np.float64)
    return (images[:, 1:] + images[:, :-1]) / 2


def shared_draws(deviation: float) -> _Draw:
    """Coins whose mean is one half plus or minus a deviation, the same for 16 images."""

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> _Floats:
        groups = rng.choice([0.5 - deviation, 0.5 + deviation], (size[0], -(-size[1] // 16)))
        return (rng.random(size) < groups.repeat(16, axis=1)[:, : size[1]]).astype(np.float64)

    return draw


AT_THE_LIMIT: Sequence[tuple[str, float, _Draw]] = (
    ("mean: coin", 0.5, coin(0.5)),
    ("mean: coin, rarely 1", 0.02, coin(0.02)),
    ("mean: coin, mostly 1", 0.9, coin(0.9)),
    ("mean: beta", 0.3, beta(0.3, 7)),
    ("mean: beta, narrow", 0.6, beta(0.6, 60)),
    ("mean: beta, heavy skew", 0.05, beta(0.05, 0.5)),
    ("mean: sixths", 0.4, sixths(0.4)),
    ("paired: no ties", 0.5, signs(0.5, 0.0)),
    ("paired: 1 in 3 ties", 0.5, signs(1 / 3, 1 / 3)),
)
DEPENDENT: Sequence[tuple[str, float, _Draw]] = (
    ("neighbours share an image", 0.5, neighbours),
    ("16 share a draw, +-0.05", 0.5, shared_draws(0.05)),
    ("16 share a draw, +-0.1", 0.5, shared_draws(0.1)),
)
# Name, limit, true mean, scores, whether they are 0 or 1 and known to be.
BEYOND: Sequence[tuple[str, float, float, _Draw, bool]] = (
    ("mean: coin", 0.5, 0.6, coin(0.6), False),
    ("mean: coin", 0.2, 0.3, coin(0.3), False),
    ("mean: coin", 0.8, 0.9, coin(0.9), False),
    ("mean: beta", 0.5, 0.6, beta(0.6, 7), False),
    ("mean: beta, narrow", 0.5, 0.6, beta(0.6, 60), False),
    ("mean: beta, heavy skew", 0.05, 0.15, beta(0.15, 0.5), False),
    ("mean: sixths", 0.4, 0.5, sixths(0.5), False),
    ("paired: share", 0.5, 0.6, signs(0.6, 0.0), True),
    ("paired: share", 0.5, 0.9, signs(0.9, 0.0), True),
)


def blocks(draw: _Draw, runs: int, images: int, seed: Sequence[int]) -> Iterator[_Floats]:
    """Scores of all runs, (runs, images), some runs at a time."""
    rng = np.random.default_rng(list(seed))
    for start in range(0, runs, _BLOCK):
        yield draw(rng, (min(_BLOCK, runs - start), images))


def looks(images: int) -> list[int]:
    """Numbers of images after which the gate looks at a check."""
    return [stop for _, stop in rounds(images)]


# ------------------------------------------------------------------------------------- false alarms


def decided(values: _Floats, limit: float, at: Sequence[int]) -> tuple[_Floats, _Floats]:
    """The largest log capital of either side, per run: after any value, and at the looks."""
    above, below = log_capital(values, limit), log_capital(1 - values, 1 - limit)
    larger = np.maximum(above, below)
    return larger.max(axis=1), larger[:, np.array(at) - 1].max(axis=1)


def shares(limit: float, draw: _Draw, seed: Sequence[int], size: tuple[int, int]) -> _Floats:
    """Share of runs that ever decide: (alphas, 2), peeking after every value and after rounds."""
    runs, images = size
    found = np.zeros((len(_ALPHAS), 2))
    for values in blocks(draw, runs, images, seed):
        peaks = decided(values, limit, looks(images))
        for row, alpha in enumerate(_ALPHAS):
            found[row] += [(peak >= barrier(alpha)).sum() for peak in peaks]
    return found / runs


def print_false_alarms(
    cases: Sequence[tuple[str, float, _Draw]], seed: int, size: tuple[int, int]
) -> bool:
    """Print a row for each case; return whether every share is at most alpha."""
    print(f"{'':<28}{'':>6}" + "".join(f"{f'alpha {alpha}':>20}" for alpha in _ALPHAS))
    print(f"{'scores':<28}{'limit':>6}" + f"{'values':>11}{'rounds':>9}" * len(_ALPHAS))
    kept = True
    for number, (name, limit, draw) in enumerate(cases):
        found = shares(limit, draw, [seed, number], size)
        kept &= bool((found <= np.array(_ALPHAS)[:, None]).all())
        cells = "".join(f"{values:>11.5f}{rounds:>9.5f}" for values, rounds in found)
        print(f"{name:<28}{limit:>6}{cells}", flush=True)
    return kept


# -------------------------------------------------------------------------------------------- power


def needed(limit: float, draw: _Draw, seed: Sequence[int], size: tuple[int, int]) -> _Floats:
    """Images until the mean is proven to exceed the limit: (alphas, runs); infinite: never."""
    runs, images = size
    found = []
    for values in blocks(draw, runs, images, seed):
        paths = log_capital(values[:, :_USUALLY], limit)
        if (paths.max(axis=1) < barrier(min(_ALPHAS))).any():
            paths = log_capital(values, limit)
        proven = [paths >= barrier(alpha) for alpha in _ALPHAS]
        found.append([np.where(p.any(axis=1), p.argmax(axis=1) + 1.0, np.inf) for p in proven])
    return np.concatenate(found, axis=1)


def hoeffding_size(limit: float, mean: float, deviation: float, alpha: float, power: float) -> int:
    """Images at which Hoeffding's bound proves, with that power, that the mean exceeds the limit.

    The sum is taken to be normal, which for sums of hundreds of bounded scores it is nearly.
    """

    def lacks(count: float) -> float:
        # With so many images the mean has to come out at ``least`` to be a proof.
        least = mean - special.ndtri(power) * deviation / np.sqrt(count)
        if least <= limit:
            return -1.0
        entropy = special.rel_entr(least, limit) + special.rel_entr(1 - least, 1 - limit)
        return float(count * entropy - np.log(2 / alpha))

    return int(np.ceil(optimize.brentq(lacks, 1, 1e6)))


def binomial_size(limit: float, mean: float, alpha: float, power: float) -> int:
    """Images at which the exact binomial test proves, with that power, that p exceeds the limit."""
    counts = np.arange(1, 20_000)
    most = stats.binom.isf(alpha / 2, counts, limit)
    enough = stats.binom.sf(most, counts, mean) >= power
    # From the first size on from which all larger ones suffice: the power is a saw-tooth.
    return int(counts[np.flatnonzero(~enough).max() + 1])


def print_power(seed: int, size: tuple[int, int]) -> None:
    """Print a row for each alternative and alpha."""
    runs, images = size
    print(
        f"{'scores':<24}{'limit':>6}{'mean':>6}{'alpha':>7}{'decided':>9}{'median':>8}{'rounds':>8}"
        f"{'fixed':>7}{'ratio':>7}{'exact':>7}{'ratio':>7}{'at 0.9':>8}"
    )
    at = np.array(looks(images))
    for number, (name, limit, mean, draw, binary) in enumerate(BEYOND):
        counts = needed(limit, draw, [seed, 100 + number], size)
        deviation = float(draw(np.random.default_rng(seed), (1, 10**6)).std())
        for alpha, found in zip(_ALPHAS, counts, strict=True):
            power = min(float(np.isfinite(found).mean()), 1 - 1 / runs)
            median = float(np.median(found))
            by_rounds = int(at[np.searchsorted(at, median)])
            hoeffding = hoeffding_size(limit, mean, deviation, alpha, power)
            two_points = binary or "coin" in name
            exact = binomial_size(limit, mean, alpha, power) if two_points else None
            modest = hoeffding_size(limit, mean, deviation, alpha, 0.9)
            fixed = exact if binary and exact else hoeffding
            beyond = "" if median <= _MOST * fixed else "  above 1/3"
            print(
                f"{name:<24}{limit:>6}{mean:>6}{alpha:>7}{np.isfinite(found).mean():>9.5f}"
                f"{median:>8.0f}{by_rounds:>8}{hoeffding:>7}{median / hoeffding:>7.2f}"
                + (f"{exact:>7}{median / exact:>7.2f}" if exact else f"{'':>14}")
                + f"{modest:>8}{beyond}",
                flush=True,
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if a share of false alarms exceeds its alpha."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    size = (options.runs, options.images)
    errors = ", ".join(f"{np.sqrt(a * (1 - a) / options.runs):.5f}" for a in _ALPHAS)
    print(f"{options.runs} runs of {options.images} images, looks after {looks(options.images)}")
    print(f"\nFalse alarms (Monte-Carlo error of a share at alpha: {errors})")
    kept = print_false_alarms(AT_THE_LIMIT, options.seed, size)
    print("\nDependent scores, for which nothing is promised")
    print_false_alarms(DEPENDENT, options.seed + 1, size)
    print("\nPower: images to a decision, and what a test of fixed size needs")
    print_power(options.seed, size)
    print(f"\nevery share of false alarms is {'at most' if kept else 'NOT at most'} alpha")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
