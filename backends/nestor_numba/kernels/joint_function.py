"""The joint log density of coefficients and scales with its gradient.

One pass down the levels, the likelihood, one pass up. The point is copied to the scratch first, and the
gradient from there in the end, so that vectors may reach beyond a level's last node.

On Chem97 (31,022 rows in 2,410 leaves, two effects, 5,089 scalars) one leaf's 13 rows are two vectors, and
with what is done once a leaf some 90 instructions: 25 microseconds were to be expected for value and gradient
by rows, and 5 to 8 by leaf statistics, where arrays of nodes are all there is. Measured on one core are 29
and 10, and 52 with a student_t outcome, beside 116 and 36 of PyMC's function as nutpie calls it and 460 and
143 of NumPyro's, called from Python, in the same process. Compilation takes 0.3 to 0.4 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor_numba.kernels import joint_places as at
from nestor_numba.kernels import location_priors, priors
from nestor_numba.kernels.emit import Code, Variable
from nestor_numba.kernels.joint_levels import NodeLevel, down, up
from nestor_numba.kernels.leaf_likelihood import leaf_sums
from nestor_numba.kernels.row_likelihood import Family, Likelihood, rows
from nestor_numba.kernels.scratch_pool import ScratchPool

if TYPE_CHECKING:
    from nestor_numba.kernels.joint_places import Kind
    from nestor_numba.kernels.levels import Memory
    from nestor_numba.kernels.values import Doubles, Number, Whole


class SampledWriter:
    """Writes the function for one kind.

    Parameters
    ----------
    kind : Kind
        What it is for.
    builder : llvmlite.ir.IRBuilder
        Where.
    pointers : llvm value
        Address of the array of pointers.
    """

    def __init__(self, kind: Kind, builder: Any, pointers: Any) -> None:
        self.kind, self.code = kind, Code(builder, at.LANES)
        self._pool = ScratchPool(self.code, pointers)
        self.constants, self.integers = self._pool.constants, self._pool.integers

    def evaluate(self, z: Doubles, gradient: Doubles, value: Doubles) -> Whole:
        """Write value and gradient; returns 0, or 3 or 4 where the gradient or the value is not finite."""
        code, header = self.code, self.integers
        memory, piece = self._pool.take()
        self._copy(z, memory.scratch + header[at.POINT], check=False)
        found = self._value(memory)
        value[0] = found
        wrong = self._copy(memory.scratch + header[at.GRADIENT], gradient, check=True)
        self._pool.give_back(piece)
        of_gradient = code.choose(wrong.equal(0.0), code.whole(0), code.whole(3))
        return code.choose((found - found).equal(0.0), of_gradient, code.whole(4))

    def _copy(self, source: Doubles, target: Doubles, *, check: bool) -> Number:
        """Copy as many numbers as the point has; if asked, returns 0 if all are finite, else no number."""
        code, full = self.code, self.integers[at.FULL]
        wrong = Variable(code, code.splat(0.0))
        with code.loop(full, at.LANES) as i:
            value = source.vector(i)
            target.put(i, value)
            if check:
                # x - x is 0 for finite numbers, and not a number for others.
                wrong.add(value - value)
        rest = code.variable(0.0)
        with code.loop(self.integers[at.DIMENSION] - full) as i:
            number = source[full + i]
            target[full + i] = number
            rest.add(number - number)
        return wrong.get().total() + rest.get()

    def _value(self, memory: Memory) -> Number:
        value = self._priors_of_locations(memory)
        prior, family = self._priors_of_scalars(memory)
        code, last = self.code, self.integers[at.LEVELS] - 1
        squares = code.variable(0.0)
        with code.loop(self.integers[at.LEVELS]) as k:
            squares.add(down(self._level(memory, k)))
        likelihood = (leaf_sums if self.kind.statistics else rows)(code, self.kind, memory, family)
        self._to_family(memory, likelihood)
        with code.loop(self.integers[at.LEVELS]) as k:
            up(self._level(memory, last - k))
        self._gradients(memory)
        return value + prior - 0.5 * squares.get() + likelihood.value

    def _level(self, memory: Memory, k: Whole) -> NodeLevel:
        row = self.integers + (self.integers[at.TABLE] + k * self.kind.level_width)
        return NodeLevel(self.kind, self.code, memory, row)

    def _priors_of_locations(self, memory: Memory) -> Number:
        """Put population coefficients in their places; returns the log prior."""
        code, header, scratch = self.code, self.integers, memory.scratch
        value = code.variable(0.0)
        with code.loop(header[at.LOCATIONS]) as i:
            x = scratch[header[at.POINT] + i]
            prior = self.constants + (header[at.LOCATION_PRIORS] + i * location_priors.WIDTH)
            log_density, slope = location_priors.evaluate(prior, x)
            value.add(log_density)
            scratch[header[header[at.LOCATION_VALUES] + i]] = x
            scratch[header[at.GRADIENT] + i] = slope
        return value.get()

    def _priors_of_scalars(self, memory: Memory) -> tuple[Number, Family]:
        """Put scales in their places; returns the log prior with Jacobian and the scales of centred nodes."""
        code, header, scratch = self.code, self.integers, memory.scratch
        value, numbers = code.variable(0.0), self.constants + header[at.NUMBERS]
        known = {at.SIGMA: code.variable(numbers[1]), at.NU: code.variable(numbers[2])}
        first = header[at.LOCATIONS]
        with code.loop(header[at.SCALARS]) as i:
            prior = self.constants + (header[at.PRIORS] + i * priors.WIDTH)
            found = priors.evaluate(code, prior, scratch[header[at.POINT] + (first + i)])
            count = self.constants[header[at.COUNTS] + i]
            value.add(found.log_density - count * found.x.call("log"))
            scratch[header[at.GRADIENT] + (first + i)] = found.derivative
            scratch[header[at.SCALES] + i] = found.x
            reciprocal = 1.0 / found.x
            scratch[header[at.RECIPROCALS] + i] = reciprocal
            scratch[header[at.SLOPES] + i] = found.slope
            scratch[header[at.DERIVATIVES] + i] = 0.0 - count * reciprocal
            for which, variable in known.items():
                with code.when(i.compare("==", header[which])):
                    variable.set(found.x)
        with code.loop(header[at.CONFINED]) as i:
            target = header[header[at.LOCATION_VALUES] + (first + i)]
            scratch[target] = scratch[header[at.SCALES] + i]
        family = Family(numbers[0], numbers[3], known[at.SIGMA].get(), known[at.NU].get())
        return value.get(), family

    def _to_family(self, memory: Memory, likelihood: Likelihood) -> None:
        by = {at.SIGMA: likelihood.by_sigma, at.NU: likelihood.by_nu}
        for which, derivative in by.items():
            place = self.integers[which]
            with self.code.when(place.compare(">=", 0)):
                memory.scratch[self.integers[at.DERIVATIVES] + place] = derivative

    def _gradients(self, memory: Memory) -> None:
        """Add to the gradients of the priors what the rest says of locations and scalars."""
        code, header, scratch = self.code, self.integers, memory.scratch
        gradient = scratch + header[at.GRADIENT]
        with code.loop(header[at.LOCATIONS]) as i:
            own = header[header[at.LOCATION_SLOPES] + i]
            gradient[i] = gradient[i] + scratch[own]
        first = header[at.LOCATIONS]
        with code.loop(header[at.CONFINED]) as i:
            own = header[header[at.LOCATION_SLOPES] + (first + i)]
            scratch[header[at.DERIVATIVES] + i] = scratch[own]
        with code.loop(header[at.SCALARS]) as i:
            slope = scratch[header[at.SLOPES] + i] * scratch[header[at.DERIVATIVES] + i]
            gradient[first + i] = gradient[first + i] + slope
