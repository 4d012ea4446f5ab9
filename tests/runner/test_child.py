"""A child process that talks with its parent in lines of JSON."""

import queue
import signal
import time

import pytest

from nestor.runner.child import Child, listen

#: Says what it is told; "die" ends it, "leave" too, with a process behind that holds its output open.
ECHO = """
import os, subprocess, sys
from nestor.runner.parent import Parent

parent = Parent()
print("what libraries print is no event")
while True:
    told = parent.receive()
    if told == "leave":
        said = parent._output.fileno()
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        subprocess.Popen(sleep, pass_fds=[said])
    parent.send("told", message=told, process=os.getpid())
    if told in ("die", "leave"):
        os._exit(7)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a child; all of them are ended with the test."""
    (tmp_path / "echo.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    children = []
    with (tmp_path / "log").open("wb") as log:

        def start(**options):
            children.append(Child("echo", [], log, **options))
            return children[-1]

        yield start
        for child in children:
            child.end()


def said(child):
    return [event["message"] for event in child.events() if event is not None]


def test_it_says_what_it_is_told_and_what_is_printed_goes_to_its_log(start, tmp_path):
    child = start()
    for text in ("one", "two \ud800", "die"):
        child.send(text)
    assert said(child) == ["one", "two \\ud800", "die"]
    assert child.wait() == 7
    assert (tmp_path / "log").read_text() == "what libraries print is no event\n"


def test_its_last_words_are_heard_though_something_holds_its_output_open(start):
    child = start()
    child.send("leave")
    begin = time.monotonic()
    assert said(child) == ["leave"]
    assert time.monotonic() - begin < 60


def test_of_several_the_first_to_speak_is_heard_and_the_end_of_each(start):
    together = queue.SimpleQueue()
    children = {start(said=together) for _ in range(2)}
    for child in children:
        child.send("die")
    heard = []
    for one in listen(together, children):
        if one is not None:
            heard.append(one)
            if one[1] is None:
                children.remove(one[0])
    assert [event for _, event in heard].count(None) == 2
    assert len({event["process"] for _, event in heard if event}) == 2


def test_it_ends_when_its_parent_closes_its_input(start):
    child = start()
    child.send("one")
    next(event for event in child.events() if event)
    child._process.stdin.close()
    assert child._process.wait(60) == -signal.SIGKILL
