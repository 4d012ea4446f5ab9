"""The kit in processes of its own: an engine that crashes or hangs costs a check, not the report."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor.conformance.check import TIERS
from nestor.conformance.kit import Progress, plan, report_of
from nestor.conformance.report import Result
from nestor.conformance.running import judged
from nestor.errors import SpecError
from nestor.runner.process import PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nestor.conformance.check import Check
    from nestor.conformance.kit import Listener, Plan
    from nestor.conformance.report import ConformanceReport

#: After so many deaths of its process the rest of a tier is not run.
MOST_DEATHS = 5
#: Characters of a dead process's log: in the reason, and in the place of a traceback.
_LOG_TAIL, _TRACE_TAIL = 300, 10_000


def run_isolated(
    backend: str,
    *,
    tiers: Sequence[str] = TIERS,
    sampler: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    only: str | None = None,
    quick: bool = False,
    timeout: float | None = None,
    listener: Listener | None = None,
) -> ConformanceReport:
    """Check an installed backend as `run_conformance` does, each tier in a process of its own.

    Parameters
    ----------
    backend : str
        Its name.
    tiers, sampler, expected_failures, only, quick, listener
        As in `run_conformance`.
    timeout : float, optional
        Seconds that a tier may take; the check that runs then, and those after it, are errors.

    Returns
    -------
    ConformanceReport
        A check in which the process died is an error; the tier goes on after it in a new process.

    Raises
    ------
    SpecError
        As `run_conformance` does, and for a timeout that is not positive.
    """
    if timeout is not None and not timeout > 0:
        raise SpecError(f"timeout must be greater than 0 seconds, not {timeout!r}.")
    found = plan(
        backend,
        tiers=tiers,
        sampler=sampler,
        expected_failures=expected_failures,
        only=only,
        quick=quick,
    )
    job = {
        "backend": backend,
        "tiers": list(tiers),
        "sampler": sampler,
        "expected_failures": dict(expected_failures or {}),
    }
    results: list[Result] = []
    for tier in TIERS:
        checks = [check for check in found.checks if check.tier == tier]
        results += _Tier(found, checks, job, timeout, listener or _ignore, len(results)).run()
    return report_of(found.backend, results)


def _ignore(_: Progress) -> None:
    """Listen to nothing."""


class _Tier:
    """One tier's checks, run in as many processes as it takes."""

    def __init__(
        self,
        found: Plan,
        checks: list[Check],
        job: dict[str, Any],
        timeout: float | None,
        listener: Listener,
        before: int,
    ) -> None:
        self._plan, self._checks, self._job = found, checks, job
        self._end = None if timeout is None else time.monotonic() + timeout
        self._timeout, self._listener, self._before = timeout, listener, before
        self._results: list[Result] = []
        self._printed = ""

    def run(self) -> list[Result]:
        deaths = 0
        while left := self._checks[len(self._results) :]:
            what = self._run_process(left)
            left = self._checks[len(self._results) :]
            if what is None or not left:
                break
            self._lost(left[0], what, self._printed)
            deaths += 1
            if self._is_over or deaths == MOST_DEATHS:
                for check in left[1:]:
                    self._lost(check, f"not run: {what}")
        return self._results

    @property
    def _is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def _run_process(self, checks: list[Check]) -> str | None:
        """Run checks until the process ends; return why it ended too early, or None."""
        with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
            job, log = Path(folder, "job.json"), Path(folder, "log")
            job.write_text(json.dumps(self._job | {"checks": [check.id for check in checks]}))
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    [*PYTHON, "-m", "nestor.conformance.worker", str(job)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    start_new_session=True,
                )
                try:
                    for event in _events(process, self._end):
                        self._heard(event)
                finally:
                    _end(process)
            self._printed = log.read_text(encoding="utf-8", errors="replace")[-_TRACE_TAIL:]
            if self._is_over:
                return f"the tier's {self._timeout:g} s are over"
            done = len(self._results) == len(self._checks)
            return None if done else _death(process.returncode, self._printed)

    def _heard(self, event: dict[str, Any]) -> None:
        if "result" in event:
            self._add(Result(**event["result"]))
        else:
            self._tell(event["started"], None)

    def _lost(self, check: Check, what: str, printed: str = "") -> None:
        if self._is_over:
            self._add(Result(check.tier, check.name, check.case, "out of time", what, 0.0))
            return
        result = Result(check.tier, check.name, check.case, "error", what, 0.0, printed)
        self._add(judged(result, self._plan.expected.get(check.id)))

    def _add(self, result: Result) -> None:
        self._tell(result.id, result)
        self._results.append(result)

    def _tell(self, check: str, result: Result | None) -> None:
        number = self._before + len(self._results) + 1
        self._listener(Progress(check, number, len(self._plan.checks), result))


def _events(process: subprocess.Popen[bytes], end: float | None) -> Iterator[dict[str, Any]]:
    """Yield what the process says until it ends or its time is over."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            # Children of a dead process may hold its output open, so that its end is never read.
            if process.poll() is None:
                continue
            return
        if line is None:
            process.wait()
            return
        yield json.loads(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and everything that it started; harmless when it has ended by itself."""
    if process.poll() is None or hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _death(code: int, printed: str) -> str:
    """Say how a process died, with the end of what it printed."""
    text = " ".join(printed.split())[-_LOG_TAIL:]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the process {how}" + (f": {text}" if text else "")
