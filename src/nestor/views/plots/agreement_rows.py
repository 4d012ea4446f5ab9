"""Which scalars have a row of their own in a picture of differences, and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from nestor.views.plots.text import columns, label, literal, one_line, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    type FloatArray = NDArray[np.float64]
    type IntArray = NDArray[np.intp]

FEW = 12  # scalars of a group that are all named
_NAMED = 3  # of a larger one
_CURVE_ROWS = 6.0  # height of a larger group's curve, in rows
_LABEL = 60


@dataclass(frozen=True, eq=False)
class Rows:
    """What stands where, counted in rows from the top.

    `named` are the scalars with a row of their own, at `places`; `curves` the larger groups: their
    scalars with first and last row; `texts` places, texts and whether they are a group's name.
    """

    named: IntArray
    places: FloatArray
    curves: Sequence[tuple[IntArray, float, float]]
    texts: Sequence[tuple[float, str, bool]]
    end: float

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        groups: Sequence[str],
        reach: FloatArray,
        state: NDArray[np.int8],
    ) -> Rows:
        """Lay out groups in the order of their first scalar; `reach` and `state` (scalar,)."""
        named: list[int] = []
        places: list[float] = []
        curves: list[tuple[IntArray, float, float]] = []
        texts: list[tuple[float, str, bool]] = []
        row = 0.0
        codes = np.array(groups, dtype=object)
        for group in dict.fromkeys(groups):
            members = np.flatnonzero(codes == group)
            few = members.size <= FEW
            title = label(group, _LABEL)
            texts.append((row, title if few else f"{title}: {members.size:,} scalars", True))
            row += 1
            own = members
            if not few:
                curves.append((members, row - 0.3, row + _CURVE_ROWS - 0.7))
                row += _CURVE_ROWS
                known = members[state[members] >= 0]
                own = known[np.argsort(-reach[known], kind="stable")[:_NAMED]]
            words = distinct([labels[i] for i in own.tolist()], _LABEL)
            for i, text in zip(own.tolist(), words, strict=True):
                named.append(i)
                places.append(row)
                texts.append((row, text, False))
                row += 1
            row += 0.5
        return cls(np.array(named, dtype=np.intp), np.array(places), curves, texts, row)


def distinct(texts: Sequence[str], width: int) -> list[str]:
    """Cut texts to a width; where that makes them equal, in what they all begin and end with."""
    plain = [one_line(text) for text in texts]
    short = [shorten(text, width) for text in plain]
    if len(set(short)) < len(set(plain)):
        head = _common_start(plain)
        rests = [text[len(head) :] for text in plain]
        tail = _common_start([rest[::-1] for rest in rests])[::-1]
        cores = [rest.removesuffix(tail) for rest in rests]
        room = max(8, (width - max(columns(core) for core in cores)) // 2)
        short = [
            shorten(
                shorten(head, room) + core + shorten(tail, room), max(width, 16 + columns(core))
            )
            for core in cores
        ]
    return [literal(text) for text in short]


def _common_start(texts: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in same)
