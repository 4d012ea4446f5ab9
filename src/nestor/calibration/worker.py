"""A process that does one task after another: ``python -m nestor.calibration.worker JOB``.

Its standard input carries one task a line, its standard output one JSON object a line; what libraries
print goes to standard error, the log. When its input closes, because its parent is done with it or dead,
it ends with all its children.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nestor.calibration.job import Record, Task
    from nestor.calibration.study import Study


class _Parent:
    """The parent's end of both pipes."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)  # whatever libraries print is no answer
        self.tasks: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, event: str, **fields: Any) -> None:
        from nestor.runner.contract import encodable

        if "message" in fields:
            fields["message"] = encodable(fields["message"])
        self._answers.write(json.dumps({"event": event, **fields}) + "\n")

    def _listen(self) -> None:
        with os.fdopen(os.dup(0), encoding="utf-8") as lines:
            for line in lines:
                kind, number = json.loads(line)
                self.tasks.put((kind, number))
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)


def main(arguments: list[str]) -> int:
    """Do the parent's tasks for the job in file `arguments[0]`, until the parent ends this process."""
    parent = _Parent()
    from nestor.calibration.job import Task
    from nestor.calibration.study import Study

    with Path(arguments[0]).open("rb") as stream:
        job = pickle.load(stream)  # noqa: S301 - written by our own parent, into a private folder
    parent.say("started")
    study = Study(job, on_compiled=lambda reuses: parent.say("compiled", reuses=reuses))
    while True:
        kind, number = parent.tasks.get()
        if not _prepare(study, Task(kind, number), parent):  # type: ignore[arg-type]
            return 1
        parent.say("record", **asdict(_run(study, Task(kind, number))))  # type: ignore[arg-type]


def _prepare(study: Study, task: Task, parent: _Parent) -> bool:
    """Compile; say why where that fails, which no other simulation would change."""
    from nestor.errors import NestorError

    try:
        study.prepare(task)
    except NestorError as error:
        traceback.print_exc()
        parent.say("refused", kind=type(error).__name__, message=str(error))
        return False
    except Exception as error:  # noqa: BLE001 - the engine's fault, told to the user with its log
        parent.say("refused", kind="EngineFailed", message=_one_line(error))
        return False
    return True


def _run(study: Study, task: Task) -> Record:
    """Do a task; what the engine raises costs this task only."""
    from nestor.calibration.job import Record
    from nestor.errors import NestorError

    try:
        return study.run(task)
    except NestorError as error:
        traceback.print_exc()
        return Record(task.number, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - an engine's crash is a line of the report
        return Record(task.number, "failed", _one_line(error))


def _one_line(error: Exception) -> str:
    traceback.print_exc()
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
