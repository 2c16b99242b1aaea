from pytest_xai import explainers
from pytest_xai.explainers.demo import EXPECTED_FAILURES, EXPLAINERS


def test_every_explainer_of_the_gallery_is_shown_once():
    assert [item.spec for item in EXPLAINERS] == explainers.names()
    names = [item.name for item in EXPLAINERS]
    assert names == [
        "saliency",
        "input_x_gradient",
        "integrated_gradients",
        "deep_lift",
        "guided_backprop",
        "deconvolution",
        "grad_cam",
        "occlusion",
        "smooth_grad",
        "random_map",
        "constant_map",
        "input_itself",
        "edge_detector",
        "other_class",
    ]


def test_every_explainer_is_built():
    for item in EXPLAINERS:
        assert explainers.get(item.spec, **item.options).name == item.spec


def test_expected_failures_are_of_the_demo_and_have_reasons():
    names = {item.name for item in EXPLAINERS}
    for key, reason in EXPECTED_FAILURES.items():
        explainer, separator, check = key.partition("::")
        assert separator
        assert explainer in names
        assert check.isidentifier()
        assert len(reason.split()) > 3
