"""A process that does one task after another: ``python -m nestor.calibration.study_process JOB``.

It reads tasks from its parent, [kind, number] each, and sends a record of each.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nestor.runner.parent import Parent

if TYPE_CHECKING:
    from nestor.calibration.study import Study
    from nestor.calibration.tasks import Record, Task


def main(arguments: list[str]) -> int:
    """Do the parent's tasks for the job in file `arguments[0]`, until the parent ends this process."""
    parent = Parent()
    from nestor.calibration.study import Study
    from nestor.calibration.tasks import Task

    with Path(arguments[0]).open("rb") as stream:
        job = pickle.load(stream)  # noqa: S301 - written by our own parent, into a private folder
    parent.send("started")
    study = Study(job, on_compiled=lambda reuses: parent.send("compiled", reuses=reuses))
    while True:
        task = Task(*parent.receive())
        if not _prepare(study, task, parent):
            return 1
        parent.send("record", **asdict(_run(study, task)))


def _prepare(study: Study, task: Task, parent: Parent) -> bool:
    """Compile; say why where that fails, which no other simulation would change."""
    from nestor.errors import NestorError

    try:
        study.prepare(task)
    except NestorError as error:
        traceback.print_exc()
        parent.send("refused", kind=type(error).__name__, message=str(error))
        return False
    except Exception as error:  # noqa: BLE001 - the engine's fault, told to the user with its log
        parent.send("refused", kind="EngineFailed", message=_one_line(error))
        return False
    return True


def _run(study: Study, task: Task) -> Record:
    """Do a task; what the engine raises costs this task only."""
    from nestor.calibration.tasks import Record
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
