"""The one-pixel attack: differential evolution over positions and values of few pixels."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pytest_xai.attacks.arguments import require_count
from pytest_xai.attacks.verified import Attacked, run_attack
from pytest_xai.attacks.victim import Victim
from pytest_xai.bench.bench import Bench
from pytest_xai.core.optional import require

__all__ = ["one_pixel"]


def one_pixel(
    bench: Bench, *, pixels: int = 1, population: int = 80, generations: int = 25
) -> Attacked:
    """Change few pixels by differential evolution (Su, Vargas and Sakurai 2019, section III).

    A candidate has a position and a value of each channel per pixel. Its score is the margin of the
    label, which ranks candidates like the probability in the paper but keeps its precision where
    the probability is nearly 1. The attack needs no gradient. A position is a pixel of an image, a
    time of a signal or a column of a table, with all its channels.

    Args:
        bench: provides the model and the images; its targets are the labels.
        pixels: number of pixels that may be changed; the budget.
        population: candidates per generation; 400 in the paper.
        generations: maximum number of generations; 100 in the paper. The search ends when a
            candidate succeeds.

    Raises:
        InvalidArgument: an option is out of its range.
        NotApplicable: the inputs have no range.
    """
    require_count(pixels, "pixels")
    require_count(population, "population", least=5)
    require_count(generations, "generations")

    def attack(victim: Victim) -> Tensor:
        found = victim.inputs.clone()
        for row in (~victim.fooled(found)).nonzero().flatten().tolist():
            found[row] = _evolved(_Search(victim, row, pixels), population, generations)
        return found

    shape = bench.inputs.shape
    channels = shape[1] if len(shape) > 2 else 1
    name = ("one_pixel", pixels, population, generations)
    return run_attack(bench, name, attack, norm=0.0, budget=float(pixels * channels))


class _Search:
    """Candidates for one image: rows of (position, values) per pixel, each number in [0, 1]."""

    def __init__(self, victim: Victim, row: int, pixels: int) -> None:
        self.victim = victim
        self.image = victim.inputs[row]
        self.label = victim.labels[row]
        self.pixels = pixels
        self.least = float("inf")
        self.generator = np.random.default_rng(victim.generators[row].initial_seed())
        table = self.image.ndim == 1
        self.places = tuple(self.image.shape) if table else tuple(self.image.shape[1:])
        self.channels = 1 if table else self.image.shape[0]
        self.numbers = pixels * (len(self.places) + self.channels)

    def inputs(self, candidates: npt.NDArray[np.float64]) -> Tensor:
        """Apply the candidates, (m, numbers), to the image, (m, *shape)."""
        low, high = self.victim.bounds
        changed = self.image.repeat(len(candidates), *[1] * self.image.ndim)
        flat = changed.view(len(candidates), self.channels, -1)
        rows = torch.arange(len(candidates), device=flat.device)
        axes = len(self.places)
        for pixel in candidates.reshape(len(candidates), self.pixels, -1).swapaxes(0, 1):
            sizes = np.array(self.places)
            place = np.minimum((pixel[:, :axes] * sizes).astype(int), sizes - 1)
            index = np.ravel_multi_index(tuple(place.T), self.places)
            values = torch.from_numpy(low + (high - low) * pixel[:, axes:])
            flat[rows, :, torch.from_numpy(index).to(rows)] = values.to(flat)
        return changed

    def margins(self, candidates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        labels = self.label.expand(len(candidates))
        scores = self.victim.margins(self.inputs(candidates), labels)
        self.least = min(self.least, float(scores.min()))
        return scores.double().cpu().numpy()


def _evolved(search: _Search, population: int, generations: int) -> Tensor:
    axes = len(search.places)
    start = search.generator.random((population, search.pixels, axes + search.channels))
    values = start[..., axes:]
    # As in the paper, positions are uniform and values are normal around the middle of the range.
    values[:] = search.generator.normal(0.5, 0.5, values.shape).clip(0, 1)
    done = require("scipy.optimize").differential_evolution(
        lambda columns: search.margins(columns.T),
        [(0.0, 1.0)] * search.numbers,
        strategy="rand1bin",
        mutation=0.5,
        recombination=1.0,
        init=start.reshape(population, -1),
        maxiter=generations - 1,
        tol=0,
        polish=False,
        vectorized=True,
        updating="deferred",
        seed=search.generator,
        callback=lambda x, convergence=0.0: search.least < 0,
    )
    return search.inputs(done.x[None])[0] if done.fun < 0 else search.image
