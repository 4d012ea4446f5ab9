"""HOW the posterior is computed: choices that change the cost and never the posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from nestor.errors import SpecError
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Centering = Literal["centered", "noncentered"]
Likelihood = Literal["rows", "statistics"]
Coefficients = Literal["sampled", "marginalized"]

_LIKELIHOODS: tuple[str, ...] = get_args(Likelihood)
_MARGINALIZED = "marginalized"
_FORMS = "centered, noncentered, LEVEL=centered, LEVEL=noncentered, rows, statistics, marginalized"


@dataclass(frozen=True)
class Formulation:
    """A formulation of a model with given levels.

    Parameters
    ----------
    levels : tuple of str
        The model's levels, from the top down.
    centering : tuple of {"centered", "noncentered"}
        For each level: sample the nodes' coefficients themselves, or their deviations from the parent
        in units of the group-level standard deviation (Papaspiliopoulos, Roberts and Skold 2007). Without
        meaning, and all noncentered, where coefficients are marginalized.
    likelihood : {"rows", "statistics"}
        Sum the likelihood over rows, or, which is the same number, over leaves by what it depends on: the
        leaf statistics of a gaussian outcome; for other families, distinct rows with counts.
    coefficients : {"sampled", "marginalized"}
        Sample all coefficients, or only the scales: coefficients then are integrated out exactly and drawn
        exactly afterwards. Always by statistics.

    Raises
    ------
    SpecError
        If coefficients are marginalized but the likelihood is over rows, or a level is centred.
    """

    levels: tuple[str, ...]
    centering: tuple[Centering, ...]
    likelihood: Likelihood = "rows"
    coefficients: Coefficients = "sampled"

    def __post_init__(self) -> None:
        if self.is_marginalized and (
            self.likelihood != "statistics" or "centered" in self.centering
        ):
            raise SpecError(
                "marginalized coefficients are not sampled: they are neither centered nor noncentered, "
                "and rows enter by their statistics. Write marginalized alone."
            )

    @classmethod
    def marginalized(cls, levels: Sequence[str]) -> Formulation:
        """Return the formulation that samples scales only."""
        centering: tuple[Centering, ...] = tuple("noncentered" for _ in levels)
        return cls(tuple(levels), centering, "statistics", "marginalized")

    @classmethod
    def parse(cls, words: Iterable[str], levels: Sequence[str]) -> Formulation:
        """Read the words of a contender that say how.

        Parameters
        ----------
        words : iterable of str
            ``centered`` or ``noncentered`` for all levels, ``LEVEL=centered`` for one; ``rows`` or
            ``statistics``; or ``marginalized`` alone. Default noncentered, rows.
        levels : sequence of str
            The model's levels.

        Raises
        ------
        SpecError
            If a word contradicts another or names an unknown level.
        """
        words = list(words)
        likelihoods = {word for word in words if word in _LIKELIHOODS}
        centering = [w for w in words if w not in (*_LIKELIHOODS, _MARGINALIZED)]
        if len(likelihoods) > 1:
            raise SpecError("a contender cannot sum over both rows and statistics.")
        if _MARGINALIZED in words:
            if centering or "rows" in likelihoods:
                raise SpecError(
                    f"marginalized cannot be combined with {(centering or ['rows'])[0]!r}: "
                    "coefficients that are not sampled are neither centered nor noncentered, and rows "
                    "enter by their statistics."
                )
            return cls.marginalized(levels)
        how = _read_centering(centering, levels)
        return cls(tuple(levels), how, "statistics" if "statistics" in likelihoods else "rows")

    @property
    def is_marginalized(self) -> bool:
        """Whether scales only are sampled."""
        return self.coefficients == "marginalized"

    @property
    def words(self) -> tuple[str, ...]:
        """The shortest words that `parse` reads as this formulation; the commonest choice comes first."""
        if self.is_marginalized:
            return (_MARGINALIZED,)
        count = self.centering.count("centered")
        common: Centering = "centered" if 2 * count > len(self.centering) else "noncentered"
        pairs = zip(self.levels, self.centering, strict=True)
        found = [common, *(f"{level}={how}" for level, how in pairs if how != common)]
        return (*found, *(["statistics"] if self.likelihood == "statistics" else []))

    def __str__(self) -> str:
        return ",".join(self.words)

    def is_centered(self, level: str) -> bool:
        """Whether the coefficients of `level` are sampled themselves."""
        return self.centering[self.levels.index(level)] == "centered"


def is_formulation_word(word: str) -> bool:
    """Whether a contender's word says how the posterior is computed."""
    return word in (*_LIKELIHOODS, _MARGINALIZED) or word.rpartition("=")[2] in get_args(Centering)


def _read_centering(words: Iterable[str], levels: Sequence[str]) -> tuple[Centering, ...]:
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
            meant = did_you_mean(level, levels)
            raise SpecError(f"{word!r}: no level {level!r}; the levels are {list(levels)}.{meant}")
        elif special.get(level, choice) != choice:
            raise SpecError(f"level {level!r} cannot be both centered and noncentered.")
        else:
            special[level] = choice
    default: Centering = general or "noncentered"
    return tuple(special.get(level, default) for level in levels)


def _centering(text: str) -> Centering:
    if text == "centered":
        return "centered"
    if text == "noncentered":
        return "noncentered"
    meant = did_you_mean(text, get_args(Centering))
    raise SpecError(f"{text!r} is not a formulation: write {_FORMS}.{meant}")
