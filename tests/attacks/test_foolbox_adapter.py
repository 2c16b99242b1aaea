"""foolbox is imported wherever it is, and by nobody who does not attack."""

import os
import subprocess
import sys

import torch

from pytest_xai.attacks import carlini_wagner, foolbox_adapter


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr


def test_foolbox_is_imported_where_there_is_no_git_and_not_before(tmp_path):
    code = (
        "import shutil, sys, warnings; assert shutil.which('git') is None\n"
        "warnings.simplefilter('error')\n"
        "import pytest_xai.attacks\n"
        "assert not {'foolbox', 'scipy.optimize'} & set(sys.modules)\n"
        "from pytest_xai.attacks.foolbox_adapter import foolbox\n"
        "print(foolbox().__name__)\n"
    )
    assert run(code, PATH=str(tmp_path)) == "foolbox"


def test_the_user_s_own_setting_for_git_stays(monkeypatch):
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "warn")
    foolbox_adapter.foolbox()
    assert os.environ["GIT_PYTHON_REFRESH"] == "warn"


def test_on_the_unit_range_the_unit_of_the_inputs_makes_no_difference(network, images, bench_of):
    class Scaled(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, inputs):
            return self.inner((inputs + 50) / 200)

    model, inputs = network(dtype=torch.float64), images(dtype=torch.float64)
    found = carlini_wagner(bench_of(model, inputs, name="same"), steps=20, searches=3)
    scaled = bench_of(Scaled(model), 200 * inputs - 50, bounds=(-50, 150), name="same")
    again = carlini_wagner(scaled, steps=20, searches=3)
    assert found.flipped.any()
    assert torch.allclose(again.inputs, 200 * found.inputs - 50, atol=1e-6)
    assert torch.allclose(again.size, 200 * found.size, atol=1e-6)
