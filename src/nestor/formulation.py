"""HOW the posterior is computed: choices that change the cost and never the posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nestor.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Centering = Literal["centered", "noncentered"]


@dataclass(frozen=True)
class Formulation:
    """A formulation of a model with given levels.

    Parameters
    ----------
    levels : tuple of str
        The model's levels, from the top down.
    centering : tuple of {"centered", "noncentered"}
        For each level: sample the nodes' coefficients themselves, or their deviations from the parent
        in units of the group-level standard deviation (Papaspiliopoulos, Roberts and Skold 2007).
    """

    levels: tuple[str, ...]
    centering: tuple[Centering, ...]

    @classmethod
    def parse(cls, words: Iterable[str], levels: Sequence[str]) -> Formulation:
        """Read the words of a contender that say how.

        Parameters
        ----------
        words : iterable of str
            ``centered`` or ``noncentered`` for all levels, ``LEVEL=centered`` for one. Default noncentered.
        levels : sequence of str
            The model's levels.

        Raises
        ------
        SpecError
            If a word contradicts another or names an unknown level.
        """
        general: Centering | None = None
        special: dict[str, Centering] = {}
        for word in words:
            level, equals, how = word.rpartition("=")
            choice = _centering(how)
            if not equals:
                if general not in (None, choice):
                    raise SpecError("a contender cannot be both centered and noncentered.")
                general = choice
            elif level not in levels:
                raise SpecError(f"{word!r}: no level {level!r}; the levels are {list(levels)}.")
            elif special.get(level, choice) != choice:
                raise SpecError(f"level {level!r} cannot be both centered and noncentered.")
            else:
                special[level] = choice
        default: Centering = general or "noncentered"
        return cls(tuple(levels), tuple(special.get(level, default) for level in levels))

    @property
    def words(self) -> tuple[str, ...]:
        """The shortest words that `parse` reads as this formulation; the commonest choice comes first."""
        count = self.centering.count("centered")
        common: Centering = "centered" if 2 * count > len(self.centering) else "noncentered"
        pairs = zip(self.levels, self.centering, strict=True)
        return (common, *(f"{level}={how}" for level, how in pairs if how != common))

    def __str__(self) -> str:
        return ",".join(self.words)

    def is_centered(self, level: str) -> bool:
        """Whether the coefficients of `level` are sampled themselves."""
        return self.centering[self.levels.index(level)] == "centered"


def _centering(text: str) -> Centering:
    if text == "centered":
        return "centered"
    if text == "noncentered":
        return "noncentered"
    raise SpecError(f"{text!r} is not a formulation: write centered or noncentered.")
