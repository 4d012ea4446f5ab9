"""A comparison as a notebook shows it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from nestor.terminal.words import (
    ESTIMATES,
    SHOWN_QUANTITIES,
    chosen_lines,
    count,
    estimate_rows,
    index_lines,
    note_lines,
    pair_sentences,
    prior_lines,
)

if TYPE_CHECKING:
    from nestor.comparison import Comparison

_COLOURS = {"AGREE": "#1a7f37", "DISAGREE": "#c0242f", "INCONCLUSIVE": "#9a6700"}


def comparison_html(comparison: Comparison) -> str:
    """Return HTML with the problem, the table of engines and the verdict of each pair, all escaped."""
    problem = comparison.problem
    chosen = chosen_lines(row.contender for row in comparison.rows)
    notes = note_lines(problem, [row.contender for row in comparison.rows])
    tree = "\n".join([*index_lines(problem.index), *prior_lines(problem), *notes, *chosen])
    formula, family = escape(problem.spec.to_formula()), escape(problem.spec.family)
    parts = [
        f"<p><b>{formula}</b> &nbsp; {family}, {problem.n_rows:,} rows</p>",
        f"<pre>{escape(tree)}</pre>",
        comparison.table().to_html(na_rep="", float_format="{:.4g}".format, border=0, escape=True),
    ]
    parts.append(estimates_html(comparison))
    for pair in comparison.pairs:
        verdict = pair.verdict.value
        text = escape(" ".join(pair_sentences(pair, comparison)))
        parts.append(f'<p><b style="color: {_COLOURS[verdict]}">{verdict}</b> &nbsp; {text}</p>')
    return "<div>" + "".join(parts) + "</div>"


def estimates_html(comparison: Comparison) -> str:
    """Return what each engine estimates, engines side by side; empty without draws."""
    import pandas as pd

    rows = estimate_rows(comparison)
    if not rows:
        return ""
    shown = dict(list(rows.items())[:SHOWN_QUANTITIES])
    table = pd.DataFrame(
        {
            quantity: {
                (engine, heading): figure
                for engine, figures in by_engine.items()
                for heading, figure in zip(ESTIMATES, figures, strict=True)
            }
            for quantity, by_engine in shown.items()
        }
    ).T
    more = len(rows) - len(shown)
    note = f"<p>{count(more)} more are in <code>estimates()</code>.</p>" if more > 0 else ""
    return table.to_html(border=0, escape=True) + note
