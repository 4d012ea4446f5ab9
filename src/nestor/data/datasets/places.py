"""Names for the income example: degrees, and counties of the United States by state.

Several county names are used by several states, as in life: Lake, Orange, Jefferson, Washington,
Jackson, Polk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: from the least schooling to the most
DEGREES = (
    "no degree",
    "high school",
    "certificate",
    "apprenticeship",
    "some college",
    "associate",
    "bachelor",
    "postbaccalaureate",
    "master",
    "specialist",
    "professional",
    "doctorate",
)

COUNTIES: Mapping[str, tuple[str, ...]] = {
    "CA": ("Lake", "Orange", "Riverside", "Los Angeles", "San Diego", "Alameda", "Sacramento"),
    "CO": ("Lake", "Jefferson", "Washington", "Jackson", "Denver", "Boulder", "El Paso"),
    "FL": ("Lake", "Orange", "Jefferson", "Washington", "Jackson", "Polk", "Miami-Dade"),
    "GA": ("Jefferson", "Washington", "Jackson", "Polk", "Fulton", "DeKalb", "Cobb"),
    "IL": ("Lake", "Cook", "Jefferson", "Washington", "Jackson", "DuPage", "Will"),
    "IN": ("Lake", "Orange", "Jefferson", "Washington", "Jackson", "Marion", "Monroe"),
    "NY": ("Orange", "Jefferson", "Washington", "Kings", "Queens", "Erie", "Monroe"),
    "OH": ("Lake", "Jefferson", "Washington", "Jackson", "Franklin", "Cuyahoga", "Hamilton"),
    "OR": ("Lake", "Jefferson", "Washington", "Jackson", "Polk", "Multnomah", "Lane"),
    "TN": ("Lake", "Jefferson", "Washington", "Jackson", "Polk", "Shelby", "Davidson"),
    "TX": ("Orange", "Jefferson", "Washington", "Jackson", "Polk", "Harris", "Travis"),
    "WI": ("Jefferson", "Washington", "Jackson", "Polk", "Dane", "Milwaukee", "Brown"),
}
