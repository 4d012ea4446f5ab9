"""A reference posterior: moments and quantiles with Monte Carlo errors, and their sources."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.verdict import PairSide
from nestor.errors import DataError
from nestor.errors.text import short_repr
from nestor.posterior.quantities import ComparedQuantities
from nestor.stats.diagnostics.gates import Gates
from nestor.stats.diagnostics.summaries import QUANTITIES, Summaries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem

#: What the draws behind a reference posterior have to meet, those of posteriordb (Magnusson et al. 2025):
#: every source alone, after thinning; and the sources have to AGREE with one another at this margin.
REQUIREMENTS: Mapping[str, float] = {
    "draws": 10_000,
    "rhat_below": 1.01,
    "lag1_below": 0.05,
    "ebfmi_above": 0.2,
    "divergences": 0,
    "sources": 2,
    "margin": 0.1,
}


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of a named problem.

    Parameters
    ----------
    name : str
        The problem.
    fingerprint : str
        Of the problem; see `Problem.fingerprint`.
    labels : tuple of str, (quantity,)
        Every random scalar, and the log-likelihood.
    estimate, mcse, ess : ndarray, (5, quantity)
        Mean, sd, 5%, 50% and 95% quantile; their Monte Carlo standard errors; effective draws behind each.
    sources : sequence of mapping
        The runs behind it: engine, versions, settings, and how they meet the `REQUIREMENTS`.
    agreement : mapping
        How the sources agree: verdict and smallest margin.
    """

    name: str
    fingerprint: str
    labels: tuple[str, ...]
    estimate: NDArray[np.float64]
    mcse: NDArray[np.float64]
    ess: NDArray[np.float64]
    sources: Sequence[Mapping[str, Any]]
    agreement: Mapping[str, Any]

    __repr__ = short_repr

    def side(self) -> PairSide:
        """Return the posterior as one side of a comparison."""
        n = len(self.labels)
        nan = np.full(n, np.nan)
        summaries = Summaries(
            estimate=self.estimate,
            mcse=self.mcse,
            ess=self.ess,
            rhat=nan,
            ess_bulk=nan,
            ess_tail=nan,
            finite=np.ones(n, bool),
            constant=np.zeros(n, bool),
            n_chain=sum(int(source["chains"]) for source in self.sources),
            n_draw=int(REQUIREMENTS["draws"]) // 10,
        )
        passed = Gates(True, (), (), None, None, None, None, None, None, None, None)
        name = f"reference posterior of {self.name}"
        return PairSide(name, self.labels, summaries, passed, density_ok=True, sampled_ok=True)

    def check(self, problem: Problem) -> None:
        """Refuse a problem that this posterior does not belong to.

        Raises
        ------
        DataError
            If data, tree, description or scalars differ.
        """
        if (
            problem.fingerprint != self.fingerprint
            or ComparedQuantities(problem).labels != self.labels
        ):
            raise DataError(
                f"the reference posterior {self.name!r} belongs to another problem (other data, formula "
                "or priors) than the one given."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the document that is stored."""
        rows = zip(self.labels, self.estimate.T, self.mcse.T, self.ess.T, strict=True)
        return {
            "problem": self.name,
            "fingerprint": self.fingerprint,
            "requirements": dict(REQUIREMENTS),
            "sources": [dict(source) for source in self.sources],
            "agreement": dict(self.agreement),
            "quantities": {
                label: {
                    what: [_digits(estimate[i], 8), _digits(mcse[i], 3), round(float(ess[i]))]
                    for i, what in enumerate(QUANTITIES)
                }
                for label, estimate, mcse, ess in rows
            },
        }


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def from_dict(document: Mapping[str, Any]) -> Posterior:
    """Read a posterior from the document that `Posterior.to_dict` makes."""
    quantities = document["quantities"]
    table = np.array([[q[what] for what in QUANTITIES] for q in quantities.values()], np.float64)
    estimate, mcse, ess = (np.ascontiguousarray(table[:, :, i].T) for i in range(3))
    return Posterior(
        name=document["problem"],
        fingerprint=document["fingerprint"],
        labels=tuple(quantities),
        estimate=estimate,
        mcse=mcse,
        ess=ess,
        sources=document["sources"],
        agreement=document["agreement"],
    )


def load(name: str) -> Posterior:
    """Return the reference posterior of the problem called `name`.

    Raises
    ------
    DataError
        If there is none, or its file cannot be read.
    """
    resource = files("nestor.references") / "posteriors" / f"{name}.json"
    try:
        document = json.loads(resource.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"there is no reference posterior of {name!r}.") from None
    except ValueError as error:
        raise DataError(f"the reference posterior of {name!r} cannot be read: {error}.") from None
    return from_dict(document)
