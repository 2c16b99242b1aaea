"""The mutation score: how many small defects, planted one at a time, the tests see.

    python -m benchmarks.mutation [--modules measures verdict checks] [--share 0.2] [--jobs 2]

The defects are cosmic-ray's (an operator replaced, a comparison turned, a constant moved by one, a
condition negated, a loop left out) and one of our own (an absolute value dropped). Each is planted
in a module as it is imported, in a process that is forked when torch and the test libraries are
loaded already; no file is changed. That process runs the tests that belong to the module and stops
at the first failure. A mutant is killed where a test fails, the module no longer imports, or the
tests take longer than the limit.

How to read it: a row for each module and, below, every survivor with its line. A survivor is a line
that no test holds, or a mutant that means the same; docs/mutation-score.md says which. With
``--share`` a part is drawn, by a fixed seed, and the score is that of the part. Exits with 1 below
``--least``.
"""

import argparse
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import re
import signal
import sys
import time
import types
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pytest_xai"

# What is replaced by what: one or two of each kind, since the tests that see one see the others.
_OPERATORS = (
    *("ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add"),
    *("ReplaceBinaryOperator_Mul_Div", "ReplaceBinaryOperator_Div_Mul"),
    *("ReplaceBinaryOperator_FloorDiv_Mul", "ReplaceBinaryOperator_Mod_Mul"),
    *("ReplaceBinaryOperator_Pow_Mul", "ReplaceBinaryOperator_BitOr_BitAnd"),
    *("ReplaceBinaryOperator_BitAnd_BitOr", "ReplaceUnaryOperator_Delete_USub"),
    *("ReplaceUnaryOperator_Delete_Invert", "ReplaceUnaryOperator_Delete_Not"),
    *("ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq"),
    *("ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_Lt_Gt"),
    *("ReplaceComparisonOperator_LtE_Lt", "ReplaceComparisonOperator_LtE_Gt"),
    *("ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_Gt_Lt"),
    *("ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_GtE_Lt"),
    *("ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
    *("AddNot", "NumberReplacer", "ZeroIterationForLoop"),
)
_ABS = re.compile(r"\.abs\(\)")


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One defect: the module with one line changed."""

    module: Path
    source: str
    line: int
    text: str

    @property
    def name(self) -> str:
        """The module's dotted name."""
        return ".".join(self.module.relative_to(ROOT).with_suffix("").parts)


def mutants(module: Path) -> Iterator[Mutant]:
    """All defects of one module; those in docstrings, annotations and imports are left out."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = module.read_text(encoding="utf-8")
    seen: set[str] = set()
    changed: list[str] = []
    for name in _OPERATORS:
        operator, occurrence = get_operator(f"core/{name}")(), 0
        while (code := mutate_code(source, operator, occurrence)) is not None:
            changed.append(code)
            occurrence += 1
    changed += [source[: m.start()] + source[m.end() :] for m in _ABS.finditer(source)]
    for code in changed:
        place = _difference(source, code)
        if code not in seen and place is not None and not _says_nothing(place[1]):
            seen.add(code)
            yield Mutant(module=module, source=code, line=place[0], text=place[1])


def _difference(before: str, after: str) -> tuple[int, str] | None:
    """Number and new text of the first line that differs."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    for number, (old, new) in enumerate(pairs, 1):
        if old != new:
            return number, new.strip()
    return None


def _says_nothing(line: str) -> bool:
    """Whether a changed line is a type annotation, which no run looks at."""
    return line.startswith(("def ", "from ", "import ")) or bool(
        re.match(r"\w+: [^=]*[&|] None", line)
    )


def tests_of(module: Path) -> list[str]:
    """The tests that a module's mutants have to be seen by."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    own = ROOT / "tests" / Path(*parts[:-1]) / f"test_{parts[-1]}.py"
    found = [str(own.relative_to(ROOT))] if own.exists() else []
    if parts[0] == "checks":
        folder = Path("tests", *parts[:-1])
        if not found:
            found = [str(folder)]
        return [*found, "tests/checks/test_every_check.py"]
    if parts[0] == "measures":
        return ["tests/measures", "tests/attacks", "tests/test_nulls.py"]
    return [*found, "tests/test_judge.py"]


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant in place of the module's file."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Claim that one module."""
        name, file = self._mutant.name, str(self._mutant.module)
        is_package = name.endswith(".__init__")
        if fullname != name.removesuffix(".__init__"):
            return None
        places = [str(self._mutant.module.parent)] if is_package else None
        return importlib.util.spec_from_file_location(
            fullname, file, loader=self, submodule_search_locations=places
        )

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the changed source."""
        code = compile(self._mutant.source, str(self._mutant.module), "exec")
        exec(code, module.__dict__)  # noqa: S102  # a mutant is source that is in no file


def outcome(mutant: Mutant | None, tests: Sequence[str], seconds: float) -> str:
    """Run tests in a forked process: "killed", "survived" or "timeout"."""
    child = os.fork()
    if child == 0:
        _run(mutant, tests)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def _run(mutant: Mutant | None, tests: Sequence[str]) -> None:
    """In the child: plant, test, leave without the parent's clean-up."""
    code = 1
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        if mutant is not None:
            sys.meta_path.insert(0, _Planted(mutant))
        import pytest

        # The rewriting of asserts would import plugins, and so the mutant, from their files.
        plain = ["--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
        code = int(pytest.main(["-x", "-q", *plain, *tests]))
    finally:
        os._exit(code)


def _preload() -> None:
    """Import what every mutant's tests need, but for the package itself."""
    for name in (
        "torch",
        "numpy",
        "scipy.stats",
        "scipy.ndimage",
        "hypothesis",
        "pytest",
        "rich.table",
    ):
        importlib.import_module(name)
    for name in ("captum.attr", "zennit", "foolbox", "skimage.metrics", "torch.fx"):
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    assert not any(name.partition(".")[0] == "pytest_xai" for name in sys.modules)


def modules(names: Iterable[str]) -> list[Path]:
    """The files that names such as "measures" or "checks/axiomatic" stand for."""
    files: list[Path] = []
    for name in names:
        place = PACKAGE / name
        chosen = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        files += [file for file in chosen if file.name != "__init__.py"]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise SystemExit(f"no such module: {', '.join(missing)}")
    return files


def main() -> None:
    """Print the table and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="+", default=["measures", "verdict", "checks"])
    parser.add_argument("--share", type=float, default=1.0, help="part of the mutants to draw")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=300.0, help="limit for one mutant")
    parser.add_argument(
        "--least", type=float, default=0.9, help="score below which it exits with 1"
    )
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    _preload()
    killed = total = 0
    survivors: list[Mutant] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for module in modules(options.modules):
            drawn = list(mutants(module))
            count = round(options.share * len(drawn)) or min(1, len(drawn))
            drawn = random.Random(module.name).sample(drawn, count)  # noqa: S311
            tests = tests_of(module)
            if outcome(None, tests, options.seconds) != "survived":
                raise SystemExit(f"{module.name}: its tests fail without a mutant: {tests}")
            run = functools.partial(outcome, tests=tests, seconds=options.seconds)
            results = list(pool.map(run, drawn))
            left = [m for m, result in zip(drawn, results, strict=True) if result == "survived"]
            survivors += left
            total, killed = total + len(drawn), killed + len(drawn) - len(left)
            name = module.relative_to(PACKAGE)
            print(f"{name!s:<48} {len(drawn) - len(left):>4} of {len(drawn):>4} killed", flush=True)
    for mutant in survivors:
        print(f"survived: {mutant.module.relative_to(ROOT)}:{mutant.line}: {mutant.text}")
    score = killed / total if total else 1.0
    print(f"{killed} of {total} mutants killed: {score:.1%}")
    sys.exit(score < options.least)


if __name__ == "__main__":
    main()
