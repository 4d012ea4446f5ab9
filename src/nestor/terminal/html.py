"""A comparison as a notebook shows it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from nestor.terminal.words import chosen_lines, index_lines, pair_sentences, prior_lines

if TYPE_CHECKING:
    from nestor.comparison import Comparison

_COLOURS = {"AGREE": "#1a7f37", "DISAGREE": "#c0242f", "INCONCLUSIVE": "#9a6700"}


def comparison_html(comparison: Comparison) -> str:
    """Return HTML with the problem, the table of engines and the verdict of each pair, all escaped."""
    problem = comparison.problem
    chosen = chosen_lines(row.contender for row in comparison.rows)
    tree = "\n".join([*index_lines(problem.index), *prior_lines(problem), *chosen])
    formula, family = escape(problem.spec.to_formula()), escape(problem.spec.family)
    parts = [
        f"<p><b>{formula}</b> &nbsp; {family}, {problem.n_rows:,} rows</p>",
        f"<pre>{escape(tree)}</pre>",
        comparison.table().to_html(na_rep="", float_format="{:.4g}".format, border=0, escape=True),
    ]
    for pair in comparison.pairs:
        verdict = pair.verdict.value
        text = escape(" ".join(pair_sentences(pair, comparison)))
        parts.append(f'<p><b style="color: {_COLOURS[verdict]}">{verdict}</b> &nbsp; {text}</p>')
    return "<div>" + "".join(parts) + "</div>"
