"""Pictures of draws and of what they cost; matplotlib is imported when the first one is drawn.

Every function returns a matplotlib figure of its own: pyplot and its list of open figures are not
touched. An engine has the same colour and line in every picture: the one of its place among those
that returned draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import xarray as xr
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.density import DensityCheck
    from nestor.agreement.shape import ShapeResult
    from nestor.bench.statistics import BenchStatistics
    from nestor.data.problem import Problem
    from nestor.stats.diagnostics.summaries import Summaries

__all__ = [
    "SpeedRow",
    "plot_densities",
    "plot_differences",
    "plot_forest",
    "plot_population",
    "plot_rank_ecdf",
    "plot_speed",
    "plot_trace",
    "save_agreement",
    "save_all",
    "save_bench_plots",
]


class SpeedRow(Protocol):
    """What `plot_speed` reads of an engine.

    Attributes
    ----------
    name, status : str
        The contender, and what became of it.
    timings : mapping of str to float or None
        Seconds: import_s, compile_s, warmup_s, sampling_s, warmup_and_sampling_s, postprocess_s,
        transfer_s, total_s.
    efficiency : mapping of str to float or None
        Effective draws per second: ess_per_s_sampling, ess_per_s_total.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described in the class
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def timings(self) -> Mapping[str, float | None]: ...  # noqa: D102
    @property
    def efficiency(self) -> Mapping[str, float | None]: ...  # noqa: D102


def plot_trace(problem: Problem, trees: Mapping[str, xr.DataTree]) -> Figure:
    """Draw marginal densities and traces, from the population down to the last level.

    One row per variable and effect: on the left the density of each engine (of each node, for the
    coefficients of nodes), on the right the chains of each engine. Of more than 40 nodes a selection
    is drawn, which the row's title says. The chains are those of one node: the one whose chains
    differ most, by the ratio of variances of split R-hat. Ticks at the foot mark divergences.

    Parameters
    ----------
    problem : Problem
        Where names come from.
    trees : mapping of str to DataTree
        Draws of each engine, by its name.

    Raises
    ------
    DataError
        If there are no draws, or they are not of this problem.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.trace import trace

    return trace(problem, trees)


def plot_forest(problem: Problem, trees: Mapping[str, xr.DataTree], level: str) -> Figure:
    """Draw a level's coefficients, each node's total: posterior mean, 50% and 90% equal-tailed intervals.

    One panel per effect that varies at the level, engines one below the other at each node, nodes in
    the order of the tree. Of more than 60 nodes a selection is drawn, which the title says.

    Parameters
    ----------
    problem : Problem
        Where names come from.
    trees : mapping of str to DataTree
        Draws of each engine, by its name.
    level : str
        One of the problem's levels.

    Raises
    ------
    SpecError
        If there is no such level, or no effect varies at it.
    DataError
        If there are no draws, or they are not of this problem.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.forest import forest

    return forest(problem, trees, level)


def plot_population(problem: Problem, trees: Mapping[str, xr.DataTree]) -> Figure:
    """Draw what belongs to no single node: beta, gamma, standard deviations, family parameters.

    One panel per scalar, as these live on different scales; per-parent standard deviations, which
    belong to nodes, are left to `plot_trace`.

    Parameters
    ----------
    problem : Problem
        Where names come from.
    trees : mapping of str to DataTree
        Draws of each engine, by its name.

    Raises
    ------
    DataError
        If there are no draws, or they are not of this problem.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.forest import population

    return population(problem, trees)


def plot_speed(rows: Sequence[SpeedRow]) -> Figure:
    """Draw effective draws per second, and where the time went.

    The left panel has a logarithmic scale where values differ by more than a factor of 50. The right
    one never has: lengths of stacked pieces would then mean nothing. What an engine did not measure
    is a gap there, and an engine without numbers shows its status.

    Parameters
    ----------
    rows : sequence of SpeedRow
        One for each engine, such as `Comparison.rows`.

    Raises
    ------
    DataError
        If there is no row.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.speed import speed

    return speed(rows)


def plot_densities(checks: Sequence[DensityCheck]) -> Figure:
    """Draw each engine's differences to the reference's log density against its tolerance.

    One row per engine and one dot per point, on a logarithmic scale; differences of zero and those
    that are not finite stand at its ends.

    Parameters
    ----------
    checks
        One for each engine.

    Raises
    ------
    DataError
        If there is no check.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.densities import densities

    return densities(checks)


def plot_differences(
    names: tuple[str, str],
    a: Summaries,
    b: Summaries,
    labels: Sequence[str],
    groups: Sequence[str],
    margin: float = 0.2,
    sd_margin: float = 0.2,
    verdict: str = "",
) -> Figure:
    """Draw all differences of means and sds with their 90% intervals and the margin, by group.

    An interval inside the margin is what the equivalence test at 0.05 asks for. Of a group with many
    scalars all are drawn as one sorted curve, and those that need the largest margin by name.

    Parameters
    ----------
    names
        Of the two contenders.
    a, b
        Their summaries, over the same scalars.
    labels, groups
        Name and group of each scalar, shape (scalar,); scalars of a group follow each other.
    margin, sd_margin
        For means, in posterior sd, and for sds, as a fraction.
    verdict
        Written below the title, if there is one.

    Raises
    ------
    DataError
        If summaries, labels and groups do not belong together, or there is no scalar.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.differences import differences

    return differences(names, a, b, labels, groups, (margin, sd_margin), verdict)


def plot_rank_ecdf(
    names: tuple[str, str],
    draws_a: ArrayLike,
    draws_b: ArrayLike,
    labels: Sequence[str],
    shape: ShapeResult,
    most: int = 9,
) -> Figure:
    """Draw the differences of the rank ECDFs that are least likely by chance, with their bands.

    The inner band is that of one test at the level, the outer one that of the whole family (of the
    first step of Holm's procedure): leaving it is a rejection.

    Parameters
    ----------
    names
        Of the two contenders.
    draws_a, draws_b
        Shape (chain, draw, scalar), those that were tested.
    labels
        Name of each scalar, shape (scalar,).
    shape
        Result of `nestor.agreement.shape.shape_test` on these draws.
    most
        Number of panels.

    Raises
    ------
    DataError
        If draws, labels and result do not belong together, or no scalar was tested.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.rank_ecdf import rank_ecdf

    return rank_ecdf(names, draws_a, draws_b, labels, shape, most)


def save_all(
    problem: Problem, trees: Mapping[str, xr.DataTree], rows: Sequence[SpeedRow], folder: Path
) -> list[Path]:
    """Write ``trace.png``, ``forest-<level>.png`` for each level and ``speed.png``.

    Parameters
    ----------
    problem : Problem
        Where names come from.
    trees : mapping of str to DataTree
        Draws of each engine, by its name; where there are none only ``speed.png`` is written.
    rows : sequence of SpeedRow
        One for each engine.
    folder : Path
        Where to; it must exist. Each file appears there whole or not at all.

    Returns
    -------
    list of Path
        The files, in the order given above.

    Raises
    ------
    DataError
        If draws are not of this problem, or a file cannot be written.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.save import save

    return save(problem, trees, rows, folder)


def save_agreement(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``densities.png`` and, for each pair, ``differences.png`` and ``ranks.png``.

    With more than two contenders the names of a pair's files end in those of the two.

    Parameters
    ----------
    comparison : Comparison
        What to draw; what it has no draws for is left out.
    folder : Path
        Where to; it must exist. Each file appears there whole or not at all.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        If a file cannot be written.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.pairs import pictures
    from nestor.views.plots.save import write_all

    return write_all(pictures(comparison), folder)


def save_bench_plots(statistics: BenchStatistics, folder: Path) -> list[Path]:
    """Write the pictures that a benchmark's results give, each whole or not at all.

    For each track ``time-TRACK.png`` and ``phases-TRACK.png`` (of the largest size, where there are
    several), ``growth-TRACK.png`` where there are two sizes or more, and ``rates-cores-TRACK.png`` or
    ``rates-chains-TRACK.png`` where a contender had several numbers of them. Where there are several
    scenarios, the scenario's name comes first. A contender has the same pen in all of them.

    Parameters
    ----------
    statistics : BenchStatistics
        Of the results.
    folder : Path
        Where to; it must exist.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    DataError
        If it is no table of benchmark results, or a file cannot be written.
    Unsupported
        If matplotlib is not installed.
    """
    _require_matplotlib()
    from nestor.views.plots.bench_pictures import bench_pictures
    from nestor.views.plots.save import write_all

    return write_all(bench_pictures(statistics), folder)


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401, ICN001 - only asked whether it is there
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise Unsupported(
            "pictures need matplotlib, which is not installed: pip install 'nestor[plots]'."
        ) from None
