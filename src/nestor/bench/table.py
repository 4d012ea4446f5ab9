"""The flat table of a benchmark, one row per cell, and what each column holds.

Every figure that nestor prints or draws about a benchmark is computed from this table alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nestor.bench.environment import OTHERS_LOAD, place_of
from nestor.bench.metrics import metrics_of
from nestor.bench.scenario import REFERENCE_RUN
from nestor.bench.store import MANIFEST, TABLE, Results, read_manifest
from nestor.bench.verdicts import standing
from nestor.errors import DataError
from nestor.runner.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from nestor.bench.record import BenchRecord


#: Column to pandas' type and what it holds. Seconds end in ``_s``, memory in ``_bytes``.
COLUMNS: Final[dict[str, tuple[str, str]]] = {
    # which cell
    "id": ("str", "Hash of all that the cell was asked to do"),
    "scenario": ("str", "Name of the scenario"),
    "quick": ("boolean", "Whether this is the scenario's quick form"),
    "track": ("str", "defaults (what a user gets who reads nothing) or matched"),
    "contender": ("str", "Engine with every choice resolved"),
    "engine": ("str", "backend:sampler"),
    "formulation": ("str", "How the posterior is computed"),
    "device": ("str", "cpu or gpu"),
    "dtype": ("str", "float64 or float32"),
    "chain_method": ("str", "sequential, parallel or vectorized"),
    "seed": ("Int64", "Seed of the repetition; the engine's own is derived from it"),
    "chains": ("Int64", "Number of chains"),
    "warmup": ("Int64", "Iterations per chain that adapt"),
    "draws": ("Int64", "Iterations per chain that are kept"),
    "cores": ("Int64", "Cores that the cell may use"),
    # which problem
    "sweep": ("str", "What the scenario sweeps, such as rows; empty if nothing"),
    "sweep_value": ("Float64", "Its value in this cell"),
    "rows": ("Int64", "Rows of the data"),
    "leaves": ("Int64", "Nodes of the last level"),
    "nodes": ("Int64", "Nodes of all levels"),
    "depth": ("Int64", "Number of levels"),
    "effects": ("Int64", "Number of effects"),
    "scalars": ("Int64", "Random scalars of the posterior"),
    # how it ended
    "status": (
        "str",
        "ok, gates_failed, density_failed, failed, timeout, out_of_memory, or skipped",
    ),
    "message": ("str", "Why, where the status is not ok, or there is no speed"),
    "verdict": ("str", "AGREE, DISAGREE, INCONCLUSIVE, or empty where it was not judged"),
    "against": ("str", "Contender that it was judged against"),
    "margin_needed": ("Float64", "Smallest margin at which it would agree, posterior sd"),
    "reason": ("str", "Why the verdict is what it is"),
    # seconds of each phase, missing where one cannot be told from another
    "import_s": (
        "Float64",
        "Importing the engine's libraries; part of no figure below but total_s",
    ),
    "upload_s": ("Float64", "Data to the device"),
    "compile_s": ("Float64", "Building and compiling, with empty caches"),
    "warm_compile_s": ("Float64", "The same in a new process, with the caches that the first left"),
    "warmup_s": ("Float64", "Adaptation"),
    "sampling_s": ("Float64", "Kept draws"),
    "warmup_and_sampling_s": (
        "Float64",
        "Adaptation and kept draws; known of some samplers that cannot tell them apart",
    ),
    "postprocess_s": ("Float64", "Conversion to canonical variables"),
    "transfer_s": ("Float64", "Draws to the host"),
    "total_s": (
        "Float64",
        "From the first import of the engine's libraries to the last draw on the host, with empty caches",
    ),
    "unaccounted_s": (
        "Float64",
        "Of total_s, in no phase; negative where the phases are longer than it",
    ),
    "elapsed_s": ("Float64", "Wall time of the process, as its parent saw it"),
    # effective draws
    "ess_min": ("Float64", "Smallest bulk or tail ESS of all shared quantities"),
    "ess_kind": ("str", "bulk or tail: which of them that is"),
    "ess_quantity": ("str", "Whose it is"),
    "ess_bulk_min": ("Float64", "Smallest bulk ESS"),
    "ess_tail_min": ("Float64", "Smallest tail ESS"),
    "rhat_max": ("Float64", "Largest rank-normalized split R-hat"),
    "divergences": ("Int64", "Divergent draws"),
    "treedepth_hits": ("Int64", "Draws at the largest tree depth"),
    "gradients": ("Int64", "Gradient evaluations of the kept draws, all chains"),
    # what it costs
    "target_ess": ("Float64", "Effective draws that the next columns ask for"),
    "time_to_ess_s": (
        "Float64",
        "Seconds to the target, all in: compiling and warmup included, import not; missing if censored",
    ),
    "time_to_ess_warm_s": ("Float64", "The same with the caches of an earlier run"),
    "time_is_bound": (
        "boolean",
        "Whether these are upper bounds, warmup and sampling not having been told apart",
    ),
    "censored": ("boolean", "Whether the target was not reached: it takes longer, or never comes"),
    "censored_at_s": (
        "Float64",
        "Seconds without the target, all in, where it is censored",
    ),
    "ess_per_s_sampling": ("Float64", "ess_min per second of sampling"),
    "ess_per_s": ("Float64", "ess_min per second of warmup and sampling"),
    "ess_per_gradient": ("Float64", "ess_min per gradient evaluation of the kept draws"),
    "gradients_per_s": ("Float64", "Gradient evaluations per second of sampling, all chains"),
    "peak_bytes": ("Int64", "Largest memory of the process tree (PSS), host"),
    "device_peak_bytes": ("Int64", "Largest memory in use on the GPU; missing on a CPU"),
    # where and when
    "place": ("str", "Hash of the environment: machine, libraries, commit"),
    "cpu": ("str", "CPU model"),
    "gpu": ("str", "GPU model; empty without one"),
    "machine_cores": ("Int64", "Cores usable on the machine"),
    "machine_bytes": ("Int64", "Memory of the machine"),
    "load": ("Float64", "Load average of the machine before the cell"),
    "versions": ("str", "Libraries and their versions, JSON"),
    "commit": ("str", "Git commit of nestor, with -dirty if files were changed; empty if unknown"),
    "started": ("str", "When, ISO 8601, UTC"),
}

#: A censored run counts in medians, as slower than every run that is not.
CENSORED_STATUSES: Final = ("gates_failed", "density_failed", "failed", "timeout", "out_of_memory")
#: Nothing was run: the engine lacks a device, a precision or a chain method.
SKIPPED: Final = "skipped"
#: What makes one line of a printed table: all cells that differ in their seed only.
GROUP: Final = ("track", "sweep_value", "contender", "chains", "cores")


def make_table(
    records: Iterable[BenchRecord], verdicts: Mapping[str, Mapping[str, Any]], target: float
) -> pd.DataFrame:
    """Return the flat table of records; see `nestor.bench.table`.

    Parameters
    ----------
    records : iterable of BenchRecord
        The reference run's own are left out.
    verdicts : mapping of str to mapping
        Verdict, against, margin_needed and reason, by the cell's id.
    target : float
        Effective draws that the headline asks for.
    """
    import pandas as pd

    rows = [
        _row(record, verdicts.get(record.cell.id, {}), target)
        for record in records
        if record.cell.track != REFERENCE_RUN
    ]
    rows.sort(key=lambda r: (r["track"], r["sweep_value"] or 0.0, r["contender"], r["seed"]))
    columns = {
        name: pd.array([row[name] for row in rows], dtype=kind)  # type: ignore[call-overload]
        for name, (kind, _) in COLUMNS.items()
    }
    return pd.DataFrame(columns)


def _row(record: BenchRecord, verdict: Mapping[str, Any], target: float) -> dict[str, Any]:
    cell = record.cell
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {n: v for n, v in cell.model_dump().items() if n in COLUMNS}
    row |= {n: getattr(cell.config, n) for n in ("chains", "warmup", "draws")}
    row |= _size(record)
    row |= {"status": record.status, "message": record.message}
    row |= {n: verdict.get(n, "") for n in ("verdict", "against", "reason")}
    row["margin_needed"] = verdict.get("margin_needed")
    if record.seconds is not None:
        row |= record.seconds.model_dump()
    if record.diagnostics is not None:
        found = record.diagnostics.model_dump()
        row |= {n: v for n, v in found.items() if n in COLUMNS}
    disagrees = verdict.get("verdict") == "DISAGREE"
    row |= vars(metrics_of(record, target, wrong=disagrees)) | {"target_ess": target}
    row |= {n: getattr(record, n) for n in ("peak_bytes", "device_peak_bytes", "load", "started")}
    return row | _place(record)


def _size(record: BenchRecord) -> dict[str, Any]:
    size = record.size
    if size is None:
        return {}
    nodes = list(size.levels.values())
    return {
        "rows": size.rows,
        "leaves": nodes[-1],
        "nodes": sum(nodes),
        "depth": len(nodes),
        "effects": size.effects,
        "scalars": size.scalars,
    }


def _place(record: BenchRecord) -> dict[str, Any]:
    there = record.environment
    libraries = {**there.get("libraries", {}), **record.versions}
    # The engine's own libraries are not part of the place: two engines of one run share it.
    return {
        "place": place_of(there),
        "cpu": there.get("cpu") or "",
        "gpu": there.get("gpu") or "",
        "machine_cores": there.get("machine_cores"),
        "machine_bytes": there.get("machine_bytes"),
        "versions": json.dumps(libraries, sort_keys=True),
        "commit": there.get("commit") or "",
    }


@dataclass(frozen=True, eq=False)
class StoredResults:
    """What a results directory holds.

    Parameters
    ----------
    folder : Path
        The directory.
    manifest : mapping
        What it says of itself; see `ManifestDocument`.
    records : mapping of str to BenchRecord
        All records, by cell.
    table : DataFrame
        Their flat table.
    """

    folder: Path
    manifest: Mapping[str, Any]
    records: Mapping[str, BenchRecord]
    table: pd.DataFrame


def save_table(results: Results, records: Mapping[str, BenchRecord], target: float) -> pd.DataFrame:
    """Judge the records of a results directory, and write verdicts and table beside them.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    verdicts = standing(results, records, anew=True)
    results.save_verdicts(verdicts)
    table = make_table(records.values(), verdicts, target)
    write_table(table, results.folder / TABLE)
    return table


def find_results(paths: Sequence[Path]) -> list[Path]:
    """Return the results directories among `paths`, or in them.

    Raises
    ------
    DataError
        If there is none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise DataError(f"there is no directory {path}.")
        if (path / MANIFEST).exists():
            found.append(path)
        else:
            found += sorted(p.parent for p in path.glob(f"*/{MANIFEST}"))
    if not found:
        listed = ", ".join(str(path) for path in paths)
        raise DataError(
            f"there are no benchmark results in {listed}: a results directory holds {MANIFEST}. "
            "Make one by nestor bench SCENARIO --out DIR."
        )
    return list(dict.fromkeys(found))


def read_results(paths: Sequence[Path]) -> list[StoredResults]:
    """Read results directories, each once, as their records are now.

    Records that were added from elsewhere, such as a machine with a GPU, are part of it.

    Raises
    ------
    DataError
        If there are no results, of another schema, or records that cannot be read.
    """
    found = []
    for folder in find_results(paths):
        results, manifest = Results(folder), read_manifest(folder)
        records = results.records()
        if results.damaged:
            raise DataError(
                f"{results.damaged[0]} cannot be read as a record. Run the benchmark again, which "
                "does that cell anew, or remove the file."
            )
        target = float(manifest["scenario"]["target_ess"])
        table = make_table(records.values(), standing(results, records), target)
        found.append(StoredResults(folder, manifest, records, table))
    return found


def join_tables(found: Sequence[StoredResults]) -> pd.DataFrame:
    """Return one table of several results.

    Raises
    ------
    DataError
        If they have no records, or a cell was measured twice.
    """
    import pandas as pd

    table = pd.concat([one.table for one in found], ignore_index=True)
    if table.empty:
        raise DataError(
            f"there are no records in {', '.join(str(one.folder) for one in found)} yet."
        )
    return _once(table)


def read_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Read one table from results directories; see `read_results` and `join_tables`."""
    return join_tables(read_results(paths))


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Keep one row of each cell: a measured one before one that was skipped where it could not run.

    Raises
    ------
    DataError
        If a cell was measured twice: that is no merging, but two results to compare.
    """
    measured = table[table["status"] != SKIPPED].drop_duplicates(["id", "started", "elapsed_s"])
    if twice := sorted(set(measured["id"][measured["id"].duplicated()])):
        row = measured[measured["id"] == twice[0]].iloc[0]
        raise DataError(
            f"{len(twice)} cells were measured in more than one of the directories, such as "
            f"{row['contender']} with seed {row['seed']} of {row['scenario']}. Give one of them, or compare "
            "them by nestor bench compare OLD NEW."
        )
    kept = table.index.isin(measured.index) | ~table["id"].isin(measured["id"])
    return table[kept].drop_duplicates("id").reset_index(drop=True)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a flat table as Parquet, whole or not at all.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    write_atomically(path, lambda p: table.to_parquet(p, index=False))


def load_note(table: pd.DataFrame) -> str:
    """Say how many runs began while other processes were busy, and how busy; empty if none did.

    Parameters
    ----------
    table : DataFrame
        Results with the columns of `COLUMNS`.
    """
    ran = table[(table["status"] != SKIPPED).fillna(value=False) & table["load"].notna()]
    loaded = ran[(ran["load"] > ran["machine_cores"] + OTHERS_LOAD).fillna(value=False)]
    if loaded.empty:
        return ""
    low, high = (f"{value:.1f}" for value in (loaded["load"].min(), loaded["load"].max()))
    cores = ", ".join(f"{int(n)}" for n in sorted(loaded["machine_cores"].unique()))
    return (
        f"Other processes were busy: a load of {low if low == high else f'{low} to {high}'} before "
        f"{len(loaded)} of {len(ran)} runs, on {cores} core{'' if cores == '1' else 's'}. Times of these "
        "runs may be too long."
    )
