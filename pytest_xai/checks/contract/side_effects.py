"""The explainer leaves the model and the process unchanged."""

from collections import Counter

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import SideEffect
from pytest_xai.core.finding import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Does the explainer leave the model and the process unchanged?",
    claim="The explainer leaves modes, weights, buffers, gradients, hooks and attributes of the "
    "model, global settings and random states unchanged.",
    source="design",
    figure="number of settings that the explainer left changed",
    scope="universal",
    limit_source="The contract: no change is allowed.",
    cost=Cost(explainer_calls=2),
    max_images=ROUND,
)
def side_effects(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Return per image the number of changes made by the call that explained it.

    An explainer that is declared stochastic may draw from the global random generators, but may not
    seed them. A second call from other random states distinguishes the two: after drawing, the
    final states of the two calls differ, and after seeding they are equal.
    """
    values = []
    found: list[SideEffect] = []
    for chunk in bench.chunks():
        calls = [
            chunk.call(
                explainer,
                chunk.inputs,
                chunk.targets,
                baseline=chunk.baseline,
                seed=chunk.derive_seed("side effects", start),
            )
            for start in (0, 1)
        ]
        effects = list(calls[0].effects)
        same_end = {"torch", "numpy", "python"} - calls[0].after.differing(calls[1].after)
        for name in sorted(calls[0].generators):
            if name in same_end:
                effects.append(SideEffect("seed", name, "the global generator was seeded"))
            elif not explainer.traits.stochastic:
                effects.append(
                    SideEffect("seed", name, "numbers were drawn without stochastic=True")
                )
        values.append(torch.full((len(chunk),), float(len(effects))))
        found += effects
    return Finding(values=torch.cat(values), cause=_summary(found))


def _summary(effects: list[SideEffect]) -> str:
    """Return a sentence with one example and the number of effects of each kind."""
    kinds = Counter(effect.kind for effect in effects)
    examples = {effect.kind: effect for effect in reversed(effects)}
    parts = [_phrase(examples[kind], count) for kind, count in kinds.items()]
    return f"The explainer {'; '.join(parts)}." if parts else ""


def _phrase(example: SideEffect, count: int) -> str:
    one, many = _PHRASES[example.kind]
    # The verb says it all.
    detail = "" if example.kind == "grad" else f": {example.detail}"
    if count == 1:
        return f"{one} ({example.where}{detail})"
    return f"{many.format(count)} ({example.where}{detail}, ...)"


# What the explainer did, for one effect of a kind and for several.
_PHRASES = {
    "training mode": ("changed the mode of a module", "changed the mode of {} modules"),
    "parameter": ("changed a parameter", "changed {} parameters"),
    "buffer": ("changed a buffer", "changed {} buffers"),
    "requires_grad": ("changed requires_grad of a tensor", "changed requires_grad of {} tensors"),
    "grad": ("wrote .grad of a parameter", "wrote .grad of {} parameters"),
    "hook": ("changed the hooks", "changed the hooks at {} places"),
    "attribute": ("changed an attribute", "changed {} attributes"),
    "submodule": ("changed a submodule", "changed {} submodules"),
    "grad mode": ("changed the gradient mode", "changed the gradient mode {} times"),
    "default dtype": ("changed the default dtype", "changed the default dtype {} times"),
    "backend flag": ("changed a backend flag", "changed {} backend flags"),
    "seed": ("changed a random state", "changed {} random states"),
}
