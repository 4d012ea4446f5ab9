"""TOML within bounds: nesting, keys, numbers and length."""

import pytest

from nestor.errors import SpecError
from nestor.model.toml import parse_toml, read_toml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 1000 + "]" * 1000, "nests more than 100 brackets"),
        ("a = " + "{b = " * 1000, "nests more than 100 brackets"),
        (".".join("a" * 60_000) + " = 1", "a key of more than 100 parts"),
        ("[" + ".".join("a" * 60_000) + "]", "a key of more than 100 parts"),
        ('"a"' + '."a"' * 20_000 + " = 1", "a key of more than 100 parts"),
        ("a = " + "9" * 5000, "is not valid TOML"),
        ("a = [{ b = 9223372036854775808 }]", r"a\[0\]\.b is 9223372036854775808"),
        ("a = -9223372036854775809", "at most 64 bits"),
        ("#" * 1_000_001, "longer than 1,000,000"),
        ("a = 1\na = 2", "is not valid TOML"),
        (3, "is text in TOML, not int"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(SpecError, match=message) as error:
        parse_toml(text, "scenario")
    assert len(str(error.value)) < 400


def test_brackets_and_dots_in_text_and_comments_mean_nothing():
    many = "[" * 200 + "." * 200
    text = f'a = \'{many}\'\nb = "\\"{many}"\ne = [{"1.5, " * 300}]\n'
    text += f"c = \"\"\"\n{many}\n\"\"\"\nd = '''{many}'''\n# {many}"
    assert parse_toml(text, "scenario")["a"] == many


def test_what_may_never_end_is_not_read(tmp_path):
    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(SpecError, match="it is no file"):
            read_toml(type(tmp_path)(path), "scenario")
