"""Explainers of grad-cam."""

from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.grad_cam import activations, full_grad, gradients, scores

__all__ = ["ENTRIES"]

ENTRIES: dict[str, Entry] = {
    **gradients.ENTRIES,
    **scores.ENTRIES,
    **activations.ENTRIES,
    **full_grad.ENTRIES,
}
