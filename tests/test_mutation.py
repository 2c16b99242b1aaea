"""The tool that measures the mutation score separates killed mutants from survivors."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import mutation

ROOT = Path(__file__).parents[1]
TINY = """\
LIMIT = 3


class Bound:
    least = 0

    def of(self, value):
        return max(self.least, min(value, LIMIT))


def climb(value):
    while value < LIMIT:
        value += 1
    return value
"""
TESTS = """\
from tiny import Bound, climb


def test_it():
    assert [Bound().of(value) for value in (-1, 1, 4)] == [0, 1, 3]
    assert climb(1) == 3
"""
SCRIPT = """\
import hypothesis, json, pytest, sys
from tools import mutation

file, *texts = json.load(sys.stdin)
mutation._SECONDS = 1
planted = [mutation.Mutant(name="tiny", file=file, source=t, line=1, text="") for t in texts]
tests = [file.replace("tiny.py", "test_tiny.py")]
print("result", json.dumps([found for found, _ in mutation.campaign(planted, tests)]))
"""


@pytest.fixture
def outcomes(tmp_path):
    """Of the tiny module with one text replaced by another, in a process of its own."""

    def run(*changes, tests=TESTS):
        assert all(TINY.count(old) == 1 for old, _ in changes)
        (tmp_path / "tiny.py").write_text(TINY)
        (tmp_path / "test_tiny.py").write_text(tests)
        texts = [TINY.replace(*change) for change in changes]
        given = json.dumps([str(tmp_path / "tiny.py"), *texts])
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=given,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rpartition("result")[2])

    return run


def test_a_noticed_mutant_is_killed_and_an_equivalent_one_survives(outcomes):
    found = outcomes(
        ("min(value, LIMIT)", "min(value + 1, LIMIT)"),  # within a function
        ("min(value, LIMIT)", "min(LIMIT, value)"),
        ("LIMIT = 3", "LIMIT = 2"),  # at import
        ("LIMIT = 3", "LIMIT = 6 // 2"),
    )
    assert found == ["killed", "survived", "killed", "survived"]


def test_only_tests_that_call_the_changed_function_are_run(outcomes, tmp_path):
    log = tmp_path / "ran.txt"
    log.touch()
    tests = f"""\
from pathlib import Path

from tiny import Bound, climb

LOG = Path({str(log)!r})


def test_bound():
    LOG.write_text(LOG.read_text() + "bound ")
    assert Bound().of(1) == 1


def test_climb():
    LOG.write_text(LOG.read_text() + "climb ")
    assert climb(1) >= 1
"""
    assert outcomes(("value += 1", "value += 2"), tests=tests) == ["survived"]
    assert log.read_text().split() == ["bound", "climb", "climb"]  # without the mutant, with it


def test_calls_of_a_fixture_count_for_every_test_that_uses_it(outcomes):
    tests = """\
import pytest

from tiny import climb


@pytest.fixture(scope="module")
def climbed():
    return climb(1)


def test_some(climbed):
    assert climbed >= 3


def test_all(climbed):
    assert climbed == 3
"""
    assert outcomes(("value += 1", "value += 3"), tests=tests) == ["killed"]


@pytest.mark.slow
def test_mutants_that_never_end_are_counted_separately(outcomes):
    assert outcomes(("value += 1", "value += 0")) == ["limit"]


@pytest.mark.slow
def test_tests_that_fail_without_a_mutant_give_no_score(outcomes):
    with pytest.raises(AssertionError, match="the tests .* fail without a mutant: killed"):
        outcomes(("least = 0", "least = 1"), tests=TESTS + "    assert not Bound().of(1)\n")


@pytest.mark.parametrize(
    "old, new, names",
    [
        ("value += 1", "value += 2", ["climb"]),
        ("LIMIT = 3", "LIMIT = 4", None),
        ("least = 0", "least = 1", None),
        ("LIMIT = 3", "LIMIT = ]", None),
    ],
)
def test_only_functions_are_swapped(tmp_path, old, new, names):
    (tmp_path / "tiny.py").write_text(TINY)
    source = TINY.replace(old, new)
    mutant = mutation.Mutant(
        name="tiny", file=str(tmp_path / "tiny.py"), source=source, line=1, text=""
    )
    found = mutation.swaps(mutant)
    assert (found and [old.co_name for old, _ in found]) == names


def test_every_module_has_tests_its_own_first():
    for module in mutation.modules(["measures", "core/verdict", "engine/decision", "checks"]):
        first, *others = mutation.tests_of(module)
        assert all((ROOT / name).exists() for name in [first, *others]), module
        own = ROOT / "tests" / module.relative_to(ROOT / "pytest_xai").parent
        own /= f"test_{module.stem.removeprefix('_')}.py"
        if own.exists():
            assert first == str(own.relative_to(ROOT))
            assert first not in others


def test_tests_of_a_check_may_be_in_another_folder():
    checks = ROOT / "pytest_xai" / "checks"
    kinks = "tests/checks/axiomatic/test_kinks.py"
    assert kinks in mutation.tests_of(checks / "contract" / "dtype_consistent.py")
    assert kinks not in mutation.tests_of(checks / "contract" / "deterministic.py")
    relevance = checks / "axiomatic" / "relevance_conservation.py"
    assert "tests/diagnosis/test_location.py" in mutation.tests_of(relevance)


def test_a_helper_of_checks_has_the_tests_of_the_checks_that_import_it():
    checks = ROOT / "pytest_xai" / "checks"
    tests = mutation.tests_of(checks / "_twins.py")
    assert tests[0] == "tests/checks/test_twins.py"
    assert "tests/checks/contract/test_dtype_consistent.py" in tests
    assert "tests/checks/axiomatic/test_linearity.py" in tests
    assert "tests/checks/axiomatic/test_symmetry.py" not in tests
    assert "tests/checks/axiomatic/test_converges.py" in mutation.tests_of(
        checks / "axiomatic" / "_path_points.py"
    )
    assert "tests/checks/randomisation/test_cascade.py" in mutation.tests_of(
        checks / "randomisation" / "_engine.py"
    )


@pytest.mark.parametrize(
    "line, name", [(1, ""), (4, "Bound"), (5, "Bound"), (8, "Bound.of"), (13, "climb")]
)
def test_a_line_belongs_to_the_innermost_function_or_class(line, name):
    assert mutation.function_at(ast.parse(TINY), line) == name


def test_changes_without_effect_on_a_verdict_are_not_planted(tmp_path):
    pytest.importorskip("cosmic_ray")
    file = tmp_path / "tiny.py"
    file.write_text("@dataclass(frozen=True, slots=True, kw_only=True)\nclass A:\n    x: int\n")
    (found,) = mutation.mutants(file, "tiny")
    assert found.text == "@dataclass(frozen=False, slots=True, kw_only=True)"
    file.write_text("@check(cost=Cost(forward=2))\ndef f(a: int | None) -> None:\n    return a\n")
    assert mutation.mutants(file, "tiny") == []


def test_the_tables_have_every_folder_every_module_and_survivors_by_function(tmp_path):
    def score(place, killed, *functions):
        survivors = tuple((line, function, "x = 0") for line, function in enumerate(functions))
        return mutation.Score(
            place=place, mutants=10, killed=killed, at_limit=0, seconds=1.0, survivors=survivors
        )

    scores = [
        score("measures/masks", 10),
        score("measures/places", 7, "", "A.f", "A.f"),
        score("core/verdict", 9, "g"),
    ]
    reasons = {("measures/places", "A.f"): "it is the same"}
    made = mutation.table(scores, reasons)
    assert made.splitlines() == [
        "| modules | mutants | killed | |",
        "| --- | ---: | ---: | ---: |",
        "| `measures` | 20 | 17 | 85.0% |",
        "| `core` | 10 | 9 | 90.0% |",
        "| together | 30 | 26 | 86.7% |",
        "",
        "| module | mutants | killed |",
        "| --- | ---: | ---: |",
        "| `measures/masks` | 10 | 10 |",
        "| `measures/places` | 10 | 7 |",
        "| `core/verdict` | 10 | 9 |",
        "",
        "| module | function | survivors | why no test notices them |",
        "| --- | --- | ---: | --- |",
        "| `measures/places` | `(module level)` | 1 | not examined |",
        "| `measures/places` | `A.f` | 2 | it is the same |",
        "| `core/verdict` | `g` | 1 | not examined |",
    ]
    page = tmp_path / "page.md"
    page.write_text(made)
    assert mutation.reasons_on(page)["measures/places", "A.f"] == "it is the same"


def test_the_page_gives_a_reason_for_every_survivor():
    page = ROOT / "docs" / "evidence" / "mutation-score.md"
    reasons = mutation.reasons_on(page)
    assert reasons
    assert "not examined" not in reasons.values()
