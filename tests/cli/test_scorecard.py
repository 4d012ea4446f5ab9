"""``nestor verify``: the scorecard, exit codes, and bad input."""

import json

import pytest

QUICK = ["--warmup", "300", "--draws", "1000"]


def test_a_scorecard(call):
    code, out, err = call(
        "verify", "reference:exact", *QUICK, "--problem", "eight-schools", "--problem", "student-t"
    )
    assert code == 0, err
    eight, student = (
        line.split()
        for line in out.splitlines()
        if line.startswith(("eight-schools ", "student-t "))
    )
    assert eight[:2] == ["eight-schools", "AGREE"]
    assert float(eight[2]) < 0.2
    assert student[:3] == ["student-t", "unsupported", "-"]
    assert "AGREE  reference:exact on 2 reference posteriors: 1 AGREE, 1 unsupported." in out
    assert "eight-schools: AGREE" in err


def test_the_document_goes_to_standard_output_alone(call):
    code, out, err = call("verify", "reference:exact", *QUICK, "--problem", "one-level", "--json")
    document = json.loads(out)
    assert (code, document["verdict"]) == (0, "AGREE")
    assert [score["problem"] for score in document["scores"]] == ["one-level"]
    assert "one-level" in err


@pytest.mark.usefixtures("fake_engines")
@pytest.mark.parametrize(
    ("engine", "name", "code"),
    [("exact", "one-level", 1), ("crash", "one-level", 4), ("reference", "student-t", 4)],
)
def test_exit_codes(call, engine, name, code):
    found, out, err = call("verify", engine, *QUICK, "--problem", name)
    assert found == code, err
    assert name in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numpyr"], "Did you mean 'numpyro'?"),
        (["numpyro", "--problem", "nine-schools"], "no reference problem"),
        (["numpyro", "--problem", "one-level", "--problem", "one-level"], "one-level is repeated"),
        (["numpyro", "--draws", "0"], "draws"),
    ],
)
def test_bad_input(call, arguments, message):
    code, out, err = call("verify", *arguments)
    assert (code, out) == (2, "")
    assert message in err
