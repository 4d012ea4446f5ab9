"""nestor's own backend: fused kernels that Numba compiles, sampled by nutpie."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from nestor.data.problem import not_marginalizable
from nestor.engines.protocol import Capabilities
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import Device, DType
    from nestor_numba.compiled import NumbaModel

_NOTHING_LIKE_IT = "not yet ours: its kernels are written for one CPU and double precision"

#: What the backend cannot do, and why.
REASONS = {
    "gpu": _NOTHING_LIKE_IT,
    "float32": _NOTHING_LIKE_IT,
    "vectorized": "not in the library: nutpie runs each chain in a thread of its own",
}


class NumbaBackend:
    """The backend ``numba``. Constructing it imports neither Numba nor nutpie."""

    name = "numba"
    requires: tuple[str, ...] = ("numba", "nutpie")
    samplers: tuple[str, ...] = ("nutpie",)
    implementation = "numba"

    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        return Capabilities(
            families=frozenset({"gaussian", "student_t"}),
            centering=frozenset({"centered", "noncentered"}),
            devices=frozenset({"cpu"}),
            dtypes=frozenset({"float64"}),
            chain_methods=frozenset({"sequential", "parallel"}),
            reasons=REASONS,
            likelihoods=frozenset({"rows", "statistics"}),
            coefficients=frozenset({"sampled", "marginalized"}),
        )

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that decide its results."""
        return {name: version(name) for name in ("numba", "llvmlite", "nutpie", "numpy")}

    def cache_environment(self, folder: Path) -> Mapping[str, str]:
        """Variables that keep what Numba compiles in `folder`; see `nestor.engines.protocol.Cached`."""
        return {"NUMBA_CACHE_DIR": str(folder / "numba")}

    def compile(
        self,
        problem: Problem,
        formulation: Formulation,
        *,
        sampler: str | None,
        device: Device,
        dtype: DType,
    ) -> NumbaModel:
        """Lay the problem out and compile, or find on disk, the kernels of its kind.

        Raises
        ------
        Unsupported
            For another device, precision, sampler or outcome family, and for coefficients that cannot be
            integrated out.
        """
        if sampler not in (None, *self.samplers):
            raise Unsupported(
                f"numba has no sampler {sampler!r}; it has: {', '.join(self.samplers)}."
            )
        if device != "cpu":
            raise Unsupported(f"numba does not run on {device!r} ({REASONS['gpu']}). Use cpu.")
        if dtype != "float64":
            raise Unsupported(f"numba does not run in {dtype!r} ({REASONS['float32']}).")
        if problem.spec.family not in (families := self.capabilities().families):
            raise Unsupported(
                f"numba does not have family {problem.spec.family!r} (not yet ours); "
                f"it has {', '.join(sorted(families))}."
            )
        if formulation.is_marginalized and (refusal := not_marginalizable(problem)):
            raise Unsupported(f"numba cannot marginalize: {refusal}.")
        from nestor_numba.compiled import NumbaModel

        return NumbaModel.build(problem, formulation, sampler)
