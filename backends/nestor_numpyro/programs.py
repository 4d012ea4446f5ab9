"""The compiled programs of one sampler configuration: start, advance, convert.

NumPyro's own `MCMC` compiles inside its warmup and reports nothing while it runs. Here its NUTS kernel is
driven by three programs that are compiled ahead of time, so that compilation, warmup and sampling are
timed apart, and one program advances any number of iterations, so that progress is reported as often as
wanted without compiling again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer import NUTS
from numpyro.infer.util import constrain_fn

from nestor_numpyro.recovery import recovery_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.engines.protocol import SamplerConfig
    from nestor_numpyro.compiled import Form
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.model import Model
    from nestor_numpyro.recovery import ConditionalSampler

#: NumPyro's defaults, stated so that records hold what was used.
TARGET_ACCEPT = 0.8
MAX_TREE_DEPTH = 10


@dataclass(frozen=True)
class Plan:
    """What a sampler's programs depend on; runs with equal plans share them.

    Parameters
    ----------
    warmup : int
        Iterations of each chain that adapt.
    draws : int
        Rows of the buffers: draws of each chain that are kept on the device.
    target_accept : float
        Target of the step size's adaptation.
    max_tree_depth : int
        Doublings of a trajectory at most.
    lanes : int or None
        Number of chains in one vectorized program; None for programs of one chain.
    """

    warmup: int
    draws: int
    target_accept: float
    max_tree_depth: int
    lanes: int | None

    @classmethod
    def of(cls, config: SamplerConfig) -> Self:
        """Return the plan of a configuration, with NumPyro's defaults where it says None."""
        target, depth = config.target_accept, config.max_tree_depth
        return cls(
            warmup=config.warmup,
            draws=config.draws,
            target_accept=TARGET_ACCEPT if target is None else target,
            max_tree_depth=MAX_TREE_DEPTH if depth is None else depth,
            lanes=config.chains if config.chain_method == "vectorized" else None,
        )


@dataclass(frozen=True)
class Programs:
    """Compiled programs of one chain, or of several side by side (a leading axis everywhere).

    Parameters
    ----------
    plan : Plan
        What they were compiled for.
    variables : tuple of str
        The canonical variables of the model, in order; JAX returns mappings sorted by name.
    shapes : mapping of str to tuple of int
        Shape of each unconstrained site of one chain.
    key : callable
        (words of a seed, number of the chain or of each lane) to a random key for each.
    start : callable
        (key, unconstrained point, data) to (state, buffers): a chain at this point, with its density and
        gradient, and room for the kept draws.
    advance : callable
        (state, buffers, n, data) to (state, buffers, divergences): n more iterations, n being an
        ordinary argument; buffers are consumed. Divergences are counted within these n iterations.
    convert : callable
        (unconstrained draws, data) to the canonical variables of the model, (draws, *shape).
    recover : callable or None
        Draws those that are not the model's, a chunk of draws at a time: see
        `ConditionalSampler.program`. None where there
        are none.
    chunk : int
        Draws of a chunk.
    """

    plan: Plan
    variables: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    key: Callable[..., Any]
    start: Callable[..., Any]
    advance: Callable[..., Any]
    convert: Callable[..., Any]
    recover: Callable[..., Any] | None
    chunk: int


def compile_programs(form: Form, data: ModelData, plan: Plan) -> tuple[Programs, float]:
    """Trace and compile; call it inside the scope of a `Execution`.

    Returns
    -------
    programs : Programs
        The programs.
    seconds : float
        What it took.
    """
    begin = time.perf_counter()
    model, variables = form.model, form.variables
    start, advance, convert = _start(model, plan), _advance(model, plan), _convert(model, variables)
    key: Callable[..., Any] = chain_key
    numbers = np.zeros(() if plan.lanes is None else plan.lanes, np.uint32)
    point = unconstrained(model, data)
    shapes = {name: value.shape for name, value in point.items()}
    if plan.lanes is not None:
        key = jax.vmap(key, in_axes=(None, 0))
        start = jax.vmap(start, in_axes=(0, 0, None))
        advance = jax.vmap(advance, in_axes=(0, 0, None, None))
        # One chain after another: side by side the intermediate arrays of all chains would be alive.
        convert = _one_by_one(convert)
        point = {
            name: jax.ShapeDtypeStruct((plan.lanes, *value.shape), value.dtype)
            for name, value in point.items()
        }
    words, count = seed_words(0), np.zeros((), np.int32)
    keyed = jax.jit(key).lower(words, numbers).compile()
    keys = jax.eval_shape(key, words, numbers)
    started = jax.jit(start).lower(keys, point, data).compile()
    state, buffers = jax.eval_shape(start, keys, point, data)
    advanced = jax.jit(advance, donate_argnums=1).lower(state, buffers, count, data).compile()
    converted = jax.jit(convert).lower(buffers["z"], data).compile()
    recovered, chunk = None, 0
    if form.recovery is not None:
        draws = jax.eval_shape(convert, buffers["z"], data)
        lead = 1 if plan.lanes is None else 2
        scales = {name: jax.ShapeDtypeStruct(x.shape[lead:], x.dtype) for name, x in draws.items()}
        recovered, chunk = compile_recovery(form.recovery, scales, data, plan.draws)
    programs = Programs(
        plan, variables, shapes, keyed, started, advanced, converted, recovered, chunk
    )
    return programs, time.perf_counter() - begin


def compile_recovery(
    recovery: ConditionalSampler, scales: Any, data: ModelData, draws: int
) -> tuple[Callable[..., Any], int]:
    """Compile the draws of coefficients given scales, one draw of them (*shape); returns it and its chunk."""
    chunk = recovery.chunk(draws, jnp.result_type(float).itemsize)
    some = {n: jax.ShapeDtypeStruct((chunk, *x.shape), x.dtype) for n, x in scales.items()}
    number = np.uint32(0)
    program = jax.jit(recovery.program(chunk))
    compiled = program.lower(recovery_words(0), number, number, some, data).compile()
    return compiled, chunk


def seed_words(seed: int) -> NDArray[np.uint32]:
    """Two words for the generator's key.

    Through SeedSequence, since JAX takes seeds of 64 bits at most, of 32 in single precision.
    """
    return np.random.SeedSequence(seed).generate_state(2).astype(np.uint32)


def chain_key(words: Any, number: Any) -> Any:
    """Random key of a chain; chain i has the same one however many there are."""
    # The generator is named, since the user may have set another one for the process.
    root = jax.random.wrap_key_data(words, impl="threefry2x32")
    return jax.random.fold_in(root, number)


def _kernel(model: Model, plan: Plan) -> NUTS:
    return NUTS(
        model,
        target_accept_prob=plan.target_accept,
        max_tree_depth=plan.max_tree_depth,
        dense_mass=False,
    )


def unconstrained(model: Model, data: ModelData) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a point of the sampled space, by site; call it inside the scope of a `Execution`."""

    def point(data: ModelData) -> Any:
        return NUTS(model).init(jax.random.key(0), 1, model_args=(data,)).z

    return jax.eval_shape(point, data)  # type: ignore[no-any-return]


def _start(model: Model, plan: Plan) -> Callable[..., Any]:
    def start(key: Any, point: Any, data: ModelData) -> tuple[Any, dict[str, Any]]:
        state = _kernel(model, plan).init(key, plan.warmup, point, model_args=(data,))
        buffers = jax.tree.map(
            lambda value: jnp.zeros((plan.draws, *value.shape), value.dtype), _kept(state)
        )
        return state, buffers

    return start


def _kept(state: Any) -> dict[str, Any]:
    """What is kept of each iteration, under ArviZ's names; tree depth follows from n_steps."""
    return {
        "z": state.z,
        "diverging": state.diverging,
        "energy": state.energy,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
        "lp": -state.potential_energy,
    }


def _advance(model: Model, plan: Plan) -> Callable[..., Any]:
    def advance(state: Any, buffers: Any, n: Any, data: ModelData) -> tuple[Any, Any, Any]:
        # A kernel learns the model's transforms and its adaptation schedule by `init`, and what it
        # learns belongs to the trace in which it learned it. The point found is unused and compiled away.
        kernel = _kernel(model, plan)
        kernel.init(jax.random.key(0), plan.warmup, model_args=(data,))

        def iterate(_: Any, carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            state, buffers, divergences = carry
            # During warmup every iteration overwrites the first row, so that one program serves both.
            # After as many draws as there are rows the first is overwritten: chains may go on for longer
            # than the buffers, once these have been read.
            row = jnp.maximum(state.i - plan.warmup, 0) % plan.draws
            state = kernel.sample(state, (data,), {})
            buffers = jax.tree.map(
                lambda buffer, value: jax.lax.dynamic_update_index_in_dim(buffer, value, row, 0),
                buffers,
                _kept(state),
            )
            return state, buffers, divergences + state.diverging.astype(jnp.int32)

        return jax.lax.fori_loop(  # type: ignore[no-any-return]
            0, n, iterate, (state, buffers, jnp.zeros((), jnp.int32))
        )

    return advance


def _convert(model: Model, variables: Sequence[str]) -> Callable[..., Any]:
    def convert(unconstrained: Any, data: ModelData) -> dict[str, Any]:
        def one(z: Any) -> dict[str, Any]:
            sites = constrain_fn(model, (data,), {}, z, return_deterministic=True)
            return {name: sites[name] for name in variables}

        return jax.vmap(one)(unconstrained)  # type: ignore[no-any-return]

    return convert


def _one_by_one(convert: Callable[..., Any]) -> Callable[..., Any]:
    def all_chains(unconstrained: Any, data: ModelData) -> Any:
        return jax.lax.map(lambda z: convert(z, data), unconstrained)

    return all_chains
