"""The result of a comparison: a row for each engine, a verdict for each pair, and one for all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor.agreement.engine_result import EngineResult, estimates
from nestor.agreement.verdict import PairResult, Verdict
from nestor.engines.contender import find_contender
from nestor.errors import UnknownContender, display
from nestor.errors.arguments import flag
from nestor.stats.diagnostics.summaries import QUANTITIES

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from nestor.agreement.criteria import Criteria
    from nestor.agreement.density import DensityCheck
    from nestor.agreement.engine_result import EngineRow
    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig
    from nestor.posterior.quantities import ComparedQuantities


class ContenderMapping(Mapping[str, "xr.DataTree"]):
    """The draws of each contender, by its whole name or the name that the user gave.

    Parameters
    ----------
    rows : sequence of EngineResult or EngineFailure
        Contenders; failures are left out.
    """

    def __init__(self, rows: Sequence[EngineRow]) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> xr.DataTree:
        row = find_row(name, self._rows)
        if not isinstance(row, EngineResult):
            why = f"{row.status.replace('_', ' ')}: {row.message}".rstrip(": ")
            raise UnknownContender(f"{row.name} returned no draws ({why}).")
        return row.tree

    def __iter__(self) -> Iterator[str]:
        return (row.name for row in self._rows if isinstance(row, EngineResult))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Draws of {', '.join(self) or 'no contender'}"


def find_row(name: str, rows: Sequence[EngineRow]) -> EngineRow:
    """Return the row of the contender that `name` means, see `nestor.engines.contender.find_contender`."""
    return rows[find_contender(name, [row.contender for row in rows])]


@dataclass(frozen=True)
class Comparison:
    """Engines on one problem, lined up and judged.

    Parameters
    ----------
    problem : Problem
        What was sampled.
    config : SamplerConfig
        How hard each engine tried; its seed is the comparison's.
    criteria : Criteria
        What was asked of the pairs: margin and budget.
    rows : tuple of EngineResult or EngineFailure
        One for each contender.
    pairs : tuple of PairResult
        One for each pair of contenders.
    folder : Path or None
        Run directory, if there is one.
    """

    problem: Problem
    config: SamplerConfig
    criteria: Criteria
    rows: tuple[EngineRow, ...]
    pairs: tuple[PairResult, ...]
    folder: Path | None = None

    @property
    def quantities(self) -> ComparedQuantities:
        """What is compared: every random scalar, and the log-likelihood."""
        from nestor.posterior.quantities import ComparedQuantities

        return ComparedQuantities(self.problem)

    @property
    def densities(self) -> tuple[DensityCheck, ...]:
        """Log densities before sampling, of each contender that could evaluate them."""
        return tuple(row.density for row in self.rows if row.density is not None)

    @property
    def margin(self) -> float:
        """Margin of equivalence, in posterior standard deviations."""
        return self.criteria.margin

    @property
    def verdict(self) -> Verdict:
        """AGREE if every pair agrees, DISAGREE if one disagrees, otherwise INCONCLUSIVE."""
        verdicts = {pair.verdict for pair in self.pairs}
        if Verdict.DISAGREE in verdicts:
            return Verdict.DISAGREE
        return Verdict.AGREE if verdicts == {Verdict.AGREE} else Verdict.INCONCLUSIVE

    @property
    def engine_failed(self) -> bool:
        """Whether an engine crashed, refused, hung, ran out of memory or was stopped."""
        bad = ("failed", "unsupported", "timeout", "out_of_memory", "interrupted")
        return any(row.status in bad for row in self.rows)

    @property
    def draws(self) -> ContenderMapping:
        """The draws of each contender that has some, by name; ``draws["pymc"]`` finds them too."""
        return ContenderMapping(self.rows)

    def row(self, name: str) -> EngineRow:
        """Return what became of a contender, by its name as it was asked for, such as ``"pymc"``.

        Raises
        ------
        UnknownContender
            If it means none of them, or several; a `KeyError` too.
        """
        return find_row(name, self.rows)

    def estimates(self, *, nodes: bool = False) -> pd.DataFrame:
        """Return what each contender estimates: one row per quantity and contender.

        Parameters
        ----------
        nodes : bool
            Whether nodes' coefficients are wanted too; by default only the population, standard
            deviations and family parameters.

        Returns
        -------
        DataFrame
            Indexed by quantity and contender, with the columns of `nestor.agreement.engine_result.estimates`;
            ``comparison.estimates()["mean"].unstack()`` puts contenders side by side.

        Raises
        ------
        SpecError
            If `nodes` is neither True nor False.
        """
        import pandas as pd

        flag("nodes", nodes)  # also where no row has any
        records = [
            {**record, "contender": row.name, "place": place}
            for row in self.rows
            if isinstance(row, EngineResult)
            for place, record in enumerate(estimates(self.quantities, row.summaries, nodes=nodes))
        ]
        columns = ["quantity", "contender", "group", *QUANTITIES]
        columns += [*(f"mcse_{name}" for name in QUANTITIES), "rhat", "ess_bulk", "ess_tail"]
        table = pd.DataFrame(records, columns=["place", *columns])
        table = table.sort_values("place", kind="stable")[columns]
        return table.set_index(["quantity", "contender"])

    def table(self) -> pd.DataFrame:
        """Return one row per contender: status, seconds, diagnostics and efficiency."""
        import pandas as pd

        from nestor.agreement.schema import engine_document

        records = []
        for row in self.rows:
            found = engine_document(row)
            record = {"contender": row.name, "status": row.status, "message": row.message}
            for group in ("timings", "diagnostics", "efficiency"):
                record |= found[group]
            records.append(record)
        return pd.DataFrame(records).set_index("contender")

    def to_dict(self) -> dict[str, Any]:
        """Return the document that ``comparison.json`` holds; null stands for what is not known."""
        from nestor.agreement.schema import comparison_document

        return comparison_document(self)

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def save(self) -> None:
        """Write ``comparison.json`` into the run directory, if there is one."""
        if self.folder is not None:
            from nestor.runner import store

            store.write_json(self.folder / "comparison.json", self.to_dict())

    def plot_trace(self) -> Figure:
        """Draw marginal densities and traces from the population down to the last level."""
        from nestor.views.plots import plot_trace

        return plot_trace(self.problem, self.draws)

    def plot_forest(self, level: str) -> Figure:
        """Draw the coefficients of a level's nodes with intervals, engines side by side."""
        from nestor.views.plots import plot_forest

        return plot_forest(self.problem, self.draws, level)

    def plot_speed(self) -> Figure:
        """Draw effective draws per second and where the time went."""
        from nestor.views.plots import plot_speed

        return plot_speed(self.rows)

    def plot_densities(self) -> Figure:
        """Draw each engine's differences to the reference's log density against its tolerance."""
        from nestor.views.plots import plot_densities

        return plot_densities(self.densities)

    def plot_differences(self, a: str | None = None, b: str | None = None) -> Figure:
        """Draw a pair's differences of means and sds with their intervals and the margin, by group.

        Parameters
        ----------
        a, b : str, optional
            Names of the pair's contenders, such as ``"pymc"``; not needed where there is one pair.

        Raises
        ------
        DataError
            If there is no such pair, or one of them has no draws.
        """
        from nestor.views.plots.pairs import find_pair, pair_differences

        return pair_differences(self, *find_pair(self, a, b))

    def plot_rank_ecdf(self, a: str | None = None, b: str | None = None) -> Figure:
        """Draw a pair's rank ECDFs, those least likely by chance, with their simultaneous bands.

        Parameters
        ----------
        a, b : str, optional
            Names of the pair's contenders, such as ``"pymc"``; not needed where there is one pair.

        Raises
        ------
        DataError
            If there is no such pair, or its shapes could not be compared.
        """
        from nestor.views.plots.pairs import find_pair, pair_rank_ecdf

        return pair_rank_ecdf(self, *find_pair(self, a, b))

    def save_plots(self, folder: str | Path | None = None) -> list[Path]:
        """Write every picture into `folder`, by default the run directory; return their paths.

        Pictures that an earlier run left in the run directory are replaced, or removed where this run
        has none in their place.

        Raises
        ------
        DataError
            If there is neither a folder nor a run directory.
        Unsupported
            If matplotlib is not installed.
        """
        from nestor.errors import DataError
        from nestor.errors.arguments import path as as_path
        from nestor.views.plots import save_agreement, save_all
        from nestor.views.plots.save import remove_others

        target = self.folder if folder is None else as_path("folder", folder)
        if target is None:
            raise DataError("say into which folder: this comparison was run without one.")
        if not target.is_dir():
            raise DataError(f"the folder {target} does not exist.")
        found = save_all(self.problem, self.draws, self.rows, target)
        found += save_agreement(self, target)
        if target == self.folder:
            remove_others(target, found)
        return found

    def __rich__(self) -> Any:
        return display.terminal(self)

    def __repr__(self) -> str:
        engines = ", ".join(f"{row.name} ({row.status})" for row in self.rows)
        return f"Comparison({self.verdict.value}: {engines})"

    def __str__(self) -> str:
        return display.text(self)

    def _repr_html_(self) -> str:
        return display.html(self)
