"""The grid of a scenario: its cells, in the order in which they run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import psutil

from nestor.bench.problems import data_key, level_names
from nestor.bench.record import SCHEMA_VERSION
from nestor.bench.scenario import FORMULATIONS, REFERENCE_RUN, SAMPLER_SWEEPS
from nestor.engines import registry
from nestor.engines.contender import AUTO, Contender
from nestor.engines.formulation import is_formulation_word
from nestor.engines.protocol import SamplerConfig
from nestor.engines.support import usable_cores
from nestor.errors import SpecError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nestor.bench.scenario import Block, Number, Scenario, Track

#: Share of the machine's memory that a cell may use unless the scenario says otherwise.
_MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class Cell:
    """One measurement: a contender on a problem of one size, under one seed.

    Parameters
    ----------
    scenario : str
        The scenario's name.
    quick : bool
        Whether it is of the quick form.
    track : {"defaults", "matched", "yardstick"}
        Whose settings; the reference run is what the others are compared with.
    name : str
        The contender, as it was asked for if it cannot be read.
    contender : Contender or None
        None where it cannot run. The grid is made before the data: one that is auto is settled when its
        data are made, and its name stays.
    refusal : str
        Why it is skipped; empty if it is not.
    config : SamplerConfig
        Settings, with the seed of the repetition.
    sweep, value : str, float or None
        What grows, and how large it is here.
    cores, timeout_s, memory_bytes : int, float, int
        What it may take.
    id : str
        Hash of all that decides the measurement, but for limits of time and memory.
    """

    scenario: str
    quick: bool
    track: Literal["defaults", "matched", "yardstick"]
    name: str
    contender: Contender | None
    refusal: str
    config: SamplerConfig
    sweep: str
    value: Number | None
    cores: int
    timeout_s: float
    memory_bytes: int
    target_ess: float
    id: str = field(default="")

    @property
    def seed(self) -> int:
        """Seed of the repetition."""
        return self.config.seed

    @property
    def label(self) -> str:
        """The cell in a line: size, contender, track, seed."""
        size = "" if self.value is None else f"{self.sweep} {self.value:,g}, "
        return f"{size}{self.name}, {self.track}, seed {self.seed}"


def known_ids(scenario: Scenario, cores: Iterable[int]) -> set[str]:
    """Return the ids of all cells that a scenario may have: on either device, and on so many cores.

    Records with these ids belong to it, wherever they were measured.
    """
    forms = (scenario, *(scenario.on_device(device) for device in ("cpu", "gpu")))
    return {
        cell.id for form in forms for n in set(cores) for cell in cells(form, quick=False, cores=n)
    }


def cells(scenario: Scenario, *, quick: bool, cores: int | None = None) -> list[Cell]:
    """Return all cells, engines taking turns within each repetition and size.

    Where an engine lacks a device, a precision, a chain method or the cores, its cell is skipped,
    with the reason. `cores`, if given, stands for those of this machine.

    Raises
    ------
    SpecError
        If an engine, a word or a level is unknown.
    """
    maker = _CellMaker(scenario, quick, cores)
    found: dict[str, Cell] = {}
    for turn, seed in enumerate(scenario.seeds):
        for value in _all_values(scenario):
            for track in scenario.tracks.names:
                here = list(maker.contenders(value, track, seed))
                for cell in _rotated(here, turn):
                    found.setdefault(cell.id, cell)
    # Last, so that a short budget goes to those that are measured.
    return [*found.values(), *maker.reference_runs(_all_values(scenario))]


def _all_values(scenario: Scenario) -> list[Number | None]:
    """Every value that some block runs, in increasing order."""
    values = {value for block in scenario.grid for value in scenario.values_of(block)}
    return sorted(values, key=lambda v: -1 if v is None else v)


def _rotated(here: Sequence[Cell], turn: int) -> list[Cell]:
    """Rotate the order at each repetition, so that no engine always runs first on a cool machine."""
    start = turn % max(len(here), 1)
    return [*here[start:], *here[:start]]


class _CellMaker:
    """Makes the cells of one scenario."""

    def __init__(self, scenario: Scenario, quick: bool, cores: int | None) -> None:
        self._scenario, self._quick = scenario, quick
        limits, usable = scenario.limits, cores or len(usable_cores())
        self._usable = usable
        self._cores = limits.cores or usable
        share = int(_MEMORY_SHARE * psutil.virtual_memory().total)
        self._memory = share if limits.memory_gb is None else int(limits.memory_gb * 1e9)
        self._data = data_key(scenario)

    def contenders(self, value: Number | None, track: Track, seed: int) -> Iterator[Cell]:
        for block in self._scenario.grid:
            if track in self._scenario.tracks_of(block) and value in self._scenario.values_of(
                block
            ):
                config = self._scenario.config(track, block, value)
                for text in _texts(block):
                    yield self._cell(text, track, config, value, seed)

    def reference_runs(self, values: Sequence[Number | None]) -> Iterator[Cell]:
        if self._scenario.yardstick is None:
            return
        # What is swept of a sampler leaves the posterior as it is: one reference run serves all values.
        one = self._scenario.sweep and self._scenario.sweep.parameter in SAMPLER_SWEEPS
        text = _with_formulation(self._scenario.yardstick)
        for value in values[:1] if one else values:
            seed, config = self._scenario.seeds[0], SamplerConfig()
            yield self._cell(text, REFERENCE_RUN, config, value, seed)

    def _cell(
        self,
        text: str,
        track: Literal["defaults", "matched", "yardstick"],
        config: SamplerConfig,
        value: Number | None,
        seed: int,
    ) -> Cell:
        scenario = self._scenario
        sweep = "" if scenario.sweep is None else scenario.sweep.parameter
        cores = int(value) if sweep == "cores" and value is not None else self._cores
        contender, refusal = _read(text, level_names(scenario, value))
        if not refusal and cores > self._usable:
            refusal = f"it needs {cores} cores, and {self._usable} are usable here"
        cell = Cell(
            scenario=scenario.name,
            quick=self._quick,
            track=track,
            name=text if contender is None else contender.name,
            contender=contender,
            refusal=refusal,
            config=replace(config, seed=seed),
            sweep=sweep,
            value=value,
            cores=cores,
            timeout_s=scenario.limits.timeout_s,
            memory_bytes=self._memory,
            target_ess=scenario.target_ess,
        )
        return replace(cell, id=self._id(cell))

    def _id(self, cell: Cell) -> str:
        scenario = self._scenario
        parts = {
            "schema": SCHEMA_VERSION,
            "nestor": version("nestor"),
            "data": scenario.data.model_dump(),
            "data_key": self._data,
            "model": scenario.model.model_dump(),
            "sweep": [cell.sweep, cell.value],
            "track": cell.track,
            "contender": cell.name,
            "config": asdict(cell.config),
            "cores": cell.cores,
            "warm_compile": scenario.warm_compile,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _texts(block: Block) -> Iterator[str]:
    """Contenders of a block, as they are spelt."""
    for engine in block.engines:
        for formulation in block.formulations:
            for device in block.devices:
                for dtype in block.dtypes:
                    for method in block.chain_methods or ("",):
                        words = [formulation, device, dtype, *([method] if method else [])]
                        yield f"{engine}@{','.join(words)}"


def _with_formulation(text: str) -> str:
    """Add the default formulation to a reference run that names none."""
    engine, _, tail = text.partition("@")
    words = [word.strip() for word in tail.split(",") if word.strip()]
    if any(word == AUTO or is_formulation_word(word) for word in words):
        return text
    return f"{engine}@{','.join([*FORMULATIONS, *words])}"


def _read(text: str, levels: Sequence[str]) -> tuple[Contender | None, str]:
    """Read a contender; one that cannot run is None, with the reason."""
    name = text.partition("@")[0].partition(":")[0]
    entry = registry.backends().get(name)
    if entry is not None and not entry.installed:
        return None, f"it is not installed: {entry.install}"
    try:
        return Contender.parse_sampler(text, levels), ""
    except Unsupported as error:
        return None, str(error)
    except SpecError as error:
        raise SpecError(f"scenario: grid: {error}") from None
