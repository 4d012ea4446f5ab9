"""The pictures of a comparison's densities and of each pair of contenders."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

from nestor.agreement.engine_result import EngineResult
from nestor.agreement.pair_judge import PairJudge
from nestor.errors import DataError
from nestor.views.plots.densities import densities
from nestor.views.plots.differences import differences
from nestor.views.plots.rank_ecdf import rank_ecdf

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.engine_result import EngineRow
    from nestor.agreement.verdict import PairResult
    from nestor.views.plots.canvas import Picture

#: Bytes of a file's name; file systems allow 255, suffix included.
_LONGEST = 200


def find_pair(
    comparison: Comparison, a: str | None, b: str | None
) -> tuple[EngineRow, EngineRow, PairResult]:
    """Return the pair called `a` and `b`, or the only one.

    Raises
    ------
    DataError
        If there is no such pair, or several and none is named; `UnknownContender` for a name that means
        none or several contenders.
    """
    named = {comparison.row(name).name for name in (a, b) if name is not None}
    found = [
        (*rows, pair)
        for rows, pair in zip(combinations(comparison.rows, 2), comparison.pairs, strict=True)
        if named <= {pair.a, pair.b}
    ]
    if len(found) != 1:
        names = ", ".join(row.name for row in comparison.rows)
        raise DataError(f"name the two contenders of one pair, of {names}.")
    return found[0]


def pair_differences(
    comparison: Comparison, a: EngineRow, b: EngineRow, pair: PairResult
) -> Picture:
    """Differences of means and sds of a pair; see `nestor.views.plots.plot_differences`."""
    a, b = _with_draws(a, b)
    quantities = comparison.quantities
    return differences(
        (a.name, b.name),
        a.summaries,
        b.summaries,
        quantities.labels,
        quantities.groups,
        (comparison.margin, comparison.margin),
        pair.word,
    )


def _with_draws(a: EngineRow, b: EngineRow) -> tuple[EngineResult, EngineResult]:
    if not (isinstance(a, EngineResult) and isinstance(b, EngineResult)):
        raise DataError(
            f"{a.name} and {b.name} have not both returned draws: nothing can be drawn."
        )
    return a, b


def pair_rank_ecdf(comparison: Comparison, a: EngineRow, b: EngineRow, pair: PairResult) -> Picture:
    """Rank ECDFs of a pair; see `nestor.views.plots.plot_rank_ecdf`."""
    if pair.shape is None or pair.shape.n_tests == 0:
        raise DataError(f"the shapes of {a.name} and {b.name} could not be compared.")
    a, b = _with_draws(a, b)
    judge = PairJudge(comparison.problem, comparison.criteria)
    draws = judge.draws(a), judge.draws(b)
    return rank_ecdf((a.name, b.name), *draws, comparison.quantities.labels, pair.shape, 9)


def pictures(comparison: Comparison) -> dict[str, Callable[[], Picture]]:
    """Return what can be drawn, by the stem of its file."""
    found: dict[str, Callable[[], Picture]] = {}
    if comparison.densities:
        found["densities"] = partial(densities, comparison.densities)
    for i, j in combinations(range(len(comparison.rows)), 2):
        a, b, pair = find_pair(comparison, comparison.rows[i].name, comparison.rows[j].name)
        tail = ""
        if len(comparison.rows) > 2:
            tail = f"-{a.contender.file_stem}-{b.contender.file_stem}"
            tail = tail if len(tail.encode()) < _LONGEST else f"-{i + 1}-{j + 1}"
        if isinstance(a, EngineResult) and isinstance(b, EngineResult):
            found[f"differences{tail}"] = partial(pair_differences, comparison, a, b, pair)
        if pair.shape is not None and pair.shape.n_tests:
            found[f"ranks{tail}"] = partial(pair_rank_ecdf, comparison, a, b, pair)
    return found
