"""The process that runs checks for `nestor.conformance.isolated`.

``python -m nestor.conformance.worker JOB`` runs the checks whose ids the job lists and writes one JSON
object a line to what was its standard output: ``{"started": id}`` before each check, ``{"result": {...}}``
after it. Whatever libraries print goes to standard error. When its standard input closes, because its
parent is dead, it ends with all its children.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def main(arguments: list[str]) -> int:
    """Run the checks of the job in file `arguments[0]`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    from nestor.conformance.kit import plan

    job = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    found = plan(
        job["backend"],
        tiers=job["tiers"],
        sampler=job["sampler"],
        expected_failures=job["expected_failures"],
    )
    by_id = {check.id: check for check in found.checks}
    for check in job["checks"]:
        channel.write(json.dumps({"started": check}) + "\n")
        channel.write(json.dumps({"result": asdict(found.run(by_id[check]))}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
