"""Records as a flat table: one row per cell, in a DataFrame or a Parquet file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nestor.bench.columns import COLUMNS, SKIPPED
from nestor.bench.manifest import MANIFEST, read_manifest
from nestor.bench.metrics import metrics_of
from nestor.bench.place import place_of
from nestor.bench.scenario import YARDSTICK
from nestor.bench.store import TABLE, Results
from nestor.bench.verdicts import standing
from nestor.errors import DataError
from nestor.runner.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from nestor.bench.record import BenchRecord


def make_table(
    records: Iterable[BenchRecord], verdicts: Mapping[str, Mapping[str, Any]], target: float
) -> pd.DataFrame:
    """Return the flat table of records; see `nestor.bench.columns`.

    Parameters
    ----------
    records : iterable of BenchRecord
        The yardstick's own are left out.
    verdicts : mapping of str to mapping
        Verdict, against, margin_needed and reason, by the cell's id.
    target : float
        Effective draws that the headline asks for.
    """
    import pandas as pd

    rows = [
        _row(record, verdicts.get(record.cell.id, {}), target)
        for record in records
        if record.cell.track != YARDSTICK
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


def save_table(results: Results, target: float) -> pd.DataFrame:
    """Judge the records of a results directory, and write verdicts and table beside them.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    records = results.records()
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


def read_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Read one table from results directories, from what their records say now.

    Records that were added from elsewhere, such as a machine with a GPU, are part of it.

    Raises
    ------
    DataError
        If there are no results, of another schema, or records that cannot be read.
    """
    import pandas as pd

    tables = []
    for folder in find_results(paths):
        results = Results(folder)
        target = float(read_manifest(folder)["scenario"]["target_ess"])
        records = results.records()
        tables.append(make_table(records.values(), standing(results, records), target))
        if results.damaged:
            raise DataError(
                f"{results.damaged[0]} cannot be read as a record. Run the benchmark again, which "
                "does that cell anew, or remove the file."
            )
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise DataError(f"there are no records in {', '.join(str(path) for path in paths)} yet.")
    return _once(table)


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
