"""The class NumPyroBackend: what the backend ``numpyro`` can do."""

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
    from nestor_numpyro.compiled import NumPyroModel


class NumPyroBackend:
    """The backend ``numpyro``. Constructing it imports neither JAX nor NumPyro."""

    name = "numpyro"
    requires: tuple[str, ...] = ("numpyro", "jax")
    samplers: tuple[str, ...] = ("nuts",)
    implementation = "numpyro"

    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        return Capabilities(
            families=frozenset({"gaussian", "student_t"}),
            centering=frozenset({"centered", "noncentered"}),
            devices=frozenset({"cpu", "gpu"}),
            dtypes=frozenset({"float64", "float32"}),
            chain_methods=frozenset({"sequential", "parallel", "vectorized"}),
            likelihoods=frozenset({"rows", "statistics"}),
            coefficients=frozenset({"sampled", "marginalized"}),
            reasons={
                Missing(device="gpu", chain_method="parallel"): "not in the library: one GPU runs "
                "programs one after another; use vectorized",
            },
        )

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that decide its results."""
        return {package: version(package) for package in ("numpyro", "jax", "jaxlib")}

    def device_environment(self, device: Device) -> Mapping[str, str]:
        """Variables of a process that runs on one device; see `ProcessEnvironment`."""
        if device == "cpu":
            # JAX starts every device that it finds: a CPU's run would pay for a GPU's start.
            return {"JAX_PLATFORMS": "cpu"}
        return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

    def cache_environment(self, folder: Path) -> Mapping[str, str]:
        """Variables that keep what JAX and CUDA compile in `folder`; see `ProcessEnvironment`."""
        return {
            "JAX_ENABLE_COMPILATION_CACHE": "true",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
            # However quickly it compiled, and however small it is.
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            # The driver's own, of code that it compiles for the GPU at hand.
            "CUDA_CACHE_DISABLE": "0",
            "CUDA_CACHE_PATH": str(folder / "cuda"),
        }

    def compile(
        self,
        problem: Problem,
        formulation: Formulation,
        *,
        sampler: str | None,
        device: Device,
        dtype: DType,
    ) -> NumPyroModel:
        """Build the model and put its data on the device.

        With ``sampler=None`` the log density is compiled at once; otherwise it is compiled when first
        asked for, and the sampler's programs by `NumPyroModel.sample`, whose configuration is part of
        them.

        Raises
        ------
        Unsupported
            For another sampler, outcome family or precision, if JAX sees no such device, or if the
            formulation does not apply to the problem.
        """
        require(self, problem, formulation, sampler=sampler, device=device, dtype=dtype)
        from nestor_numpyro.execution import find_execution

        execution = find_execution(device, dtype)
        from nestor_numpyro.compiled import NumPyroModel

        return NumPyroModel.build(problem, formulation, sampler=sampler, execution=execution)
