"""Finished simulations on disk: durable, whole, and of this study."""

import pytest

from nestor.calibration.tasks import Record, Records
from nestor.errors import DataError

GOOD = Record(3, "ok", ranks=(0, 5), ess=70.5, draws=100, seconds=0.5)
LOST = Record(4, "timeout", "stopped after 1 s")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


def _open(path):
    return Records(path, 2, 5)


def test_what_is_added_is_found_again(path):
    records = _open(path)
    records.add(GOOD)
    records.add(LOST)
    # On disk at once, not when the file is closed.
    assert _open(path).found == {3: GOOD, 4: LOST}


def test_a_later_line_replaces_an_earlier_one(path):
    records = _open(path)
    records.add(LOST)
    again = Record(4, "ok", ranks=(1, 1))
    records.add(again)
    assert _open(path).found == {4: again}


@pytest.mark.parametrize("cut", [1, 2, 10, 60])
def test_a_torn_last_line_is_removed_and_the_file_can_be_continued(path, cut):
    records = _open(path)
    records.add(GOOD)
    records.add(LOST)
    records.close()
    path.write_bytes(path.read_bytes()[:-cut])
    records = _open(path)
    assert records.found == {3: GOOD}
    records.add(LOST)
    assert _open(path).found == {3: GOOD, 4: LOST}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense\n", "line 1, cannot be read"),
        (b'{"number": 1}\n', "line 1, cannot be read"),
        (b'{"number": 1, "status": "ok", "ranks": [1]}\n', "line 1, is not of this study"),
        (b'{"number": 1, "status": "ok", "ranks": [1, 6]}\n', "is not of this study"),
        (b'{"number": 1, "status": "failed", "ranks": [1, 2]}\n', "is not of this study"),
    ],
)
def test_another_study_s_or_a_broken_file_is_refused_and_kept(path, content, message):
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        _open(path)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_used_is_a_message(tmp_path):
    with pytest.raises(DataError, match="cannot use"):
        _open(tmp_path)
