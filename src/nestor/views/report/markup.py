"""HTML made of strings, in which everything is escaped that was not made here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# Not allowed in HTML, or not in UTF-8: control characters other than tab and newline, lone surrogates.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_VOID = frozenset({"meta", "link", "input", "br", "wbr"})


class Html(str):
    """A string that is HTML already."""

    __slots__ = ()


type Content = str | int | Html | Iterable[Content] | None


def clean(text: object) -> str:
    """Return `text` with every character that a page cannot hold replaced by U+FFFD."""
    normal = str(text).replace("\r\n", "\n").replace("\r", "\n")
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", normal)


def render(content: Content) -> Html:
    """Join contents: HTML as it is, other text escaped, None left out."""
    if content is None:
        return Html("")
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int):
        return Html(html.escape(clean(content), quote=True))
    return Html("".join(render(part) for part in content))


def tag(name: str, /, *children: Content, **attributes: str | float | None) -> Html:
    """Return an element; attributes that are None are left out.

    ``class_`` gives ``class``, and ``data_value`` gives ``data-value``.
    """
    opened = [name]
    for key, value in attributes.items():
        if value is not None:
            spelt = key.rstrip("_").replace("_", "-")
            opened.append(f'{spelt}="{html.escape(clean(value), quote=True)}"')
    start = f"<{' '.join(opened)}>"
    return Html(start if name in _VOID else f"{start}{render(children)}</{name}>")


def label(text: object) -> Html:
    """Return a text of the user's, kept from changing the direction of what stands beside it."""
    return tag("bdi", str(text))


def breakable(name: str) -> Html:
    """Return a contender's name, which may be broken after the signs between its words."""
    return tag("bdi", [[part, tag("wbr")] for part in re.split("(?<=[@,:=])", name)])


def json_data(json_text: str) -> Html:
    """Return JSON as a script element that runs nothing, and that no text in it can close.

    ``<``, ``>`` and ``&`` occur in JSON within strings alone, where they may be written as escapes.
    """
    for character in "<>&\u2028\u2029":
        json_text = json_text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json">{json_text}</script>')
