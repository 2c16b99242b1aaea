"""Random noise of the same size as an attack's perturbation."""

from torch import Tensor

from pytest_xai.attacks.verified import Attacked, make_and_verify
from pytest_xai.bench.bench import Bench
from pytest_xai.perturbations.noise import same_size_noise

__all__ = ["noise_like"]


def noise_like(bench: Bench, found: Attacked) -> Attacked:
    """Return the inputs with random noise of the same size as the perturbations of an attack.

    All explainers share the result.

    Args:
        bench: provides the model and the images.
        found: the result of an attack on these images.
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
