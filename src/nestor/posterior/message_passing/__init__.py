"""Message passing on the tree of a gaussian model: each leaf's density given all other leaves."""

from nestor.posterior.message_passing.predictive import Predictive

__all__ = ["Predictive"]
