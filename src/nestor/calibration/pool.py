"""Worker processes side by side; a crash or a hang of one costs the task that it had."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nestor import errors
from nestor.calibration.job import Record
from nestor.errors import EngineFailed, NestorError
from nestor.runner.process import PYTHON
from nestor.runner.threads import thread_environment

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from nestor.calibration.job import Job, Status, Task

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
#: Simulations run side by side, each on one core: more threads would only wait for each other.
_ONE_THREAD = thread_environment(1)


@dataclass(frozen=True)
class Compiled:
    """A worker has compiled the engine; `reuses` tells whether for all outcomes or for one each."""

    reuses: bool


class _Worker:
    """A worker process; a thread of ours reads its answers."""

    def __init__(
        self, job_file: Path, log: IO[bytes], answers: queue.SimpleQueue[tuple[_Worker, Any]]
    ) -> None:
        self.task: Task | None = None
        self.since: float | None = None  # our own imports are not the engine's time
        self.process = subprocess.Popen(
            [*PYTHON, "-m", "nestor.calibration.worker", str(job_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=os.environ | _ONE_THREAD | {"PYTHONUNBUFFERED": "1"},
        )
        self._answers = answers
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):  # half a line of a process that died
                self._answers.put((self, json.loads(line)))
        self._answers.put((self, None))

    @property
    def seconds(self) -> float:
        """Since its task, or compiling, began."""
        return 0.0 if self.since is None else time.monotonic() - self.since

    def give(self, task: Task) -> None:
        """Hand over a task; if the process has died the reader tells."""
        assert self.process.stdin is not None  # noqa: S101 - Popen was asked for a pipe
        self.task = task
        self.since = None if self.since is None else time.monotonic()
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps([task.kind, task.number]).encode() + b"\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """Kill the process and everything that it started; harmless when it has ended by itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def end(self) -> None:
        """Kill the process and wait for it."""
        self.kill()
        self.process.wait()
        self._reader.join(_GRACE_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def run_tasks(
    job: Job, tasks: Sequence[Task], workers: int, log: Path, timeout: float | None
) -> Generator[Record | Compiled]:
    """Do tasks in fresh processes; closing the generator ends them.

    Parameters
    ----------
    job : Job
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
    """The processes of one run and what is still to do."""

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
        self._answers: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._workers: set[_Worker] = set()

    def run(self, count: int) -> Generator[Record | Compiled]:
        for _ in range(min(count, len(self._waiting))):
            self._start()
        while self._workers:
            yield from self._overdue()
            try:
                worker, answer = self._answers.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                self._wake_readers()
                continue
            if worker not in self._workers:
                continue  # the last words of a process that was ended
            yield from self._heard(worker, answer)

    def _heard(
        self, worker: _Worker, answer: dict[str, Any] | None
    ) -> Generator[Record | Compiled]:
        if answer is None:
            yield from self._died(worker)
            return
        match answer.pop("event"):
            case "started":
                worker.since = time.monotonic()
            case "compiled":
                worker.since = time.monotonic()
                yield Compiled(answer["reuses"])
            case "refused":
                raise _refusal(answer["kind"], answer["message"], self._log)
            case "record":
                self._next(worker)
                yield Record(**{**answer, "ranks": tuple(answer["ranks"])})

    def _start(self) -> None:
        worker = _Worker(self._job_file, self._log_stream, self._answers)
        self._workers.add(worker)
        self._next(worker)

    def _next(self, worker: _Worker) -> None:
        if self._waiting:
            worker.give(self._waiting.popleft())
        else:
            self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.end()

    def _replace(self, worker: _Worker) -> None:
        self._dismiss(worker)
        if self._waiting:
            self._start()

    def _wake_readers(self) -> None:
        """A dead worker's children may hold its output open, so that its end would never be read."""
        for worker in self._workers:
            if worker.process.poll() is not None:
                worker.kill()

    def _overdue(self) -> Generator[Record]:
        """End the workers that have taken too long."""
        for worker in list(self._workers):
            if self._timeout is not None and worker.seconds > self._timeout:
                message = f"stopped after {self._timeout:g} s"
                yield self._lost(worker, "timeout", message)

    def _died(self, worker: _Worker) -> Generator[Record]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(_GRACE_SECONDS)
        code = worker.process.returncode
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with code {code}"
        yield self._lost(worker, "failed", f"its process {how}")

    def _lost(self, worker: _Worker, status: Status, message: str) -> Record:
        """Put another worker in the place of one that is lost with its task."""
        assert worker.task is not None  # noqa: S101 - idle workers are dismissed
        self._replace(worker)
        return Record(worker.task.number, status, message, seconds=worker.seconds)

    def end(self) -> None:
        for worker in list(self._workers):
            self._dismiss(worker)


def _refusal(kind: str, message: str, log: Path) -> NestorError:
    found = getattr(errors, kind, EngineFailed)
    known = isinstance(found, type) and issubclass(found, NestorError)
    if not known or found is EngineFailed:
        return EngineFailed(f"{message} Its log: {log}")
    error: NestorError = found(message)
    return error
