"""What all other leaves say of one leaf: messages up and down the tree of a gaussian model."""

from nestor.posterior.message_passing.predictive import Predictive

__all__ = ["Predictive"]
