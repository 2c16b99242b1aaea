"""Random noise of the same size as an attack's perturbation."""

from torch import Tensor

from pytest_xai.attacks.verified import Attacked, make_and_verify
from pytest_xai.bench.bench import Bench
from pytest_xai.perturbations.noise import same_size_noise

__all__ = ["noise_like"]


def noise_like(bench: Bench, found: Attacked) -> Attacked:
    """The inputs with noise of the size of an attack's perturbations, once for all explainers.

    Args:
        bench: whose images.
        found: the result of an attack on them.
    """
    name = ("noise", *found.name)

    def make(chunk: Bench) -> Tensor:
        noise = same_size_noise(
            found.inputs[bench.rows(chunk)] - chunk.inputs,
            chunk.inputs,
            bounds=chunk.bounds,
            generator=chunk.generator(*name),
        )
        return chunk.inputs + noise

    return make_and_verify(bench, name, make, norm=found.norm)
