"""Scenarios: what is read, what is refused with which words, and the grid that they make."""

import json
from pathlib import Path

import jsonschema
import pytest

from nestor.backend import SamplerConfig
from nestor.bench import record, scenario
from nestor.bench.grid import cells
from nestor.bench.problems import build_problem, data_size, level_names, share_out
from nestor.bench.scenario import load_scenario, read_scenario, shipped
from nestor.bench.store import read_manifest, write_manifest
from nestor.errors import DataError, SpecError

SCENARIOS = Path(__file__).parents[2] / "benchmarks" / "scenarios"
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
TINY = """
name = "tiny"
seeds = [1, 2]
[data]
simulate = { branching = [3, 2], rows_per_leaf = 5 }
[tracks]
defaults = {}
matched = { draws = 500 }
[[grid]]
engines = ["exact", "exact2"]
"""


def read(text, **options):
    return read_scenario(text, "tiny.toml", **options)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds", "seedz", "unknown key seedz. Did you mean 'seeds'?"),
        ("draws = 500", "drawz = 5", "unknown key tracks.matched.drawz. Did you mean 'draws'?"),
        ("engines =", "engine =", "unknown key grid[0].engine"),
        ('["exact", "exact2"]', "[]", "grid[0].engines: "),
        ("[[grid]]", "[grid]", "grid: "),
        ('name = "tiny"', "", "name is missing"),
        ('name = "tiny"', 'name = "../tiny"', "name: "),
        ("[1, 2]", "[1, 1]", "a seed is repeated"),
        ("[1, 2]", "[]", "seeds: "),
        ("draws = 500", "draws = 0", "tracks.matched.draws: "),
        ("defaults = {}", "defaults = { draws = 5 }", "unknown key tracks.defaults.draws"),
        ("[data]", "[data]\ndemo = 'income'", "give one of table, simulate and demo"),
        (
            "simulate = { branching = [3, 2], rows_per_leaf = 5 }",
            "table = 'rows.csv'\nseed = 3\n[model]\nformula = 'y ~ 1 + (1 || g)'",
            "data.seed is of simulated rows",
        ),
        ("simulate = {", "simulates = {", "unknown key data.simulates"),
        ("[tracks]", "[model]\nformula = 'y ~ 1'\n[tracks]", "bring their own formula"),
        ("[tracks]", "[limits]\ntimeout_s = 0\n[tracks]", "limits.timeout_s: "),
        ("[tracks]", "[limits]\ntimeout_s = nan\n[tracks]", "limits.timeout_s: "),
        ("seeds", "seeds = [1\nseeds", "is not valid TOML"),
        (
            "simulate = { branching = [3, 2], rows_per_leaf = 5 }",
            "demo = 'income'\n[sweep]\nparameter = 'rows'\nvalues = [10, 20]",
            "sweep.parameter: 'rows' of a table or an example cannot be swept",
        ),
        ("[1, 2]", '["1"]', "seeds[0]: must be a whole number, not '1'"),
        ("[1, 2]", "[true]", "seeds[0]: must be a whole number, not True"),
        ("[1, 2]", "[18446744073709551616]", "seeds[0] is 18446744073709551616"),
        ('"exact2"]', '"exact"]', "grid[0].engines: 'exact' is repeated"),
        ('"exact2"]', '"exact2@centered"]', "an engine takes no '@' here"),
        ("[tracks]", "[limits]\nmemory_gb = 1e300\n[tracks]", "limits.memory_gb: "),
        ("[tracks]", "[sweep]\nparameter = 'rows'\nvalues = 3\n[tracks]", "must be a list"),
        ("[tracks]", "[sweep]\nparameter = 'rows'\nvalues = ['1']\n[tracks]", "sweep.values[0]: "),
    ],
)
def test_a_wrong_scenario_is_refused_with_the_place(old, new, words):
    assert old in TINY
    with pytest.raises(SpecError) as error:
        read(TINY.replace(old, new, 1))
    assert "tiny.toml" in str(error.value)
    assert words in str(error.value)


def test_an_empty_grid_is_refused():
    with pytest.raises(SpecError, match="grid"):
        read(TINY.partition("[[grid]]")[0])


def test_settings_of_a_block_belong_to_the_matched_track():
    with pytest.raises(SpecError, match=r"grid\[0\].settings: the track defaults has no settings"):
        read(TINY + "settings = { draws = 5 }\n")
    found = read(TINY + "tracks = ['matched']\nsettings = { draws = 5 }\n")
    assert found.config("matched", found.grid[0], None).draws == 5


def test_tracks_resolve_to_settings():
    found = read(TINY)
    assert found.config("defaults", found.grid[0], None) == SamplerConfig()
    matched = found.config("matched", found.grid[0], None)
    assert (matched.draws, matched.target_accept, matched.max_tree_depth) == (500, 0.8, 10)
    assert matched.metric == "diagonal_draws"


def test_the_quick_form_is_put_over_the_whole():
    text = TINY + "[quick]\nseeds = [7]\ndata = { simulate = { rows_per_leaf = 2 } }\n"
    small = read(text, quick=True)
    assert small.seeds == (7,)
    assert small.data.simulate == {"branching": [3, 2], "rows_per_leaf": 2}
    assert read(text).seeds == (1, 2)
    with pytest.raises(SpecError, match="unknown key sedes"):
        read(text.replace("seeds = [7]", "sedes = [7]"))  # found although it is not asked for
    with pytest.raises(SpecError, match="cannot change name"):
        read(text.replace("seeds = [7]", "name = 'other'"))
    with pytest.raises(SpecError, match="no table"):
        read(TINY, quick=True)


@pytest.mark.usefixtures("fake_engines")
def test_engines_take_turns_and_another_begins_each_repetition():
    grid = cells(read(TINY), quick=False)
    order = [(c.seed, c.track, c.contender.backend) for c in grid]
    assert order == [
        (1, "defaults", "exact"),
        (1, "defaults", "exact2"),
        (1, "matched", "exact"),
        (1, "matched", "exact2"),
        (2, "defaults", "exact2"),
        (2, "defaults", "exact"),
        (2, "matched", "exact2"),
        (2, "matched", "exact"),
    ]
    assert len({c.id for c in grid}) == 8


@pytest.mark.usefixtures("fake_engines")
def test_a_cells_id_is_that_of_what_it_measures():
    ids = {c.id for c in cells(read(TINY), quick=False)}
    words = TINY.replace("seeds", "title = 'x'\ntarget_ess = 5\nseeds")
    same = {c.id for c in cells(read(words), quick=False)}
    assert ids == same
    more = {c.id for c in cells(read(TINY.replace("[1, 2]", "[1, 2, 3]")), quick=False)}
    assert ids < more
    assert not ids & {c.id for c in cells(read(TINY.replace("= 5 }", "= 6 }")), quick=False)}


@pytest.mark.usefixtures("fake_engines")
def test_what_an_engine_lacks_is_skipped_with_its_reason():
    block = 'engines = ["exact"]\ndevices = ["gpu"]\n'
    grid = cells(read(TINY.replace('engines = ["exact", "exact2"]\n', block)), quick=False)
    assert {c.contender for c in grid} == {None}
    assert {c.refusal for c in grid} == {
        "engine 'exact:iid' cannot run gpu: its capabilities do not include it."
    }


@pytest.mark.usefixtures("fake_engines")
def test_an_unknown_engine_is_an_error():
    with pytest.raises(SpecError, match="unknown engine 'exakt'"):
        cells(read(TINY.replace('"exact",', '"exakt",')), quick=False)


@pytest.mark.usefixtures("fake_engines")
def test_cores_that_there_are_not_are_skipped():
    text = TINY.replace("[tracks]", '[sweep]\nparameter = "cores"\nvalues = [1, 4096]\n[tracks]')
    grid = cells(read(text), quick=False)
    assert {c.cores for c in grid if not c.refusal} == {1}
    assert all("it needs 4096 cores" in c.refusal for c in grid if c.cores == 4096)


@pytest.mark.usefixtures("fake_engines")
def test_formulations_are_those_of_a_contender_and_non_centred_unless_told():
    """The grid is made before the data: what auto will choose is not known, nor part of a cell's name."""
    words = ["auto", "marginalized", "statistics", "centered,statistics", "level1=centered"]
    text = TINY.replace('engines = ["exact", "exact2"]', 'engines = ["reference"]')
    text = text.replace("seeds", 'yardstick = "reference:exact@sequential"\nseeds')
    grid = cells(read(f"{text}formulations = {words}\n"), quick=False)
    found = {cell.name.partition("@")[2] for cell in grid if cell.track == "defaults"}
    assert found == {
        "auto",
        "marginalized",
        "noncentered,statistics",
        "centered,statistics",
        "noncentered,level1=centered",
    }
    plain = cells(read(text), quick=False)
    assert {cell.name for cell in plain} == {
        "reference:exact@noncentered",
        "reference:exact@noncentered,sequential",
    }
    assert {cell.id for cell in grid} & {cell.id for cell in plain} == {plain[-1].id}
    lacking = cells(read(f"{TINY}formulations = ['marginalized']\n"), quick=False)
    assert {cell.refusal for cell in lacking} == {
        f"engine '{name}:iid' cannot run marginalized: its capabilities do not include it."
        for name in ("exact", "exact2")
    }


def test_a_sweep_makes_the_problem_grow():
    text = TINY.replace("[tracks]", '[sweep]\nparameter = "rows"\nvalues = [30, 60]\n[tracks]')
    found = read(text.replace(", rows_per_leaf = 5", ""))
    sizes = [(build_problem(found, n).n_rows, data_size(found, n)) for n in (30, 60)]
    assert sizes == [(30, (30, 9)), (60, (60, 9))]
    assert level_names(found, 30) == ("level1", "level2")


def test_a_sweep_of_depth_keeps_the_leaves():
    text = TINY.replace("branching = [3, 2]", "leaves = 64").replace(
        "[tracks]", '[sweep]\nparameter = "depth"\nvalues = [1, 3]\n[tracks]'
    )
    found = read(text)
    assert [build_problem(found, d).index.n_leaves for d in (1, 3)] == [64, 64]
    assert [level_names(found, d) for d in (1, 3)] == [("level1",), ("level1", "level2", "level3")]


@pytest.mark.parametrize(
    ("leaves", "depth", "branching"),
    [(4096, 6, (4,) * 6), (10, 2, (2, 5)), (100_000, 2, (250, 400)), (7, 1, (7,))],
)
def test_leaves_are_shared_out_as_evenly_as_their_factors_allow(leaves, depth, branching):
    assert share_out(leaves, depth) == branching


@pytest.mark.parametrize(("leaves", "depth"), [(7, 2), (1, 1), (0, 1), (8, 4), (8, 0)])
def test_leaves_that_cannot_be_shared_out_are_refused(leaves, depth):
    with pytest.raises(
        SpecError, match=r"cannot be shared out|must be a whole number of at least 1"
    ):
        share_out(leaves, depth)


@pytest.mark.parametrize("size", ["leaves = 8.5", "leaves = 8, depth = 1.5"])
def test_leaves_and_depth_are_whole(size):
    with pytest.raises(SpecError, match="must be a whole number"):
        build_problem(read(TINY.replace("branching = [3, 2]", size)), None)


def test_a_scenario_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "marked.toml").write_text("\ufeff" + TINY, encoding="utf-8")
    assert load_scenario(str(tmp_path / "marked.toml"))[0].name == "tiny"


def test_a_wrong_simulation_is_refused():
    with pytest.raises(SpecError, match="unknown argument 'brunching'"):
        build_problem(read(TINY.replace("branching", "brunching")), None)
    with pytest.raises(DataError, match="rows_per_leaf"):
        build_problem(read(TINY.replace("rows_per_leaf = 5", "rows_per_leaf = 0")), None)
    with pytest.raises(SpecError, match="leaves or branching"):
        build_problem(read(TINY.replace("branching", "leaves = 4, branching")), None)


def test_a_table_is_looked_for_beside_its_scenario(tmp_path, small_table):
    small_table.to_csv(tmp_path / "rows.csv", index=False)
    text = TINY.replace(
        "simulate = { branching = [3, 2], rows_per_leaf = 5 }", "table = 'rows.csv'"
    )
    (tmp_path / "own.toml").write_text(
        text.replace("[tracks]", "[model]\nformula = 'y ~ x + (x || g/h)'\n[tracks]")
    )
    found, _ = load_scenario(str(tmp_path / "own.toml"))
    assert build_problem(found, None).n_rows == len(small_table)


def test_a_scenario_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(SpecError, match=r"there is no scenario 'chem79'.*chem97"):
        load_scenario("chem79")
    with pytest.raises(SpecError, match=r"there is no scenario file no/such\.toml"):
        load_scenario("no/such.toml")


WANTED = {
    "income",
    "egsingle",
    "chem97",
    "simulated-3-level",
    "simulated-nodes",
    "depth",
    "chains",
    "funnel",
    "informative",
}


def test_the_scenarios_that_come_with_nestor():
    assert set(shipped()) >= WANTED
    assert {path.parent for path in shipped().values()} == {SCENARIOS}


@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("*.toml")))
@pytest.mark.parametrize("quick", [False, True])
def test_a_shipped_scenario_makes_a_grid(name, quick):
    """Every engine and word is known; what is skipped is skipped for a GPU or cores that are lacking."""
    found, _ = load_scenario(name, quick=quick)
    assert found.name == name
    assert found.title
    grid = cells(found, quick=quick)
    assert any(cell.contender is not None and not cell.refusal for cell in grid)
    assert {cell.refusal.partition(" ")[0] for cell in grid if cell.refusal} <= {"it"}


@pytest.mark.parametrize(("name", "module"), [("bench", record), ("scenario", scenario)])
def test_the_committed_schema_is_the_present_one(name, module):
    path = SCHEMAS / f"{name}.schema.json"
    assert json.loads(path.read_text()) == module.json_schema(), f"nestor schema {name} > {path}"
    jsonschema.Draft202012Validator.check_schema(module.json_schema())


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_results_directory_says_which_scenario_it_is_of(tmp_path, name):
    """With every default written out, those beside a table among them."""
    scenario, text = load_scenario(name)
    write_manifest(tmp_path, scenario, text, "nestor bench", quick=False)
    assert read_manifest(tmp_path)["scenario"] == scenario.model_dump(mode="json")
