"""Takes what a model repo registers: subjects, explainers and expected failures, by name."""

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_xai import explainers as gallery
from pytest_xai.core.subject import Subject
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.explainers.gallery.catalogue import LIBRARIES
from pytest_xai.protocol import NamedExplainer, named

__all__ = ["Expectation", "ModelRepo", "as_explainer", "import_object"]

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """A check that an explainer is known to fail, and why.

    Attributes:
        subject: on which subject; None means on every subject.
    """

    explainer: str
    check: str
    reason: str
    subject: str | None = None


class ModelRepo:
    """The subjects, explainers and expected failures that a model repo registers for one run.

    Attributes:
        subjects: a `Subject`, or the factory of one, by name.
        explainers: by name.
        expectations: in the order of registration.
        picked: by name of an explainer, the method for which the gallery chose an implementation.
    """

    def __init__(self) -> None:
        self.subjects: dict[str, Subject | Callable[[], object]] = {}
        self.explainers: dict[str, NamedExplainer] = {}
        self.expectations: list[Expectation] = []
        self.picked: dict[str, str] = {}

    def subject(self, name: str, factory: Subject | Callable[[], object] | str) -> None:
        """Register a subject: the model and the inputs that are explained.

        Args:
            name: its name in reports and ids.
            factory: a `Subject`, a function without arguments that returns one (called once per
                process, when a check first needs it), or where either is: "module:attribute".

        Raises:
            InvalidArgument: the name is malformed or taken, or ``factory`` is none of these.
        """
        _require_new(name, self.subjects, "subject")
        found = import_object(factory) if isinstance(factory, str) else factory
        if not isinstance(found, Subject) and not callable(found):
            raise InvalidArgument.of(
                f"subject {name!r}",
                got=type(found).__name__,
                expected="a Subject or a function that returns one",
            )
        self.subjects[name] = found

    def explainer(self, name: str, explainer: object, **options: object) -> None:
        """Register an explainer, to be checked on every subject.

        Args:
            name: its name in reports and ids.
            explainer: a callable (model, inputs, targets) -> attributions, a class of such, a name
                of the gallery such as "captum:LayerGradCam" or "DeepLift", or "module:attribute".
            options: of the gallery's entry, or of the class.

        Raises:
            InvalidArgument: the name is malformed or taken, or there is no such explainer.
            MissingDependency: the gallery's library is not installed.
        """
        _require_new(name, self.explainers, "explainer")
        self.explainers[name] = as_explainer(explainer, options, name=name)
        if isinstance(explainer, str) and explainer in gallery.methods():
            self.picked[name] = explainer

    def expect_failure(
        self, explainer: str, check: str, reason: str, *, subject: str | None = None
    ) -> None:
        """Register a check that is known to fail; if it passes, the run fails.

        Args:
            explainer: its registered name.
            check: the check's name.
            reason: why, for the reader of the report; not empty.
            subject: on which subject; None means on every subject.

        Raises:
            InvalidArgument: the reason is empty, or the same was said before.
        """
        where = f"expected failure {explainer}::{check}"
        if not isinstance(reason, str) or not reason.strip():
            raise InvalidArgument.of(f"{where}: reason", got=repr(reason), expected="a sentence")
        if any(
            (other.explainer, other.check, other.subject) == (explainer, check, subject)
            for other in self.expectations
        ):
            raise InvalidArgument(f"{where} is registered twice")
        self.expectations.append(
            Expectation(explainer=explainer, check=check, reason=reason, subject=subject)
        )

    def expected(self, subject: str, explainer: str, check: str) -> str | None:
        """Return why a check is known to fail, first for the subject; None if it is not."""
        reasons = {
            other.subject: other.reason
            for other in self.expectations
            if (other.explainer, other.check) == (explainer, check)
            and other.subject in {subject, None}
        }
        return reasons.get(subject, reasons.get(None))

    def read_table(self, table: Mapping[str, Mapping[str, object]], root: Path) -> None:
        """Register the entries of ``[tool.pytest_xai]``; modules are also looked for in ``root``.

        Raises:
            InvalidArgument: as the methods above, or an entry is malformed.
            MissingDependency: as `explainer`.
        """
        if table and str(root) not in sys.path:
            # At the end, so that the repo's own modules do not shadow installed ones.
            sys.path.append(str(root))
        for name, spec in table.get("subjects", {}).items():
            self.subject(name, _spec(spec, f"subjects.{name}"))
        for name, entry in table.get("explainers", {}).items():
            options = dict(entry) if isinstance(entry, dict) else {"spec": entry}
            spec = _spec(options.pop("spec", None), f"explainers.{name}")
            self.explainer(name, spec, **{str(key): value for key, value in options.items()})
        for key, reason in table.get("expected_failures", {}).items():
            parts = key.split("::")
            if len(parts) not in {2, 3}:
                raise InvalidArgument.of(
                    "expected_failures",
                    got=repr(key),
                    expected='"explainer::check" or "subject::explainer::check"',
                )
            subject = parts[0] if len(parts) == 3 else None
            self.expect_failure(parts[-2], parts[-1], reason, subject=subject)  # type: ignore[arg-type]  # checked there


def as_explainer(
    explainer: object, options: Mapping[str, object] | None = None, *, name: str | None = None
) -> NamedExplainer:
    """Return the explainer for a callable, a class, a gallery name or "module:attribute".

    Raises:
        InvalidArgument: there is no such explainer, or it takes no options.
        MissingDependency: the gallery's library is not installed.
    """
    options = dict(options or {})
    if isinstance(explainer, str):
        if explainer.partition(":")[0] in LIBRARIES or explainer in gallery.methods():
            return named(gallery.get(explainer, **options), name)
        if ":" not in explainer:
            known = [*gallery.names(), *gallery.methods()]
            there = UnknownName.among("explainer", explainer, known)
            raise UnknownName(f"{there}. One of your own is written 'module:attribute'")
        explainer = import_object(explainer)
    if isinstance(explainer, type):
        try:
            return named(explainer(**options), name)
        except TypeError as error:
            raise InvalidArgument.of(
                f"explainer {name or explainer.__name__!r}",
                got=f"a class that cannot be made ({error})",
                expected="one that the given options suffice for",
            ) from error
    if options:
        raise InvalidArgument.of(
            f"explainer {name!r}",
            got=f"a callable with the options {sorted(options)}",
            expected="options only with a class or a name of the gallery",
        )
    return named(explainer, name)


def import_object(spec: str) -> object:
    """Import the object that "module:attribute" names.

    Raises:
        InvalidArgument: malformed, or the module or attribute does not exist or does not import.
    """
    module_name, colon, attribute = spec.partition(":")
    if not (module_name and colon and attribute):
        raise InvalidArgument.of(
            "spec",
            got=repr(spec),
            expected=f"'module:attribute', or one of {', '.join(LIBRARIES)} for module",
        )
    try:
        found: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise InvalidArgument.of(
            "spec",
            got=f"{spec!r} ({type(error).__name__}: {error})",
            expected="a module that imports, and an attribute in it",
        ) from error
    return found


def _spec(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument.of(
            f"[tool.pytest_xai] {key}", got=repr(value), expected="a string 'module:attribute'"
        )
    return value


def _require_new(name: object, taken: Mapping[str, object], kind: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument.of(
            f"name of the {kind}", got=repr(name), expected="letters, digits, '_', '.' and '-'"
        )
    if name in taken:
        raise InvalidArgument(f"{kind} {name!r} is registered twice")
