"""The density that NumPyro's sampler walks on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import constrain_fn, potential_energy

from nestor.engines.coordinates import log_jacobian
from nestor.engines.optional import TargetDensity
from nestor.engines.protocol import Draws, Timings
from nestor.engines.support import find_start
from nestor_numpyro.chains import RADIUS
from nestor_numpyro.execution import failing_allocations
from nestor_numpyro.programs import compile_recovery, unconstrained
from nestor_numpyro.recovery import ConditionalDraws

if TYPE_CHECKING:
    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.stats.arrays import FloatArray
    from nestor_numpyro.compiled import Form
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.execution import Execution


def compile_target_density(
    problem: Problem, formulation: Formulation, form: Form, data: ModelData, execution: Execution
) -> TargetDensity:
    """Compile minus the potential energy with its gradient, and find a point where both are finite.

    It is a function of all unconstrained sites one after another, sorted by name, each flattened.

    Parameters
    ----------
    problem, formulation
        What the density is of.
    form : Form
        The NumPyro model.
    data : ModelData
        Its argument.
    execution : Execution
        Device and precision.

    Raises
    ------
    EngineFailed
        If there is no such point among the tries.
    """
    model = form.model
    with execution.scope():
        shapes = unconstrained(model, data)
        zeros = {name: np.zeros(site.shape, site.dtype) for name, site in shapes.items()}
        flat, unravel = ravel_pytree(zeros)

        def density(point: Any, data: ModelData) -> Any:
            # What `numpyro.infer.initialize_model` gives to NUTS, with the other sign.
            return -potential_energy(model, (data,), {}, unravel(point))

        program = jax.jit(jax.value_and_grad(density)).lower(flat, data).compile()

    def evaluate(z: FloatArray) -> tuple[float, FloatArray]:
        with execution.scope():
            value, gradient = program(np.asarray(z, execution.dtype), data)
            return float(value), np.array(gradient, np.float64)

    def canonical(z: Any, data: ModelData) -> dict[str, Any]:
        sites = constrain_fn(model, (data,), {}, unravel(z), return_deterministic=True)
        return {name: sites[name] for name in form.variables}

    def to_draws(z: FloatArray, first: int, seed: int) -> Draws:
        with failing_allocations(), execution.scope():
            convert = jax.jit(jax.vmap(canonical, in_axes=(0, None)))
            chains = [jax.device_get(convert(np.asarray(c, execution.dtype), data)) for c in z]
        values = {n: np.stack([c[n] for c in chains]).astype(np.float64) for n in form.variables}
        deferred = None
        if form.recovery is not None:
            some = {
                n: jax.ShapeDtypeStruct(a.shape[2:], execution.dtype) for n, a in values.items()
            }
            with failing_allocations(), execution.scope():
                recover, chunk = compile_recovery(form.recovery, some, data, z.shape[1])
            shapes = {v.name: v.shape for v in problem.variables.values() if v.name not in values}
            deferred = ConditionalDraws(
                recover, chunk, shapes, data, execution, values, first, seed
            )
        stats = {"log_jacobian": log_jacobian(problem, formulation, values)}
        return Draws(values, stats, Timings(), {}, deferred=deferred)

    def point(attempt: int) -> FloatArray:
        rng = np.random.default_rng(attempt)
        return np.asarray(rng.uniform(-RADIUS, RADIUS, flat.size), np.float64)

    return TargetDensity(evaluate, find_start(evaluate, point, "numpyro"), to_draws)
