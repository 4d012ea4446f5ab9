"""Writing netCDF files so that a write that fails is an ordinary error."""

from __future__ import annotations

import os
import re
import shutil
from errno import ENOSPC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import xarray as xr

_ERRNO = re.compile(r"errno = (\d+)")


def write_netcdf(tree: xr.DataTree, path: Path) -> None:
    """Write a DataTree to a netCDF file.

    Raises
    ------
    OSError
        If it cannot be written, with the operating system's number where HDF5 tells it.
    """
    free = shutil.disk_usage(path.parent).free
    if tree.nbytes > free:
        needed = f"{tree.nbytes / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are free"
        raise OSError(ENOSPC, f"{os.strerror(ENOSPC)} ({needed})")
    try:
        tree.to_netcdf(path, engine="h5netcdf")
    except (OSError, RuntimeError) as error:
        _never_close_again(error)
        raise _plain(error) from None


def _never_close_again(error: BaseException) -> None:
    """Forget the file handle whose closing failed.

    Its destructor would close it once more, and HDF5 has freed by then what that uses: the interpreter
    would crash (h5netcdf 1.8, HDF5 2.0).
    """
    import h5netcdf

    for one in _chain(error):
        trace = one.__traceback__
        while trace is not None:
            found = trace.tb_frame.f_locals.get("self")
            if isinstance(found, h5netcdf.File):
                found._closed = True  # noqa: SLF001 - there is no other way to say so
            trace = trace.tb_next


def _plain(error: BaseException) -> OSError:
    """Return the operating system's reason, if HDF5's text has it, instead of that text."""
    for one in _chain(error):
        if found := _ERRNO.search(str(one)):
            number = int(found[1])
            return OSError(number, os.strerror(number))
    return OSError(str(error).splitlines()[0])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those during whose handling it was raised."""
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__context__
