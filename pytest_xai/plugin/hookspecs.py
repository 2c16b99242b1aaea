"""The hook with which a model repo registers what is to be checked."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_xai.plugin.model_repo import ModelRepo

__all__ = ["pytest_xai_register"]


@pytest.hookspec
def pytest_xai_register(registry: "ModelRepo") -> None:
    """Register subjects, explainers and expected failures; called once per process with ``--xai``.

    Every explainer is checked on every subject. In ``conftest.py``::

        import pytest_xai as xai
        from my_model import integrated_gradients, load_images, load_network


        def load_subject():
            images, labels = load_images()
            return xai.Subject(load_network(), images, targets=labels, bounds=(0.0, 1.0))


        def pytest_xai_register(registry):
            registry.subject("digits", load_subject)    # called when a check first needs it
            registry.explainer("ig", integrated_gradients)
            registry.explainer("gradcam", "captum:LayerGradCam", layer="layer4")
            registry.expect_failure(
                "gradcam", "mprt_cascading", reason="coarse maps: Adebayo 2018"
            )

    Names consist of letters, digits, ``_``, ``.`` and ``-``; they become part of the ids
    ``xai::<subject>::<explainer>::<check>``.

    Args:
        registry: takes the registrations; its methods raise an error that names a wrong argument.
    """
