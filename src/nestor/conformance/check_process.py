"""The process that runs checks for `nestor.conformance.isolated`.

``python -m nestor.conformance.check_process JOB`` runs the checks whose ids the job lists. It tells its
parent of each check that it starts, and the result.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from nestor.runner.parent import Parent


def main(arguments: list[str]) -> int:
    """Run the checks of the job in file `arguments[0]`."""
    parent = Parent()
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
        parent.send("started", check=check)
        parent.send("result", result=asdict(found.run(by_id[check])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
