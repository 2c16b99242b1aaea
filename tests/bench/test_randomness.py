"""No module of ours draws from, reads or writes a global generator, but where it says so."""

import ast
from pathlib import Path

import pytest

import pytest_xai

ROOT = Path(pytest_xai.__file__).parent
# Who may, and what makes it harmless. What the gallery's methods draw is drawn for a guest's call,
# for which `seeds.seeded` seeds the global generators and puts them back.
ALLOWED = {
    "core/seeds.py": "seeds them for guests, and puts them back",
    "attacks/hop_skip_jump.py": "beside foolbox, which draws from them, within `seeded`",
    "perturbations/reinitialisation.py": "a module's own scheme draws from them, within `seeded`",
    "subjects/digits.py": "initial weights, within fork_rng, then replaced",
    "subjects/shapes.py": "initial weights, within fork_rng, then replaced",
    "networks/network_plan.py": "initial weights, within fork_rng, then replaced",
}
GALLERY = "explainers/"
DRAWS = {
    *("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"),
    *("rand_like", "randn_like", "randint_like"),
    *("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_", "geometric_"),
}
STATES = {"manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state", "fork_rng"}
OWN = {"default_rng", "Generator", "RandomState", "SeedSequence", "Random"}


def offences(source):
    """Lines that use a global generator of torch, numpy or python."""
    tree = ast.parse(source)
    plain = any(
        isinstance(node, ast.Import) and any(name.name == "random" for name in node.names)
        for node in ast.walk(tree)
    )
    return [
        f"{node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and _is_global(node, plain=plain)
    ]


def _is_global(call, *, plain):
    owner, name = ast.unparse(call.func.value), call.func.attr
    if owner in {"np.random", "numpy.random"} or (plain and owner == "random"):
        return name not in OWN
    if owner.startswith("torch.Generator"):
        return False
    if owner.startswith("torch") and name in STATES:
        return True
    if "nn.init" in owner:
        return True
    # The method of a tensor or of torch; a generator of one's own has methods of these names too.
    drawing = name in DRAWS and (owner.startswith("torch") or name.endswith("_"))
    return drawing and all(keyword.arg != "generator" for keyword in call.keywords)


@pytest.mark.parametrize(
    "source, found",
    [
        ("torch.rand(3)", 1),
        ("torch.rand(3, generator=source)", 0),
        ("tensor.normal_()", 1),
        ("tensor.normal_(generator=source)", 0),
        ("torch.manual_seed(0)", 1),
        ("torch.cuda.get_rng_state()", 1),
        ("torch.Generator().manual_seed(0)", 0),
        ("np.random.rand(3)", 1),
        ("np.random.default_rng(0).random()", 0),
        ("import random\nrandom.shuffle(x)", 1),
        ("import random\nrandom.Random(3).shuffle(x)", 0),
        ("random.uniform(0, 1)", 0),
        ("nn.init.xavier_uniform_(w)", 1),
    ],
)
def test_the_search_finds_what_it_is_for(source, found):
    assert len(offences(source)) == found


def test_no_module_uses_a_global_generator():
    found = {
        f"{name}: {line}"
        for path in sorted(ROOT.rglob("*.py"))
        if not (name := path.relative_to(ROOT).as_posix()).startswith(GALLERY)
        and name not in ALLOWED
        for line in offences(path.read_text(encoding="utf-8"))
    }
    assert found == set()


def test_every_exception_is_needed():
    for name in ALLOWED:
        assert offences((ROOT / name).read_text(encoding="utf-8")), name
