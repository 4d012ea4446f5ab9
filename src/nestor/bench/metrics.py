"""The figures of one run, from its seconds and effective draws; pure functions of a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor.engines.clock import all_in, void_speed

if TYPE_CHECKING:
    from nestor.bench.record import BenchRecord, DiagnosticsDocument, SecondsDocument


@dataclass(frozen=True)
class Metrics:
    """What a run costs; None stands for what is not known.

    Parameters
    ----------
    ess_min : float or None
        Smallest bulk or tail ESS of all shared quantities.
    ess_kind, ess_quantity : str
        Which of the two, and whose.
    time_to_ess_s, time_to_ess_warm_s : float or None
        Seconds to the target, all in, with empty and with warm caches; see `time_to_ess`.
    time_is_bound : bool
        Whether these are upper bounds.
    censored : bool
        Whether the target was not reached by draws that can be trusted.
    censored_at_s : float or None
        Seconds without the target, all in.
    ess_per_s_sampling, ess_per_s : float or None
        Per second of sampling, and of warmup and sampling.
    ess_per_gradient, gradients_per_s : float or None
        Of the kept draws.
    """

    ess_min: float | None = None
    ess_kind: str = ""
    ess_quantity: str = ""
    time_to_ess_s: float | None = None
    time_to_ess_warm_s: float | None = None
    time_is_bound: bool = False
    censored: bool = False
    censored_at_s: float | None = None
    ess_per_s_sampling: float | None = None
    ess_per_s: float | None = None
    ess_per_gradient: float | None = None
    gradients_per_s: float | None = None


def metrics_of(record: BenchRecord, target: float, *, wrong: bool = False) -> Metrics:
    """Return the figures of a record, for a target of effective draws.

    A run that is wrong, since its verdict is DISAGREE, has no speed: it never reaches the target. One whose
    phases do not add up (see `nestor.engines.clock`) has a time to the target by the process's clock alone.
    """
    if record.status == "skipped":
        return Metrics()
    seconds, found = record.seconds, record.diagnostics
    spent = None if seconds is None else _spent(seconds)
    if seconds is None or found is None:
        return Metrics(censored=True, censored_at_s=spent)
    if void_speed(vars(seconds)):
        # What does not add up to the process's own clock tells nothing apart; the clock remains.
        unknown = dict.fromkeys(("warmup_s", "sampling_s", "warmup_and_sampling_s"))
        seconds = seconds.model_copy(update=unknown)
    ess, kind, quantity = worst_ess(found)
    if wrong:
        return Metrics(ess, kind, quantity, censored=True, censored_at_s=spent)
    reached = record.status == "ok" and ess is not None and ess >= target
    cold, bound = time_to_ess(seconds, ess, target, seconds.compile_s)
    warm, _ = time_to_ess(seconds, ess, target, seconds.warm_compile_s)
    sampling, warmup = seconds.sampling_s, seconds.warmup_s
    # Records of earlier versions have only the two by themselves.
    apart = None if sampling is None or warmup is None else sampling + warmup
    both = seconds.warmup_and_sampling_s or apart
    return Metrics(
        ess_min=ess,
        ess_kind=kind,
        ess_quantity=quantity,
        time_to_ess_s=cold if reached else None,
        time_to_ess_warm_s=warm if reached else None,
        time_is_bound=bound and reached,
        censored=not reached,
        censored_at_s=None if reached else spent,
        ess_per_s_sampling=_ratio(ess, sampling),
        ess_per_s=_ratio(ess, both),
        ess_per_gradient=_ratio(ess, found.gradients),
        gradients_per_s=_ratio(found.gradients, sampling),
    )


def worst_ess(found: DiagnosticsDocument) -> tuple[float | None, str, str]:
    """Return the smaller of bulk and tail ESS, which it is, and whose."""
    bulk, tail = found.ess_bulk_min, found.ess_tail_min
    if bulk is None or tail is None:
        return None, "", ""
    if bulk <= tail:
        return bulk, "bulk", found.ess_bulk_quantity
    return tail, "tail", found.ess_tail_quantity


def time_to_ess(
    seconds: SecondsDocument, ess: float | None, target: float, compile_s: float | None
) -> tuple[float | None, bool]:
    """Seconds, all in, until `target` effective draws are on the host; see `nestor.engines.clock.all_in`.

    Upload, compilation and warmup are paid once; sampling, conversion and transfer grow with the draws,
    and effective draws with them: the run's own are scaled by target / ess.

    Parameters
    ----------
    seconds : SecondsDocument
        The run's phases.
    ess : float or None
        Its effective draws.
    target : float
        Those that are asked for.
    compile_s : float or None
        Compilation, with empty or with warm caches.

    Returns
    -------
    seconds : float or None
        None where a phase that counts is not known.
    bound : bool
        Whether it is an upper bound: warmup and sampling could not be told apart, and all of them count.
    """
    if ess is None or not ess > 0 or compile_s is None:
        return None, False
    fixed = (seconds.upload_s or 0.0) + compile_s
    growing = (seconds.postprocess_s or 0.0) + (seconds.transfer_s or 0.0)
    if seconds.warmup_s is not None and seconds.sampling_s is not None:
        return fixed + seconds.warmup_s + (seconds.sampling_s + growing) * target / ess, False
    spent = all_in(seconds.total_s, seconds.import_s)
    if spent is None or seconds.compile_s is None:
        return None, False
    # All that is neither import nor compilation, for draws of which there are at least as many as needed.
    rest = spent - seconds.compile_s - (seconds.upload_s or 0.0)
    if rest < 0:  # compilation longer than the whole process: void, too
        return None, False
    return fixed + rest * max(1.0, target / ess), True


def _spent(seconds: SecondsDocument) -> float:
    """All-in seconds of a run, or seconds of its process where it did not end well."""
    spent = all_in(seconds.total_s, seconds.import_s)
    return seconds.elapsed_s if spent is None else spent


def _ratio(amount: float | None, over: float | None) -> float | None:
    return None if amount is None or not over else amount / over
