"""Progress while engines run: a line per engine that ends as one, in a terminal and a notebook."""

import io
import re
import sys
import types

import pytest
from rich.console import Console
from rich.progress import BarColumn, TextColumn

from nestor.agreement.engine_result import TIMINGS, EngineFailure, EngineResult
from nestor.agreement.events import EngineFinished, LookFinished, WorkerEvent
from nestor.engines.contender import Contender
from nestor.views.terminal.progress import LiveProgress, bars

LEVELS = ("g", "h")
NAMES = ["numba:nutpie@marginalized", "pymc:nutpie@noncentered,h=centered"]


def row(name, status="ok", message=""):
    contender = Contender.parse(name, LEVELS)
    if status not in ("ok", "gates_failed"):
        return EngineFailure(contender, status, message)
    known = {"contender": contender, "status": status, "message": message}
    known["timings"] = dict.fromkeys(TIMINGS) | {"total_s": 12.3}
    return EngineResult(**dict.fromkeys(EngineResult.__dataclass_fields__) | known)


def said(name, **event):
    return WorkerEvent(name, "sample", event)


def progress(name, chain, done, phase="sampling", divergences=0):
    return said(
        name,
        event="progress",
        chain=chain,
        done=done,
        total=2000,
        phase=phase,
        divergences=divergences,
    )


@pytest.fixture
def notebook(monkeypatch):
    """A notebook's front end: the outputs of a cell, each with all that it showed."""
    outputs = []

    class Handle:
        def __init__(self, shown):
            self.shown = [shown]
            outputs.append(self.shown)

        def update(self, new):
            self.shown.append(new)

    def display(shown, display_id=False):
        return Handle(shown)

    module = types.ModuleType("IPython.display")
    module.HTML = str
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return outputs


def plain(html):
    return re.sub(r"<[^>]*>", "", html).splitlines()


def drawn(live, columns):
    """What the terminal shows now, a line per engine."""
    stream = io.StringIO()
    Console(file=stream, width=columns, highlight=False, color_system=None).print(live._view)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_an_engine_is_one_line_whatever_it_does(columns):
    console = Console(file=io.StringIO(), force_terminal=True, width=columns)
    live = LiveProgress(console, NAMES, chains=4)
    events = [
        said(NAMES[0], event="phase", phase="compile"),
        *(progress(NAMES[0], chain, 500 * chain, divergences=chain) for chain in range(4)),
        LookFinished(1, 1000, (NAMES[0],)),
        progress(NAMES[0], 0, 700),
        EngineFinished(row(NAMES[0])),
        EngineFinished(row(NAMES[1], "failed", "it divided by zero " * 20)),
    ]
    for event in events:
        live(event)
        lines = drawn(live, columns)
        assert len(lines) == 2
        assert max(map(len, lines)) <= columns
    assert lines[0].startswith(f"✓ {NAMES[0]}")
    assert lines[1].startswith(f"✗ {NAMES[1]}")
    assert columns == 40 or "done in 12.3 s" in lines[0]


def test_the_bar_is_of_all_chains():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    live = LiveProgress(console, NAMES, chains=4)
    live(progress(NAMES[0], 0, 2000, divergences=3))
    live(progress(NAMES[0], 1, 1000, divergences=1))
    first, second = drawn(live, 120)
    assert "3,000/8,000" in first  # two chains have not begun
    assert "4 divergences" in first
    assert "left" in first
    assert second.split() == [NAMES[1], "waiting"]


def test_a_terminal_keeps_one_line_of_each():
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with LiveProgress(console, NAMES, chains=4) as live:
        for name in NAMES:
            live(progress(name, 0, 1000))
            live(EngineFinished(row(name)))
    # What stands after the cursor's last way up is what stays.
    left = console.file.getvalue().rpartition("\x1b[1A")[2]
    lines = [re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]|\r", "", line) for line in left.splitlines()]
    assert [line.split() for line in lines if line.strip()] == [
        ["✓", name, "done", "in", "12.3", "s"] for name in NAMES
    ]


def test_an_engine_that_was_interrupted_is_not_left_running():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    live = LiveProgress(console, NAMES)
    live.__enter__()
    live(progress(NAMES[0], 0, 1000))
    live.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert drawn(live, 80)[0].split() == ["✗", NAMES[0], "did", "not", "finish"]


def test_a_notebook_has_one_output_that_is_replaced(notebook):
    with LiveProgress(Console(force_jupyter=True, width=100), NAMES, chains=4) as live:
        for name in NAMES:
            live(said(name, event="phase", phase="compile"))
            live(progress(name, 0, 1000))
            live(LookFinished(1, 1000, (name,)))
            live(EngineFinished(row(name)))
    (shown,) = notebook
    assert [line.split() for line in plain(shown[0])] == [[name, "waiting"] for name in NAMES]
    assert [line.split() for line in plain(shown[-1])] == [
        ["✓", name, "done", "in", "12.3", "s"] for name in NAMES
    ]


def test_other_bars_of_a_notebook_vanish(notebook):
    with bars(TextColumn("rows"), BarColumn(), console=Console(force_jupyter=True)) as bar:
        task = bar.add_task("", total=3)
        bar.update(task, completed=2)
        assert plain(bar.live._html())[0].startswith("rows ━")
    (shown,) = notebook
    assert shown[-1] == ""


def test_elsewhere_there_are_lines_and_no_control_characters():
    console = Console(file=io.StringIO(), width=80)
    with LiveProgress(console, NAMES, chains=4) as live:
        live(progress(NAMES[0], 0, 1000, phase="warmup"))
        live(progress(NAMES[0], 0, 2000))
        live(EngineFinished(row(NAMES[0])))
    assert console.file.getvalue().splitlines() == [
        f"{NAMES[0]}: warmup",
        f"{NAMES[0]}: sampling",
        f"{NAMES[0]}: done in 12.3 s",
    ]
