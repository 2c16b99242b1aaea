"""Makes the benches of subjects, and runs tasks on them."""

import copy
import traceback
from collections.abc import Callable, Mapping

from pytest_xai.bench.bench import Bench
from pytest_xai.core.subject import Subject
from pytest_xai.core.verdict import Verdict
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Progress, Task
from pytest_xai.errors import GuestError, InvalidArgument

__all__ = ["Benches", "Source", "run_task"]

Source = Subject | Callable[[], object]


class Benches:
    """The benches of this process: one per subject, made when a check first needs it.

    Args:
        sources: a `Subject`, or a function that makes one, by name.
        seed: of the run.
        device: where subjects run; None means where their inputs are.
        rename: whether subjects get the names of their sources instead of their own.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        seed: int = 0,
        device: str | None = None,
        rename: bool = True,
    ) -> None:
        self._sources = sources
        self._seed = seed
        self._device = device
        self._rename = rename
        self._made: dict[str, Bench | GuestError] = {}

    def get(self, name: str) -> Bench:
        """Return the bench of a subject; a factory is called once, even if it raises.

        Raises:
            GuestError: the factory raised, or returned something else.
        """
        if name not in self._made:
            try:
                self._made[name] = self._make(name)
            except Exception as error:  # noqa: BLE001  # a factory may raise anything
                self._made[name] = GuestError(
                    f"subject {name!r} cannot be made: {type(error).__name__}: {error}",
                    traceback=traceback.format_exc(),
                )
        made = self._made[name]
        if isinstance(made, GuestError):
            raise made
        return made

    def close(self) -> None:
        """Give all models back as they were."""
        for made in self._made.values():
            if isinstance(made, Bench):
                made.close()

    def _make(self, name: str) -> Bench:
        source = self._sources[name]
        made = source if isinstance(source, Subject) else source()
        if not isinstance(made, Subject):
            raise InvalidArgument.of(
                "the factory's result", got=type(made).__name__, expected="a pytest_xai.Subject"
            )
        subject = copy.copy(made) if self._device is None else _on_device(made, self._device)
        if self._rename:
            subject.name = name
        return Bench(subject, seed=self._seed)


def run_task(
    task: Task, benches: Benches, *, seed: int, progress: Progress | None = None
) -> Verdict:
    """Run one task; if its subject cannot be made, the verdict says so.

    Args:
        task: what to run.
        benches: of this process.
        seed: of the run.
        progress: called with (images done, images at the most, evaluations spent).
    """
    try:
        bench = benches.get(task.subject)
    except GuestError as error:
        return task.verdict("error", summary=str(error), traceback=error.traceback, seed=seed)
    if progress is None:
        return run_check(bench, task)
    pulse = _Pulse(min(len(bench), task.check.max_images or len(bench)), progress)
    with bench.reporting(pulse.beat):
        return run_check(bench, task, progress=pulse.step)


class _Pulse:
    """Reports progress after every call of the explainer as well as after every round."""

    def __init__(self, images: int, progress: Progress) -> None:
        self._progress = progress
        self._done, self._images = 0, images

    def step(self, done: int, images: int, evaluations: int) -> None:
        """A round is over."""
        self._done, self._images = done, images
        self._progress(done, images, evaluations)

    def beat(self, evaluations: int) -> None:
        """The explainer was called."""
        self._progress(self._done, self._images, evaluations)


def _on_device(subject: Subject, device: str) -> Subject:
    return Subject(
        subject.model,
        subject.inputs,
        targets=None if subject.predicted else subject.targets,
        baseline=subject.baseline,
        bounds=subject.bounds,
        masks=subject.masks,
        name=subject.name,
        device=device,
    )
