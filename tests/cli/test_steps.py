"""``nestor compare`` prints all steps, and looks until there is a verdict."""

import json

import pytest

FORMULA = "y ~ x + (x || g/h)"
pytestmark = pytest.mark.usefixtures("fake_engines")


@pytest.fixture
def compare(call, tmp_path, monkeypatch, small_table):
    """Compare engines on a small table in an empty directory."""
    monkeypatch.chdir(tmp_path)
    small_table.to_csv("data.csv", index=False)

    def compare(*arguments):
        return call("compare", "data.csv", FORMULA, "--out", "out", *arguments)

    return compare


def test_looks(compare):
    code, out, err = compare(
        *(
            "--engine",
            "growing",
            "--engine",
            "growing2",
            "--chains",
            "8",
            "--draws",
            "150",
            "--margin",
            "0.12",
        ),
        *("--until-verdict", "2400", "--json"),
    )
    assert code == 0, err
    document = json.loads(out)
    assert document["criteria"] == {"margin": 0.12, "until_verdict": 2400}
    (pair,) = document["pairs"]
    assert pair["verdict"] == "AGREE"
    assert pair["looks"] == len(document["engines"][0]["looks"]) > 1
    assert pair["shape"]["n_tests"] > 10
    assert {group["group"] for group in pair["groups"]} >= {"population", "scales", "g", "h"}
    assert "look 1: inconclusive at 150 draws per chain; going on with growing" in err


@pytest.mark.parametrize(
    ("few", "note"),
    [
        (["--chains", "1"], "a single chain can only end"),
        (["--draws", "50"], "fewer than 100 draws"),
    ],
)
def test_what_can_only_be_inconclusive_is_said_before_it_runs(compare, few, note):
    code, out, err = compare("--engine", "exact", "--engine", "exact2", *few)
    assert code == 3
    assert "INCONCLUSIVE" in out
    assert err.startswith(f"note: {note}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until-verdict", "1000"], "more than the 1000 draws"),
        (["--margin", "0"], "greater than 0"),
    ],
)
def test_bad_input(compare, arguments, message):
    code, out, err = compare("--engine", "exact", "--engine", "exact2", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
