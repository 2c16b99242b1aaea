"""Explainers of captum."""

from pytest_xai.explainers.adapting.entry import Entry
from pytest_xai.explainers.captum import (
    deep_lift,
    grad_cam,
    gradient_shap,
    gradients,
    lime,
    lrp,
    noise,
    occlusion,
    perturbation,
    rules,
    shapley,
)

__all__ = ["ENTRIES"]

ENTRIES: dict[str, Entry] = {
    **gradients.ENTRIES,
    **gradient_shap.ENTRIES,
    **noise.ENTRIES,
    **deep_lift.ENTRIES,
    **rules.ENTRIES,
    **lrp.ENTRIES,
    **grad_cam.ENTRIES,
    **occlusion.ENTRIES,
    **perturbation.ENTRIES,
    **shapley.ENTRIES,
    **lime.ENTRIES,
}
