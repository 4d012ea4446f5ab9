"""Memory of a process tree while it runs."""

from __future__ import annotations

from pathlib import Path

import psutil


def tree_bytes(pid: int) -> int:
    """Memory of a process and all its descendants, in bytes.

    Returns
    -------
    int
        Sum of proportional set sizes (pages shared by n processes count 1/n in each); of resident set
        sizes where the system has no such figure. 0 if the process has ended.
    """
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_process_bytes(member) for member in members)


def _process_bytes(process: psutil.Process) -> int:
    try:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup")
        if rollup.exists():
            for line in rollup.read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        return int(process.memory_info().rss)
    except (psutil.Error, OSError):
        return 0
