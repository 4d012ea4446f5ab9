"""Worker processes side by side; a crash or a hang of one costs the task that it had."""

from __future__ import annotations

import os
import pickle
import queue
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nestor import errors
from nestor.calibration.tasks import Record
from nestor.errors import EngineFailed, NestorError
from nestor.runner.child import Child, listen
from nestor.runner.limits import thread_environment

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from nestor.calibration.tasks import Status, StudyJob, Task
    from nestor.runner.child import Said

#: Simulations run side by side, each on one core: more threads would only wait for each other.
_ONE_THREAD = thread_environment(1)


@dataclass(frozen=True)
class Compiled:
    """A worker has compiled the engine; `reuses` tells whether for all outcomes or for one each."""

    reuses: bool


@dataclass
class _Work:
    """The task of a child, and when it began; the child's imports do not count."""

    task: Task
    since: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since its task, or compiling, began."""
        return 0.0 if self.since is None else time.monotonic() - self.since


def run_tasks(
    job: StudyJob, tasks: Sequence[Task], workers: int, log: Path, timeout: float | None
) -> Generator[Record | Compiled]:
    """Do tasks in fresh processes; closing the generator ends them.

    Parameters
    ----------
    job : StudyJob
        What every process knows.
    tasks : sequence of Task
        What to do, in this order; they may end in another.
    workers : int
        Processes side by side, at most.
    log : Path
        File that receives what engines print.
    timeout : float or None
        Seconds that a task may take, and that compiling may take before the first.

    Yields
    ------
    Record or Compiled
        One record for each task; and word of each compiled engine.

    Raises
    ------
    NestorError
        If the engine cannot be compiled, of the kind that it raised.
    """
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder, log.open("ab") as log_stream:
        job_file = Path(folder) / "job.pickle"
        with job_file.open("wb") as stream:
            pickle.dump(job, stream)
        pool = _Pool(job_file, log_stream, deque(tasks), timeout, log)
        try:
            yield from pool.run(workers)
        finally:
            pool.end()


class _Pool:
    """The child processes of one run, and what is still to do."""

    def __init__(
        self,
        job_file: Path,
        log_stream: IO[bytes],
        waiting: deque[Task],
        timeout: float | None,
        log: Path,
    ) -> None:
        self._job_file, self._log_stream, self._log = job_file, log_stream, log
        self._waiting, self._timeout = waiting, timeout
        self._said: Said = queue.SimpleQueue()
        self._children: dict[Child, _Work] = {}

    def run(self, count: int) -> Generator[Record | Compiled]:
        for _ in range(min(count, len(self._waiting))):
            self._start()
        for heard in listen(self._said, self._children):
            if heard is not None:
                yield from self._heard(*heard)
            yield from self._overdue()

    def _heard(self, child: Child, event: dict[str, Any] | None) -> Generator[Record | Compiled]:
        if event is None:
            yield self._died(child)
            return
        match event.pop("event"):
            case "started":
                self._children[child].since = time.monotonic()
            case "compiled":
                self._children[child].since = time.monotonic()
                yield Compiled(event["reuses"])
            case "refused":
                raise _refusal(event["kind"], event["message"], self._log)
            case "record":
                self._next(child)
                yield Record(**{**event, "ranks": tuple(event["ranks"])})

    def _start(self) -> None:
        child = Child(
            "nestor.calibration.study_process",
            [str(self._job_file)],
            self._log_stream,
            environment=os.environ | _ONE_THREAD | {"PYTHONUNBUFFERED": "1"},
            said=self._said,
        )
        task = self._waiting.popleft()
        self._children[child] = _Work(task)
        child.send([task.kind, task.number])

    def _next(self, child: Child) -> None:
        if not self._waiting:
            self._dismiss(child)
            return
        task = self._waiting.popleft()
        self._children[child] = _Work(task, time.monotonic())
        child.send([task.kind, task.number])

    def _dismiss(self, child: Child) -> None:
        del self._children[child]
        child.end()

    def _overdue(self) -> Generator[Record]:
        """End the children that have taken too long."""
        for child, work in list(self._children.items()):
            if self._timeout is not None and work.seconds > self._timeout:
                yield self._lost(child, "timeout", f"stopped after {self._timeout:g} s")

    def _died(self, child: Child) -> Record:
        code = child.wait()
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with code {code}"
        return self._lost(child, "failed", f"its process {how}")

    def _lost(self, child: Child, status: Status, message: str) -> Record:
        """Put another child in the place of one that is lost with its task."""
        work = self._children[child]
        seconds = work.seconds
        self._dismiss(child)
        if self._waiting:
            self._start()
        return Record(work.task.number, status, message, seconds=seconds)

    def end(self) -> None:
        for child in list(self._children):
            self._dismiss(child)


def _refusal(kind: str, message: str, log: Path) -> NestorError:
    found = getattr(errors, kind, EngineFailed)
    known = isinstance(found, type) and issubclass(found, NestorError)
    if not known or found is EngineFailed:
        return EngineFailed(f"{message} Its log: {log}")
    error: NestorError = found(message)
    return error
