"""The order of the random networks is the same everywhere, and leaves nothing behind."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from pytest_xai.engine.exploration.generated_networks import visit_random_examples

SCRIPT = """
import hashlib
from pytest_xai.engine.exploration.generated_networks import visit_random_examples
seen = []
kinds = frozenset({"table", "signal", "image", "volume"})
visit_random_examples(seen.append, kinds=kinds, networks=40)
print(hashlib.sha256("".join(each.script() for each in seen).encode()).hexdigest(), len(seen))
"""


@pytest.mark.slow
def test_it_depends_on_no_hash_and_on_no_module_of_the_user(tmp_path):
    found = set()
    for seed, source in (("1", ""), ("2", "import mine\n")):
        folder = tmp_path / seed
        folder.mkdir()
        numbers = ", ".join(str(number) for number in range(2, 200))
        (folder / "mine.py").write_text(f"NUMBERS = [{numbers}]\n")
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", source + SCRIPT],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        found.add(done.stdout)
        assert {each.name for each in folder.iterdir()} <= {"mine.py", "__pycache__"}
    (line,) = found
    assert int(line.split()[1]) > 30


def test_the_inputs_are_of_the_kinds_that_were_asked_for():
    seen = []
    visit_random_examples(seen.append, kinds=frozenset({"volume", "table"}), networks=8)
    assert {example.plan.kind for example in seen} == {"volume", "table"}


def test_they_differ_and_have_most_structures():
    seen = []
    visit_random_examples(seen.append, kinds=frozenset({"table", "signal", "image"}), networks=30)
    assert len({example.plan for example in seen}) > 22
    assert len(set().union(*(example.plan.structures for example in seen))) > 20
    assert {example.images for example in seen} == {1, 2, 3}
    assert {example.zeros for example in seen} == {True, False}


def test_the_global_generators_stay_as_they_are():
    before = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].tolist()
    visit_random_examples(lambda example: None, kinds=frozenset({"table"}), networks=5)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.random.get_state()[1].tolist() == before[2]
