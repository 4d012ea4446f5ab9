"""Draws on their way from the engine's process to its parent: files that are never held as a whole.

Files, and members of files, are numbered: names of variables hold names of levels, which are the user's text
and may be too long for a file system, or not to its liking. They stand inside, as JSON.
"""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nestor.engines.protocol import Draws, Timings
from nestor.errors import EngineFailed
from nestor.runner.contract import check_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from nestor.engines.protocol import LazyDraws

    type Array = np.ndarray[Any, Any]


_NAMES: Final = "names"


def write(draws: Draws, path: Path) -> None:
    """Write what is in memory to `path`."""
    names = {"values": list(draws.values), "stats": list(draws.stats)}
    arrays: dict[str, Array] = {_NAMES: np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)}
    for kind, by_name in (("values", draws.values), ("stats", draws.stats)):
        given: Mapping[str, Array] = by_name
        arrays |= {f"{kind}-{number}": array for number, array in enumerate(given.values())}
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def write_deferred(
    deferred: LazyDraws,
    path: Path,
    check: Callable[[str, Array, int, int], None] = lambda *_: None,
) -> None:
    """Make deferred values and write them into one file each, in a folder beside `path`.

    Blocks are written, not mapped: what is written is the operating system's, and no part of this process.

    Parameters
    ----------
    deferred : LazyDraws
        Makes the values.
    path : Path
        Where `write` puts what is in memory.
    check : callable
        Called with each variable's name, a block of it, its chain and the number of its first draw.

    Raises
    ------
    EngineFailed
        If blocks overlap, leave draws out, or have the wrong shape.
    """
    folder = _folder(path)
    folder.mkdir(exist_ok=True)
    streams, starts = {}, {}
    shapes = {name: tuple(map(int, shape)) for name, shape in deferred.shapes.items()}
    try:
        (folder / f"{_NAMES}.json").write_text(json.dumps(list(shapes)), encoding="utf-8")
        for number, (name, shape) in enumerate(shapes.items()):
            file = folder / f"{number}.npy"
            # The parent may still have the last look's draws mapped: they stay in a file without a name.
            file.unlink(missing_ok=True)
            streams[name] = file.open("wb")
            header = {"descr": "<f8", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(streams[name], header)
            starts[name] = streams[name].tell()
        done = np.zeros(next(iter(shapes.values()))[:2], np.int64)
        for chain, first, values in deferred.blocks():
            if values.keys() != shapes.keys():
                raise EngineFailed(
                    f"the backend made a block of {', '.join(values) or 'nothing'}, and had deferred "
                    f"{', '.join(shapes)}."
                )
            for name, given in values.items():
                chains, draws, *rest = shapes[name]
                block = check_block(name, given)
                inside = 0 <= chain < chains and 0 <= first <= draws - len(block)
                if list(block.shape[1:]) != rest or not inside:
                    raise EngineFailed(
                        f"the backend made {name} in a block of shape {block.shape} from draw {first} "
                        f"of chain {chain} on, of {shapes[name]}."
                    )
                check(name, block, chain, first)
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
        names = json.loads(arrays[_NAMES].tobytes())
        values, stats = (
            {name: arrays[f"{kind}-{number}"] for number, name in enumerate(names[kind])}
            for kind in ("values", "stats")
        )
    deferred = _folder(path)
    if deferred.exists():
        later = json.loads((deferred / f"{_NAMES}.json").read_text(encoding="utf-8"))
        for number, name in enumerate(later):
            file = deferred / f"{number}.npy"
            values[name] = np.load(file, mmap_mode="r", allow_pickle=False)
    return Draws(values, stats, Timings(), {})


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
