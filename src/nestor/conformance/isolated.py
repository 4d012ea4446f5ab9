"""The kit in processes of its own: an engine that crashes or hangs costs a check, not the report."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor.conformance.check import TIERS
from nestor.conformance.kit import Progress, plan, report_of
from nestor.conformance.report import Result
from nestor.conformance.running import judged
from nestor.errors import SpecError
from nestor.runner.child import Child

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
                child = Child("nestor.conformance.check_process", [str(job)], stream)
                try:
                    self._listen(child)
                finally:
                    child.end()
            self._printed = log.read_text(encoding="utf-8", errors="replace")[-_TRACE_TAIL:]
            if self._is_over:
                return f"the tier's {self._timeout:g} s are over"
            done = len(self._results) == len(self._checks)
            return None if done else _death(child.code or 0, self._printed)

    def _listen(self, child: Child) -> None:
        """Take results until the process ends, or the tier's time is over."""
        for event in child.events():
            if self._is_over:
                return
            if event is None:
                continue
            if event["event"] == "result":
                self._add(Result(**event["result"]))
            else:
                self._tell(event["check"], None)
        child.wait()

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


def _death(code: int, printed: str) -> str:
    """Say how a process died, with the end of what it printed."""
    text = " ".join(printed.split())[-_LOG_TAIL:]
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"the process {how}" + (f": {text}" if text else "")
