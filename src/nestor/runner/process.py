"""Start a worker, listen to it, and end it: one engine in its own process."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Self

from nestor.engines import registry
from nestor.engines.optional import ProcessEnvironment
from nestor.errors import EngineFailed
from nestor.runner.contract import check_environment
from nestor.runner.ending import Ending
from nestor.runner.job import Outcome
from nestor.runner.limits import Limits
from nestor.runner.memory import tree_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nestor.runner.job import Job

Listener = Callable[[dict[str, Any]], None]

#: An interpreter that imports what is installed, and nothing that happens to lie in the folder where it is
#: started: a user's ``random.py`` or ``pymc.py`` beside the data would take the place of the library. What
#: PYTHONPATH names it still finds; what it starts by `multiprocessing` inherits this.
PYTHON = (sys.executable, "-P")

_POLL_SECONDS = 0.1
_MEMORY_SECONDS = 0.25
_GRACE_SECONDS = 5.0
_NO_LIMITS = Limits()


def run(
    job: Job,
    folder: Path,
    log: Path,
    *,
    timeout: float | None = None,
    listener: Listener | None = None,
    limits: Limits = _NO_LIMITS,
) -> Outcome:
    """Run a job in a fresh interpreter and wait for it.

    Parameters
    ----------
    job : Job
        What to do.
    folder : Path
        An existing private folder for the job's files; the caller removes it.
    log : Path
        File that receives whatever the engine prints; appended to.
    timeout : float, optional
        Seconds after which the worker is ended.
    listener : callable, optional
        Called in this thread with each event: ``{"event": "phase" | "progress", ...}``.
    limits : Limits
        What the worker may use.

    Returns
    -------
    Outcome
        Never raises for what the engine does; an interrupt of the caller ends the worker and goes on up.

    Raises
    ------
    Unsupported
        If the limits name cores that cannot be had.
    """
    with Running(job, folder, log, timeout=timeout, listener=listener, limits=limits) as running:
        return running.advance()


class Running:
    """A job in a fresh interpreter, which rests after each look; a context manager that ends it.

    Parameters
    ----------
    job, folder, log, listener, limits
        As for `run`.
    timeout : float, optional
        Seconds that the worker may take until it ends or rests; rests do not count.

    Raises
    ------
    Unsupported
        As `run`.
    """

    def __init__(
        self,
        job: Job,
        folder: Path,
        log: Path,
        *,
        timeout: float | None = None,
        listener: Listener | None = None,
        limits: Limits = _NO_LIMITS,
    ) -> None:
        limits.require_cpus()
        job_file, self._result = folder / "job.pickle", folder / "draws.npz"
        with job_file.open("wb") as stream:
            pickle.dump(job, stream)
        self._log, self._timeout = log, timeout
        self._listener = listener or (lambda _: None)
        self._log_stream = log.open("ab")
        command = [*PYTHON, "-m", "nestor.runner.worker", str(job_file), str(self._result)]
        command += [] if limits.cpus is None else [",".join(map(str, limits.cpus))]
        self._refused, self.resting = Outcome("failed"), False
        self._worker: _Worker | None = None
        backend = registry.get(job.contender.backend).backend
        if refusal := job.contender.refusal(backend, job.problem, job.config):
            self._refused = Outcome("unsupported", refusal)
            return
        try:
            environment = _environment(job, limits)
        except EngineFailed as error:
            self._refused = Outcome("failed", str(error))
            return
        self._worker = _Worker(command, self._log_stream, environment, limits.memory_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def advance(self) -> Outcome:
        """Wait until the worker ends, or rests for a look (`resting` tells which); wake it if it rests."""
        if self._worker is None:
            self.end()
            return self._refused
        if self.resting:
            self._result.unlink(missing_ok=True)
            self._worker.wake()
        final = None
        try:
            final = self._worker.listen(self._listener, self._timeout)
        finally:
            self.resting = final is not None and final["event"] == "look"
            if not self.resting:
                self.end()
        return self._ending(self._worker, final).outcome(self._result, self._log)

    def _ending(self, worker: _Worker, final: dict[str, Any] | None) -> Ending:
        return Ending(
            final=final,
            seconds=time.monotonic() - worker.begin,
            peak_bytes=worker.peak_bytes,
            code=worker.process.returncode,
            timeout=self._timeout if worker.timed_out else None,
            memory_limit=worker.memory_limit if worker.grew_too_large else None,
        )

    def end(self) -> None:
        """End the worker, wherever it stands."""
        if self._worker is not None:
            self._worker.end()
        self._log_stream.close()


def _environment(job: Job, limits: Limits) -> dict[str, str]:
    """What the device asks for, under what the user has set, under what the limits set."""
    backend = registry.get(job.contender.backend).backend
    device = job.contender.device
    ours = {}
    if isinstance(backend, ProcessEnvironment):
        who = f"device_environment() of the backend {job.contender.backend}"
        ours = check_environment(lambda: backend.device_environment(device), who)
    return {**ours, **os.environ, "PYTHONUNBUFFERED": "1", **limits.environment}


class _Worker:
    """A worker process with a thread that reads its events."""

    def __init__(
        self,
        command: list[str],
        log: IO[bytes],
        environment: Mapping[str, str],
        memory_limit: int | None,
    ) -> None:
        self.begin = time.monotonic()
        self.peak_bytes = 0
        self.memory_limit = memory_limit
        self.timed_out = False
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):  # a line that is not ours says nothing
                event = json.loads(line)
                if isinstance(event, dict):
                    self._events.put(event)
        self._events.put(None)

    @property
    def grew_too_large(self) -> bool:
        """Whether its memory has passed its limit."""
        return self.memory_limit is not None and self.peak_bytes > self.memory_limit

    def listen(self, listener: Listener, timeout: float | None) -> dict[str, Any] | None:
        """Pass events on until the worker has ended or rests; return its last word, if it had one."""
        final: dict[str, Any] | None = None
        measured = 0.0
        while True:
            now = time.monotonic()
            if now - measured > _MEMORY_SECONDS:
                self.peak_bytes = max(self.peak_bytes, tree_bytes(self.process.pid))
                measured = now
                if self.grew_too_large:
                    return None
            if timeout is not None and now - self.begin > timeout:
                self.timed_out = True
                return None
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                # A dead worker's children may hold its output open, so that its end is never read.
                if self.process.poll() is None:
                    continue
                event = None
            if event is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(_GRACE_SECONDS)
                return final
            if event.get("event") in ("done", "error"):
                final = event
            elif event.get("event") == "look":
                return event
            else:
                listener(event)

    def wake(self) -> None:
        """Let a worker that rests for a look go on."""
        assert self.process.stdin is not None  # noqa: S101 - Popen was asked for a pipe
        self.begin = time.monotonic()
        with contextlib.suppress(OSError):  # it has died while it rested: `listen` finds out
            self.process.stdin.write(b"go on\n")
            self.process.stdin.flush()

    def end(self) -> None:
        """End the worker and everything that it started; harmless when it has ended by itself."""
        _kill_group(self.process.pid)
        self.process.wait()
        self._reader.join(_GRACE_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _kill_group(pid: int) -> None:
    """Kill the process group that `pid` leads: the worker and its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
