"""The package of a new backend, as ``nestor new-backend NAME`` writes it.

Everything that needs no decision is there. What is left raises NotImplementedError with a sentence that says
what to write, which the conformance kit shows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nestor.errors import SpecError
from nestor.errors.arguments import shown

if TYPE_CHECKING:
    from pathlib import Path

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "nestor-NAME"
version = "0.1.0"
description = "The backend NAME for nestor."
requires-python = ">=3.12"
dependencies = ["nestor", "numpy>=2.0"]

[project.entry-points."nestor.backends"]
NAME = "nestor_NAME:OBJECT"

[tool.hatch.build.targets.wheel]
packages = ["src/nestor_NAME"]
"""

_TEST = '''\
"""The conformance kit, one pytest test for each check. The slow tier is ``nestor conformance NAME``."""

from nestor.conformance import parametrize


@parametrize("NAME", tiers=("api", "density"))
def test_conformance(check):
    check()
'''

_INIT = '''\
"""The backend NAME for nestor."""

from nestor_NAME.backend import CLASSBackend

__all__ = ["CLASSBackend"]
'''

_BACKEND = '''\
"""What the backend NAME can do."""

from importlib.metadata import version

from nestor.backend import Capabilities, Missing
from nestor.engines.support import require


class CLASSBackend:
    """The backend NAME. Importing and constructing it loads none of the libraries in `requires`."""

    name = "NAME"
    requires = ("numpy",)
    samplers = ("SAMPLER",)
    #: Names the code of the model: backends that share it share its mistakes.
    implementation = "NAME"

    def capabilities(self):
        """What it can do, and for the rest one of: not yet ours, not in the library, never; and why."""
        return Capabilities(
            families=frozenset({"gaussian"}),
            centering=frozenset({"centered", "noncentered"}),
            devices=frozenset({"cpu"}),
            dtypes=frozenset({"float64"}),
            chain_methods=frozenset({"sequential", "parallel"}),
            likelihoods=frozenset({"rows"}),
            coefficients=frozenset({"sampled"}),
            reasons={
                Missing(family="student_t"): "not yet ours: write its likelihood in model.py",
                Missing(likelihood="statistics"): "not yet ours: the likelihood is a sum over rows",
                Missing(coefficients="marginalized"): "not yet ours: see marginal.py, recovery.py",
                Missing(device="gpu"): "not yet ours",
                Missing(dtype="float32"): "not yet ours",
                Missing(chain_method="vectorized"): "not yet ours",
                Missing(option="target_accept"): "not yet ours",
                Missing(option="max_tree_depth"): "not yet ours",
                Missing(option="metric"): "not yet ours",
                Missing(option="warmup"): "not yet ours: nothing is adapted",
                Missing(resuming=True): "not yet ours: the state of a chain is not kept",
            },
        )

    def versions(self):
        """Versions of the libraries that decide its results."""
        return {"numpy": version("numpy"), "nestor": version("nestor")}

    def compile(self, problem, formulation, *, sampler, device, dtype):
        """Build the model of `problem`; raises Unsupported for whatever `capabilities` lacks."""
        require(self, problem, formulation, sampler=sampler, device=device, dtype=dtype)
        from nestor_NAME.compiled import CLASSModel

        return CLASSModel(self, problem, formulation, sampler)
'''

_DATA = '''\
"""The arrays of a problem that the model reads."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Data:
    """Rows are sorted by leaf.

    Parameters
    ----------
    y : ndarray, (N,)
        Outcome.
    X, Z : ndarray, (N, p) and (N, c)
        Effects, which may vary by group, and covariates, which do not.
    leaf : ndarray of int, (N,)
        The node of the last level that each row belongs to.
    offset : ndarray, (N,)
        Added to the linear predictor.
    sd_factor : ndarray, (N,)
        1 / sqrt(weight): a row's standard deviation is sigma times this.
    """

    y: Any
    X: Any
    Z: Any
    leaf: Any
    offset: Any
    sd_factor: Any

    @classmethod
    def of(cls, problem):
        """Take the arrays of a problem."""
        zeros, ones = np.zeros(problem.n_rows), np.ones(problem.n_rows)
        return cls(
            y=problem.y,
            X=problem.X,
            Z=problem.Z,
            leaf=problem.leaf,
            offset=zeros if problem.offset is None else problem.offset,
            sd_factor=ones if problem.weights is None else 1.0 / np.sqrt(problem.weights),
        )
'''

_MODEL = '''\
"""The joint log density."""


def log_joint(problem, data, values):
    """Log density of the canonical variables, all constants and no Jacobian.

    Parameters
    ----------
    problem : Problem
        `problem.priors.entries()` yields (variable, flat positions, prior) of everything that has a prior;
        `problem.levels` have parents, the effects that vary, and `scale_of_nodes(tau)`.
    data : Data
        The rows.
    values : mapping of str to ndarray
        beta (p,), tau_<level>, beta_<level> (n, p), gamma (c,), sigma; inherited entries are filled in.

    Returns
    -------
    float
        Minus infinity where a prior's support ends.
    """
    raise NotImplementedError(
        "to do in model.py: the sum of the priors' log densities (problem.priors.entries()), of "
        "log Normal(beta_v; beta_parent, tau) over nodes and effects that vary, and of the rows"
    )
'''

_MARGINAL = '''\
"""The log density with the coefficients integrated out; only for backends that offer "marginalized"."""


def log_marginal(problem, values):
    """log p(y, theta) = log p(y, beta, theta) - log p(beta | y, theta), theta being the scales and sigma."""
    raise NotImplementedError("to do in marginal.py: the density with coefficients integrated out")
'''

_RECOVERY = '''\
"""Exact draws of coefficients given the scales; only for backends that offer "marginalized"."""


def draw_coefficients(problem, scales, rng):
    """Draw beta, every beta_<level> and gamma jointly for each draw of the scales, (chain, draw, *shape)."""
    raise NotImplementedError("to do in recovery.py: exact draws of the coefficients")
'''

_SAMPLER = '''\
"""The sampler SAMPLER."""


def run_chain(log_density, start, config, rng, report):
    """Run one chain: `config.warmup` iterations that adapt, then `config.draws` that are kept.

    Parameters
    ----------
    log_density : callable
        A point of the unconstrained space, (d,), to SIGNATURE.
    start : ndarray, (d,)
        Where the chain starts.
    config : SamplerConfig
        Iterations and options.
    rng : numpy.random.Generator
        All the chain's randomness.
    report : callable
        Call ``report(i + 1)`` after iteration i, counted from 0, warmup included.

    Returns
    -------
    positions : ndarray, (draws, d)
        The kept draws.
    stats : dict of str to ndarray, (draws,)
        LP statistics under ArviZ's names: acceptance_rate, step_size, diverging, energy, n_steps, tree_depth.
    """
    raise NotImplementedError("to do in sampler_SAMPLER.py: the chain")
'''

_COMPILED = '''\
"""The compiled model: its density, and the chains that walk on it."""

import time

import numpy as np

from nestor.backend import Draws
from nestor.engines.support import (
    ChainReporter,
    Coordinates,
    chain_streams,
    needs_sampler,
    require_config,
    run_chains,
    silent,
    split_wall,
)
from nestor_NAME.data import Data
from nestor_NAME.model import log_joint
from nestor_NAME.sampler_SAMPLER import run_chain


class CLASSModel:
    """A problem with its density and its sampler; sampler=None for densities only."""

    def __init__(self, backend, problem, formulation, sampler):
        self._backend, self._problem, self._sampler = backend, problem, sampler
        self._data, self._coordinates = Data.of(problem), Coordinates(problem, formulation)

    def log_density(self, point):
        """Log joint density at a point of the canonical variables, all constants included."""
        if not self._coordinates.inside(point):
            return -np.inf
        return float(log_joint(self._problem, self._data, self._problem.with_inherited(point)))

    def _log_target(self, z):
        values, log_jacobian = self._coordinates.constrain(z)
        return float(log_joint(self._problem, self._data, values)) + float(log_jacobian)

    def sample(self, config, on_progress=None):
        """Run all chains; every draw is a NumPy array on return."""
        require_config(self._backend, needs_sampler(self._sampler), config)
        streams = chain_streams(config.seed, config.chains)

        def work(chain, tell):
            rng, report = streams[chain], ChainReporter(tell, chain, config)
            return run_chain(self._log_target, self._coordinates.start(rng), config, rng, report)

        begin = time.perf_counter()
        chains = run_chains(work, config, on_progress or silent, "NAME")
        wall = time.perf_counter() - begin
        begin = time.perf_counter()
        values, log_jacobian = self._coordinates.constrain(np.stack([z for z, _ in chains]))
        stats = {name: np.stack([found[name] for _, found in chains]) for name in chains[0][1]}
        stats["log_jacobian"] = log_jacobian
        postprocess = time.perf_counter() - begin
        # Seconds of warmup and sampling are known only together: time them apart in run_chain if you can.
        timings = split_wall(wall, [], [], compile_s=0.0, postprocess=postprocess)
        return Draws(values, stats, timings, {"chain_method": config.chain_method})
'''

_BORROWING = '''\
"""The backend NAME: a sampler on the model of the backend MODEL."""

from nestor.backend import SamplerBackend


def backend():
    """Make the backend; its entry point names this function."""

    def sample(*arguments):
        from nestor_NAME.sampler_SAMPLER import run_chain  # imports its library when it runs

        return run_chain(*arguments)

    return SamplerBackend(name="NAME", model="MODEL", sample=sample)
'''


def write_package(name: str, folder: Path, model: str | None = None) -> tuple[Path, ...]:
    """Write the package of a new backend.

    Parameters
    ----------
    name : str
        The backend's name: lower-case letters, digits and underscores.
    folder : Path
        Where it goes; made, and must not exist.
    model : str, optional
        A backend whose model is borrowed, such as "numba": only the sampler is left to write. Without it
        the package has a model of its own.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    SpecError
        If the name cannot be one, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SpecError(
            f"a backend's name is made of lower-case letters, digits and underscores, not {shown(name)}."
        )
    if folder.exists():
        raise SpecError(f"{folder} exists: choose another folder.")
    words = {
        "NAME": name,
        "SAMPLER": name,
        "CLASS": "".join(part.capitalize() for part in name.split("_")),
        "OBJECT": "backend" if model else "CLASSBackend",
        "SIGNATURE": "the log density there and its gradient" if model else "the log density there",
        "LP": "Also" if model else "``lp``, the log density of each draw, and other",
        "MODEL": model or "",
    }
    package = f"src/nestor_{name}"
    files = {"pyproject.toml": _PYPROJECT, "tests/test_conformance.py": _TEST}
    files[f"{package}/sampler_{name}.py"] = _SAMPLER
    if model is None:
        modules = {"__init__": _INIT, "backend": _BACKEND, "compiled": _COMPILED, "data": _DATA}
        modules |= {"model": _MODEL, "marginal": _MARGINAL, "recovery": _RECOVERY}
        files |= {f"{package}/{module}.py": text for module, text in modules.items()}
    else:
        files[f"{package}/__init__.py"] = _BORROWING
    for path, text in files.items():
        for word in ("OBJECT", "SIGNATURE", "SAMPLER", "CLASS", "MODEL", "NAME", "LP"):
            text = re.sub(rf"(?<![A-Z]){word}(?![A-Z])", words[word], text)  # noqa: PLW2901
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return tuple(folder / path for path in files)
