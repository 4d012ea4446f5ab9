"""How each contender is drawn, the same through the whole page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Okabe and Ito's palette, as in nestor.views.plots.canvas, which needs matplotlib: told apart with every
# common colour vision; https://jfly.uni-koeln.de/color/. Grey stands for black, which a dark page would hide.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")

# Paul Tol's light scheme, as in nestor.views.plots.speed: none of them is a contender's colour.
PHASES: Final = {
    "import_s": ("import", "#DDDDDD"),
    "upload_s": ("upload", "#99DDFF"),
    "compile_s": ("compile", "#FFAABB"),
    "warmup_s": ("warmup", "#EEDD88"),
    "sampling_s": ("sampling", "#77AADD"),
    "postprocess_s": ("postprocess", "#BBCC33"),
    "transfer_s": ("transfer", "#AAAA00"),
}
REST: Final = ("not told apart", "#BBBBBB")


@dataclass(frozen=True)
class Pen:
    """Colour, and dash and marker for who cannot see colours."""

    colour: str
    dash: str
    symbol: str


def pens(contenders: Iterable[str]) -> dict[str, Pen]:
    """Give each contender its pen, by its place.

    Where there are more contenders than colours, a colour comes again with another dash and marker.
    """
    n = len(COLOURS)
    return {
        name: Pen(
            COLOURS[i % n],
            _DASHES[(i + i // n) % len(_DASHES)],
            _SYMBOLS[(i + i // n) % len(_SYMBOLS)],
        )
        for i, name in enumerate(dict.fromkeys(contenders))
    }
