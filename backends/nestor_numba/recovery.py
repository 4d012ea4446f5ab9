"""On how many cores a run draws coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.engines.cores import usable_cores

if TYPE_CHECKING:
    from nestor.engines.protocol import SamplerConfig


def recovery_cores(config: SamplerConfig) -> int:
    """Cores on which coefficients are drawn: those that the config's chains may run on.

    One for sequential chains, since then nothing runs at the same time as something else; never more than
    this process may use.
    """
    if config.chain_method == "sequential":
        return 1
    usable = len(usable_cores())
    return usable if config.cores is None else min(config.cores, usable)
