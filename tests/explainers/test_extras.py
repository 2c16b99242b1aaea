"""The gallery when a library is not installed; tox removes each library in turn."""

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import MissingDependency
from pytest_xai.explainers.gallery.catalogue import LIBRARIES

# One explainer of each library that is quick.
SAMPLES = {
    "captum": "captum:Saliency",
    "zennit": "zennit:LRPEpsilon",
    "gradcam": "gradcam:GradCAM",
    "shap": "shap:GradientExplainer",
    "lime": "lime:LimeImage",
    "xai": "xai:FEM",
    "control": "control:EdgeDetector",
}


def explain(spec):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    inputs = torch.rand(2, 1, 12, 12)
    explainer = explainers.get(spec)
    options = {"baseline": torch.zeros(1, 1, 12, 12)} if explainer.traits.needs_baseline else {}
    return explainer.call(model, inputs, torch.tensor([0, 3]), **options)


def test_there_is_a_sample_of_each_library():
    assert SAMPLES.keys() == LIBRARIES.keys()


@pytest.mark.parametrize("prefix", SAMPLES)
def test_an_explainer_explains_or_says_what_to_install(prefix):
    library = LIBRARIES[prefix]
    if library.version is None:
        command = re.escape(f'pip install "pytest-xai[{library.extra}]"')
        with pytest.raises(MissingDependency, match=command):
            explain(SAMPLES[prefix])
    else:
        assert explain(SAMPLES[prefix]).abs().sum() > 0


def test_all_names_are_listed_whatever_is_installed():
    assert {spec.partition(":")[0] for spec in explainers.names()} == LIBRARIES.keys()
    for entry in explainers.describe():
        gone = LIBRARIES[entry.spec.partition(":")[0]].version is None
        assert entry.traits.library.endswith("(not installed)") == gone


@pytest.mark.slow
def test_the_demo_shows_what_there_is_and_names_what_is_left_out(tmp_path):
    arguments = ["--xai-gallery", "--xai-select", "shape", "-k", "digits"]
    command = [sys.executable, "-m", "pytest", *arguments]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,  # what it printed is shown below
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for library in LIBRARIES.values():
        if library.version is None:
            assert f'for which: pip install "pytest-xai[{library.extra}]"' in done.stdout
        elif library.extra is not None:
            assert f'"pytest-xai[{library.extra}]"' not in done.stdout
