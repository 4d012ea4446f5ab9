"""Settings that both samplers share: how numba compiles for them, and what every record says about it."""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

#: Why the chains of PyMC's own sampler cannot go on.
NOT_RESUMABLE = (
    "not in the library: pymc.sample neither returns a chain's adapted metric and random state nor takes "
    "them, so that a second call would begin a new chain"
)


def common_settings() -> dict[str, object]:
    """Both samplers start alike and compile with numba."""
    import pytensor

    return {
        "initial_points": "support point of the prior, jittered by Uniform(-1, 1), unconstrained",
        "persistent_compile_cache": bool(pytensor.config.numba__cache),
        "draws_depend_on_cache": not call_own_copies(),
    }


@cache
def call_own_copies() -> bool:
    """Have all that numba compiles from now on in this process call its own copies of inner functions.

    numba links the functions that a function calls into its module, optimizes them there once more, and
    gives these copies the linkage "linkonce_odr": where the process has loaded another function of that
    name, the loader takes that one instead. With an empty cache the inner functions have just been
    compiled, each optimized by itself; from a full cache only the outer one is loaded, with its copies. As
    PyTensor's functions may reorder sums (fastmath), both differ by rounding, and chains part. With
    "internal" linkage a function calls its own copies always, and its draws do not depend on the cache.

    What other modules link in keeps its linkage, so that inlining is as before. See
    docs/decisions/015-one-seed-cold-and-warm.md.

    Returns
    -------
    bool
        False for a numba that is built otherwise: then draws may depend on the cache, which settings say.
    """
    from llvmlite import binding
    from numba.core.codegen import JITCodeLibrary

    finalize = getattr(JITCodeLibrary, "_finalize_final_module", None)
    if finalize is None:
        return False

    @wraps(finalize)
    def with_own_copies(library: Any) -> None:
        module = library._final_module
        defined = [function for function in module.functions if not function.is_declaration]
        # A library from the cache brings its code and has no function here.
        if library._shared_module is None and defined:
            shared = module.clone()
            for function in shared.functions:
                if not function.is_declaration and function.linkage == binding.Linkage.external:
                    function.linkage = "linkonce_odr"
            # Written and read once, as what is linked from the cache has been.
            library._shared_module = binding.parse_bitcode(shared.as_bitcode())
            for function in defined:
                if function.linkage == binding.Linkage.linkonce_odr:
                    function.linkage = "internal"
        finalize(library)

    JITCodeLibrary._finalize_final_module = with_own_copies
    return True
