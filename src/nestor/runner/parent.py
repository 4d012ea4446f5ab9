"""The parent of this process, seen from its child: lines of JSON both ways; see `nestor.runner.child`.

It imports nothing heavy: whatever is imported first decides on threads and cores.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from typing import Any


class Parent:
    """Takes standard output and input for talking with the parent.

    What libraries print goes to standard error from then on, the log. When standard input closes, because
    the parent is done with this process or dead, this process ends with everything that it has started.
    """

    def __init__(self) -> None:
        self._output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._obey, daemon=True).start()

    def send(self, event: str, **fields: object) -> None:
        """Send an event; its `message`, if it has one, as text that every stream can write."""
        if isinstance(message := fields.get("message"), str):
            fields["message"] = message.encode("utf-8", "backslashreplace").decode("utf-8")
        line = json.dumps({"event": event, **fields})
        with self._lock:
            self._output.write(line + "\n")

    def receive(self) -> Any:
        """Wait for what the parent sends next, and return it."""
        return self._received.get()

    def _obey(self) -> None:
        with os.fdopen(os.dup(0), encoding="utf-8") as lines:
            for line in lines:
                self._received.put(json.loads(line))
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)
