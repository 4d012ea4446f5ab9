"""The backends that come with nestor pass the reduced kit; `make conformance` runs the whole of it."""

from __future__ import annotations

import pytest

from nestor.conformance import parametrize
from nestor.engines import registry

if not all(registry.backends()[name].installed for name in ("numba", "numpyro", "pymc")):
    pytest.skip("needs the samplers' libraries", allow_module_level=True)


@parametrize("reference", quick=True)
def test_reference(check):
    check()


@parametrize("numpyro", tiers=("api", "density"), quick=True)
def test_numpyro(check):
    check()


@parametrize("numba", tiers=("api", "density"), quick=True)
def test_numba(check):
    check()


@parametrize("pymc", tiers=("api", "density"), sampler="nutpie", quick=True)
def test_pymc_with_nutpie(check):
    check()


@parametrize("pymc", tiers=("api",), sampler="pymc", quick=True)
def test_pymc_with_its_own_sampler(check):
    check()
