"""A pool of scratch memory: each call of a compiled function takes a piece, and gives it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor_numba.kernels.levels import Memory

if TYPE_CHECKING:
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.values import Whole

#: Places in the array of pointers: constants, integers; scratch, numbers of each piece, how many pieces
#: there are, and their locks; numbers of a draw's noise; where the draws of gamma and of each level go,
#: from here on.
CONSTANTS, INTEGERS, SCRATCH, SCRATCH_SIZE, PIECES, LOCKS, NOISE, VALUES = range(8)


class ScratchPool:
    """The array of pointers.

    Parameters
    ----------
    code : Code
        Where instructions go.
    pointers : llvm value
        Its address.
    """

    def __init__(self, code: Code, pointers: Any) -> None:
        self._code = code
        self.pointers = code.longs(pointers)
        self.constants = self.pointers.doubles(CONSTANTS)
        self.integers = self.pointers.longs(INTEGERS)

    def take(self) -> tuple[Memory, Whole]:
        """Take a piece of scratch that nobody uses."""
        code = self._code
        locks, pieces = self.pointers.longs(LOCKS), self.pointers[PIECES]
        turn = code.whole_variable(0)

        def attempt() -> Any:
            here = turn.get()
            taken = locks.exchange(here, 1)
            following = here + 1
            wrapped = code.choose(following.compare("<", pieces), following, code.whole(0))
            with code.when(taken.compare("!=", 0)):
                turn.set(wrapped)
            return taken.compare("==", 0)

        code.until(attempt)
        piece = turn.get()
        scratch = self.pointers.doubles(SCRATCH) + self.pointers[SCRATCH_SIZE] * piece
        return Memory(self.constants, self.integers, scratch), piece

    def give_back(self, piece: Whole) -> None:
        """Give a piece of scratch back."""
        self.pointers.longs(LOCKS).exchange(piece, 0)
