"""Steps that change the flow of values: forks, attention and changes of shape."""

import math
from collections.abc import Callable

from pytest_xai.networks.draft import Draft
from pytest_xai.networks.step import Step

__all__ = ["attention", "flatten", "forks", "permute", "view"]

Writer = Callable[[Step, Draft], None]


def flatten(step: Step, draft: Draft) -> None:
    """Write a flatten of all axes except the batch."""
    draft.require(draft.rank, step, "a shape of more than one axis")
    draft.structures.add("flatten")
    draft.apply("flatten", "nn.Flatten()")
    draft.shape = (math.prod(draft.shape),)


def view(step: Step, draft: Draft) -> None:
    """Write a view that joins the first two axes; a table becomes a signal of one channel."""
    draft.require(not draft.strided, step, "a contiguous tensor")
    head = draft.shape[:2]
    draft.shape = (math.prod(head), *draft.shape[2:]) if draft.rank else (1, *draft.shape)
    draft.structures.add("view")
    draft.write(f"x = x.view(-1, {', '.join(map(str, draft.shape))})")


def permute(step: Step, draft: Draft) -> None:
    """Write an exchange of the first axis after the batch with the last axis."""
    draft.require(draft.rank, step, "a shape of more than one axis")
    draft.structures.add("permute")
    draft.strided = True
    draft.write("x = x.transpose(1, -1)")
    draft.shape = (draft.shape[-1], *draft.shape[1:-1], draft.shape[0])


def attention(step: Step, draft: Draft) -> None:
    """Write self-attention between the rows of a signal (C, L): C tokens of L features."""
    draft.require(draft.rank == 1, step, "a signal (C, L)")
    size = draft.shape[1]
    draft.fan_in = max(draft.fan_in, size)
    draft.structures.add("attention")
    query, key, value = (
        draft.add_module(stem, f"nn.Linear({size}, {size})") for stem in ("query", "key", "value")
    )
    draft.write(
        f"scores = self.{query}(x) @ self.{key}(x).transpose(1, 2)",
        f"x = torch.softmax(scores / {size}, dim=2) @ self.{value}(x)",
    )


def forks(write: Writer) -> dict[str, Writer]:
    """Return the writers of forks; ``write`` writes their inner steps."""

    def inside(step: Step, draft: Draft) -> tuple[int, ...]:
        before = draft.shape
        draft.require(step.inner, step, "steps inside")
        draft.require(all(not each.inner for each in step.inner), step, "no forks inside forks")
        draft.last = ""
        draft.write("skip = x")
        for each in step.inner:
            write(each, draft)
        return before

    def residual(step: Step, draft: Draft) -> None:
        """Write ``x + inner(x)``; the inner steps keep the shape."""
        before = inside(step, draft)
        draft.require(draft.shape == before, step, f"steps inside that give shape {before} again")
        draft.structures.add("residual")
        if any("pool" in each.kind for each in step.inner):
            draft.structures.add("skip-around-pool")
        draft.write("x = x + skip")

    def product(step: Step, draft: Draft) -> None:
        """Write ``x * inner(x)``; the inner steps keep the shape."""
        before = inside(step, draft)
        draft.require(draft.shape == before, step, f"steps inside that give shape {before} again")
        draft.structures.add("product")
        draft.write("x = x * skip")

    def concat(step: Step, draft: Draft) -> None:
        """Write the concatenation of ``x`` and ``inner(x)``, which differ only in channels."""
        before = inside(step, draft)
        draft.require(
            draft.shape[1:] == before[1:], step, f"steps inside that end in {before[1:]} again"
        )
        draft.structures.add("concat")
        draft.write("x = torch.cat([x, skip], dim=1)")
        draft.shape = (draft.shape[0] + before[0], *before[1:])

    def branches(step: Step, draft: Draft) -> None:
        """Write the sum of two branches: the inner steps, and one linear layer or convolution."""
        before = inside(step, draft)
        draft.require(
            draft.shape[1:] == before[1:], step, f"steps inside that end in {before[1:]} again"
        )
        draft.structures.add("branches")
        layer, stem = (f"Conv{draft.rank}d", "conv") if draft.rank else ("Linear", "linear")
        sizes = f"{before[0]}, {draft.shape[0]}{', 1' if draft.rank else ''}"
        draft.fan_in = max(draft.fan_in, before[0])
        draft.write(f"x = x + self.{draft.add_module(stem, f'nn.{layer}({sizes})')}(skip)")

    return {"residual": residual, "product": product, "concat": concat, "branches": branches}
