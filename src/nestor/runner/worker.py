"""The process that runs one engine: ``python -m nestor.runner.worker JOB RESULT [CPUS]``.

It is a fresh interpreter, so that nothing is warm, shared or inherited. It tells its parent of phases and
progress, and last that it is done, or of an error; chains that rest for a look go on when the parent says so.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from nestor.runner.parent import Parent

if TYPE_CHECKING:
    from nestor.engines.protocol import (
        Backend,
        CompiledModel,
        Draws,
        Progress,
        SamplerConfig,
        Timings,
    )
    from nestor.runner.contract import Support
    from nestor.runner.job import Job


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
    parent = Parent()
    from nestor.errors import EngineFailed, NestorError

    try:
        with Path(arguments[0]).open("rb") as stream:
            job: Job = pickle.load(stream)  # noqa: S301 - written by our own parent, into a private folder
        parent.send("done", **_run(job, Path(arguments[1]), parent))
    except NestorError as error:
        parent.send("error", kind=type(error).__name__, message=str(error))
        if isinstance(error, EngineFailed):
            _log()
        return 1
    except MemoryError as error:
        parent.send("error", kind="MemoryError", message=_in_one_line("out of memory", error))
        _log()
        return 1
    except Exception as error:  # noqa: BLE001 - an engine's crash is a row of a table, with its log
        kind = type(error).__name__
        parent.send("error", kind=kind, message=_in_one_line(kind, error))
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


def _run(job: Job, result: Path, parent: Parent) -> dict[str, object]:
    from nestor.engines import registry
    from nestor.engines.protocol import Preparable, Timings
    from nestor.runner.contract import check_seconds, check_versions
    from nestor.runner.sampling import compile_model

    backend = registry.get(job.contender.backend).backend
    begin = time.perf_counter()
    parent.send("phase", phase="import")
    for name in backend.requires:
        import_module(name)
    imported = time.perf_counter()
    parent.send("phase", phase="compile")
    to_sample = job.config is not None
    model = compile_model(backend, job.contender, job.problem, to_sample=to_sample)
    if job.config is not None:
        model = _prepared(model, job.config)
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
        found |= _sample(model, backend, job, job.config, result, parent, begin, spent)
    return found


def _prepared(model: CompiledModel, config: SamplerConfig) -> CompiledModel:
    """Return a model that has compiled whatever its sampler needs, and may defer draws."""
    from nestor.engines.protocol import Preparable, SupportsLazyDraws

    if isinstance(model, Preparable):
        model.prepare(config)
    return model.with_lazy_draws() if isinstance(model, SupportsLazyDraws) else model


def _sample(
    model: CompiledModel,
    backend: Backend,
    job: Job,
    config: SamplerConfig,
    result: Path,
    parent: Parent,
    begin: float,
    spent: tuple[float, float],
) -> dict[str, object]:
    """Sample; between looks say what there is, and wait for the word to go on."""
    from nestor.runner import arrays
    from nestor.runner.contract import Support, check_draws, check_progress
    from nestor.runner.sampling import sample_in_stretches

    def tell(progress: Progress) -> None:
        parent.send("progress", **check_progress(progress))

    stretches, refusal = sample_in_stretches(model, backend, job.contender, config, job.looks, tell)
    found: dict[str, object] = {} if refusal is None else {"cannot_extend": refusal}
    targets = job.looks if refusal is None and job.looks else (config.draws,)
    done = 0
    for target, draws in zip(targets, stretches, strict=False):
        dtype = job.contender.dtype
        ready = time.perf_counter()
        whole = check_draws(job.problem, draws, config.chains, target - done, dtype)
        # The check is ours, and no part of what the engine took.
        begin += time.perf_counter() - ready
        made = _make_deferred(whole, result, Support(job.problem, dtype))
        # So is writing down draws that are made and on the host.
        found["timings"] = _timings(made.timings, *spent, time.perf_counter() - begin)
        arrays.write(made, result)
        found["settings"] = made.settings
        found["device_peak_bytes"] = made.device_peak_bytes
        done = target
        if target != targets[-1]:
            parent.send("look", **found)
            parent.receive()
            begin, spent = time.perf_counter(), (0.0, 0.0)
    return found


def _densities(model: CompiledModel, job: Job) -> list[str]:
    """Log densities as text, since JSON has no infinities."""
    from nestor.runner.contract import check_log_density

    return [repr(check_log_density(model.log_density(point))) for point in job.points]


def _make_deferred(draws: Draws, result: Path, support: Support) -> Draws:
    """Write deferred draws straight into files; return the draws with the seconds that this took."""
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
