"""Pictures of how far two contenders agree; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from nestor.agreement.density import DensityCheck
    from nestor.agreement.shape import ShapeResult
    from nestor.stats.diagnostics.summaries import Summaries

__all__ = ["plot_densities", "plot_differences", "plot_rank_ecdf"]


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
    from nestor.views.plots.agreement_differences import differences

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
    from nestor.views.plots.agreement_ecdf import rank_ecdf

    return rank_ecdf(names, draws_a, draws_b, labels, shape, most)


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
    from nestor.views.plots.agreement_densities import densities

    return densities(checks)


def _require_matplotlib() -> None:
    from nestor.views.plots import _require_matplotlib as require

    require()
