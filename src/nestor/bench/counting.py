"""Which runs of a group count for which figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nestor.bench.bootstrap import Runs
from nestor.bench.columns import SKIPPED

if TYPE_CHECKING:
    from nestor.bench.grouping import Group, Row

#: Seconds to the target; runs that did not reach it are censored.
TIMES: Final = ("time_to_ess_s", "time_to_ess_warm_s")
#: Effective draws, or gradients, per something: of runs that are ok alone.
RATES: Final = ("ess_per_s_sampling", "ess_per_s", "ess_per_gradient", "gradients_per_s")
#: Costs of every run that came to its end, whether its chains had converged or not.
COSTS: Final = (
    *("import_s", "upload_s", "compile_s", "warm_compile_s", "warmup_s", "sampling_s"),
    *("postprocess_s", "transfer_s", "total_s", "peak_bytes", "device_peak_bytes"),
)
METRICS: Final = (*TIMES, *RATES, *COSTS)
_ENDED = ("ok", "gates_failed")


def runs(group: Group, metric: str) -> Runs:
    """Return a group's runs of one of METRICS; those that do not count for it are left out."""
    found = []
    for row in group.rows:
        value = row[metric]
        if metric in TIMES and row["censored"] and row["status"] != SKIPPED:
            found.append((row["seed"], _bound(row, metric), True))
        elif value is not None and row["status"] in (_ENDED if metric in COSTS else ("ok",)):
            found.append((row["seed"], float(value), False))
    seeds, values, censored = zip(*found, strict=True) if found else ((), (), ())
    return Runs(seeds, values, censored)


def _bound(row: Row, metric: str) -> float:
    """Seconds that a censored run is known to need more than, 0 if none are known.

    Known are those with an empty cache; with a warm one, what compiling then takes less is taken off.
    """
    bound: float = row["censored_at_s"] or 0.0
    if metric == "time_to_ess_warm_s":
        if row["compile_s"] is None:
            return 0.0
        bound += (row["warm_compile_s"] or 0.0) - row["compile_s"]
    return max(0.0, bound)
