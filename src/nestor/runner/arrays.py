"""Draws on their way from the engine's process to its parent: files that are never held as a whole."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.backend import Draws, Timings
from nestor.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nestor.backend import Deferred

    type Array = np.ndarray[Any, Any]


def write(draws: Draws, path: Path) -> None:
    """Write what is in memory to `path`."""
    arrays: dict[str, Array] = {f"values/{name}": array for name, array in draws.values.items()}
    arrays |= {f"stats/{name}": array for name, array in draws.stats.items()}
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def write_deferred(deferred: Deferred, path: Path) -> None:
    """Make deferred values and write them into one file each, in a folder beside `path`.

    Blocks are written, not mapped: what is written is the operating system's, and no part of this process.

    Raises
    ------
    EngineFailed
        If blocks overlap, leave draws out, or have the wrong shape.
    """
    folder = _folder(path)
    folder.mkdir(exist_ok=True)
    streams, starts = {}, {}
    shapes = deferred.shapes
    try:
        for name, shape in shapes.items():
            file = folder / f"{name}.npy"
            # The parent may still have the last look's draws mapped: they stay in a file without a name.
            file.unlink(missing_ok=True)
            streams[name] = file.open("wb")
            header = {"descr": "<f8", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(streams[name], header)
            starts[name] = streams[name].tell()
        done = np.zeros(next(iter(shapes.values()))[:2], np.int64)
        for chain, first, values in deferred.blocks():
            for name, block in values.items():
                _, draws, *rest = shapes[name]
                if list(block.shape[1:]) != rest or first + len(block) > draws:
                    raise EngineFailed(
                        f"the backend made {name} in a block of shape {block.shape} from draw {first} "
                        f"on, of {shapes[name]}."
                    )
                row = 8 * int(np.prod(rest, dtype=np.int64))
                streams[name].seek(starts[name] + (chain * draws + first) * row)
                streams[name].write(np.ascontiguousarray(block, dtype="<f8").data)
            done[chain, first : first + len(next(iter(values.values())))] += 1
        if not np.all(done == 1):
            raise EngineFailed("the backend made some draws never, or more than once.")
    finally:
        for stream in streams.values():
            stream.close()


def read(path: Path) -> Draws:
    """Read what `write` and `write_deferred` have written; large arrays stay in their files.

    They are mapped, and remain readable after the files have lost their names.
    """
    with np.load(path, allow_pickle=False) as arrays:
        by_kind: dict[str, dict[str, Array]] = {"values": {}, "stats": {}}
        for name in arrays.files:
            kind, _, variable = name.partition("/")
            by_kind[kind][variable] = arrays[name]
    for file in sorted(_folder(path).glob("*.npy")):
        by_kind["values"][file.stem] = np.load(file, mmap_mode="r", allow_pickle=False)
    return Draws(by_kind["values"], by_kind["stats"], Timings(), {})


def joined(parts: Sequence[Draws], folder: Path) -> Draws:
    """Put stretches of the same chains, as `read` returns them, behind each other.

    What is in files stays in files: they are copied into one without a name, in `folder`.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    values = {n: _behind_each_other([p.values[n] for p in parts], folder) for n in first.values}
    stats = {n: np.concatenate([p.stats[n] for p in parts], axis=1) for n in first.stats}
    return Draws(values, stats, Timings(), {})


def _behind_each_other(arrays: Sequence[Array], folder: Path) -> Array:
    if not isinstance(arrays[0], np.memmap):
        return np.concatenate(arrays, axis=1)
    chains, _, *rest = arrays[0].shape
    shape = (chains, sum(array.shape[1] for array in arrays), *rest)
    with tempfile.TemporaryFile(dir=folder) as stream:
        for chain in range(chains):
            for array in arrays:
                stream.write(np.ascontiguousarray(array[chain]).data)
        stream.flush()
        return np.memmap(stream, dtype=arrays[0].dtype, mode="r", shape=shape)


def _folder(path: Path) -> Path:
    return path.with_suffix(".deferred")
