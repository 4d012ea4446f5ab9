"""Every picture of a comparison as a file."""

from __future__ import annotations

import io
import re
import warnings
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from nestor.errors import NestorWarning
from nestor.runner.store import write_atomically
from nestor.views.plots.canvas import DPI, Picture, look
from nestor.views.plots.draws import entries
from nestor.views.plots.forest import forest
from nestor.views.plots.speed import speed
from nestor.views.plots.text import file_stems
from nestor.views.plots.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import xarray as xr

    from nestor.data.problem import Problem
    from nestor.views.plots import SpeedRow

# Traces are noise, which PNG cannot pack: a picture beyond this size is given a palette, and takes a
# third of its bytes.
_LARGE = 900_000
_PALETTES = (64, 24)
_NEARLY_WHITE = 245
_PICTURES = re.compile(r"(trace|speed|densities|forest-.+|(differences|ranks)(-.+)?)\.png")
_NO_GLYPH = re.compile(r"Glyph (?P<code>\d+) .*missing from font")


def save(
    problem: Problem, trees: Mapping[str, xr.DataTree], rows: Sequence[SpeedRow], folder: Path
) -> list[Path]:
    """See `nestor.views.plots.save_all`."""
    pictures: dict[str, Callable[[], Picture]] = {}
    if trees:
        pictures["trace"] = partial(trace, problem, trees)
        drawn = {entry.variable for entry in entries(problem)}
        for level, stem in file_stems(problem.spec.level_names).items():
            if f"beta_{level}" in drawn:
                pictures[f"forest-{stem}"] = partial(forest, problem, trees, level)
    if rows:
        pictures["speed"] = partial(speed, rows)
    return write_all(pictures, folder)


def write_all(pictures: Mapping[str, Callable[[], Picture]], folder: Path) -> list[Path]:
    """Write pictures by the stems of their files; warn of characters that no font has."""
    written, lacking = [], set()
    for stem, draw in pictures.items():
        path = folder / f"{stem}.png"
        lacking |= write(draw(), path)
        written.append(path)
    if lacking:
        warnings.warn(
            f"the fonts of this machine lack {len(lacking)} characters of the labels; pictures show "
            f"boxes in their place. Install a font that has {', '.join(sorted(lacking)[:3])}.",
            NestorWarning,
            stacklevel=4,
        )
    return written


def remove_others(folder: Path, written: Sequence[Path]) -> None:
    """Remove pictures of an earlier run from a run directory, where this one has none in their place."""
    for path in folder.glob("*.png"):
        if path not in written and _PICTURES.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write(picture: Picture, path: Path) -> set[str]:
    """Write a picture as PNG, whole or not at all; return the characters that no font has."""
    buffer = io.BytesIO()
    with look(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture.savefig(buffer, format="png", dpi=DPI)
    lacking = set()
    for warning in caught:
        if found := _NO_GLYPH.match(str(warning.message)):
            lacking.add(chr(int(found["code"])))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    content = buffer.getvalue()
    for colours in _PALETTES:
        if len(content) > _LARGE:
            content = _with_palette(buffer.getvalue(), colours)
    write_atomically(path, lambda p: p.write_bytes(content))
    return lacking


def _with_palette(content: bytes, colours: int) -> bytes:
    """Return a PNG with few colours, in which white stays white."""
    with Image.open(io.BytesIO(content)) as image:
        small = image.convert("RGB").quantize(
            colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
    flat = small.getpalette() or []
    found = [flat[i : i + 3] for i in range(0, len(flat), 3)]
    white = [[255, 255, 255] if min(colour) >= _NEARLY_WHITE else colour for colour in found]
    small.putpalette([part for colour in white for part in colour])
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True, dpi=(DPI, DPI))
    return buffer.getvalue()
