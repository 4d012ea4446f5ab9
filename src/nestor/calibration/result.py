"""The result of a study: verdict, ranks, and everything that is needed to repeat it."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.calibration.judge import LEVEL, Calibrated, Judgement, judge
from nestor.errors import DataError, Unsupported, display
from nestor.posterior.quantities import ComparedQuantities
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from nestor.calibration.tasks import Around, Record
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig

SCHEMA_VERSION = 1
FILE = "calibration.json"


@dataclass(frozen=True, eq=False)
class Calibration:
    """A simulation-based calibration of one engine.

    Parameters
    ----------
    problem : Problem
        Design and priors, and for a study around the posterior the data.
    contender : Contender
        The engine.
    config : SamplerConfig
        How hard it tried in each simulation; its seed is the study's.
    around : {"prior", "posterior"}
        Where parameters came from.
    ranked_draws : int
        Posterior draws among which each parameter was ranked.
    records : tuple of Record
        One for each simulation, in order.
    reuses : bool or None
        Whether the engine was compiled once for all outcomes of a process; None if nothing was run.
    versions : mapping
        Of the engine's libraries.
    folder : Path or None
        Where records, document and pictures are, if they are kept.
    log : Path or None
        What the engine printed, where a simulation crashed or ran out of time.
    """

    problem: Problem
    contender: Contender
    config: SamplerConfig
    around: Around
    ranked_draws: int
    records: tuple[Record, ...]
    reuses: bool | None
    versions: Mapping[str, str]
    folder: Path | None = None
    log: Path | None = None

    @cached_property
    def quantities(self) -> ComparedQuantities:
        """Names and groups of the ranked quantities."""
        return ComparedQuantities(self.problem)

    @cached_property
    def ranks(self) -> NDArray[np.intp]:
        """Rank of each true value among its posterior draws, 0 to `ranked_draws`, (simulation, quantity).

        Simulations with status "ok" only.
        """
        good = [record.ranks for record in self.records if record.status == "ok"]
        return np.array(good, dtype=np.intp).reshape(len(good), len(self.quantities))

    @property
    def failures(self) -> tuple[Record, ...]:
        """The simulations without ranks."""
        return tuple(record for record in self.records if record.status != "ok")

    @cached_property
    def judgement(self) -> Judgement:
        """The verdict and the numbers behind it."""
        names = self.quantities
        return judge(self.ranks, self.failures, self.ranked_draws, names.labels, names.groups)

    @property
    def verdict(self) -> Calibrated:
        """CALIBRATED, NOT CALIBRATED or INCONCLUSIVE."""
        return self.judgement.verdict

    @property
    def engine_failed(self) -> bool:
        """Whether so many simulations crashed or ran out of time that nothing can be said."""
        broken = sum(record.status in ("failed", "timeout") for record in self.records)
        return self.verdict is Calibrated.INCONCLUSIVE and broken > self.judgement.failures_allowed

    @property
    def exit_code(self) -> int:
        """0 calibrated, 1 not, 4 the engine failed, 3 inconclusive otherwise."""
        if self.verdict is Calibrated.INCONCLUSIVE:
            return 4 if self.engine_failed else 3
        return 0 if self.verdict is Calibrated.CALIBRATED else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the document that ``calibration.json`` holds; null stands for what is not known."""
        found = self.judgement
        names = self.quantities
        document: dict[str, Any] = as_plain(
            {
                "schema_version": SCHEMA_VERSION,
                "verdict": found.verdict,
                "reasons": found.reasons,
                "rejected": [asdict(one) for one in found.rejected],
                "detectable": found.detectable and asdict(found.detectable),
                "level": LEVEL,
                "failures": [
                    {"simulation": r.number, "status": r.status, "message": r.message}
                    for r in self.failures
                ],
                "failures_allowed": found.failures_allowed,
                "log": None if self.log is None else str(self.log),
                "simulations_needed": found.needed,
                "simulations_missing": found.missing,
                "settings": self._settings(),
                "problem": self._problem(),
                "versions": {**self.versions, "nestor": version("nestor")},
                "environment": {
                    "python": platform.python_version(),
                    "platform": platform.platform(),
                    "machine": platform.machine(),
                },
                "simulations": [
                    {
                        "simulation": r.number,
                        "ess": r.ess,
                        "draws": r.draws,
                        "divergences": r.divergences,
                        "seconds": r.seconds,
                    }
                    for r in self.records
                    if r.status == "ok"
                ],
                "quantities": [
                    {
                        "label": names.labels[i],
                        "group": names.groups[i],
                        "p_value": found.p_values[i] if len(found.p_values) else None,
                        "p_adjusted": found.p_adjusted[i] if len(found.p_adjusted) else None,
                        "ranks": self.ranks[:, i],
                    }
                    for i in range(len(names))
                ],
            }
        )
        return document

    def _settings(self) -> dict[str, Any]:
        return {
            "engine": self.contender.engine,
            "contender": self.contender.name,
            "formulation": str(self.contender.formulation),
            "formulation_reason": self.contender.reason,
            "around": self.around,
            "simulations": len(self.records),
            "ranked_draws": self.ranked_draws,
            "config": asdict(self.config),
            "compiled_once": self.reuses,
        }

    def _problem(self) -> dict[str, Any]:
        return {
            "formula": self.problem.spec.to_formula(),
            "family": self.problem.spec.family,
            "fingerprint": self.problem.fingerprint,
            "rows": self.problem.n_rows,
            "priors": {a: str(p) for a, p in self.problem.priors.by_address().items()},
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def save(self) -> None:
        """Write ``calibration.json`` into the study's folder, if there is one."""
        if self.folder is not None:
            from nestor.runner import store

            store.write_json(self.folder / FILE, self.to_dict())

    def plot(self) -> Figure:
        """Draw the ECDF differences of what belongs to no single node."""
        return _pictures().plot_ranks(self)  # type: ignore[no-any-return]

    def save_plots(self, folder: Path | None = None) -> list[Path]:
        """Write every picture into `folder`, by default the study's; return their paths.

        Raises
        ------
        DataError
            If there is no folder.
        Unsupported
            If matplotlib is not installed.
        """
        target = self.folder if folder is None else folder
        if target is None:
            raise DataError("say into which folder: this study was run without one.")
        return _pictures().save_rank_plots(self, target)  # type: ignore[no-any-return]

    def __rich__(self) -> Any:
        return display.terminal(self)

    def _repr_html_(self) -> str:
        return display.html(self)

    def __repr__(self) -> str:
        return f"Calibration({self.verdict.value}: {self.contender.name}, {len(self.records)} simulations)"


def _pictures() -> ModuleType:
    try:
        from nestor.views.plots import calibration
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise Unsupported(
            "pictures need matplotlib, which is not installed: pip install 'nestor[plots]'."
        ) from None
    return calibration
