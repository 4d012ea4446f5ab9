"""The conditions under which two contenders are said to agree."""

from __future__ import annotations

from dataclasses import dataclass

from nestor.agreement.verdict import MIN_DRAWS
from nestor.errors import SpecError
from nestor.errors.arguments import MOST_ITERATIONS, number, whole

DISAGREE_LEVEL = 0.01
AGREE_LEVEL = 0.05


@dataclass(frozen=True)
class Criteria:
    """The conditions under which two contenders are said to agree.

    Parameters
    ----------
    margin : float
        Largest difference of means, in posterior standard deviations, and of standard deviations, as a
        fraction, that counts as none.
    until_verdict : int or None
        Draws per chain up to which chains go on while a pair is inconclusive; None looks once.

    Raises
    ------
    SpecError
        If a number is out of range.
    """

    margin: float = 0.2
    until_verdict: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "margin", number("the margin", self.margin, above=0.0))
        if self.until_verdict is not None:
            budget = whole("until_verdict", self.until_verdict, least=1, most=MOST_ITERATIONS)
            object.__setattr__(self, "until_verdict", budget)

    def check(self, draws: int) -> None:
        """Refuse a budget that is not above the draws of the first look.

        Raises
        ------
        SpecError
            If it is not.
        """
        if self.until_verdict is not None and self.until_verdict <= draws:
            raise SpecError(
                f"until_verdict is the number of draws per chain up to which to go on: more than the "
                f"{draws} draws of the first look, not {self.until_verdict}."
            )

    def foregone(self, chains: int, draws: int) -> str:
        """Say why so few chains or draws can only end INCONCLUSIVE; empty where they can do more."""
        if chains < 2:
            return "a single chain can only end INCONCLUSIVE: its convergence cannot be seen."
        if max(draws, self.until_verdict or 0) < MIN_DRAWS:
            return f"fewer than {MIN_DRAWS} draws per chain can only end INCONCLUSIVE; there are {draws}."
        return ""

    def looks(self, draws: int) -> tuple[int, ...]:
        """Draws per chain at each look: doubling from `draws` up to the budget; empty without one."""
        if self.until_verdict is None:
            return ()
        found = [draws]
        while found[-1] < self.until_verdict:
            found.append(min(2 * found[-1], self.until_verdict))
        return tuple(found)

    def levels(self, look: int) -> tuple[float, float]:
        """Levels of the tests at look 1, 2, ...; where there may be several looks, each halves them.

        All looks together then hold the level of one (Bonferroni over a geometric series).
        """
        share = 1.0 if self.until_verdict is None else 0.5**look
        return DISAGREE_LEVEL * share, AGREE_LEVEL * share
