"""The log posterior of the scales with its gradient, and draws of the coefficients given the scales.

All pointers are in one array of int64 that the functions are given. Nothing is allocated; a call
takes one of several pieces of scratch and gives it back, so that chains run at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor_numba.kernels import any_effects, levels, marginal_places, message_passes, priors
from nestor_numba.kernels.emit import Code
from nestor_numba.kernels.levels import Level
from nestor_numba.kernels.scratch_pool import NOISE, VALUES, ScratchPool
from nestor_numba.kernels.values import Whole

if TYPE_CHECKING:
    from nestor_numba.kernels.any_effects import Matrix, Step, Vector
    from nestor_numba.kernels.levels import Memory, Shape
    from nestor_numba.kernels.values import Doubles, Longs, Number


class Writer:
    """Writes the functions for one shape.

    Parameters
    ----------
    shape : Shape
        What they are for.
    builder : llvmlite.ir.IRBuilder
        Where.
    pointers : llvm value
        Address of the array of pointers.
    """

    def __init__(self, shape: Shape, builder: Any, pointers: Any) -> None:
        self.shape, self.code = shape, Code(builder, shape.lanes)
        self.pool = ScratchPool(self.code, pointers)
        self.constants, self.integers = self.pool.constants, self.pool.integers

    def header(self, at: int) -> Whole:
        """A number of the header."""
        return self.integers[at]

    def level(self, memory: Memory, k: Whole, *, leaves: bool) -> Level:
        """One level; the population is level 0."""
        row = self.integers + (self.header(marginal_places.TABLE) + k * levels.WIDTH)
        return Level(self.shape, self.code, memory, row, leaves)

    def set_scales(
        self, z: Doubles, gradient: Doubles | None, memory: Memory
    ) -> tuple[Number, Number]:
        """Put squares of the scales in their places; returns the log prior with Jacobian, and sigma."""
        code, scratch = self.code, memory.scratch
        value = code.variable(0.0)
        sigma = code.variable(self.constants[self.header(marginal_places.NUMBERS) + 1])
        with code.loop(self.header(marginal_places.SCALARS)) as i:
            prior = self.constants + (self.header(marginal_places.PRIORS) + i * priors.WIDTH)
            found = priors.evaluate(code, prior, z[i])
            value.add(found.log_density)
            if gradient is not None:
                gradient[i] = found.derivative
            scratch[self.header(marginal_places.SCALES) + i] = found.x
            scratch[self.header(marginal_places.SLOPES) + i] = found.slope
            square = self.integers[self.header(marginal_places.SQUARES) + i]
            scratch[square] = found.x * found.x
            with code.when(i.compare("==", self.header(marginal_places.SIGMA))):
                sigma.set(found.x)
        return value.get(), sigma.get()

    def ascend(
        self, memory: Memory, precision: Number, *, moments: bool = False
    ) -> tuple[Number, Number, list[Step]]:
        """Integrate all coefficients out; returns quadratic form, log det, and the steps of gamma.

        With `moments` leaves leave behind what `message_passes.finish` needs.
        """
        code, shape = self.code, self.shape
        zero_from = self.header(marginal_places.ZERO_FROM)
        with code.loop(self.header(marginal_places.ZERO_TO) - zero_from) as i:
            memory.scratch[zero_from + i] = 0.0
        form = [
            [
                code.variable(
                    precision
                    * self.constants[self.header(marginal_places.RESIDUAL) + c * shape.m + d]
                )
                for d in range(shape.m)
            ]
            for c in range(shape.m)
        ]
        last = self.header(marginal_places.LEVELS) - 1
        leaves = self.level(memory, last, leaves=True)
        log_det = code.variable(message_passes.up(leaves, precision, form, moments=moments))
        with code.loop(last) as above:
            level = self.level(memory, last - 1 - above, leaves=False)
            log_det.add(message_passes.up(level, precision, form))
        if shape.rooted:
            self._take_in_top(memory, form)
        # What the population tells its imaginary parent, which is fixed at zero.
        with code.loop(self.header(marginal_places.TOP_SIZE)) as i:
            memory.scratch[self.header(marginal_places.TOP) + i] = 0.0
        quadratic, more, steps = self._covariates([[f.get() for f in row] for row in form])
        return quadratic, log_det.get() + more, steps

    def _take_in_top(self, memory: Memory, form: message_passes.Form) -> None:
        """Add the population's remainder: the form of |W delta + T|^2 is T'T where delta is zero."""
        level = self.level(memory, self.code.whole(0), leaves=False)
        at = memory.scratch + level.row[levels.PARENT_STATE]
        size = level.row[levels.PARENT_SIZE]
        _, T = level.unpacked([at[size * i] for i in range(self.shape.state)])
        for c in range(self.shape.m):
            for d in range(self.shape.m):
                terms = any_effects.column(T, c), any_effects.column(T, d)
                form[c][d].add(any_effects.dot(*terms))

    def _gamma(self, begin: int) -> Vector:
        at = self.header(begin)
        return [self.constants[at + j] for j in range(self.shape.m - 1)]

    def _covariates(self, form: Matrix) -> tuple[Number, Number, list[Step]]:
        """Integrate gamma out of the quadratic form v'G v: a node whose parent is its prior mean."""
        quadratic, log_det = form[0][0], self.code.real(0.0)
        P, h = [row[1:] for row in form[1:]], [[row[0]] for row in form[1:]]
        if not P:
            return quadratic, log_det, []
        mean = [[value] for value in self._gamma(marginal_places.GAMMA_MEAN)]
        x = self._gamma(marginal_places.GAMMA_VARIANCE)
        told = any_effects.up(None, P, h, mean, x)
        for det in told.dets:
            log_det = log_det + det.call("log")
        return quadratic + told.form[0][0], log_det, any_effects.steps(None, P, h, x)

    def _factor(self, steps: list[Step]) -> tuple[Matrix | None, Number]:
        """Factor of E[v v'], None where there are no covariates, and the sum of x d(2 log p)/dx."""
        c, zero = self.shape.m - 1, self.code.real(0.0)
        if c == 0:
            return None, zero
        z = [[value] for value in self._gamma(marginal_places.GAMMA_MEAN)]
        S, sums = [[zero] * c for _ in range(c)], zero
        x = self._gamma(marginal_places.GAMMA_VARIANCE)
        for j in reversed(range(c)):
            sums = sums + x[j] * any_effects.descend(steps[j], j, x[j], steps[j].term, z, S)
        root = _cholesky(self.code, S)
        rows = [[0.0 - z[i][0], *root[i]] for i in range(c)]
        return [[self.code.real(1.0), *[zero] * c], *rows], sums

    def value_and_gradient(self, z: Doubles, gradient: Doubles, memory: Memory) -> Number:
        """Log density on the unconstrained space; all constants."""
        code, numbers = self.code, self.constants + self.header(marginal_places.NUMBERS)
        prior, sigma = self.set_scales(z, gradient, memory)
        precision = 1.0 / (sigma * sigma)
        rows = numbers[0]
        once = self.shape.one_visit
        quadratic, log_det, steps = self.ascend(memory, precision, moments=once)
        value = prior + numbers[2] - rows * sigma.call("log") - 0.5 * (log_det + quadratic)
        factors, more = self._factor(steps)
        if self.shape.per_parent:
            with code.loop(self.header(marginal_places.SCALE_COUNT)) as i:
                memory.scratch[self.header(marginal_places.SUMS) + i] = 0.0
        last = self.header(marginal_places.LEVELS) - 1
        with code.loop(last) as k:
            message_passes.down(self.level(memory, k, leaves=False), precision, factors)
        leaves = self.level(memory, last, leaves=True)
        if once:
            message_passes.finish(leaves, factors)
        else:
            message_passes.down(leaves, precision, factors)
        weighted = code.variable(more)
        variances = memory.scratch + self.header(marginal_places.VARIANCES)
        sums = memory.scratch + self.header(marginal_places.SUMS)
        with code.loop(self.header(marginal_places.SCALE_COUNT)) as i:
            weighted.add(variances[i] * sums[i])
        with code.loop(self.header(marginal_places.SCALARS)) as i:
            slope = memory.scratch[self.header(marginal_places.SLOPES) + i]
            x = memory.scratch[self.header(marginal_places.SCALES) + i]
            at = self.integers[self.header(marginal_places.GRADIENTS) + i]
            change = code.variable(slope * x * memory.scratch[at])
            with code.when(i.compare("==", self.header(marginal_places.SIGMA))):
                # All variances times s are the outcome's covariance times s: a change known in full.
                change.set(slope * (quadratic - rows - weighted.get()) / sigma)
            gradient[i] = gradient[i] + change.get()
        return value

    def verdict(self, value: Doubles, gradient: Doubles) -> Whole:
        """0, 3 where the gradient is not finite, or 4 where the value is not."""
        code = self.code
        # x - x is 0 for finite numbers, and not a number for others.
        wrong = code.variable(0.0)
        with code.loop(self.header(marginal_places.SCALARS)) as i:
            wrong.add(gradient[i] - gradient[i])
        of_gradient = wrong.get().equal(0.0)
        found = code.choose(of_gradient, code.whole(0), code.whole(3))
        of_value = (value[0] - value[0]).equal(0.0)
        return code.choose(of_value, found, code.whole(4))

    def draw_all(self, draws: Any, z: Any, noise: Any) -> None:
        """Draw coefficients for several sets of scales, one after another."""
        code = self.code
        points, numbers = code.doubles(z), code.doubles(noise)
        memory, piece = self.pool.take()
        values = self.pool.pointers + VALUES
        with code.loop(Whole(code, draws)) as i:
            at = points + self.header(marginal_places.SCALARS) * i
            self.draw(at, numbers + self.pool.pointers[NOISE] * i, memory, values, i)
        self.pool.give_back(piece)

    def draw(
        self, z: Doubles, noise: Doubles, memory: Memory, values: Longs, number: Whole
    ) -> None:
        """Draw all coefficients given the scales; write them as draw `number` of the arrays `values`."""
        code, shape = self.code, self.shape
        _, sigma = self.set_scales(z, None, memory)
        precision = 1.0 / (sigma * sigma)
        _, _, steps = self.ascend(memory, precision)
        v = [code.real(1.0)]
        if shape.m > 1:
            gamma = self._draw_gamma(steps, noise)
            at = values.doubles(0) + number * (shape.m - 1)
            pivot = self._gamma(marginal_places.GAMMA_PIVOT)
            for j, value in enumerate(gamma):
                at[j] = value + pivot[j]
                v.append(0.0 - value)
        place = noise + (shape.m - 1)
        last = self.header(marginal_places.LEVELS) - 1
        begin = code.whole_variable(0)
        node = code.whole_variable(0)
        with code.loop(last) as k:
            level = self.level(memory, k, leaves=False)
            message_passes.draw(level, precision, v, place + begin.get())
            state = memory.scratch + level.row[levels.STATE]
            self._write(level, k, node, v, values, number, state, shape.triangle, shape.m)
            begin.set(begin.get() + level.row[levels.SIZE] * shape.p)
        level = self.level(memory, last, leaves=True)
        message_passes.draw(level, precision, v, place + begin.get())
        self._write(level, last, node, v, values, number, place + begin.get(), 0, 1)

    def _draw_gamma(self, steps: list[Step], noise: Doubles) -> Vector:
        c = self.shape.m - 1
        z, x = self._gamma(marginal_places.GAMMA_MEAN), self._gamma(marginal_places.GAMMA_VARIANCE)
        for j in reversed(range(c)):
            score = steps[j].term[0] - any_effects.dot(steps[j].row, z)
            z[j] = z[j] + x[j] * score + (x[j] * steps[j].alpha).call("sqrt") * noise[j]
        return z

    def _write(
        self,
        level: Level,
        k: Whole,
        node: Any,
        v: Vector,
        values: Longs,
        number: Whole,
        source: Doubles,
        first: int,
        stride: int,
    ) -> None:
        """Write a level's values, pivots added, in the problem's order of nodes and effects."""
        p, m, code = self.shape.p, self.shape.m, self.code
        count = self.integers[self.header(marginal_places.NODES) + k]
        slots = self.integers + (self.header(marginal_places.SLOTS) + node.get())
        pivots = self.constants + (self.header(marginal_places.PIVOTS) + node.get() * (p * m))
        out = values.doubles(k + 1) + number * count * p
        size = level.row[levels.SIZE]
        order = [self.integers[self.header(marginal_places.ORDER) + j] for j in range(p)]
        with code.loop(count) as i:
            slot = slots[i]
            for j in range(p):
                value = (source + slot)[size * (first + j * stride)]
                for c in range(m):
                    value = value + v[c] * pivots[i * (p * m) + (j * m + c)]
                out[i * p + order[j]] = value
        node.set(node.get() + count)


def _cholesky(code: Code, S: Matrix) -> Matrix:
    """Lower triangular root of a semidefinite matrix of scalars."""
    n, zero = len(S), code.real(0.0)
    L = [[zero] * n for _ in range(n)]
    for j in range(n):
        left = S[j][j]
        for k in range(j):
            left = left - L[j][k] * L[j][k]
        positive = zero.less(left)
        pivot = code.select(positive, left, 1.0).call("sqrt")
        L[j][j] = code.select(positive, pivot, 0.0)
        for i in range(j + 1, n):
            above = S[i][j]
            for k in range(j):
                above = above - L[i][k] * L[j][k]
            L[i][j] = code.select(positive, above / pivot, 0.0)
    return L
