"""A pair's tests summed up by group, so that thousands of nodes give a readable answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.tost import COMPARED
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.agreement.difference import DifferenceResult
    from nestor.agreement.equivalence import EquivalenceResult
    from nestor.agreement.shape import ShapeResult


@dataclass(frozen=True)
class GroupResult:
    """What the tests say of one group of quantities: the population, the scales, a level's nodes, ...

    Parameters
    ----------
    group
        Its name.
    scalars
        Number of scalars in it.
    outside
        Scalars of which the mean or the sd, as estimated, is outside the margin.
    not_shown
        Scalars of which the mean or the sd is not shown to be inside the margin.
    different
        Scalars with a mean, sd or quantile that differs by more than Monte Carlo error (step 2).
    shape
        Scalars whose rank ECDFs differ (step 4); None if shapes were not compared.
    worst
        Label of the scalar that needs the largest margin, and which of its mean or sd; None if a
        quantity of the group cannot be compared.
    size, margin_needed
        That quantity's difference as estimated (posterior sd, or ratio less one), and the margin
        at which it would be shown equivalent; None likewise.
    """

    group: str
    scalars: int
    outside: int
    not_shown: int
    different: int
    shape: int | None
    worst: str | None
    size: float | None
    margin_needed: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        plain: dict[str, Any] = as_plain(self)
        return plain


def summarize_groups(
    groups: Sequence[str],
    labels: Sequence[str],
    difference: DifferenceResult,
    equivalence: EquivalenceResult,
    shape: ShapeResult | None = None,
) -> tuple[GroupResult, ...]:
    """Sum up a pair's tests by group, groups in the order of their first scalar.

    Parameters
    ----------
    groups, labels
        Group and name of each scalar, shape (scalar,).
    difference, equivalence, shape
        Results of steps 2, 3 and, where it was done, 4.
    """
    names = list(dict.fromkeys(groups))
    code = np.array([names.index(group) for group in groups])
    differing = {one.label for one in difference.rejected}
    misshapen = None if shape is None else {one.label for one in shape.rejected}
    different = np.array([label in differing for label in labels])
    bent = None if misshapen is None else np.array([label in misshapen for label in labels])
    margins = np.array([equivalence.margin, equivalence.sd_margin])[:, None]
    outside = (np.abs(equivalence.size) > margins).any(axis=0)
    not_shown = ~equivalence.shown.all(axis=0)
    found = []
    for i, name in enumerate(names):
        mine = np.flatnonzero(code == i)
        worst, size, needed = _worst(equivalence, mine, labels)
        found.append(
            GroupResult(
                group=name,
                scalars=len(mine),
                outside=int(outside[mine].sum()),
                not_shown=int(not_shown[mine].sum()),
                different=int(different[mine].sum()),
                shape=None if bent is None else int(bent[mine].sum()),
                worst=worst,
                size=size,
                margin_needed=needed,
            )
        )
    return tuple(found)


def _worst(
    equivalence: EquivalenceResult, mine: np.ndarray[Any, Any], labels: Sequence[str]
) -> tuple[str | None, float | None, float | None]:
    """Label, size and margin needed of the quantity that needs the largest margin."""
    needed = equivalence.needed[:, mine]
    if np.isnan(needed).any():
        return None, None, None
    row, column = np.unravel_index(int(needed.argmax()), needed.shape)
    size = float(equivalence.size[row, mine[column]])
    label = f"{COMPARED[row]} of {labels[mine[column]]}"
    return label, size, float(needed[row, column])
