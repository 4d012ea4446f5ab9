"""The address from which a backend imports the contract: ``from nestor.backend import Backend``.

Everything here is defined in `nestor.engines`, and imported from there by nestor itself. What backends share
is in `nestor.engines.support`.
"""

from nestor.engines import protocol
from nestor.engines.protocol import *  # noqa: F403
from nestor.engines.sampler_backend import SamplerBackend

__all__ = ["SamplerBackend"]
__all__ += protocol.__all__
