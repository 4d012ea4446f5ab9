"""One run of nutpie that can be paused: its chains, and their draws so far."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import EngineFailed
from nestor_nutpie.monitor import RATE_MS, Monitor

if TYPE_CHECKING:
    from nestor.engines.protocol import ProgressCallback, SamplerConfig

#: Arrow tables of draws and of statistics, one of each for each chain.
type Tables = tuple[list[Any], list[Any]]

#: Seconds between looks at the sampler, so that an interrupt is seen soon.
_SLICE_S = 0.1


class NutpieRun:
    """nutpie's chains in the background, run from look to look.

    Parameters
    ----------
    compiled : nutpie's compiled model
        What to sample.
    config : SamplerConfig
        Chains, warmup, seed.
    draws : int
        Draws of each chain at the end.
    cores : int
        Chains that run at once; all of them, if the run is to be paused before its end: nutpie runs each
        chain to its end before one that waits for a core begins.
    options : dict
        nutpie's own.
    on_progress : callable or None
        Whom to tell.
    engine : str
        Who runs, for messages.
    """

    def __init__(
        self,
        compiled: Any,
        config: SamplerConfig,
        draws: int,
        cores: int,
        options: dict[str, Any],
        on_progress: ProgressCallback | None,
        engine: str,
    ) -> None:
        import nutpie

        self._end, self._engine = config.warmup + draws, engine
        self.monitor = Monitor(config, on_progress, self._end)
        self._tables: Tables | None = None
        self._resting = False
        self._sampler = nutpie.sample(
            compiled,
            draws=draws,
            tune=config.warmup,
            chains=config.chains,
            cores=cores,
            seed=config.seed,
            progress_bar=False,
            progress_callback=self.monitor,
            progress_rate=RATE_MS,
            return_raw_trace=True,
            blocking=False,
            **options,
        )

    def until(self, total: int) -> Tables:
        """Let every chain make `total` iterations, then rest; returns what there is so far.

        Chains that are ahead of others, and all of them until the pause reaches them, go on beyond
        `total`: the tables may hold more.

        Raises
        ------
        EngineFailed
            If nutpie stops.
        """
        self.monitor.total = total
        if self._tables is None and not self.monitor.arrived:
            self._resume()
            self._advance(total)
        self.monitor.tell(finished=True)
        return _tables(self._sampler.inspect()) if self._tables is None else self._tables

    def close(self) -> None:
        """End the chains, wherever they stand."""
        if self._tables is None:
            self._sampler.cancel()

    def _resume(self) -> None:
        if self._resting:
            self._sampler.resume()
            self._resting = False

    def _advance(self, total: int) -> None:
        last = total == self._end
        told = time.perf_counter()
        while not self._finished(_SLICE_S if last else RATE_MS / 1000.0):
            if not last and self.monitor.arrived:
                self._sampler.pause()
                self._resting = True
                return
            if time.perf_counter() - told >= _SLICE_S:
                told = time.perf_counter()
                self.monitor.tell()

    def _finished(self, timeout: float) -> bool:
        """Wait for the end of all chains, for `timeout` seconds."""
        try:
            trace = self._sampler.wait(timeout=timeout)
        except TimeoutError:
            return False
        except RuntimeError as error:
            reason = str(error).partition("Stack backtrace")[0].strip()
            raise EngineFailed(f"{self._engine} stopped: {reason}") from None
        self._tables = _tables(trace)
        return True


def _tables(trace: Any) -> Tables:
    """Arrow tables of draws and of statistics, one of each for each chain; a trace gives them once."""
    import pyarrow as pa

    draws, stats = trace.get_arrow_trace()
    return [pa.record_batch(b) for b in draws], [pa.record_batch(b) for b in stats]


def rows(batch: Any, name: str, kept: slice) -> np.ndarray[Any, Any]:
    """Return the rows `kept` of a column of an Arrow table, flat."""
    column = batch.column(name).slice(kept.start, kept.stop - kept.start)
    values = column.flatten() if hasattr(column, "flatten") else column
    return np.asarray(values.to_numpy(zero_copy_only=False))
