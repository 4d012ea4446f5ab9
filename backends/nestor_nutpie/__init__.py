"""Running nutpie, whatever the density: shared by the backends whose sampler it is.

No backend of its own, and no model code: what two backends share here says nothing about either model.
"""

#: What a backend that uses this requires too.
requires: tuple[str, ...] = ("nutpie",)
