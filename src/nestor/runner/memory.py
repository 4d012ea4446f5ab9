"""Memory: of a process tree while it runs, and of the machine."""

from __future__ import annotations

from pathlib import Path

import psutil

#: Where a container sees its own limit: control groups of the second and of the first kind.
_CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


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


def machine_bytes() -> int:
    """Memory that all processes together may use: the machine's, or less where a container limits it."""
    total = int(psutil.virtual_memory().total)
    return min(total, *(_container_limit(Path(name)) or total for name in _CONTAINER_LIMITS))


def _container_limit(path: Path) -> int | None:
    """Read a limit of Linux' control groups; None where there is no such file, or no limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


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


def memory_text(size: int) -> str:
    """Bytes in words, such as 3.2 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
