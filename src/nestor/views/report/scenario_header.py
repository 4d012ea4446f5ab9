"""The head of a scenario's section: what was asked, and the rules for its figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nestor.views.format import count, size_number
from nestor.views.report.headline import headline
from nestor.views.report.markup import Content, Html, breakable, label, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from nestor.views.report.groups import Section

_TRACKS = {
    "defaults": "what a user gets who reads nothing: the library's own settings",
    "matched": "the same target acceptance, depth, warmup, draws and kind of metric for all",
}
_SIZES = {
    "rows": ("row", "rows"),
    "leaves": ("leaf", "leaves"),
    "nodes": ("node", "nodes"),
    "depth": ("level", "levels"),
    "effects": ("effect", "effects"),
    "scalars": ("random scalar", "random scalars"),
}
#: A number of a prior that has a fraction or an exponent.
_FRACTION = re.compile(r"(?<![\w.])\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)(?![\w.])")
RULES = (
    "Every run has a process of its own, with its own memory, threads and caches; a crash costs one line.",
    (
        "Seconds are all in: compiling and warmup included, the import of the engine’s libraries not; the "
        "start of Python, and writing draws to disk, are not among them. “Empty caches” compiles from "
        "nothing; “filled caches” does so in a second process that finds what the first one left."
    ),
    (
        "Time to the target is upload, compilation and warmup, and as much of sampling, conversion and "
        "transfer as brings the asked-for effective draws. “≤” marks upper bounds: warmup and sampling "
        "could not be told apart."
    ),
    (
        "Effective draws (ESS) are those of the worst quantity: the smaller of bulk and tail, over all "
        "canonical quantities that the contenders share, by one implementation for all."
    ),
    (
        "A run that does not reach the target with converged chains is censored: it counts as slower than "
        "every run that does, and “>” says what it is known to exceed. It never leaves the table."
    ),
    (
        "Figures are medians over seeds; below them are 95% bootstrap intervals, where there are three runs "
        "or more. With so few runs, an interval is hardly more than their range."
    ),
    (
        "A speed stands beside its verdict. Who DISAGREEs has no speed; speeds that are not known to belong "
        "to a right answer are pale."
    ),
    "Memory is the largest of the whole process tree (PSS); 1 GB is 10⁹ bytes.",
)


def rules() -> Html:
    """Return the rules that hold for all scenarios."""
    items = [tag("li", rule) for rule in RULES]
    return tag(
        "details",
        tag("summary", "How to read the figures"),
        tag("ul", items, class_="rules"),
        class_="block",
    )


def scenario_header(section: Section) -> Html:
    """Return what was asked: the scenario's words, and what its cells say."""
    info, cells = section.info, section.cells
    facts: list[tuple[str, Content]] = [
        ("Formula", tag("code", label(info.formula)) if info.formula else None),
        ("Data", label(info.data) if info.data else None),
        ("Priors", _pairs({name: _rounded(text) for name, text in info.priors.items()})),
        *_from_cells(section),
        ("Tracks", _tracks(section)),
    ]
    found = [tag("dt", name) + tag("dd", value) for name, value in facts if value]
    about = tag("p", label(info.about), class_="lead") if info.about else None
    quick = bool(cells["quick"].fillna(value=False).any())
    note = "This is the scenario's quick form: fewer runs, draws and sizes than the whole."
    return Html(
        "".join(
            [
                tag("h2", label(info.title or info.name), " ", _badge(quick=quick)),
                about or "",
                headline(section) or "",
                tag("p", note, class_="note") if quick else "",
                tag("dl", [Html(pair) for pair in found], class_="facts") if found else "",
            ]
        )
    )


def _badge(*, quick: bool) -> Html | None:
    return tag("span", "quick form", class_="badge") if quick else None


def _from_cells(section: Section) -> list[tuple[str, Content]]:
    cells = section.cells
    sizes = [
        f"{_range(cells[name])} {nouns[int(cells[name].max() != 1)]}"
        for name, nouns in _SIZES.items()
        if cells[name].notna().any()
    ]
    swept = [
        f"{track.sweep}: {', '.join(size_number(size) for size in track.sizes if size is not None)}"
        for track in section.tracks
        if track.sweep
    ]
    target = cells["target_ess"].dropna().unique()
    return [
        ("Problem", ", ".join(sizes)),
        ("Swept", "; ".join(dict.fromkeys(swept))),
        ("Contenders", _listed(cells["contender"].dropna().unique())),
        ("Seeds", ", ".join(str(int(seed)) for seed in sorted(cells["seed"].dropna().unique()))),
        ("Target", ", ".join(f"{size_number(float(t))} effective draws" for t in sorted(target))),
    ]


def _rounded(text: str) -> str:
    """A prior with four digits of each number, as the terminal writes it."""
    return _FRACTION.sub(lambda found: f"{float(found[0]):.4g}", text)


def _range(column: pd.Series[float]) -> str:
    low, high = float(column.min()), float(column.max())
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _listed(names: Iterable[str]) -> Html | None:
    items = [tag("li", breakable(name)) for name in names]
    return tag("ul", items) if items else None


def _pairs(words: Mapping[str, str]) -> Html | None:
    items = [tag("li", tag("code", label(name)), " ", label(text)) for name, text in words.items()]
    return tag("ul", items) if items else None


def _tracks(section: Section) -> Html | None:
    names = dict.fromkeys([*(track.name for track in section.tracks), *section.info.settings])
    items = [
        tag("li", tag("b", label(name)), ": ", label(text))
        for name in names
        if (text := section.info.settings.get(name) or _TRACKS.get(name, "")) or name
    ]
    return tag("ul", items) if items else None
