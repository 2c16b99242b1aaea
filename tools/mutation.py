"""The mutation score: the share of small defects, planted one at a time, that the tests notice.

    python -m tools.mutation [--modules checks/contract] [--share 0.2] [--write PAGE]

This tool is our own because no published one gives the score of the checks in reasonable time:
mutmut skips every decorated function, and so every check; cosmic-ray starts pytest once per
defect, which takes five times as long. docs/evidence/mutation-score.md has the measurements.

The defects are those of cosmic-ray (an operator is replaced, a comparison is changed, a constant is
changed by one, a condition is negated, a loop is left out), and one of our own (an absolute value
is dropped). Defects that no run of a check could notice are left out: those in docstrings,
annotations, the kinds of arguments, the storage of a dataclass, and the declared cost, which is an
upper bound. Text that is not valid Python is left out as well.

No file is changed. The tests of a module are collected once, in a process that is then forked for
every mutant. The fork replaces the code of the functions that differ, runs the tests that call
these functions, the fastest test of each file first, and stops at the first failure. A fork without
a mutant finds out first which test calls which function. Calls that a test avoids thanks to a cache
that another test filled are not found; this can only lower the score. Mutants of code that runs at
import, such as a constant, are planted while the module is imported, in a fork that collects for
itself and runs all tests. A mutant is killed if a test fails or the module cannot be imported. The
time limit is on processor time, so a busy machine makes no difference: five times that of the same
tests without a mutant, and a few seconds. Mutants that reach the limit are killed too, and counted
separately.

The output has a line for each module, and below it every surviving mutant with its line. A
survivor is code that no test checks, or a mutant that does the same as the code. ``--write`` makes
the tables of docs/evidence/mutation-score.md, which list survivors by function and keep the reasons
that are given there. With ``--share`` only a part of the mutants is drawn, by a fixed seed, and the
score is that of the part. Exits with 1 below ``--least``.
"""

import argparse
import ast
import functools
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studies.page import print_or_write

ROOT = Path(__file__).parents[1]

MODULE = "(module level)"

_MODULES = ["measures", "core/verdict", "core/finding", "checks"]

# One or two operators of each kind: tests that notice one of a kind notice the others.
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
_UNSEEN = ("cost", "slots", "kw_only")  # keywords that change no verdict
_ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \| \d+ \| (.+) \|$", re.MULTILINE)
_ABS = re.compile(r"\.abs\(\)")
_SECONDS = 5  # of processor time, added to five times that of the tests without a mutant
_PAGES = ("test_published_outcomes.py",)  # tests of figures on a page, which are slow
_ENGINE = [ROOT / "tests" / "engine" / f"test_{name}.py" for name in ("decision", "run_check")]
_CHECKS = ROOT / "pytest_xai" / "checks"
_EVERY_CHECK = ROOT / "tests" / "checks" / "test_every_check.py"
_MEMORY = 16 << 30  # bytes of address space of a fork


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One defect: the module with one line changed.

    Attributes:
        name: dotted name of the module.
        file: where the module is.
        source: its text with the defect.
        line: number of the first line that differs.
        text: that line with the defect.
        function: qualified name of the function or class with this line; empty outside of them.
    """

    name: str
    file: str
    source: str
    line: int
    text: str
    function: str = ""


# ----------------------------------------------------------------------------------------- planting


def mutants(file: Path, name: str) -> list[Mutant]:
    """All defects of one module that could change what it does, each once."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    seen = {_meaning(source), ""}
    changed: list[str] = []
    for operator_name in _OPERATORS:
        operator, occurrence = get_operator(f"core/{operator_name}")(), 0
        while (code := mutate_code(source, operator, occurrence)) is not None:
            changed.append(code)
            occurrence += 1
    changed += [source[: m.start()] + source[m.end() :] for m in _ABS.finditer(source)]
    found: list[Mutant] = []
    for code in changed:
        if (meaning := _meaning(code)) not in seen:
            seen.add(meaning)
            line, text = _difference(source, code)
            place = function_at(tree, line)
            mutant = Mutant(
                name=name, file=str(file), source=code, line=line, text=text, function=place
            )
            found.append(mutant)
    return found


def function_at(tree: ast.AST, line: int) -> str:
    """The qualified name of the innermost function or class with a line; empty outside of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= line <= (node.end_lineno or first):
                inner = function_at(node, line)
                return f"{node.name}.{inner}" if inner else node.name
        elif inner := function_at(node, line):
            return inner
    return ""


class _Bare(ast.NodeTransformer):
    """Removes the parts that make no difference to a run."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(arg=node.arg)

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        # cosmic-ray takes the star before keyword-only arguments for a product.
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults += [default for default in node.kw_defaults if default is not None]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Name(id="annotation")
        return self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg in _UNSEEN else self.generic_visit(node)


def _meaning(source: str) -> str:
    """A text that is equal for sources that do the same; empty if the source is not Python."""
    try:
        return ast.dump(_Bare().visit(ast.parse(source)))
    except SyntaxError:
        return ""


def _difference(before: str, after: str) -> tuple[int, str]:
    """Number and new text of the first line that differs."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next((number, new.strip()) for number, (old, new) in enumerate(pairs, 1) if old != new)


def swaps(mutant: Mutant) -> list[tuple[types.CodeType, types.CodeType]] | None:
    """The functions that have to be replaced; None if the defect is not in functions alone."""
    before = Path(mutant.file).read_text(encoding="utf-8")
    try:
        pair = [compile(source, mutant.file, "exec") for source in (before, mutant.source)]
    except SyntaxError:
        return None
    found: list[tuple[types.CodeType, types.CodeType]] = []
    return found if _pair_functions(pair[0], pair[1], found) else None


def _pair_functions(
    old: types.CodeType,
    new: types.CodeType,
    found: list[tuple[types.CodeType, types.CodeType]],
) -> bool:
    """Collect the functions; False if the body of a module or a class differs."""
    nested = [
        [const for const in code.co_consts if isinstance(const, types.CodeType)]
        for code in (old, new)
    ]
    plain = [
        (code.co_code, code.co_names, repr([c for c in code.co_consts if c not in parts]))
        for code, parts in zip((old, new), nested, strict=True)
    ]
    if plain[0] != plain[1] or len(nested[0]) != len(nested[1]):
        return False
    for old_part, new_part in zip(*nested, strict=True):
        is_function = old_part.co_flags & inspect.CO_OPTIMIZED and "<" not in old_part.co_name
        if not is_function:
            if not _pair_functions(old_part, new_part, found):
                return False
        elif old_part != new_part:
            found.append((old_part, new_part))
    return True


def functions_of(file: str) -> list[types.FunctionType]:
    """All functions of a file that is imported."""
    # Not isinstance, which would import the modules of lazy objects.
    functions = [thing for thing in gc.get_objects() if type(thing) is types.FunctionType]
    return [function for function in functions if function.__code__.co_filename == file]


def plant(mutant: Mutant, functions: Iterable[types.FunctionType]) -> None:
    """Replace the code of the imported functions by the code with the defect."""
    new = {(old.co_name, old.co_firstlineno): code for old, code in swaps(mutant) or ()}
    for function in functions:
        place = (function.__code__.co_name, function.__code__.co_firstlineno)
        function.__code__ = new.get(place, function.__code__)


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant instead of the module's file."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Claim that one module."""
        if fullname != self._mutant.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._mutant.file, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the changed source."""
        code = compile(self._mutant.source, self._mutant.file, "exec")
        exec(code, module.__dict__)  # noqa: S102  # a mutant is source that is in no file


# ------------------------------------------------------------------------------------------ running

Done = Callable[[str, float], None]


class Forks:
    """At most a given number of forked processes, each with a limit of processor time."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running: dict[int, Done] = {}

    def start(self, work: Callable[[], int], done: Done, *, limit: float) -> None:
        """Run ``work`` in a fork; ``done`` gets the outcome and the seconds that it took."""
        while len(self._running) >= self._jobs:
            self._reap()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _silence()
                resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
                code = work()
            finally:
                os._exit(code)
        self._running[child] = done

    def wait(self) -> None:
        """Wait until all processes have ended."""
        while self._running:
            self._reap()

    def _reap(self) -> None:
        child, status, usage = os.wait3(0)
        code = os.waitstatus_to_exitcode(status)
        outcome = "survived" if code == 0 else "killed" if code > 0 else "limit"
        self._running.pop(child)(outcome, usage.ru_utime + usage.ru_stime)


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


class _Chosen:
    """A pytest plugin that deselects the tests of other checks in test_every_check.py."""

    def __init__(self, stem: str) -> None:
        self._stem = stem

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Deselect them."""
        items[:] = [item for item in items if self._applies(item)]

    def _applies(self, item: Any) -> bool:
        if item.path.name != "test_every_check.py":
            return True
        # The fixture runs all checks.
        if "once" in item.fixturenames:
            return False
        # A test without this parameter looks at all checks.
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return parameters.get("name", self._stem) == self._stem


Place = tuple[str, int]
"""A function of a module: its name and its first line."""


class _Calls:
    """A pytest plugin that records which functions of a file each test calls, and its seconds.

    The calls that set a fixture up count for every test that uses the fixture.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._own: dict[str, set[Place]] = {}
        self._of_fixtures: dict[int, set[Place]] = {}
        self._used: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._into: list[set[Place]] = []

    def _seen(self, frame: types.FrameType, _event: str, _argument: object) -> None:
        if frame.f_code.co_filename == self._file:
            self._into[-1].add((frame.f_code.co_name, frame.f_code.co_firstlineno))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, object, object]:
        """Record the calls of one test and of its setup."""
        self._into.append(self._own.setdefault(item.nodeid, set()))
        began = time.process_time()
        sys.settrace(self._seen)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self._into.pop()
            self._seconds[item.nodeid] = time.process_time() - began
            definitions = getattr(item, "_fixtureinfo", None)
            of_name = definitions.name2fixturedefs if definitions else {}
            self._used[item.nodeid] = [id(each) for one in of_name.values() for each in one]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: object) -> Generator[None, object, object]:
        """Record the calls of one fixture."""
        self._into.append(self._of_fixtures.setdefault(id(fixturedef), set()))
        try:
            return (yield)
        finally:
            self._into.pop()

    def write(self, file: Path) -> None:
        """Write for each test its seconds and its functions."""
        found = {
            test: (
                self._seconds[test],
                sorted(own.union(*(self._of_fixtures.get(f, set()) for f in self._used[test]))),
            )
            for test, own in self._own.items()
        }
        file.write_text(json.dumps(found), encoding="utf-8")


class _Campaign:
    """A pytest plugin that runs the collected tests in a fork for every mutant."""

    def __init__(self, planted: Mapping[int, Mutant], file: str, forks: Forks, report: int) -> None:
        self._planted, self._file, self._forks, self._report = planted, file, forks, report
        self._unchanged = ""

    def pytest_runtestloop(self, session: Any) -> bool:
        """Fork instead of running tests; the first fork has no mutant."""
        with tempfile.TemporaryDirectory() as folder:
            calls = Path(folder, "calls.json")
            watch = functools.partial(self._watch, session, calls)
            self._forks.start(watch, functools.partial(self._write, -1), limit=1e6)
            self._forks.wait()
            if self._unchanged != "survived":
                return True
            seen = json.loads(calls.read_text(encoding="utf-8"))
        functions = functions_of(self._file)
        gc.freeze()  # a collection in a fork would copy all memory
        for number, mutant in self._planted.items():
            items, seconds = _tests_that_call(mutant, session.items, seen)
            work = functools.partial(self._test, session, mutant, items, functions)
            done = functools.partial(self._write, number)
            self._forks.start(work, done, limit=5 * seconds + _SECONDS)
        self._forks.wait()
        return True

    def _watch(self, session: Any, kept: Path) -> int:
        from _pytest.main import pytest_runtestloop

        calls = _Calls(self._file)
        session.config.pluginmanager.register(calls)
        pytest_runtestloop(session)
        calls.write(kept)
        return int(session.testsfailed > 0)

    def _test(
        self,
        session: Any,
        mutant: Mutant,
        items: list[Any],
        functions: list[types.FunctionType],
    ) -> int:
        from _pytest.main import pytest_runtestloop

        plant(mutant, functions)
        session.items = items
        pytest_runtestloop(session)
        return int(session.testsfailed > 0)

    def _write(self, number: int, outcome: str, seconds: float) -> None:
        if number < 0:
            self._unchanged = outcome
        os.write(self._report, (json.dumps([number, outcome, seconds]) + "\n").encode())


def _tests_that_call(
    mutant: Mutant, items: Iterable[Any], seen: Mapping[str, tuple[float, list[Place]]]
) -> tuple[list[Any], float]:
    """The tests that call a function that a mutant changes, and their seconds without it."""
    changed = {(old.co_name, old.co_firstlineno) for old, _ in swaps(mutant) or ()}
    chosen = [item for item in items if changed & {(n, line) for n, line in seen[item.nodeid][1]}]
    files = {item.path: number for number, item in reversed(list(enumerate(chosen)))}
    chosen.sort(key=lambda item: (files[item.path], seen[item.nodeid][0]))
    return chosen, sum(seen[item.nodeid][0] for item in chosen)


def _pytest(tests: Sequence[str], *plugins: object) -> int:
    """Run tests, stopping at the first failure."""
    import hypothesis

    # The first failing example is enough. It is neither shrunk nor kept, and may be slow.
    hypothesis.settings.register_profile(
        "mutation",
        database=None,
        deadline=None,
        derandomize=True,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    # Rewriting assert statements would import plugins, and so the mutant, from their files.
    quiet = ["-x", "-q", "-s", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
    return int(pytest.main([*quiet, "-p", "no:xdist", *tests], plugins=list(plugins)))


def _collect_and_run(mutant: Mutant | None, tests: Sequence[str], chosen: _Chosen) -> int:
    """Collect and run the tests with the mutant imported instead of the module."""
    if mutant is not None:
        sys.meta_path.insert(0, _Planted(mutant))
    return _pytest(tests, chosen)


def campaign(
    drawn: Sequence[Mutant], tests: Sequence[str], *, stem: str = "", jobs: int = 2
) -> list[tuple[str, float]]:
    """Outcome ("killed", "survived" or "limit") and processor seconds of each mutant.

    Args:
        drawn: mutants of one module.
        tests: files or folders for pytest, the most relevant ones first.
        stem: the check whose tests are run in test_every_check.py.
        jobs: number of processes.

    Raises:
        RuntimeError: The tests fail without a mutant.
    """
    inside = {number: mutant for number, mutant in enumerate(drawn) if swaps(mutant) is not None}
    chosen = _Chosen(stem)
    reading, writing = os.pipe()

    def collect() -> int:
        return _pytest(tests, chosen, _Campaign(inside, drawn[0].file, Forks(jobs), writing))

    own: list[float] = []
    forks = Forks(jobs)
    forks.start(collect, lambda _, seconds: own.append(seconds), limit=1e6)
    os.close(writing)
    with os.fdopen(reading) as lines:
        results = {number: (outcome, took) for number, outcome, took in map(json.loads, lines)}
    forks.wait()
    outcome, alone = results.pop(-1, ("nothing collected", 0.0))
    if outcome != "survived":
        raise RuntimeError(f"the tests {tests} fail without a mutant: {outcome}")
    # The time of the collecting process contains that of its forks.
    limit = 5 * (alone + own[0] - sum(took for _, took in results.values())) + _SECONDS
    for number, mutant in enumerate(drawn):
        if number not in inside:
            work = functools.partial(_collect_and_run, mutant, tests, chosen)
            done = functools.partial(_keep, results, number)
            forks.start(work, done, limit=max(limit, 60))
    forks.wait()
    return [results[number] for number in range(len(drawn))]


def _keep(results: dict[int, tuple[str, float]], key: int, outcome: str, seconds: float) -> None:
    results[key] = (outcome, seconds)


# -------------------------------------------------------------------------------- tests and scores


def modules(names: Iterable[str]) -> list[Path]:
    """The files of modules or folders of the package, such as "core/verdict" or "checks"."""
    files: list[Path] = []
    for name in names:
        place = ROOT / "pytest_xai" / name
        chosen = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        files += [file for file in chosen if file.name != "__init__.py"]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise SystemExit(f"no such module: {', '.join(missing)}")
    return files


def tests_of(module: Path) -> list[str]:
    """The tests that have to notice a module's mutants, the module's own tests first.

    A check has its own tests, those of no single module that name it, and test_every_check.py. A
    helper of checks has the tests of the modules that import it as well, a measure those of all
    measures, any other module those of its folder that import it and those that make verdicts.
    """
    place = module.relative_to(ROOT / "pytest_xai")
    own = _test_of(module)
    first = [own] if own.exists() else []
    if place.parts[0] == "measures":
        others = [f for f in sorted(own.parent.glob("test_*.py")) if f != own]
        return [*_relative([*first, *others]), _relative([module])[0]]
    if place.parts[0] != "checks":
        near = [f for f in sorted(own.parent.glob("test_*.py")) if _names(f, place.stem)]
        return _relative(dict.fromkeys([*first, *near, *_ENGINE]))
    is_check = "@check(" in module.read_text(encoding="utf-8")
    others = [f for f in _tests_of_checks() if _concerns(f, module, is_check=is_check)]
    others.sort(key=lambda file: file.parent != own.parent)
    others = [f for f in others if f not in first]
    return _relative([*first, *others, *([_EVERY_CHECK] if is_check else [])])


def _test_of(module: Path) -> Path:
    """Where the tests of a module are, or would be; a leading underscore is left out there."""
    folder = module.relative_to(ROOT / "pytest_xai").parent
    return ROOT / "tests" / folder / f"test_{module.stem.removeprefix('_')}.py"


def _names(file: Path, module: str) -> bool:
    return f"{module} import" in file.read_text(encoding="utf-8")


def _tests_of_checks() -> list[Path]:
    folders = (ROOT / "tests" / name for name in ("checks", "diagnosis"))
    files = (file for folder in folders for file in sorted(folder.rglob("test_*.py")))
    return [file for file in files if file != _EVERY_CHECK and file.name not in _PAGES]


def _concerns(test: Path, module: Path, *, is_check: bool) -> bool:
    """Whether a test file has tests of a module of checks, as a whole or through its users."""
    tested = _checks_by_test().get(test)
    if tested is not None:
        return not is_check and module.stem in _imports(tested)
    here = test.parent == _test_of(module).parent
    if here and not is_check:
        return True
    named = rf"\b{module.stem}\b" if here else rf'"{module.stem}"|\b{module.stem} import'
    return bool(re.search(named, test.read_text(encoding="utf-8")))


@functools.cache
def _checks_by_test() -> dict[Path, Path]:
    """The modules of checks, by the file that would have their tests."""
    return {_test_of(module): module for module in sorted(_CHECKS.rglob("*.py"))}


def _imports(module: Path) -> str:
    lines = module.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("from "))


def _relative(files: Iterable[Path]) -> list[str]:
    return [str(file.relative_to(ROOT)) for file in files]


def _preload() -> None:
    """Import the libraries that the tests need, but not the package itself."""
    for name in (
        *("torch", "numpy", "scipy.stats", "scipy.ndimage", "scipy.special", "hypothesis"),
        *("pytest", "rich.table", "captum.attr", "zennit", "foolbox", "skimage.metrics"),
    ):
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    assert not any(name.partition(".")[0] == "pytest_xai" for name in sys.modules)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The outcome of the mutants of one module, or of several together.

    Attributes:
        place: path of the module in the package, or the folder of several.
        mutants: number of planted defects.
        killed: number that the tests noticed, including those at the time limit.
        at_limit: number that reached the time limit.
        seconds: processor time of all mutants together.
        survivors: the others: line, function, and the line's text with the defect.
    """

    place: str
    mutants: int
    killed: int
    at_limit: int
    seconds: float
    survivors: tuple[tuple[int, str, str], ...] = ()


def scored(module: Path, *, share: float, seed: int, jobs: int) -> Score | None:
    """Plant the mutants of a module, or a share of them; None if the module has none.

    Raises:
        SystemExit: The tests fail without a mutant.
    """
    name = ".".join(module.relative_to(ROOT).with_suffix("").parts)
    drawn = mutants(module, name)
    if not drawn:
        return None
    count = max(1, round(share * len(drawn)))
    drawn = random.Random(f"{name} {seed}").sample(drawn, count)  # noqa: S311
    try:
        results = campaign(drawn, tests_of(module), stem=module.stem, jobs=jobs)
    except RuntimeError as error:
        raise SystemExit(f"{name}: {error}") from None
    outcomes = Counter(outcome for outcome, _ in results)
    pairs = zip(drawn, results, strict=True)
    return Score(
        place=module.relative_to(ROOT / "pytest_xai").with_suffix("").as_posix(),
        mutants=len(drawn),
        killed=len(drawn) - outcomes["survived"],
        at_limit=outcomes["limit"],
        seconds=sum(took for _, took in results),
        survivors=tuple(
            sorted((m.line, m.function, m.text) for m, (how, _) in pairs if how == "survived")
        ),
    )


def table(scores: Sequence[Score], reasons: Mapping[tuple[str, str], str]) -> str:
    """The page's tables: folders, modules, and survivors by function.

    Args:
        scores: one for each module.
        reasons: why no test notices the survivors of a function, by module and function.
    """
    folders: dict[str, list[Score]] = {}
    for score in scores:
        folders.setdefault(score.place.rpartition("/")[0] or score.place, []).append(score)
    sums = [_together(folder, of_it) for folder, of_it in folders.items()]
    lines = ["| modules | mutants | killed | |", "| --- | ---: | ---: | ---: |"]
    for each in (*sums, _together("", scores)):
        name = f"`{each.place}`" if each.place else "together"
        share = each.killed / each.mutants
        lines.append(f"| {name} | {each.mutants} | {each.killed} | {share:.1%} |")
    lines += ["", "| module | mutants | killed |", "| --- | ---: | ---: |"]
    lines += [f"| `{each.place}` | {each.mutants} | {each.killed} |" for each in scores]
    lines += ["", "| module | function | survivors | why no test notices them |"]
    lines += ["| --- | --- | ---: | --- |"]
    for each in scores:
        functions = Counter(function or MODULE for _, function, _ in each.survivors)
        for function, count in functions.items():
            reason = reasons.get((each.place, function), "not examined")
            lines.append(f"| `{each.place}` | `{function}` | {count} | {reason} |")
    return "\n".join(lines)


def reasons_on(page: Path) -> dict[tuple[str, str], str]:
    """The reasons that a page gives for its survivors, by module and function."""
    rows = _ROW.findall(page.read_text("utf-8"))
    return {(module, function): reason for module, function, reason in rows}


def _together(place: str, scores: Sequence[Score]) -> Score:
    return Score(
        place=place,
        mutants=sum(each.mutants for each in scores),
        killed=sum(each.killed for each in scores),
        at_limit=sum(each.at_limit for each in scores),
        seconds=sum(each.seconds for each in scores),
    )


def main() -> None:
    """Print the survivors of each module, and then print the tables or write them to a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="+", default=_MODULES)
    parser.add_argument("--share", type=float, default=1.0, help="part of the mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--least", type=float, default=0.9, help="exit with 1 below this score")
    parser.add_argument("--write", type=Path, help="the page whose tables are replaced")
    options = parser.parse_args()
    page = options.write and options.write.resolve()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _preload()
    scores = []
    for module in modules(options.modules):
        score = scored(module, share=options.share, seed=options.seed, jobs=options.jobs)
        if score is None:
            continue
        scores.append(score)
        print(
            f"{score.place}: {score.killed} of {score.mutants} killed, {score.at_limit} of them at "
            f"the limit; {score.seconds / score.mutants:.1f} s each"
        )
        for line, function, text in score.survivors:
            print(f"    survived: {score.place}.py:{line} ({function or MODULE}): {text}")
        sys.stdout.flush()
    print_or_write(page, table(scores, reasons_on(page) if page else {}))
    total = _together("", scores)
    print(f"{total.killed} of {total.mutants} mutants killed: {total.killed / total.mutants:.1%}")
    sys.exit(total.killed < options.least * total.mutants)


if __name__ == "__main__":
    main()
