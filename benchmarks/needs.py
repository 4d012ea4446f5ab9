"""What a GPU machine with JAX and NumPyro lacks of nestor's needs: names and versions for pip, on one line.

Arguments are names of packages that the machine has besides. Run it on Linux, as the GPU machine does.
"""

import sys
from importlib.metadata import requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: What JAX and NumPyro bring along.
THERE = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "ml-dtypes", "opt-einsum", "tqdm")
THERE += ("multipledispatch",)
#: Environment markers of the GPU machine that differ from those here.
PYTHON = {"python_version": "3.12", "python_full_version": "3.12.0"}


def needs(name, extras, found):
    """Collect what a package and its extras need, and what that needs."""
    for text in requires(name) or ():
        one = Requirement(text)
        environments = [PYTHON | {"extra": extra} for extra in ("", *extras)]
        if one.marker is None or any(one.marker.evaluate(e) for e in environments):
            other = canonicalize_name(one.name)
            if (other, *one.extras) not in found:
                found.add((other, *one.extras))
                needs(one.name, one.extras, found)


if __name__ == "__main__":
    wanted = set()
    needs("nestor", (), wanted)
    have = {canonicalize_name(name) for name in (*THERE, *sys.argv[1:])}
    names = sorted({name for name, *_ in wanted} - have)
    print(*(f"{name}=={version(name)}" for name in names))
