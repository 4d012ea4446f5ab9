"""The process that runs one engine: ``python -m nestor.runner.worker JOB RESULT [CPUS]``.

It is a fresh interpreter, so that nothing is warm, shared or inherited. Its standard output carries one
JSON object a line (see `_Channel`); whatever libraries print goes to standard error, the log. When its
standard input closes, because its parent is done with it or dead, it ends with all its children; a line
there lets chains that rest for a look go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.engines.protocol import Backend, CompiledModel, Draws, Progress, Timings
    from nestor.runner.contract import Support
    from nestor.runner.job import Job


class _Channel:
    """Lines of JSON to the parent, on the descriptor that was standard output."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send_error(self, kind: str, message: str) -> None:
        from nestor.runner.contract import encodable

        self.send("error", kind=kind, message=encodable(message))

    def send(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, **fields})
        with self._lock:
            self._stream.write(line + "\n")

    def progress(self, progress: Progress) -> None:
        from nestor.runner.contract import check_progress

        self.send("progress", **check_progress(progress))


def _obey_parent(go_on: threading.Semaphore) -> None:
    """Pass on each line of standard input; when it closes, end this process and its children."""
    while received := os.read(0, 4096):
        for _ in range(received.count(b"\n")):
            go_on.release()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _settle(cpus: str) -> None:
    """Stay on the cores `cpus`, such as "0,2", and be the first to go when memory runs out."""
    if cpus:
        os.sched_setaffinity(0, [int(number) for number in cpus.split(",")])
    first = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(
        OSError
    ):  # not Linux, or read-only: then the kernel chooses as it likes
        first.write_text("1000")


def main(arguments: list[str]) -> int:
    """Run the job in file `arguments[0]`; write arrays to `arguments[1]`, on the cores `arguments[2]`."""
    # Before any thread is started or library imported: both take over what they find.
    _settle(arguments[2] if len(arguments) > 2 else "")
    channel = _Channel()
    go_on = threading.Semaphore(0)
    threading.Thread(target=_obey_parent, args=(go_on,), daemon=True).start()
    from nestor.errors import EngineFailed, NestorError

    try:
        with Path(arguments[0]).open("rb") as stream:
            job: Job = pickle.load(stream)  # noqa: S301 - written by our own parent, into a private folder
        channel.send("done", **_run(job, Path(arguments[1]), channel, go_on))
    except NestorError as error:
        channel.send_error(type(error).__name__, str(error))
        if isinstance(error, EngineFailed):
            _log()
        return 1
    except MemoryError as error:
        channel.send_error("MemoryError", _in_one_line("out of memory", error))
        _log()
        return 1
    except Exception as error:  # noqa: BLE001 - an engine's crash is a row of a table, with its log
        kind = type(error).__name__
        channel.send_error(kind, _in_one_line(kind, error))
        _log()
        return 1
    return 0


def _log() -> None:
    """Print the error into the log, if that can be written: its disk may be full."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


def _in_one_line(what: str, error: Exception) -> str:
    try:
        text = " ".join(str(error).split())[:300]
    except Exception:  # noqa: BLE001 - an engine's own exception may not know how to spell itself
        text = ""
    return f"{what}: {text}" if text else what


def _run(
    job: Job, result: Path, channel: _Channel, go_on: threading.Semaphore
) -> dict[str, object]:
    from nestor.engines import registry
    from nestor.engines.protocol import Preparable, Timings
    from nestor.runner.contract import check_seconds, check_versions

    backend = registry.get(job.contender.backend).backend
    begin = time.perf_counter()
    channel.send("phase", phase="import")
    for name in backend.requires:
        import_module(name)
    imported = time.perf_counter()
    channel.send("phase", phase="compile")
    model = _compile(backend, job)
    spent = (imported - begin, time.perf_counter() - imported)
    found: dict[str, object] = {"versions": check_versions(backend)}
    if job.points:
        found["log_densities"] = _densities(model, job)
    if job.prepare_only:
        # On a CPU the data are where they were.
        given = 0.0 if job.contender.device == "cpu" else None
        if isinstance(model, Preparable):
            given = model.upload_seconds
        upload = check_seconds("upload", given)
        found["timings"] = _timings(Timings(upload=upload), *spent, time.perf_counter() - begin)
    elif job.config is not None:
        found |= _sample(model, backend, job, result, channel, go_on, begin, spent)
    return found


def _compile(backend: Backend, job: Job) -> CompiledModel:
    """Compile a model, and for sampling whatever its sampler needs."""
    from nestor.engines.protocol import Preparable, SupportsLazyDraws

    model = backend.compile(
        job.problem,
        job.contender.formulation,
        sampler=None if job.config is None else job.contender.sampler,
        device=job.contender.device,
        dtype=job.contender.dtype,
    )
    if job.config is not None and isinstance(model, Preparable):
        model.prepare(job.config)
    return model.with_lazy_draws() if isinstance(model, SupportsLazyDraws) else model


def _sample(
    model: CompiledModel,
    backend: Backend,
    job: Job,
    result: Path,
    channel: _Channel,
    go_on: threading.Semaphore,
    begin: float,
    spent: tuple[float, float],
) -> dict[str, object]:
    """Sample; between looks say what there is, and wait for the word to go on."""
    from nestor.runner import arrays
    from nestor.runner.contract import Support, check_draws

    assert job.config is not None  # noqa: S101 - a sampling job
    stretches, refusal = _stretches(model, backend, job, channel)
    found: dict[str, object] = {} if refusal is None else {"cannot_extend": refusal}
    targets = job.looks if refusal is None and job.looks else (job.config.draws,)
    done = 0
    for target, draws in zip(targets, stretches, strict=False):
        dtype = job.contender.dtype
        ready = time.perf_counter()
        whole = check_draws(job.problem, draws, job.config.chains, target - done, dtype)
        begin += (
            time.perf_counter() - ready
        )  # the check is ours, and no part of what the engine took
        made = _make_deferred(whole, result, Support(job.problem, dtype))
        # So is writing down draws that are made and on the host.
        found["timings"] = _timings(made.timings, *spent, time.perf_counter() - begin)
        arrays.write(made, result)
        found["settings"] = made.settings
        found["device_peak_bytes"] = made.device_peak_bytes
        done = target
        if target != targets[-1]:
            channel.send("look", **found)
            go_on.acquire()
            begin, spent = time.perf_counter(), (0.0, 0.0)
    return found


def _stretches(
    model: CompiledModel, backend: Backend, job: Job, channel: _Channel
) -> tuple[Iterator[Draws], str | None]:
    """Draws look by look; or all that there will be, and why the chains cannot go on after them."""
    from nestor.engines.protocol import Resumable
    from nestor.errors import Unsupported

    assert job.config is not None  # noqa: S101 - a sampling job
    refusal: str | None = None
    if job.looks:
        can = backend.capabilities()
        refusal = can.reason([job.contender.sampler or "", "extend"])
        if not isinstance(model, Resumable):
            refusal = refusal or "its backend does not offer it"
        if isinstance(model, Resumable) and refusal is None:
            stretches = model.sample_until(job.config, job.looks, channel.progress)
            try:
                first = next(stretches)
            except Unsupported as error:
                refusal = str(error)
            else:
                return chain([first], stretches), None
    return iter([model.sample(job.config, channel.progress)]), refusal


def _densities(model: CompiledModel, job: Job) -> list[str]:
    """Log densities as text, since JSON has no infinities."""
    from nestor.runner.contract import check_log_density

    return [repr(check_log_density(model.log_density(point))) for point in job.points]


def _make_deferred(draws: Draws, result: Path, support: Support) -> Draws:
    """Make what the engine has deferred, straight into files; its draws with the cost of that."""
    from nestor.engines.lazy import with_cost
    from nestor.runner import arrays

    if draws.deferred is None:
        return draws
    begin = time.perf_counter()
    arrays.write_deferred(draws.deferred, result, support.check)
    return with_cost(draws, time.perf_counter() - begin)


def _timings(timings: Timings, imported: float, compiled: float, total: float) -> dict[str, object]:
    """Seconds per phase; the sampler's own compilation is added to the backend's."""
    from nestor.engines.clock import unaccounted

    both = timings.warmup_and_sampling
    if timings.warmup is not None and timings.sampling is not None:
        both = timings.warmup + timings.sampling
    found: dict[str, object] = {
        "import_s": imported,
        "upload_s": timings.upload,
        "compile_s": compiled - (timings.upload or 0.0) + (timings.compile or 0.0),
        "warmup_s": timings.warmup,
        "sampling_s": timings.sampling,
        "warmup_and_sampling_s": both,
        "postprocess_s": timings.postprocess,
        "transfer_s": timings.transfer,
        "total_s": total,
        "warmup_per_chain_s": list(timings.warmup_per_chain),
        "sampling_per_chain_s": list(timings.sampling_per_chain),
    }
    return found | {"unaccounted_s": unaccounted(found)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
