"""The phases that an engine reports, against the clock of the process that it runs in.

An engine measures its own compilation, warmup and sampling; nobody else can. What somebody else can measure
is the whole: the process's clock from before import to after the last draw. Seconds that no phase accounts
for may be sampling that was left out, and then effective draws per second are too many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Beside warmup and sampling.
PHASES: Final = ("import_s", "upload_s", "compile_s", "postprocess_s", "transfer_s")
#: Seconds that are nobody's: starting threads, collecting draws. In all short runs of nestor's engines that
#: were measured they are fewer (docs/decisions/013-phases-and-clock.md).
SLACK_S: Final = 0.1
#: Of warmup and sampling. From here on it is shown; honest engines leave a twentieth at most.
NOTICEABLE: Final = 0.1
#: Of warmup and sampling. Beyond it speed is void: ESS/s could be more than a quarter too high.
BOUND: Final = 0.25
#: Two clocks, read one after another, may differ by so much of what they measure.
CLOCKS: Final = 0.05


def all_in(total_s: float | None, import_s: float | None) -> float | None:
    """Seconds that a run takes, all in: what `nestor compare`, `verify` and `nestor bench` call so.

    From the end of the import of the engine's libraries to its last draw on the host. Import is left out,
    and shown by itself: it depends on the disk and on what was read before far more than on the engine.

    Parameters
    ----------
    total_s, import_s : float or None
        Seconds from the first import to the last draw, and of the import.

    Returns
    -------
    float or None
        None where the run did not come to its end.
    """
    return None if total_s is None else total_s - (import_s or 0.0)


def unaccounted(timings: Mapping[str, Any]) -> float | None:
    """Seconds of the process's clock that no phase accounts for.

    Parameters
    ----------
    timings : mapping of str to float or None
        ``total_s``, and the seconds of the phases.

    Returns
    -------
    float or None
        Negative where the phases are longer than the whole. None where the seconds of warmup and sampling
        are not known, not even together: they are part of the rest then.
    """
    total, drawing = timings.get("total_s"), _warmup_and_sampling(timings)
    if total is None or drawing is None:
        return None
    return float(total) - drawing - sum(float(timings.get(name) or 0.0) for name in PHASES)


def _warmup_and_sampling(timings: Mapping[str, Any]) -> float | None:
    """Seconds of both together; None where they are not known."""
    warmup, sampling = timings.get("warmup_s"), timings.get("sampling_s")
    if warmup is not None and sampling is not None:
        return float(warmup) + float(sampling)
    both = timings.get("warmup_and_sampling_s")
    return None if both is None else float(both)


def noticeable(timings: Mapping[str, Any]) -> bool:
    """Whether so much is unaccounted for that a reader should know."""
    return _beyond(timings, NOTICEABLE)


def void_speed(timings: Mapping[str, Any]) -> str:
    """Say why no speed follows from an engine's phases; empty where one does.

    Parameters
    ----------
    timings : mapping of str to float or None
        With ``unaccounted_s``.
    """
    left = timings.get("unaccounted_s")
    if left is None or not _beyond(timings, BOUND):
        return ""
    reported = _warmup_and_sampling(timings)
    total = timings["total_s"]
    if left < 0:
        return (
            f"no ESS/s: the phases that it reports take {total - left:.2f} s, and its process took "
            f"{total:.2f} s"
        )
    return (
        f"no ESS/s: it reports {reported:.2f} s of warmup and sampling, and no phase accounts for another "
        f"{left:.2f} s of its process"
    )


def _beyond(timings: Mapping[str, Any], share: float) -> bool:
    left, drawing = timings.get("unaccounted_s"), _warmup_and_sampling(timings)
    if left is None or drawing is None:
        return False
    if left < 0:
        return bool(-left > max(SLACK_S, CLOCKS * timings["total_s"]))
    return bool(left > max(SLACK_S, share * drawing))
