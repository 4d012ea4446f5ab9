"""How a worker ended: its last word, or what its death and its memory say."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor.runner.job import Outcome
from nestor.runner.memory import machine_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from nestor.runner.job import Status

_BY_KIND: dict[str, Status] = {"Unsupported": "unsupported", "MemoryError": "out_of_memory"}


@dataclass(frozen=True)
class Ending:
    """What is known of a worker that has ended, or rests.

    Parameters
    ----------
    final : dict or None
        Its last event; None if it left no word.
    seconds : float
        Since it was started, or woken.
    peak_bytes : int
        Largest memory of its process tree.
    code : int or None
        Its exit code, minus a signal's number; None while it lives.
    timeout : float or None
        The seconds after which it was ended, if it was.
    memory_limit : int or None
        The memory beyond which it was ended, if it was.
    """

    final: dict[str, Any] | None
    seconds: float
    peak_bytes: int
    code: int | None
    timeout: float | None = None
    memory_limit: int | None = None

    def outcome(self, result: Path, log: Path) -> Outcome:
        """Say what became of the job.

        Parameters
        ----------
        result : Path
            Where it was to write its arrays.
        log : Path
            Where the engine's prints are.
        """
        if self.final is not None and self.final["event"] in ("done", "look"):
            fields = {key: value for key, value in self.final.items() if key != "event"}
            arrays = result if result.exists() else None
            return Outcome("ok", "", fields, arrays, self.peak_bytes or None, self.seconds)
        status, message = self._failure()
        if status != "unsupported":  # a refusal says it all, and leaves nothing in a log
            message = f"{message.rstrip('.')}. Its log: {log}"
        return Outcome(status, message, peak_bytes=self.peak_bytes or None, seconds=self.seconds)

    def _failure(self) -> tuple[Status, str]:
        if self.timeout is not None:
            return "timeout", f"stopped after {self.timeout:g} s"
        if self.memory_limit is not None:
            limit = memory_text(self.memory_limit)
            return (
                "out_of_memory",
                f"stopped at {memory_text(self.peak_bytes)}: its limit is {limit}",
            )
        if self.final is not None:
            return _BY_KIND.get(self.final.get("kind", ""), "failed"), f"{self.final['message']}"
        return self._death()

    def _death(self) -> tuple[Status, str]:
        """Say how a worker died that left no word."""
        if self.code is None or self.code >= 0:
            text = f"ended with exit code {self.code} after {self.seconds:.0f} s without a result"
            return "failed", text
        size = f" at {memory_text(self.peak_bytes)}" if self.peak_bytes else ""
        text = f"killed by signal {-self.code} after {self.seconds:.0f} s{size}"
        if -self.code == signal.SIGKILL and self.peak_bytes > machine_bytes() / 2:
            return "out_of_memory", f"{text}: probably out of memory"
        return "failed", text


def memory_text(size: int) -> str:
    """Bytes in words, such as 3.2 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
