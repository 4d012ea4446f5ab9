"""The coefficients that were integrated out, drawn exactly given each draw of the scales.

The pass up is repeated for the draw; then gamma, the population and level by level the nodes are drawn given
what lies above them, so that a draw of all coefficients is one of their joint distribution. Every draw has a
random key of its own, made from the run's seed, the chain's number and the draw's number, so that neither
chunks nor the way in which chains are run change anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np

from nestor.engines.lazy import load
from nestor_numpyro.children import pick, spread
from nestor_numpyro.execution import failing_allocations
from nestor_numpyro.marginal import scales_of
from nestor_numpyro.messages import pass_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.execution import Execution
    from nestor_numpyro.messages import Up
    from nestor_numpyro.precision import Stage
    from nestor_numpyro.tree import Tree, TreeData


#: Bytes of the intermediate arrays of one chunk of draws.
CHUNK_BYTES = 64_000_000

#: (number of the noise, shape) -> standard normal numbers of that shape; zeros for means.
Noise = Callable[[int, tuple[int, ...]], Any]


@dataclass(frozen=True)
class ConditionalSampler:
    """How the coefficients of a problem are recovered.

    Parameters
    ----------
    problem : Problem
        Names and levels.
    tree : Tree
        Its layout.
    """

    problem: Problem
    tree: Tree

    def chunk(self, draws: int, itemsize: int) -> int:
        """Draws at a time, such that their arrays fit in `CHUNK_BYTES`, and no more than `draws`."""
        p, m = self.tree.p, 1 + self.tree.c
        # P before each effect, h, the message, its shift, noise and values.
        numbers = (2 * p * p + 4 * p * m + 6 * p) * sum(part.slots for part in self.tree.layouts)
        return max(1, min(draws, CHUNK_BYTES // (numbers * itemsize)))

    def program(self, chunk: int) -> Callable[..., Any]:
        """Return the function to compile.

        Parameters
        ----------
        chunk : int
            Draws at a time.

        Returns
        -------
        callable
            (words of a seed, chain, first, scales, data) to the coefficients, (chunk, *shape), by name,
            given the scales, (chunk, *shape), of draws number ``first`` and following of the chain.
        """

        def recover(words: Any, chain: Any, first: Any, scales: Any, data: Any) -> Any:
            root = jax.random.wrap_key_data(words, impl="threefry2x32")
            key = jax.random.fold_in(root, chain)

            def one(number: Any, values: Any) -> Any:
                own = jax.random.fold_in(key, number)
                return self.draw(data, values, _normal(own))

            return jax.vmap(one)(first + jnp.arange(chunk, dtype=jnp.uint32), scales)

        return recover

    def draw(self, data: TreeData, scales: Mapping[str, Any], noise: Noise) -> dict[str, Any]:
        """Coefficients given one draw of the scales, in canonical shapes; zero noise gives their means."""
        sigma, variances = scales_of(self.problem, scales)
        up = pass_up(self.tree, data, sigma, variances)
        return self._down(data, up, noise)

    def _down(self, data: TreeData, up: Up, noise: Noise) -> dict[str, Any]:
        tree, found = self.tree, {}
        one = [jnp.ones(())]
        if up.gamma is not None:
            eps = noise(0, up.gamma.half.shape)
            units = jsl.solve_triangular(up.gamma.factor.T, up.gamma.half + eps, lower=False)
            about = data.gamma_sd * units
            found["gamma"] = data.gamma_pivot + about
            one += [-g for g in about]
        away = [-_combined(shift, one)[None] for shift in data.root_shift]
        value = [mean[None] for mean in data.root_mean]
        away, value = _deviate(up.root.stages, one, away, value, noise(1, (tree.p, 1)))
        found["beta"] = jnp.concatenate(value)
        for k, level in enumerate(self.problem.levels):
            layout, where = tree.layouts[k], data.where[k]
            both = spread(layout, where, jnp.stack([*away, *value]))
            away, value = list(both[: tree.p]), list(both[tree.p :])
            if k < len(data.shift):
                moves = (_combined(shift, one) for shift in data.shift[k])
                away = [x - move for x, move in zip(away, moves, strict=True)]
            eps = noise(2 + k, (tree.p, layout.slots))
            away, value = _deviate(up.levels[k].stages, one, away, value, eps)
            both = pick(where, jnp.stack([*away, *value]))
            away, value = list(both[: tree.p]), list(both[tree.p :])
            found[f"beta_{level.name}"] = both[tree.p :].T
        return found


def recovery_words(seed: int) -> NDArray[np.uint32]:
    """Two words for the key of the recovery, independent of those of the chains."""
    return np.random.SeedSequence(seed, spawn_key=(1,)).generate_state(2).astype(np.uint32)


def _normal(key: Any) -> Noise:
    return lambda number, shape: jax.random.normal(jax.random.fold_in(key, number), shape)


def _combined(columns: Any, one: Sequence[Any]) -> Any:
    """Of outcome and covariates, the outcome's less gamma times the covariates'."""
    return sum(g * column for g, column in zip(one, columns, strict=True))


def _deviate(
    stages: Sequence[Stage], one: Sequence[Any], away: list[Any], value: list[Any], eps: Any
) -> tuple[list[Any], list[Any]]:
    """Draw the deviations of nodes from their parents, the effect that was integrated out last first.

    Parameters
    ----------
    stages : sequence of Stage
        Of `nestor_numpyro.precision.integrate`.
    one : sequence of Array, ()
        1 and minus gamma.
    away, value : list of Array, (n,)
        By effect, the parents' coefficients, less the nodes' own pivots and as they are.
    eps : Array, (p, n)
        Noise.

    Returns
    -------
    away, value : list of Array, (n,)
        Those of the nodes.
    """
    away, value = list(away), list(value)
    for stage in reversed(stages):
        own = sum(P * x for P, x in zip(stage.column, away, strict=True))
        pull = _combined(stage.linear, one) - own
        deviation = stage.gain * pull + jnp.sqrt(stage.gain) * eps[stage.effect]
        away[stage.effect] = away[stage.effect] + deviation
        value[stage.effect] = value[stage.effect] + deviation
    return away, value


@dataclass(frozen=True, eq=False)
class ConditionalDraws:
    """The marginalized coefficients of a run, drawn given its scales; see `LazyDraws`.

    Parameters
    ----------
    program : callable
        The compiled `ConditionalSampler.program`.
    chunk : int
        Draws that it takes at a time.
    variables : mapping of str to tuple of int
        Shape of one draw of each coefficient.
    data : ModelData
        The model's argument.
    execution : Execution
        Device and precision.
    scales : mapping of str to ndarray, (chain, draw, *shape)
        The canonical variables that were sampled, on the host.
    first : int
        Number of the first of these draws in its chain.
    seed : int
        Of the run.
    """

    program: Callable[..., Any]
    chunk: int
    variables: Mapping[str, tuple[int, ...]]
    data: ModelData
    execution: Execution
    scales: Mapping[str, FloatArray]
    first: int
    seed: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each variable, (chain, draw, *shape)."""
        lead = next(iter(self.scales.values())).shape[:2]
        return {name: (*lead, *shape) for name, shape in self.variables.items()}

    @property
    def device_peak_bytes(self) -> int | None:
        """Largest memory in use on the device so far; see `nestor.engines.optional.LazyDraws`."""
        return self.execution.peak_bytes()

    def blocks(self) -> Iterator[tuple[int, int, Mapping[str, FloatArray]]]:
        """Draw them chunk by chunk; the device holds one at a time."""
        chains, draws = next(iter(self.scales.values())).shape[:2]
        for chain in range(chains):
            for begin in range(0, draws, self.chunk):
                yield chain, begin, self._chunk(chain, begin, min(self.chunk, draws - begin))

    def _chunk(self, chain: int, begin: int, draws: int) -> dict[str, FloatArray]:
        some = {
            n: self._padded(array[chain, begin : begin + draws]) for n, array in self.scales.items()
        }
        words, number = recovery_words(self.seed), np.uint32(self.first + begin)
        # Not around the yield: switches of JAX would hold for whoever takes the block.
        with failing_allocations(), self.execution.scope():
            drawn = self.program(words, np.uint32(chain), number, some, self.data)
            host: dict[str, NDArray[np.generic]] = jax.device_get(drawn)
        return {name: np.asarray(a[:draws], dtype=np.float64) for name, a in host.items()}

    def _padded(self, rows: FloatArray) -> NDArray[np.generic]:
        """A chunk of rows: where there are fewer, the last one again, whose draws are thrown away."""
        last = np.repeat(rows[-1:], self.chunk - len(rows), axis=0)
        return np.concatenate([rows, last]).astype(self.execution.dtype)

    def load(self) -> dict[str, FloatArray]:
        """All of them in memory, (chain, draw, *shape)."""
        return load(self)
