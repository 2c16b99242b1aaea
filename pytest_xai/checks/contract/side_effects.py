"""The explainer leaves the model and the process as it found them."""

from collections import Counter

import torch

from pytest_xai.bench.bench import ROUND, Bench
from pytest_xai.bench.guard import SideEffect
from pytest_xai.core.verdict import Finding
from pytest_xai.protocol import NamedExplainer
from pytest_xai.registry import Cost, check


@check(
    family="contract",
    question="Does the explainer leave the model and the process as it found them?",
    claim="After a call, modes, weights, buffers, gradients, hooks, attributes, seeds and global "
    "settings are what they were.",
    source="design",
    scope="universal",
    limit_source="The contract: nothing is changed.",
    cost=Cost(explainer_calls=2),
    max_images=ROUND,
)
def side_effects(bench: Bench, explainer: NamedExplainer) -> Finding:
    """Value per image: how many things the call that explains it changed.

    Drawing from the global generators is not a side effect of an explainer that declares itself
    stochastic; seeding them is. The two are told apart by a second call from other states: who
    draws ends in another state, who seeds ends in the same.
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
                    SideEffect("seed", name, "drew from the global generator, undeclared")
                )
        values.append(torch.full((len(chunk),), float(len(effects))))
        found += effects
    return Finding(values=torch.cat(values), cause=_summary(found))


def _summary(effects: list[SideEffect]) -> str:
    """One example of each kind of effect, and how many there are."""
    kinds = Counter(effect.kind for effect in effects)
    examples = {effect.kind: effect for effect in reversed(effects)}
    parts = [
        f"{examples[kind]}{f' (and {count - 1} more)' if count > 1 else ''}"
        for kind, count in kinds.items()
    ]
    return f"The explainer changed: {'; '.join(parts)}." if parts else ""
