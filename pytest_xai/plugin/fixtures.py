"""The tools behind the fixtures ``xai_bench`` and ``xai_check`` of hand-written tests."""

from typing import Protocol

import pytest

from pytest_xai import checks
from pytest_xai.bench.bench import Bench
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.task import Task
from pytest_xai.errors import UnknownName
from pytest_xai.plugin.benches import Benches, run_task
from pytest_xai.plugin.flags import is_active
from pytest_xai.plugin.items import record
from pytest_xai.plugin.model_repo import as_explainer
from pytest_xai.plugin.options import reproduce_command, resolve
from pytest_xai.plugin.session import session_of
from pytest_xai.plugin.settle import settle
from pytest_xai.protocol import NamedExplainer

__all__ = ["Bencher", "Checker", "FixtureTools"]


class Bencher(Protocol):
    """The type of the fixture ``xai_bench``."""

    def __call__(self, subject: Subject | str) -> Bench:
        """The bench of a subject, or of the registered one of that name."""


class Checker(Protocol):
    """The type of the fixture ``xai_check``."""

    def __call__(self, explainer: object, check: str, subject: Subject | str) -> Verdict:
        """The verdict of one check."""


class FixtureTools:
    """Makes benches and runs checks for one test.

    Args:
        request: of the fixture.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._item: pytest.Item = request.node
        self._config = request.config
        self._own: list[tuple[Subject, Benches]] = []

    def bench(self, subject: Subject | str) -> Bench:
        """The bench of a subject, or of the registered one of that name.

        Raises:
            UnknownName: nothing of that name is registered.
            GuestError: its factory raised.
        """
        name, benches = self._find(subject)
        return benches.get(name)

    def check(self, explainer: object, check: str, subject: Subject | str) -> Verdict:
        """Run one check; its failure fails the test whether or not the explainer claims it.

        Args:
            explainer: a callable, a name of the gallery, or the name of a registered one.
            check: its name.
            subject: or the name of a registered one.

        Raises:
            CheckFailed: the check failed, could not run, or is undecided while the run's
                ``--xai-undecided`` is "fail".
            UnknownName: there is no such check, explainer or subject.
        """
        __tracebackhide__ = True
        options = resolve(self._config)
        name, benches = self._find(subject)
        task = Task(
            check=checks.get(check),
            explainer=self._explainer(explainer),
            asserted=True,
            subject=name,
            alpha=options.run.alpha,
            budget=options.run.budget,
            reproduce=reproduce_command(self._item.nodeid, options, gate=is_active(self._config)),
        )
        verdict = run_task(task, benches, seed=options.run.seed)
        record(self._item, verdict)
        if verdict.outcome != "not_applicable":
            settle(verdict, undecided=options.run.undecided)
        return verdict

    def close(self) -> None:
        """Give the models of subjects that are not registered back as they were."""
        for _, benches in self._own:
            benches.close()

    def _find(self, subject: Subject | str) -> tuple[str, Benches]:
        if isinstance(subject, str):
            session = session_of(self._config)
            if subject not in session.repo.subjects:
                raise UnknownName.among("subject", subject, session.repo.subjects)
            return subject, session.benches
        for known, benches in self._own:
            if known is subject:
                return subject.name, benches
        run = resolve(self._config).run
        benches = Benches({subject.name: subject}, seed=run.seed, device=run.device)
        self._own.append((subject, benches))
        return subject.name, benches

    def _explainer(self, explainer: object) -> NamedExplainer:
        if isinstance(explainer, str) and ":" not in explainer:
            registered = session_of(self._config).repo.explainers
            if explainer not in registered:
                raise UnknownName.among("explainer", explainer, registered)
            return registered[explainer]
        return as_explainer(explainer)
