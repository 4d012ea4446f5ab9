"""A backend from outside: a distribution that announces itself, and no line of the core knows it."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from nestor.backend import Progress, SamplerConfig
from nestor.data.problem import Problem
from nestor.engines import registry
from nestor.engines.formulation import Formulation
from nestor.errors import Unsupported
from nestor.model.spec import ModelSpec
from nestor_reference import ReferenceBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from numpy.typing import NDArray

    from nestor.backend import Backend, CompiledModel

FIXTURE = Path(__file__).parents[1] / "fixtures" / "plugin"
BACKENDS = Path(__file__).parents[2] / "backends"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in installed in it."""
    folder = tmp_path_factory.mktemp("plugin")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(FIXTURE)], check=True)
    return folder


@pytest.fixture
def toy(target: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The plug-in's backend, loaded into this process through its entry point."""
    monkeypatch.syspath_prepend(str(target))
    # Other tests of this process may have the fixture's own source loaded, and need it afterwards.
    loaded = _unload()
    (distribution,) = [d for d in distributions(path=[str(target)]) if d.name == "nestor-toy"]
    yield registry.load(distribution.entry_points.select(group=registry.GROUP))["toy"].backend
    _unload()
    sys.modules.update(loaded)


def _unload() -> dict[str, ModuleType]:
    """Take the plug-in's modules out of this process and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] == "nestor_toy"]
    return {name: sys.modules.pop(name) for name in names}


def run(code: str, target: Path, folder: Path) -> str:
    """Run `code` in a fresh interpreter that finds the plug-in as any other installed package."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(target)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(groups: int = 4, rows: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(groups), rows)
    place = group * 2 + np.arange(groups * rows) % 2
    x = rng.standard_normal(groups * rows)
    effect = rng.normal(0.0, 0.7, groups)[group]
    y = 1.0 + effect + 0.5 * x + rng.normal(0.0, 1.0, groups * rows)
    weight = rng.uniform(0.5, 2.0, groups * rows)
    return pd.DataFrame({"y": y, "x": x, "group": group, "place": place, "w": weight})


def compiled(toy: Backend, problem: Problem, sampler: str | None = "metropolis") -> CompiledModel:
    formulation = Formulation.parse(["centered"], problem.spec.level_names)
    return toy.compile(problem, formulation, sampler=sampler, device="cpu", dtype="float64")


def point(problem: Problem, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    return {
        v.name: np.exp(rng.normal(size=v.shape))
        if v.role in ("scale", "family")
        else rng.normal(size=v.shape)
        for v in problem.variables.values()
    }


def test_it_is_found_beside_the_backends_that_come_with_nestor(
    target: Path, tmp_path: Path
) -> None:
    code = (
        "from nestor.engines import registry; found = registry.backends();"
        "print(*sorted(found), found['toy'].backend.__module__, found['toy'].installed)"
    )
    folders = {path.parent.name for path in BACKENDS.glob("nestor_*/backend.py")}
    own = sorted(name.removeprefix("nestor_") for name in folders)
    expected = [*sorted([*own, "leapfrog", "toy"]), "nestor_toy.backend", "True"]
    assert run(code, target, tmp_path).split() == expected


@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ x + (x || group/place)", {}),
        ("y ~ x + (x || group) + (1 || group/place)", {"weights": "w"}),
        ("y ~ x + (1 || group/place)", {"scale": "parent", "priors": {"sigma": 2.0}}),
        ("y ~ (x || group)", {"offset": "w"}),
    ],
)
def test_its_density_is_the_references(toy: Backend, formula: str, options: dict[str, Any]) -> None:
    problem = Problem(ModelSpec.from_formula(formula, **options), table())
    reference = compiled(ReferenceBackend(), problem, sampler=None)
    model, rng = compiled(toy, problem), np.random.default_rng(2)
    for _ in range(5):
        at = point(problem, rng)
        # Sums of at most 60 terms of both signs in double precision: rounding stays below 1e-12.
        assert model.log_density(at) == pytest.approx(reference.log_density(at), rel=1e-12)


def test_its_density_is_zero_where_a_priors_support_ends(toy: Backend) -> None:
    problem = Problem(ModelSpec.from_formula("y ~ x + (1 || group)"), table())
    outside = point(problem, np.random.default_rng(2)) | {"sigma": np.array(-1.0)}
    assert compiled(toy, problem).log_density(outside) == -math.inf


def exact_means(problem: Problem) -> dict[str, float]:
    """Posterior means of ``y ~ 1 + (1 || group)`` with sigma = 1, by integration over a grid of tau.

    Given tau, the groups' means are Normal(m0, tau^2 I + diag(1 / n) + s0^2 1 1') and the population
    coefficient and the groups' are Normal by the rules for Gaussian conditionals.
    """
    from scipy import stats

    m0, s0 = problem.priors.beta["Intercept"].args
    counts = np.bincount(problem.leaf)
    means = np.bincount(problem.leaf, weights=problem.y) / counts
    tau = np.geomspace(1e-4, 50.0, 4000)
    log_weight, beta, first = np.empty_like(tau), np.empty_like(tau), np.empty_like(tau)
    for i, t in enumerate(tau):
        covariance = t**2 * np.eye(len(means)) + np.diag(1.0 / counts) + s0**2
        prior = problem.priors.tau["group"]["Intercept"].scipy()
        log_weight[i] = stats.multivariate_normal.logpdf(means, np.full(len(means), m0), covariance)
        log_weight[i] += prior.logpdf(t) + math.log(t)
        gain = np.linalg.solve(covariance, means - m0)
        beta[i] = m0 + s0**2 * gain.sum()
        first[i] = beta[i] + t**2 * gain[0]
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    return {"beta": weight @ beta, "group": weight @ first, "tau": weight @ tau}


@pytest.fixture
def intercepts() -> Problem:
    priors: dict[str, str | float] = {
        "sigma": 1.0,
        "beta": "Normal(0, 2)",
        "tau": "LogNormal(0, 0.5)",  # little mass near zero, where a random walk hardly moves
    }
    return Problem(ModelSpec.from_formula("y ~ 1 + (1 || group)", priors=priors), table())


def test_it_samples_the_posterior(toy: Backend, intercepts: Problem) -> None:
    from nestor.stats.diagnostics.estimators import ess_bulk

    config = SamplerConfig(chains=2, warmup=1000, draws=3000, seed=4, chain_method="sequential")
    values = compiled(toy, intercepts).sample(config).values
    draws = {
        "beta": values["beta"][..., 0],
        "group": values["beta_group"][..., 0, 0],
        "tau": values["tau_group"][..., 0],
    }
    for name, expected in exact_means(intercepts).items():
        effective = float(ess_bulk(draws[name][..., None])[0])
        assert effective > 100, name
        # Four Monte Carlo standard errors: one draw of seeds in 16,000 exceeds that by chance.
        error = draws[name].std() / math.sqrt(effective)
        assert abs(draws[name].mean() - expected) < 4 * error, name


def test_the_same_seed_gives_the_same_draws_and_each_chain_its_own(
    toy: Backend, intercepts: Problem
) -> None:
    model = compiled(toy, intercepts)

    def beta(seed: int) -> NDArray[np.float64]:
        config = SamplerConfig(2, warmup=30, draws=20, seed=seed, chain_method="sequential")
        return model.sample(config).values["beta"]

    first = beta(1)
    np.testing.assert_array_equal(first, beta(1))
    assert not np.any(first == beta(2))
    assert not np.any(first[0] == first[1])


def test_it_reports_every_chains_progress_to_the_end(toy: Backend, intercepts: Problem) -> None:
    seen: list[Progress] = []
    config = SamplerConfig(2, warmup=30, draws=20, chain_method="sequential")
    compiled(toy, intercepts).sample(config, seen.append)
    for chain in range(2):
        mine = [p for p in seen if p.chain == chain]
        assert [p.done for p in mine] == list(range(1, 51))
        assert [p.phase for p in mine] == ["warmup"] * 30 + ["sampling"] * 20
        assert {p.total for p in mine} == {50}


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"chain_method": "parallel"}, "parallel"),
        ({"max_tree_depth": 8}, "max_tree_depth"),
        ({"metric": "diagonal_draws"}, "metric"),
    ],
)
def test_it_refuses_settings_that_it_cannot_honour(
    toy: Backend, intercepts: Problem, setting: Mapping[str, Any], word: str
) -> None:
    config = SamplerConfig(**{"chain_method": "sequential", **setting})
    with pytest.raises(Unsupported, match=word):
        compiled(toy, intercepts).sample(config)


def test_it_refuses_problems_that_it_cannot_run(toy: Backend, intercepts: Problem) -> None:
    formulation = Formulation.parse(["noncentered"], ["group"])
    with pytest.raises(Unsupported, match="noncentered"):
        toy.compile(intercepts, formulation, sampler=None, device="cpu", dtype="float64")
    heavy = Problem(ModelSpec.from_formula("y ~ 1 + (1 || group)", family="student_t"), table())
    with pytest.raises(Unsupported, match="student_t"):
        compiled(toy, heavy)


def test_it_passes_the_conformance_kit(target: Path, tmp_path: Path) -> None:
    """Interface and densities whole; of the posteriors one, since a random walk is slow."""
    code = (
        "from nestor.conformance import run_conformance\n"
        "def show(report):\n"
        "    print(report.ok, report.n_run, [(r.id, r.reason) for r in report.bad])\n"
        "show(run_conformance('toy', tiers=('api', 'density')))\n"
        "show(run_conformance('toy', only='equals_the_exact_one[metropolis, gaussian, by quad'))"
    )
    whole, one = run(code, target, tmp_path).splitlines()
    assert whole.startswith("True "), whole
    assert int(whole.split()[1]) > 75
    assert one.startswith("True 1 "), one


def test_a_sampler_on_a_borrowed_model_passes_it_too(target: Path, tmp_path: Path) -> None:
    """Fifty lines of Hamiltonian Monte Carlo on numba's model, which stays the implementation."""
    pytest.importorskip("numba")
    pytest.importorskip("nutpie")
    code = (
        "from nestor.conformance import run_conformance\n"
        "from nestor.engines import registry\n"
        "print(registry.get('leapfrog').backend.implementation)\n"
        "def show(report):\n"
        "    print(report.ok, report.n_run, [(r.id, r.reason) for r in report.bad])\n"
        "show(run_conformance('leapfrog', tiers=('api', 'density'), quick=True))\n"
        "show(run_conformance('leapfrog', only='equals_the_exact_one[leapfrog, gaussian, by quad'))"
    )
    implementation, whole, one = run(code, target, tmp_path).splitlines()
    assert implementation == "numba"
    assert whole.startswith("True "), whole
    assert one.startswith("True "), one
    assert int(one.split()[1]) >= 1  # one for each formulation of the borrowed model


def test_nestor_runs_it_in_a_process_of_its_own(target: Path, tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "table.parquet")
    code = (
        "import nestor, pandas as pd\n"
        "spec = nestor.ModelSpec.from_formula('y ~ x + (1 || group)')\n"
        "problem = nestor.Problem(spec, pd.read_parquet('table.parquet'))\n"
        "tree = nestor.fit(problem, 'toy@centered,sequential', chains=2, warmup=50, draws=40,"
        " progress=False)\n"
        "print(tree.attrs['engine'], *tree['posterior']['beta_group'].shape)"
    )
    assert run(code, target, tmp_path).split() == ["toy:metropolis", "2", "40", "1", "4"]


def test_the_guide_quotes_it_as_it_is() -> None:
    """docs/adding-a-backend.md shows pieces of the plug-in; each still stands there word for word."""
    guide = (FIXTURE.parents[2] / "docs" / "adding-a-backend.md").read_text(encoding="utf-8")
    files = [*FIXTURE.rglob("*.py"), FIXTURE / "pyproject.toml"]
    texts = [file.read_text(encoding="utf-8") for file in files]
    pieces = re.findall(r"^```(?:python|toml)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert len(pieces) >= 5
    assert [piece for piece in pieces if not any(piece in text for text in texts)] == []
