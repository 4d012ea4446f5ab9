"""One engine's job in a child process: started, listened to within its limits, and ended."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from nestor.engines import registry
from nestor.engines.optional import ProcessEnvironment
from nestor.errors import EngineFailed
from nestor.runner.child import Child
from nestor.runner.contract import check_environment
from nestor.runner.job import Outcome
from nestor.runner.limits import Limits
from nestor.runner.memory import machine_bytes, memory_text, tree_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from nestor.runner.job import Job, Status

Listener = Callable[[dict[str, Any]], None]

_MEMORY_SECONDS = 0.25
_NO_LIMITS = Limits()
_BY_KIND: dict[str, Status] = {"Unsupported": "unsupported", "MemoryError": "out_of_memory"}


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
    with JobProcess(job, folder, log, timeout=timeout, listener=listener, limits=limits) as process:
        return process.advance()


class JobProcess:
    """A job in a child process, which rests after each look; a context manager that ends it.

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
        self._log, self._timeout, self._limits = log, timeout, limits
        self._listener = listener or (lambda _: None)
        self._log_stream = log.open("ab")
        self._begin = time.monotonic()
        self._peak_bytes, self._timed_out = 0, False
        self._refused, self.resting = Outcome("failed"), False
        self._child: Child | None = None
        backend = registry.get(job.contender.backend).backend
        if refusal := job.contender.refusal(backend, job.problem, job.config):
            self._refused = Outcome("unsupported", refusal)
            return
        try:
            environment = _environment(job, limits)
        except EngineFailed as error:
            self._refused = Outcome("failed", str(error))
            return
        arguments = [str(job_file), str(self._result)]
        arguments += [] if limits.cpus is None else [",".join(map(str, limits.cpus))]
        self._child = Child(
            "nestor.runner.worker", arguments, self._log_stream, environment=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def advance(self) -> Outcome:
        """Wait until the worker ends, or rests for a look (`resting` tells which); wake it if it rests."""
        child = self._child
        if child is None:
            self.end()
            return self._refused
        if self.resting:
            self._result.unlink(missing_ok=True)
            self._begin = time.monotonic()
            child.send("go on")
        final = None
        try:
            final = self._listen(child)
        finally:
            self.resting = final is not None and final["event"] == "look"
            if not self.resting:
                self.end()
        return self._outcome(final, child.code)

    def _listen(self, child: Child) -> dict[str, Any] | None:
        """Pass events on until the worker has ended or rests; return its last word, if it had one."""
        final: dict[str, Any] | None = None
        measured = 0.0
        for event in child.events():
            now = time.monotonic()
            if now - measured > _MEMORY_SECONDS:
                self._peak_bytes = max(self._peak_bytes, tree_bytes(child.pid))
                measured = now
                if self._grew_too_large:
                    return None
            if self._timeout is not None and now - self._begin > self._timeout:
                self._timed_out = True
                return None
            if event is None:
                continue
            if event["event"] == "look":
                return event
            if event["event"] in ("done", "error"):
                final = event
            else:
                self._listener(event)
        child.wait()
        return final

    @property
    def _grew_too_large(self) -> bool:
        limit = self._limits.memory_bytes
        return limit is not None and self._peak_bytes > limit

    def end(self) -> None:
        """End the worker, wherever it stands."""
        if self._child is not None:
            self._child.end()
        self._log_stream.close()

    def _outcome(self, final: dict[str, Any] | None, code: int | None) -> Outcome:
        """Say what became of the job, from the worker's last word or from how it died."""
        seconds, peak_bytes = time.monotonic() - self._begin, self._peak_bytes or None
        if final is not None and final["event"] in ("done", "look"):
            fields = {key: value for key, value in final.items() if key != "event"}
            arrays = self._result if self._result.exists() else None
            return Outcome("ok", "", fields, arrays, peak_bytes, seconds)
        status, message = self._failure(final, code, seconds)
        if status != "unsupported":  # a refusal says it all, and leaves nothing in a log
            message = f"{message.rstrip('.')}. Its log: {self._log}"
        return Outcome(status, message, peak_bytes=peak_bytes, seconds=seconds)

    def _failure(
        self, final: dict[str, Any] | None, code: int | None, seconds: float
    ) -> tuple[Status, str]:
        if self._timed_out:
            return "timeout", f"stopped after {self._timeout:g} s"
        if self._grew_too_large:
            limit = memory_text(self._limits.memory_bytes or 0)
            return (
                "out_of_memory",
                f"stopped at {memory_text(self._peak_bytes)}: its limit is {limit}",
            )
        if final is not None:
            return _BY_KIND.get(final.get("kind", ""), "failed"), f"{final['message']}"
        return death(code, seconds, self._peak_bytes)


def death(code: int | None, seconds: float, peak_bytes: int) -> tuple[Status, str]:
    """Return the status and message of a worker that died without a last event.

    Parameters
    ----------
    code : int or None
        Its exit code, minus a signal's number.
    seconds : float
        Since it was started, or woken.
    peak_bytes : int
        Largest memory of its process tree; 0 if it could not be measured.
    """
    if code is None or code >= 0:
        return "failed", f"ended with exit code {code} after {seconds:.0f} s without a result"
    size = f" at {memory_text(peak_bytes)}" if peak_bytes else ""
    text = f"killed by signal {-code} after {seconds:.0f} s{size}"
    if -code == signal.SIGKILL and peak_bytes > machine_bytes() / 2:
        return "out_of_memory", f"{text}: probably out of memory"
    return "failed", text


def _environment(job: Job, limits: Limits) -> dict[str, str]:
    """Merge environment variables: limits override the user's, which override the device's."""
    backend = registry.get(job.contender.backend).backend
    device = job.contender.device
    ours = {}
    if isinstance(backend, ProcessEnvironment):
        who = f"device_environment() of the backend {job.contender.backend}"
        ours = check_environment(lambda: backend.device_environment(device), who)
    return {**ours, **os.environ, "PYTHONUNBUFFERED": "1", **limits.environment}
