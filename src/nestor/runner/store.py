"""The run directory: its owner, its finished draws, and atomic writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor.errors import DataError
from nestor.runner.netcdf import write_netcdf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import xarray as xr

    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig

_OWNER = "problem.json"
_KEY = "nestor_key"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside `path`, then move it into place.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(
            prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent
        )
        os.close(descriptor)
        temporary = Path(name)
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Refuse a directory in which no file can be made.

    Raises
    ------
    DataError
        If that is so.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"cannot write into {folder}: {error.strerror or error}.") from None


def is_ours(path: Path) -> bool:
    """Whether a file is a netCDF file that nestor wrote."""
    import xarray as xr

    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return _KEY in tree.attrs
    except (OSError, ValueError, KeyError):
        return False


@contextlib.contextmanager
def scratch_folder() -> Iterator[tuple[Path, set[Path]]]:
    """Yield a temporary folder that is removed in the end except for the files put into the set.

    A message that names an engine's log is read after its run is over: the log must be there still.
    """
    folder = Path(tempfile.mkdtemp(prefix="nestor-"))
    kept: set[Path] = set()
    try:
        yield folder, kept
    finally:
        for path in sorted(folder.rglob("*"), reverse=True):  # a folder after what is in it
            with contextlib.suppress(OSError):  # what is kept keeps its folder
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                elif path not in kept:
                    path.unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a run directory while this one lasts.

    Raises
    ------
    DataError
        If another run is using it.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"another run is using the output directory {folder}. Wait for it, or choose another "
                "directory."
            ) from None
        yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document; a value that is not finite is an error, never a NaN in the file."""
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def default_folder(problem: Problem) -> Path:
    """``nestor-out/`` and a short hash of the problem."""
    return Path("nestor-out") / problem.fingerprint[:8]


def claim(folder: Path, problem: Problem) -> None:
    """Make `folder` the run directory of `problem`, creating it if need be.

    Raises
    ------
    DataError
        If it cannot be made, or belongs to another problem.
    """
    owner = folder / _OWNER
    if owner.exists():
        try:
            found = json.loads(owner.read_text(encoding="utf-8"))["fingerprint"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DataError(
                f"{owner} cannot be read ({error}). Choose another directory."
            ) from None
        if found != problem.fingerprint:
            raise DataError(
                f"the output directory {folder} belongs to another problem (other data, formula or "
                "priors). Choose another directory."
            )
        check_writable(folder)
        return
    if folder.exists() and not folder.is_dir():
        raise DataError(f"the output directory {folder} is a file. Choose another directory.")
    if folder.exists() and any(folder.iterdir()):
        raise DataError(
            f"the output directory {folder} is not empty and was not made by nestor. Choose another "
            "directory."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the output directory {folder}: {error.strerror}.") from None
    write_json(
        owner,
        {
            "fingerprint": problem.fingerprint,
            "formula": problem.spec.to_formula(),
            "spec": problem.resolved_spec.model_dump(mode="json", exclude_none=True),
        },
    )


def key(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    versions: Mapping[str, str],
    until_verdict: int | None = None,
) -> str:
    """Hash of all that decides a contender's draws: data, resolved spec, contender, settings, versions.

    With a budget of draws up to which to go on until there is a verdict, that decides too.
    """
    parts: dict[str, object] = {
        "problem": problem.fingerprint,
        "contender": contender.name,
        "config": asdict(config),
        "versions": {**versions, "nestor": version("nestor")},
    }
    if until_verdict is not None:
        parts["until_verdict"] = until_verdict
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save_tree(tree: xr.DataTree, path: Path, run_key: str) -> None:
    """Write a DataTree to netCDF, with the key under which it may be used again.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    tree.attrs[_KEY] = run_key
    write_atomically(path, lambda temporary: write_netcdf(tree, temporary))


def load_tree(path: Path, run_key: str | None = None) -> xr.DataTree | None:
    """Read a finished contender's DataTree into memory.

    Returns
    -------
    DataTree or None
        None if there is no file, it cannot be read, or it was made under another key.
    """
    import xarray as xr

    if not path.exists():
        return None
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            if run_key is not None and tree.attrs.get(_KEY) != run_key:
                return None
            return tree.load()
    except (OSError, ValueError, KeyError):
        return None
