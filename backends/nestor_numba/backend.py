"""The class NumbaBackend: what the backend ``numba`` can do."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from nestor.engines.capability import require
from nestor.engines.protocol import Capabilities, Missing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import Device, DType
    from nestor_numba.compiled import NumbaModel

_ONE_KIND = "not yet ours: its kernels are written for one CPU and double precision"

#: What the backend cannot do, and why.
REASONS = {
    Missing(device="gpu"): _ONE_KIND,
    Missing(dtype="float32"): _ONE_KIND,
    Missing(
        chain_method="vectorized"
    ): "not in the library: nutpie runs each chain in a thread of its own",
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

    def device_environment(self, device: Device) -> Mapping[str, str]:  # noqa: ARG002 - there is one device
        """None are needed; see `ProcessEnvironment`."""
        return {}

    def cache_environment(self, folder: Path) -> Mapping[str, str]:
        """Variables that keep what Numba compiles in `folder`; see `ProcessEnvironment`."""
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
        require(self, problem, formulation, sampler=sampler, device=device, dtype=dtype)
        from nestor_numba.compiled import NumbaModel

        return NumbaModel.build(problem, formulation, sampler)
