"""Numbers and sentences in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from nestor import registry

if TYPE_CHECKING:
    from nestor.agreement.verdict import PairResult
    from nestor.comparison import Comparison
    from nestor.index import NestedIndex
    from nestor.priors import Prior
    from nestor.problem import Problem

MISSING = "-"


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def number(value: float) -> str:
    """Three significant digits, without an exponent where it reads well."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - 3 digits


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds where there are many."""
    if seconds < 120:  # noqa: PLR2004 - two minutes still read well as seconds
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def index_lines(index: NestedIndex) -> list[str]:
    """Describe a tree: nodes and children per level, rows per leaf, reused labels."""
    summary = index.summary()
    width = max(len(level.name) for level in summary.levels)
    digits = max(len(count(level.nodes)) for level in summary.levels)
    lines = []
    for k, level in enumerate(summary.levels):
        line = f"  {level.name:<{width}}  {count(level.nodes):>{digits}} nodes"
        if k > 0:
            line += f"   {level.children_per_parent:.1f} per {summary.levels[k - 1].name}"
        if level is summary.levels[-1]:
            line += f"   {_rows_per_leaf(summary.min_rows_per_leaf, summary.max_rows_per_leaf)}"
            if summary.single_row_leaves:
                line += f", {count(summary.single_row_leaves)} with one row"
        lines.append(line)
    parents = {level.name: index.names[k - 1] for k, level in enumerate(index.levels) if k > 0}
    for name, reused in summary.reused_labels.items():
        examples = ", ".join(reused.examples)
        lines.append(
            f"  note: {count(reused.count)} {name} label{'s' if reused.count > 1 else ''} "
            f"({examples}{', ...' if reused.count > len(reused.examples) else ''}) occur"
            f"{'' if reused.count > 1 else 's'} under more than one {parents[name]}; "
            "each is a different node here."
        )
    return lines


def _rows_per_leaf(least: int, most: int) -> str:
    if least == most:
        return f"{count(least)} row{'' if least == 1 else 's'} each"
    return f"{count(least)} to {count(most)} rows each"


def prior_line(problem: Problem) -> str:
    """All priors with their numbers, on one line."""
    priors = problem.priors
    automatic = ", automatic scales from the data where none was given" if priors.automatic else ""
    parts = [*_each("beta", priors.beta), *_each("gamma", priors.gamma)]
    for level, by_effect in priors.tau.items():
        parts += _each(f"tau_{level}", by_effect)
    parts += [
        f"{name} = {_short(prior)}" if prior.is_fixed else f"{name} {_short(prior)}"
        for name, prior in priors.family.items()
    ]
    return f"Priors{automatic}: {'  '.join(parts)}"


def _each(variable: str, priors: Mapping[str, Prior]) -> Iterator[str]:
    """Name each entry's prior, or all at once where they are one and the same."""
    if len(priors) > 1 and len(set(priors.values())) == 1:
        yield f"{variable} {_short(next(iter(priors.values())))}"
        return
    for effect, prior in priors.items():
        yield f"{variable}[{effect}] {_short(prior)}"


def _short(prior: Prior) -> str:
    if prior.is_fixed:
        return f"{prior.value:.4g}"
    return f"{prior.family}({', '.join(f'{a:.4g}' for a in prior.args)})"


def independence(pair: PairResult, comparison: Comparison) -> str:
    """Say whether the two contenders implement the model independently."""
    by_name = {row.name: row.contender for row in comparison.rows}
    a, b = (
        registry.get(by_name[name].backend).backend.implementation for name in (pair.a, pair.b)
    )
    if a == b:
        return f"Both use one model implementation ({a}), so this says nothing about its correctness."
    return "Two independent model implementations."


def pair_sentences(pair: PairResult, comparison: Comparison) -> Iterator[str]:
    """Say what was found about a pair, from the verdict's reason to what could have been seen."""
    yield f"{pair.a} and {pair.b}:"
    yield from pair.reasons
