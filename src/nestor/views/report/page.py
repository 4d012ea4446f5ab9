"""The page as a whole: its parts in their order, its style, its scripts, and what it is allowed to load."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from nestor.bench.table import SKIPPED, load_note
from nestor.views.format import count, counted
from nestor.views.report.environment import environment
from nestor.views.report.failures import failures
from nestor.views.report.figure import plotly
from nestor.views.report.groups import sections
from nestor.views.report.markup import Html, label, tag
from nestor.views.report.scenario_header import rules, scenario_header
from nestor.views.report.track import track_panels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.bench.statistics import BenchStatistics
    from nestor.views.report.groups import Section
    from nestor.views.report.scenario import ScenarioInfo


def page(statistics: BenchStatistics, scenarios: Sequence[ScenarioInfo]) -> str:
    """See `nestor.views.report.report_html`."""
    plotly()  # refused at once where it is not installed
    found = sections(statistics, scenarios)
    title = "Benchmark report"
    if len(found) == 1:
        title = found[0].info.title or found[0].info.name
    parts = [_section(i, section) for i, section in enumerate(found)]
    return _document(title, Html(_header(found) + tag("main", parts) + _footer()))


def _document(title: str, body: Html) -> str:
    """Return a whole document that can load nothing and run no script but its own two.

    The policy holds even where escaping had failed: scripts are known by their hashes (Content Security
    Policy Level 3, W3C), and nothing may be fetched.
    """
    scripts = [_plotly_script(), _own("page.js")]
    allowed = " ".join(f"'sha256-{_hash(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title} · nestor"),
        Html(f"<style>{_own('page.css')}</style>"),
    ]
    foot = [Html(f"<script>{script}</script>") for script in scripts]
    whole = tag("html", tag("head", head), tag("body", body, foot), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _own(name: str) -> str:
    return (resources.files("nestor.views.report") / name).read_text(encoding="utf-8")


def _plotly_script() -> str:
    """Plotly's own bundle; the hash is of what a browser reads, which has no carriage returns."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _header(found: Sequence[Section]) -> Html:
    runs = sum(int((section.cells["status"].fillna("") != SKIPPED).sum()) for section in found)
    several = len(found) != 1
    what = counted(runs, "run")
    if several:
        what += f" of {count(len(found))} scenarios"
    links = [
        tag("li", tag("a", label(section.info.title or section.info.name), href=f"#scenario-{i}"))
        for i, section in enumerate(found)
    ]
    return tag(
        "header",
        tag("h1", "Benchmark report"),
        tag(
            "p",
            f"{what}. Time to a target of effective draws, and whether the answer is right.",
            class_="muted",
        ),
        tag("nav", tag("ul", links)) if several and links else None,
        rules(),
        class_="page",
    )


def _section(i: int, section: Section) -> Html:
    info = section.info
    nothing = tag("p", "No run of this scenario is in the table.", class_="note")
    parts = [
        scenario_header(section),
        tag("p", text, class_="note") if (text := load_note(section.cells)) else "",
        track_panels(f"s{i}", section) if section.tracks else nothing,
        failures(section),
        environment(section.cells),
    ]
    if info.command:
        lines = "\n".join(info.command)
        parts.append(Html(tag("h3", "Run it again") + tag("pre", lines)))
    if info.toml:
        parts.append(
            tag(
                "details",
                tag("summary", "The scenario’s file"),
                tag("pre", info.toml),
                class_="block",
            )
        )
    return tag("section", parts, class_="scenario", id=f"scenario-{i}")


def _footer() -> Html:
    from nestor import __version__

    return tag(
        "footer",
        f"Made by nestor {__version__} from the table of runs alone. This page loads nothing from elsewhere.",
    )
