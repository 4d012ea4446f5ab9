"""What a notebook shows: descriptions, problems, trees, priors and results as HTML.

All text of the user's is escaped, and a tree of any size or a table of any length is cut to what can be
read. Colours are the page's own, so that it reads on white and on black; a verdict is a word on a ground of
its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.errors.text import printable
from nestor.views.format import MISSING, count, counted, shorten, status_text
from nestor.views.report.markup import Html, breakable, label, render, tag
from nestor.views.sentences import (
    ESTIMATES,
    SHOWN_QUANTITIES,
    chosen_lines,
    cost_lines,
    estimate_rows,
    note_lines,
    pair_sentences,
    power_lines,
    prior_groups,
    reused_lines,
    rows_per_leaf,
    sentence,
    short_prior,
)
from nestor.views.terminal.comparison import engine_cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.verdict import PairResult
    from nestor.calibration import Calibration
    from nestor.data.index import TreeIndex
    from nestor.data.problem import Problem
    from nestor.data.resolved_priors import ResolvedPriors
    from nestor.model.spec import ModelSpec
    from nestor.views.report.markup import Content

# White on each of these has a contrast of 4.5 or more (WCAG AA).
_GROUNDS = {
    "AGREE": "#1a7f37",
    "DISAGREE": "#c0242f",
    "INCONCLUSIVE": "#8a5a00",
    "CALIBRATED": "#1a7f37",
    "NOT CALIBRATED": "#c0242f",
}
_STYLE = """
.nestor-view { line-height: 1.45; max-width: 100%; }
.nestor-view p { margin: .4em 0; overflow-wrap: anywhere; }
.nestor-view .wide { overflow-x: auto; }
.nestor-view table { border-collapse: collapse; margin: .6em 0; border: 0; color: inherit;
  font-variant-numeric: tabular-nums; background: transparent; }
.nestor-view caption { text-align: left; font-weight: 600; padding: .2em 0; color: inherit; }
.nestor-view th, .nestor-view td { padding: .15em .8em .15em 0; text-align: left; vertical-align: top;
  border: 0; background: transparent; color: inherit; max-width: 32em; overflow-wrap: break-word;
  white-space: normal; }
.nestor-view thead th { border-bottom: 1px solid currentColor; }
.nestor-view tbody th { font-weight: normal; }
.nestor-view .number { text-align: right; white-space: nowrap; }
.nestor-view ul { margin: .2em 0; padding-left: 1.4em; }
.nestor-view summary { cursor: pointer; }
.nestor-view .verdict { color: #fff; font-weight: 600; padding: .1em .5em; border-radius: .3em;
  white-space: nowrap; }
"""
_LABEL = 80
_SHOWN = (8, 4, 3, 2)  # children of a node that are listed, by depth
_PRIORS = 24  # rows of a table of priors
_LISTED = 12  # terms that are named in a row


def spec_html(spec: ModelSpec) -> str:
    """Return a description: formula, family, levels and the priors that were given."""
    rows: list[Sequence[Content]] = [
        [
            _label(level.name),
            _names(level.effects) if level.effects else "none vary",
            "one for each parent" if level.scale == "parent" else "one for the level",
        ]
        for level in spec.levels
    ]
    parts: list[Content] = [
        _heading(spec.to_formula(), spec.family),
        _table("Levels, from the top down", ["level", "effects", "standard deviations"], rows),
    ]
    columns = {"offset": spec.offset, "weights": spec.weights}
    parts += [
        tag("p", f"{name}: ", _label(column))
        for name, column in columns.items()
        if column is not None
    ]
    given: list[Sequence[Content]] = [[_label(a), str(p)] for a, p in spec.priors.items()]
    if given:
        parts.append(_table("Priors given", ["of", "prior"], _cut(given, _PRIORS)))
    parts.append(tag("p", f"{'Other p' if given else 'P'}riors are scaled by the data."))
    return _view(*parts)


def problem_html(problem: Problem) -> str:
    """Return a problem: formula, rows, levels, tree and priors."""
    return _view(*_problem(problem))


def index_html(index: TreeIndex) -> str:
    """Return a tree: its levels, and its first branches with the rows of each leaf."""
    return _view(tag("p", f"{count(index.n_rows)} rows"), *_tree(index))


def priors_html(priors: ResolvedPriors) -> str:
    """Return all priors; variables that share theirs are in one row."""
    return _view(_priors(priors))


def comparison_html(comparison: Comparison) -> str:
    """Return a comparison: problem, engines and the verdict of each pair with its reasons."""
    headings, cells, phases = engine_cells(comparison.rows)
    engines = [
        [breakable(printable(row.name)), status_text(row.status), *values]
        for row, values in zip(comparison.rows, cells, strict=True)
    ]
    notes = [
        tag(
            "li",
            tag("b", breakable(printable(row.name))),
            f" {status_text(row.status)}: {printable(row.message)}",
        )
        for row in comparison.rows
        if row.message
    ]
    notes += [
        tag("li", tag("b", breakable(printable(row.name))), f" {printable(row.speed_void)}")
        for row in comparison.rows
        if row.speed_void
    ]
    notes += [tag("li", printable(note)) for note in phases]
    contenders = [row.contender for row in comparison.rows]
    before = (*note_lines(comparison.problem, contenders), *chosen_lines(contenders))
    chosen = [tag("li", printable(line.strip())) for line in before]
    heading, *problem = _problem(comparison.problem)
    verdict = comparison.verdict.value
    parts: list[Content] = [
        heading,
        tag("details", tag("summary", "Levels, tree and priors"), problem),
        tag("p", _badge(verdict, verdict), f" {len(comparison.rows)} engines"),
        tag("ul", chosen) if chosen else None,
        _table("Engines", ["engine", "status", *headings], engines, numbers_from=2),
        tag("ul", notes) if notes else None,
    ]
    parts += _estimates(comparison)
    for pair in comparison.pairs:
        parts += _pair(pair, pair_sentences(pair, comparison))
    return _view(*parts)


def _estimates(comparison: Comparison) -> list[Content]:
    """What each engine estimates of the population, scales and family parameters, one under the other."""
    table = estimate_rows(comparison)
    rows: list[Sequence[Content]] = []
    for quantity, by_engine in list(table.items())[:SHOWN_QUANTITIES]:
        for k, (engine, figures) in enumerate(by_engine.items()):
            name = _label(quantity) if k == 0 else ""
            rows.append([name, breakable(printable(engine)), *figures])
    if not rows:
        return []
    found: list[Content] = [_table("Estimates", ["of", "engine", *ESTIMATES], rows, numbers_from=2)]
    if (more := len(table) - SHOWN_QUANTITIES) > 0:
        found.append(tag("p", f"{count(more)} more are in ", tag("code", "estimates()"), "."))
    return found


def pair_html(pair: PairResult) -> str:
    """Return the verdict of a pair, its reasons, and its tests summed up by group."""
    reasons = f"{pair.a} and {pair.b}: {'; '.join(pair.reasons)}"
    sentences = [sentence(text) for text in (reasons, *pair.notes)]
    return _view(*_pair(pair, sentences))


def calibration_html(found: Calibration) -> str:
    """Return HTML of a calibration: the verdict, why, the quantities that are wrong, what would be found."""
    judged = found.judgement
    head = (
        f" {found.contender.name}, {count(len(found.records))} simulations from the {found.around}"
    )
    lines = [*(f"{reason}." for reason in judged.reasons), *power_lines(found), *cost_lines(found)]
    wrong = [[_label(one.label), f"{one.p_adjusted:.1e}", one.how] for one in judged.rejected]
    return _view(
        tag("p", _badge(judged.verdict.value, judged.verdict.value), label(head)),
        [tag("p", label(printable(line[:1].upper() + line[1:]))) for line in lines],
        _table("Not uniform", ["quantity", "p, corrected", "how"], _cut(wrong, _PRIORS))
        if wrong
        else None,
    )


def _problem(problem: Problem) -> list[Content]:
    return [
        _heading(problem.spec.to_formula(), f"{problem.spec.family}, {count(problem.n_rows)} rows"),
        *_tree(problem.index),
        _priors(problem.priors),
    ]


def _heading(formula: str, rest: str) -> Html:
    return tag("p", tag("b", label(printable(formula))), f" ({rest})")


def _tree(index: TreeIndex) -> list[Content]:
    summary = index.summary()
    rows: list[Sequence[Content]] = []
    for k, level in enumerate(summary.levels):
        each = f"{level.children_per_parent:,.1f}" if k > 0 else ""
        leaves = ""
        if level is summary.levels[-1]:
            leaves = rows_per_leaf(summary)
        rows.append([_label(level.name), count(level.nodes), each, leaves])
    headings = ["level", "nodes", "per parent", "rows"]
    branches = tag(
        "details", tag("summary", "Tree"), tag("ul", _branches(index, 0, 0, index.levels[0].n))
    )
    notes = [tag("p", line) for line in reused_lines(summary)]
    return [_table("Levels, from the top down", headings, rows, numbers=(1, 2)), *notes, branches]


def _branches(index: TreeIndex, depth: int, first: int, stop: int) -> Iterable[Content]:
    """List nodes ``first:stop`` of a level, the children of one node, and what is below them."""
    level = index.levels[depth]
    shown = _SHOWN[depth] if depth < len(_SHOWN) else 1
    is_leaf = depth + 1 == len(index.levels)
    for node in range(first, min(stop, first + shown)):
        leaves = _below(index, depth, len(index.levels) - 1, node)
        n = int(index.starts[leaves[1]] - index.starts[leaves[0]])
        item: list[Content] = [_label(level.label_text[node]), f": {counted(n, 'row')}"]
        if not is_leaf:
            children = _below(index, depth, depth + 1, node)
            item.append(tag("ul", _branches(index, depth + 1, *children)))
        yield tag("li", item)
    if stop - first > shown:
        yield tag("li", f"and {count(stop - first - shown)} more")


def _below(index: TreeIndex, depth: int, level: int, node: int) -> tuple[int, int]:
    """Return the range of a node's descendants on a level: first, and last plus one."""
    first, stop = node, node + 1
    for below in index.levels[depth + 1 : level + 1]:
        first, stop = (int(i) for i in np.searchsorted(below.parent, [first, stop]))
    return first, stop


def _priors(priors: ResolvedPriors) -> Html:
    rows: list[Sequence[Content]] = []
    for names, by_effect in prior_groups(priors):
        if len(by_effect) > 1 and len(set(by_effect.values())) == 1:
            effects, prior = _names(by_effect), next(iter(by_effect.values()))
            rows.append([_names(names), effects, short_prior(prior)])
            continue
        for k, (effect, prior) in enumerate(by_effect.items()):
            rows.append([_names(names) if k == 0 else "", _label(effect), short_prior(prior)])
    for name, prior in priors.family.items():
        fixed = f"known, {prior.value:.4g}" if prior.is_fixed else short_prior(prior)
        rows.append([name, "", fixed])
    note = " (scaled by the data where none was given)" if priors.automatic else ""
    return _table(f"Priors{note}", ["of", "effect", "prior"], _cut(rows, _PRIORS))


def _pair(pair: PairResult, sentences: Iterable[str]) -> list[Content]:
    text = " ".join(printable(sentence) for sentence in sentences)
    parts: list[Content] = [tag("p", _badge(pair.verdict.value, pair.word), " ", label(text))]
    if pair.groups:
        headings = ["group", "scalars", "outside", "not shown", "differ", "shape"]
        headings += ["by", "margin needed", "hardest to show equal"]
        rows: list[Sequence[Content]] = []
        for group in pair.groups:
            counts = (group.scalars, group.outside, group.not_shown, group.different, group.shape)
            cells = [MISSING if value is None else count(value) for value in counts]
            cells.append(MISSING if group.size is None else f"{group.size:+.3f}")
            needed = MISSING if group.margin_needed is None else f"{group.margin_needed:.3f}"
            rows.append([_label(group.group), *cells, needed, _label(group.worst or MISSING)])
        caption = [breakable(printable(pair.a)), " and ", breakable(printable(pair.b))]
        parts.append(_table(caption, headings, rows, numbers=range(1, 8)))
    return parts


def _table(
    caption: Content,
    headings: Sequence[str],
    rows: Sequence[Sequence[Content]],
    *,
    numbers: Iterable[int] = (),
    numbers_from: int | None = None,
) -> Html:
    """Make a table: the first cell names the row, columns of numbers are right-aligned."""
    right = set(numbers) | set(range(numbers_from or len(headings), len(headings)))
    kinds = ["number" if j in right else None for j in range(len(headings))]
    head = [
        tag("th", text, scope="col", class_=kind)
        for text, kind in zip(headings, kinds, strict=True)
    ]
    body = []
    for first, *others in rows:
        cells = [tag("th", first, scope="row")]
        cells += [
            tag("td", cell, class_=kind) for cell, kind in zip(others, kinds[1:], strict=True)
        ]
        body.append(tag("tr", cells))
    table = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", head)),
        tag("tbody", body),
    )
    return tag("div", table, class_="wide")


def _cut(rows: Sequence[Sequence[Content]], shown: int) -> list[Sequence[Content]]:
    if len(rows) <= shown + 1:
        return list(rows)
    more: Sequence[Content] = [f"and {count(len(rows) - shown)} more", *([""] * (len(rows[0]) - 1))]
    return [*rows[:shown], more]


def _names(names: Iterable[str]) -> Content:
    """Join names by commas; of many only the first ones."""
    every = list(names)
    found: list[Content] = []
    for name in every[:_LISTED]:
        found += [", ", _label(name)] if found else [_label(name)]
    if len(every) > _LISTED:
        found.append(f", and {count(len(every) - _LISTED)} more")
    return found


def _label(text: object) -> Html:
    return label(shorten(printable(str(text)), _LABEL))


def _badge(verdict: str, words: str) -> Html:
    return tag("span", words, class_="verdict", style=f"background: {_GROUNDS[verdict]}")


def _view(*parts: Content) -> str:
    return str(tag("div", tag("style", Html(_STYLE)), render(parts), class_="nestor-view"))
