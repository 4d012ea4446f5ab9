"""A child process that answers in lines of JSON; `nestor.runner.parent` is its other end.

It is a fresh interpreter and leads a process group, so that it can be ended with all that it has started.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

#: An interpreter that imports what is installed, and nothing that happens to lie in the folder where it is
#: started: a user's ``random.py`` or ``pymc.py`` beside the data would take the place of the library. What
#: PYTHONPATH names it still finds; what it starts by `multiprocessing` inherits this.
PYTHON = (sys.executable, "-P")

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0

#: What children have said: (child, event), and (child, None) once it has ended.
Said = queue.SimpleQueue["tuple[Child, dict[str, Any] | None]"]


class Child:
    """A Python module that runs in a process of its own; a thread reads what it says.

    Parameters
    ----------
    module : str
        Run as ``python -m MODULE ARGUMENTS``; it makes a `nestor.runner.parent.Parent` first.
    arguments : sequence of str
        Of its command line.
    log : binary file
        Receives whatever it prints.
    environment : mapping of str to str, optional
        By default the caller's.
    said : queue, optional
        Where its events go; give several children the same one to hear whichever speaks first.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        log: IO[bytes],
        *,
        environment: Mapping[str, str] | None = None,
        said: Said | None = None,
    ) -> None:
        self._said: Said = queue.SimpleQueue() if said is None else said
        self._process = subprocess.Popen(
            [*PYTHON, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            with contextlib.suppress(ValueError):  # a line that is not ours, or half of one
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    self._said.put((self, event))
        self._said.put((self, None))

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, minus a signal's number; None while it lives."""
        return self._process.poll()

    def events(self) -> Iterator[dict[str, Any] | None]:
        """Yield what it says until it has ended, and None whenever it has said nothing for a while."""
        for heard in listen(self._said, [self]):
            if heard is None:
                yield None
            elif heard[1] is None:
                return
            else:
                yield heard[1]

    def send(self, message: object) -> None:
        """Send a line of JSON; if the process has died, whoever listens to it finds out."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
                self._process.stdin.flush()

    def wait(self) -> int | None:
        """Wait a moment for a process that has said its last word; return its exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        return self.code

    def kill(self) -> None:
        """Kill the process and everything that it started; harmless when it has ended by itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def drain(self) -> None:
        """Read the last lines of a process that has ended.

        What it started may hold its output open, so that its end would never be read: it is killed.
        """
        self.kill()
        self._reader.join(_GRACE_SECONDS)

    def end(self) -> None:
        """Kill the process and wait for it."""
        self.kill()
        self._process.wait()
        self._reader.join(_GRACE_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def listen(
    said: Said, children: Collection[Child]
) -> Iterator[tuple[Child, dict[str, Any] | None] | None]:
    """Yield what children say, while there are any; None whenever all have been silent for a while.

    Parameters
    ----------
    said : queue
        Where the events of all of them go.
    children : collection of Child
        Those that are listened to; the caller may add and remove some meanwhile.

    Yields
    ------
    tuple of Child and dict, or None
        An event; in its place None when that child has ended.
    """
    while children:
        try:
            heard = said.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            ended = [child for child in children if child.code is not None]
            for child in ended:
                child.drain()
            if said.empty():  # something that they started still holds their output open
                for child in ended:
                    yield child, None
                yield None
            continue
        if heard[0] in children:  # or these are the last words of one that was ended
            yield heard
