"""The class PyMCBackend: what the backend ``pymc`` can do."""

from __future__ import annotations

import os
import shlex
from importlib.metadata import version
from typing import TYPE_CHECKING

from nestor.engines.capability import require
from nestor.engines.protocol import Capabilities, Missing
from nestor_pymc.settings import NOT_RESUMABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import Device, DType
    from nestor_pymc.compiled import PyMCModel

#: What the backend cannot do, and why.
REASONS = {
    Missing(
        device="gpu"
    ): "not in the library: nutpie's and PyMC's samplers evaluate PyTensor's numba code on the CPU",
    Missing(
        dtype="float32"
    ): "not yet ours: only double precision is checked against the reference",
    Missing(
        chain_method="vectorized"
    ): "not in the library: each chain runs in a thread or process of its own",
    Missing(sampler="pymc", resuming=True): NOT_RESUMABLE,
}


class PyMCBackend:
    """Nested hierarchical models in PyMC; samplers: nutpie (the default) and PyMC's own NUTS."""

    name = "pymc"
    requires: tuple[str, ...] = ("pymc", "nutpie", "numba")
    samplers: tuple[str, ...] = ("nutpie", "pymc")
    implementation = "pymc"

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
        return {name: version(name) for name in ("pymc", "pytensor", "nutpie", "numba", "numpy")}

    def device_environment(self, device: Device) -> Mapping[str, str]:  # noqa: ARG002 - there is one device
        """None are needed; see `ProcessEnvironment`."""
        return {}

    def cache_environment(self, folder: Path) -> Mapping[str, str]:
        """Return variables with which PyTensor and numba cache compiled code in `folder`.

        The user's own PYTENSOR_FLAGS are kept; see `ProcessEnvironment`.
        """
        ours = {
            "base_compiledir": shlex.quote(str(folder / "pytensor")),
            "compiledir": shlex.quote(str(folder / "pytensor" / "compiled")),
            "numba__cache": "True",
        }
        # A later flag overrides an earlier one of the same name: the user's others stay.
        flags = [os.environ.get("PYTENSOR_FLAGS", ""), *(f"{k}={v}" for k, v in ours.items())]
        return {
            "PYTENSOR_FLAGS": ",".join(flag for flag in flags if flag),
            "NUMBA_CACHE_DIR": str(folder / "numba"),
        }

    def compile(
        self,
        problem: Problem,
        formulation: Formulation,
        *,
        sampler: str | None,
        device: Device,
        dtype: DType,
    ) -> PyMCModel:
        """Build the model and compile what `sampler` needs; with None, the density only.

        Raises
        ------
        Unsupported
            For a GPU, for float32, for a family or sampler that there is not, and for a formulation that
            does not apply to the problem.
        """
        require(self, problem, formulation, sampler=sampler, device=device, dtype=dtype)
        from nestor_pymc.compiled import PyMCModel

        return PyMCModel.build(problem, formulation, sampler)
