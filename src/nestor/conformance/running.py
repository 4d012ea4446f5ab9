"""From a check to its result: failures, errors, skips with reasons, expected failures."""

from __future__ import annotations

import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from nestor.conformance.check import ConformanceFailure, NotOffered
from nestor.conformance.report import Outcome, Result
from nestor.errors import Unsupported
from nestor.errors.text import printable

if TYPE_CHECKING:
    from nestor.conformance.check import Check
    from nestor.conformance.session import Session

#: Characters of a reason or of a line, and lines of a traceback.
_LONGEST, _LINES = 500, 200


def run_check(check: Check, session: Session) -> Result:
    """Run one check; whatever the backend raises becomes part of the result."""
    begin = time.perf_counter()
    trace = ""
    try:
        outcome, reason = _outcome(check, session)
    # An engine's crash is a row of the table; so is one that ends the program.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        outcome, reason = "error", f"{type(error).__name__}: {_words_of(error)}"
        lines = "".join(traceback.format_exception(error)).splitlines()
        trace = "\n".join(printable(line[:_LONGEST]) for line in lines[-_LINES:])
    seconds = time.perf_counter() - begin
    return Result(check.tier, check.name, check.case, outcome, _shown(reason), seconds, trace)


def _words_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a stranger's __str__
        return "it has no words for it"


def _shown(text: str) -> str:
    """Text that an engine had a hand in, as any terminal and any file can take it: one line, not endless."""
    line = printable(" ".join(text[:_LONGEST].split()))
    return line if len(text) <= _LONGEST else f"{line}..."


def judged(result: Result, expected: str | None) -> Result:
    """Return the result in the light of an expected failure, whose reason is `expected`."""
    if expected is None or result.outcome == "skipped":
        return result
    outcome: Outcome = "unexpected pass" if result.outcome == "passed" else "expected failure"
    if outcome == "unexpected pass":
        reason = f"passes, though declared as an expected failure: {expected}"
    else:
        reason = f"{expected} ({result.reason})"
    return replace(result, outcome=outcome, reason=reason)


def _outcome(check: Check, session: Session) -> tuple[Outcome, str]:
    try:
        return "passed", check.run(session) or ""
    except ConformanceFailure as failure:
        return "failed", str(failure)
    except Unsupported as refusal:
        if "gpu" in check.words:  # whether a machine has one is no property of the backend
            return "skipped", str(refusal)
        return _refused(check, session, refusal)
    except NotOffered as absence:
        return "skipped", str(absence)


def _refused(check: Check, session: Session, refusal: Unsupported) -> tuple[Outcome, str]:
    """Skip with the reason that the capabilities give; without one, the exclusion is a failure."""
    reason = session.subject.reason(check.words)
    if reason is not None:
        return "skipped", reason
    about = ", ".join(sorted(check.words))
    return "failed", (
        f"it refuses what its capabilities offer ({refusal}); "
        f"Capabilities.reasons has no reason under any of: {about}"
    )
