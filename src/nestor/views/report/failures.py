"""Failed and skipped runs, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.bench.table import SKIPPED
from nestor.views.format import count, size_text, status_text
from nestor.views.report.markup import Html, breakable, label, tag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.bench.groups import FailureNote
    from nestor.views.report.groups import GroupRow, Section

_OPEN_UP_TO = 12
_LONG = 600


def failures(section: Section) -> Html:
    """Return a table of what failed and why, and another of what was skipped."""
    notes = [
        (line, note)
        for track in section.tracks
        for line in track.rows
        for note in line.summary.notes
    ]
    failed = [pair for pair in notes if pair[1].status != SKIPPED]
    skipped = [pair for pair in notes if pair[1].status == SKIPPED]
    if not notes:
        if not section.tracks:
            return Html("")
        return Html(tag("h3", "Failures") + tag("p", "None: every run is ok.", class_="muted"))
    parts = [_block("Failures", "Every run is ok." if not failed else "", failed)]
    if skipped:
        parts.append(_block("Not run", "", skipped))
    return Html("".join(parts))


def _block(title: str, none: str, notes: list[tuple[GroupRow, FailureNote]]) -> Html:
    if not notes:
        return Html(tag("h3", title) + tag("p", none, class_="muted"))
    rows = list(_rows(notes))
    heads = [tag("th", head) for head in ("Contender", "Status", "Where", "Runs", "Why")]
    table = tag(
        "div",
        tag("table", tag("thead", tag("tr", heads)), tag("tbody", rows)),
        class_="scroll",
        tabindex=0,
    )
    if len(rows) <= _OPEN_UP_TO:
        return Html(tag("h3", title) + table)
    summary = tag("summary", f"{count(len(rows))} different ones")
    return Html(tag("h3", title) + tag("details", summary, table, class_="block"))


def _rows(notes: list[tuple[GroupRow, FailureNote]]) -> Iterator[Html]:
    """One line for each contender, track, status and message; sizes and seeds are listed in it."""
    found: dict[tuple[str, str, str, str], list[tuple[GroupRow, FailureNote]]] = {}
    for line, note in notes:
        key = (line.key.contender, line.key.track, note.status, note.message)
        found.setdefault(key, []).append((line, note))
    for (contender, track, status, message), own in found.items():
        where = dict.fromkeys(_where(line) for line, _ in own)
        runs = sum(len(note.seeds) for _, note in own)
        yield tag(
            "tr",
            tag("th", _dot(own[0][0]), breakable(contender)),
            tag("td", status_text(status)),
            tag("td", label(", ".join([track, *(w for w in where if w)])), class_="text"),
            tag("td", count(runs), class_="num"),
            tag("td", _message(message), class_="message"),
        )


def _dot(line: GroupRow) -> Html:
    return tag("span", class_="dot", style=f"background:{line.pen.colour}")


def _where(line: GroupRow) -> str:
    parts = (size_text(line.key.sweep, line.key.sweep_value), line.detail)
    return ", ".join(part for part in parts if part)


def _message(text: str) -> Html:
    if len(text) <= _LONG:
        return label(text or "no message")
    return tag("details", tag("summary", label(f"{text[:_LONG]} …")), label(text))
