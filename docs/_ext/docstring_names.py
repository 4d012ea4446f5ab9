"""Docstrings are read as plain text with `names` and ``code``, as people write and read them.

`name` becomes a link if the name has a place in the site, else plain code. Explicit roles in pages, such as
``{py:func}``, stay strict: they warn where the target is missing. A lone star, bar or trailing underscore,
as in ``(chain, draw, *dims)``, |x| or y_, is the character and no markup.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes

CODE = re.compile(r"(``.*?``|`[^`]*`_?)")
MARKUP = re.compile(r"\*(?=\w)(?![^*\n]*\w\*)|\||(?<=\w)_(?!\w)")


def escape(lines: list[str]) -> None:
    """Put a backslash before what would be markup by accident, in place; literal blocks stay."""
    literal: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None and not line.lstrip().startswith(">>>"):
            parts = CODE.split(line)
            parts[::2] = [MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
            lines[number] = "".join(parts)
            if line.rstrip().endswith("::"):
                literal = indent


def _escape(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    escape(lines)


def _no_arguments(
    app: Any,  # noqa: ARG001
    what: str,
    name: str,  # noqa: ARG001
    obj: Any,
    options: Any,  # noqa: ARG001
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """A protocol is not constructed: its signature would say nothing."""
    hidden = what == "class" and getattr(obj, "_is_protocol", False)
    return ("" if hidden else signature), returns


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:  # noqa: ARG001
    return True if name == "model_config" else None


def _plain_code(app: Any, env: Any, node: Any, content: nodes.Node) -> nodes.Node | None:  # noqa: ARG001
    return content if node.get("reftype") == "obj" else None


def setup(app: Any) -> dict[str, Any]:
    """Listen for docstrings, before numpydoc does, and for names that Sphinx cannot find."""
    app.connect("autodoc-process-docstring", _escape, priority=100)
    app.connect("autodoc-process-signature", _no_arguments)
    app.connect("autodoc-skip-member", _skip)
    app.connect("missing-reference", _plain_code)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
