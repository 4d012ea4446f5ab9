"""Text of users' data, made fit for a picture or a file name."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from nestor.views.format import columns, one_line, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_STEM = 40


def label(text: object, width: int = 40) -> str:
    r"""Return `text` on one line of at most `width` columns, cut in the middle, with ``$`` escaped.

    An unescaped pair of ``$`` would make matplotlib read what lies between as a formula; it draws
    ``\$`` as a plain sign.
    """
    return literal(shorten(one_line(text), width))


def label_lines(text: object, width: int = 32, most: int = 4) -> str:
    r"""Return `text` as at most `most` lines of at most `width` columns, broken at blanks and signs.

    What is longer is cut in the middle of its last line; ``$`` is escaped as in `label`.
    """
    lines = [""]
    for piece in re.findall(r"[^\s/\[,@=]*[\s/\[,@=]*", one_line(text)):
        if lines[-1] and columns((lines[-1] + piece).rstrip()) > width and len(lines) < most:
            lines.append("")
        lines[-1] += piece
    return "\n".join(literal(shorten(line.strip(), width)) for line in lines)


def literal(text: str) -> str:
    """Escape ``$``, so that matplotlib draws the text as it stands."""
    return text.replace("$", r"\$")


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """Return for each name a part of a file name, safe on every system and different for each.

    Letters and digits of any script stay, and ``_`` and ``-``. A name that had to be changed, or that
    differs from an earlier one in case alone, ends in a hash of itself.
    """
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = _safe(name)
        if stem != name or stem.casefold() in taken:
            digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
            stem = f"{stem}-{digest}"
        taken.add(stem.casefold())
        stems[name] = stem
    return stems


def _safe(name: str) -> str:
    normal = unicodedata.normalize("NFC", name)
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in normal)[:_MAX_STEM]
