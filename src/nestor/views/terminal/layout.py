"""Text and tables for terminals of any width: no word is broken, no label and no number is cut.

A table takes the first form that fits: as it is; with headings and names on several lines; on its side;
several such tables; or a paragraph for each row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Group
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

#: Of verdicts.
STYLES = {"AGREE": "bold green", "DISAGREE": "bold red", "INCONCLUSIVE": "bold yellow"}
_ANY = 10_000
_GAP = 3  # blanks between two columns
_PROSE = 28  # columns of text that prose gets at least, if it is as long as that
#: Where long names may be broken: before ``@`` and ``[``, after ``,`` and ``/``. If a piece is still too
#: long, also after other punctuation.
_SEAMS = re.compile(r"(?<=.)(?=[@\[])|(?<=[,/])(?=.)")
_WORD = re.compile(
    r"\s*(?:[A-Za-z]+\([-+.\de]+(?:, [-+.\de]+)*\)|\S+)|\s+"
)  # Normal(0, 1) is one word
_LESSER_SEAMS = re.compile(r"(?<=[=:_.\-])(?=.)")


class Unpadded:
    """A view whose lines have no trailing blanks when the output is not a terminal.

    Parameters
    ----------
    view : renderable
        What rich fills up with blanks: tables and what is padded.
    """

    def __init__(self, view: RenderableType) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.is_terminal:
            yield self._view
            return
        for line in console.render_lines(self._view, options, pad=False):
            yield from _stripped(line)
            yield Segment.line()


def _stripped(line: list[Segment]) -> list[Segment]:
    kept = list(line)
    while kept:
        last = kept.pop()
        text = last.text.rstrip(" ")
        if text:
            return [*kept, Segment(text, last.style)]
    return []


class FirstThatFits:
    """The first of several layouts that fits the terminal; the last one if none does.

    Parameters
    ----------
    layouts : sequence of renderable
        From the widest to the narrowest.
    """

    def __init__(self, layouts: Sequence[RenderableType]) -> None:
        self._layouts = layouts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for layout in self._layouts:
            wide = options.update(max_width=_ANY)
            if Measurement.get(console, wide, layout).maximum <= options.max_width:
                break
        yield layout


class Prose:
    """Text whose lines end between words; longer names end a line at ``@``, ``[``, ``,`` or ``/``.

    Parameters
    ----------
    text : Text or str
        What to write.
    indent : int
        Blanks before the second and every further line.
    """

    def __init__(self, text: Text | str, indent: int = 0) -> None:
        self._text = Text(text) if isinstance(text, str) else text
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._text.split("\n", allow_blank=True):
            first, *rest = wrapped(line, options.max_width, self._indent)
            yield first
            yield from (Text(" " * self._indent).append_text(part) for part in rest)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        lines = self._text.plain.splitlines() or [""]
        widest = max(map(cell_len, lines))
        return Measurement(min(widest, narrowest(self._text.plain)), widest)


def narrowest(text: str) -> int:
    """Return the smallest width of a text whose names are broken only at punctuation."""
    return max((cell_len(p) for word in text.split() for p in _SEAMS.split(word)), default=0)


def wrapped(text: Text, width: int, indent: int = 0) -> list[Text]:
    """Break a line into lines of `width` columns; `indent` columns of all but the first are kept free."""
    ends: list[int] = []
    begin, used, room = 0, 0, width
    for start, end in _pieces(text.plain, max(1, width - indent)):
        if used and cell_len(text.plain[begin:end].rstrip()) > room:
            ends.append(start)
            begin, room = start, width - indent
        used = end - begin
    lines = list(text.divide(ends)) if ends else [text.copy()]
    for line in lines:
        line.rstrip()
        line.no_wrap, line.overflow = True, "ignore"
    return [lines[0], *(_lstripped(line) for line in lines[1:])]


def _lstripped(line: Text) -> Text:
    blanks = len(line.plain) - len(line.plain.lstrip())
    return line[blanks:] if blanks else line


def _pieces(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each piece that must stay whole: a word, or a part of a long word."""
    for match in _WORD.finditer(text):
        start = match.start()
        for piece in _parts(match.group(), width):
            yield start, start + len(piece)
            start += len(piece)


def _parts(word: str, width: int) -> Iterator[str]:
    if cell_len(word.strip()) <= width:
        yield word
        return
    for pattern in (_SEAMS, _LESSER_SEAMS):
        parts = pattern.split(word)
        if len(parts) > 1:
            for part in parts:
                yield from _parts(part, width)
            return
    while cell_len(word) > width:  # nothing but to break it anywhere
        head = set_cell_size(word, width).rstrip() or word[:1]
        yield head
        word = word[len(head) :]
    if word:
        yield word


@dataclass(frozen=True)
class Column:
    """A column of a `Fitted` table.

    Parameters
    ----------
    heading : str
        Its name, which may be broken at blanks.
    kind : {"figure", "name", "prose"}
        A figure is never broken; a name at its seams, where space is short; prose between words.
    """

    heading: str
    kind: Literal["figure", "name", "prose"] = "figure"


@dataclass(frozen=True)
class Fitted:
    """A table in the first form that the terminal is wide enough for.

    Parameters
    ----------
    columns : sequence of Column
        The first one names the rows.
    rows : sequence of sequence of Text or str
        Cells; one may have several lines.
    sideways : bool
        Whether the table may be turned, a column for each row: for rows that are few and compared
        with each other.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Text | str]]
    sideways: bool = False
    _cells: Sequence[Sequence[Text]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        cells = [[Text(c) if isinstance(c, str) else c for c in row] for row in self.rows]
        object.__setattr__(self, "_cells", cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._layout(options.max_width)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        natural = Measurement.get(console, options.update(max_width=_ANY), self._layout(_ANY))
        return Measurement(1, natural.maximum)

    def _layout(self, width: int) -> RenderableType:
        wide = _Grid(self.columns, self._cells)
        tall = [_turned(self.columns, self._cells)] if self.sideways else []
        for grid in (wide, *tall):
            for gap in (_GAP, 2):
                table = grid.table(width, gap)
                if table is not None:
                    return table
        if self.sideways and (parts := self._split(width)):
            return Group(*parts)
        return wide.table(width, 1) or Group(*self._paragraphs(width))

    def _split(self, width: int) -> list[RenderableType] | None:
        """Transpose the table in parts, each with as many rows as fit; None if one row alone does not fit."""
        found: list[RenderableType] = []
        start = 0
        while start < len(self._cells):
            for end in range(len(self._cells), start, -1):
                table = _turned(self.columns, self._cells[start:end]).table(width, _GAP)
                if table is not None:
                    break
            else:
                return None
            found += [Text(""), table] if found else [table]
            start = end
        return found

    def _paragraphs(self, width: int) -> Iterator[RenderableType]:
        """Each row by itself: its name, then headings and values, pair by pair."""
        if self.columns[0].heading:
            yield Prose(Text(self.columns[0].heading, "dim"))
        for row in self._cells:
            yield Prose(_in_one_line(row[0]), 2)
            line, used = Text("  "), 2
            for column, cell in zip(self.columns[1:], row[1:], strict=True):
                if not cell.plain.strip():
                    continue
                pair = Text.assemble((column.heading, "dim"), " " if column.heading else "")
                pair.append_text(_in_one_line(cell))
                if used > 2 and used + _GAP + pair.cell_len > width:
                    yield Prose(line, 4)
                    line, used = Text("  "), 2
                line.append(" " * (_GAP if used > 2 else 0)).append_text(pair)
                used = line.cell_len
            if line.plain.strip():
                yield Prose(line, 4)


def _in_one_line(cell: Text) -> Text:
    return Text(" ").join(cell.split("\n"))


def _turned(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> _Grid:
    """Transpose the table: names on top, headings at the left."""
    heads = [Column(row[0].plain, "name") for row in cells]
    rows = [
        [Text(column.heading), *(row[j] for row in cells)]
        for j, column in enumerate(columns)
        if j > 0
    ]
    return _Grid([Column(columns[0].heading), *heads], rows, turned=True)


@dataclass(frozen=True)
class _Grid:
    """A table whose columns are given their widths before rich sees them, so that it breaks nothing."""

    columns: Sequence[Column]
    cells: Sequence[Sequence[Text]]
    turned: bool = False

    def table(self, width: int, gap: int) -> Table | None:
        """Return the table at this width; None if a word would be broken."""
        widths = self._widths(width - gap * (len(self.columns) - 1))
        if widths is None:
            return None
        left, right = (gap + 1) // 2, gap // 2
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, right, 0, left - 1)
        )
        for column, own in zip(self.columns, widths, strict=True):
            first = column is self.columns[0]
            plain = not first and (self.turned or column.kind == "figure")
            table.add_column(
                _folded(Text(column.heading), own),
                justify="right" if plain else "left",
                no_wrap=True,
                width=own,
            )
        for row in self.cells:
            table.add_row(*(_folded(c, w) for c, w in zip(row, widths, strict=True)))
        return table

    def _widths(self, room: int) -> list[int] | None:
        least = [self._least(j) for j in range(len(self.columns))]
        most = [self._most(j) for j in range(len(self.columns))]
        left = room - sum(least)
        if left < 0:
            return None
        widths = list(least)
        # What takes least to be whole is made whole first; the last ones share what there is.
        wanting = sorted(range(len(least)), key=lambda j: most[j] - least[j])
        for n, j in enumerate(wanting):
            share = left // (len(wanting) - n)
            more = min(most[j] - least[j], share if self._is_prose(j) else left)
            widths[j] += more
            left -= more
        return widths

    def _is_prose(self, j: int) -> bool:
        return self.columns[j].kind == "prose"

    def _least(self, j: int) -> int:
        column = self.columns[j]
        # A name as heading of a turned table is broken at its seams, other headings at blanks.
        head = (
            narrowest(column.heading) if column.kind == "name" else _longest(column.heading, None)
        )
        if column.kind == "figure" or self.turned:
            return max(head, self._most_of_cells(j))
        words = max((_margin(c) + narrowest(c.plain) for c in self._column(j)), default=0)
        if column.kind == "prose":
            words = max(words, min(_PROSE, self._most_of_cells(j)))
        return max(head, words)

    def _most(self, j: int) -> int:
        return max(_longest(self.columns[j].heading, "\n"), self._most_of_cells(j))

    def _most_of_cells(self, j: int) -> int:
        return max((_longest(cell.plain, "\n") for cell in self._column(j)), default=0)

    def _column(self, j: int) -> list[Text]:
        return [row[j] for row in self.cells]


def _longest(text: str, separator: str | None) -> int:
    return max((cell_len(part) for part in text.split(separator)), default=0)


def _margin(cell: Text) -> int:
    return len(cell.plain) - len(cell.plain.lstrip(" "))


def _folded(cell: Text, width: int) -> Text:
    """Wrap the lines of a cell, keeping the indentation of the first."""
    margin = _margin(cell)
    lines: list[Text] = []
    for line in cell.split("\n", allow_blank=True):
        first, *rest = wrapped(line, width, margin)
        lines += [first, *(Text(" " * margin).append_text(part) for part in rest)]
    return Text("\n").join(lines)
