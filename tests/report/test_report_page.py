"""The report's HTML: what it holds, that its figures are the table's, and what it can never do."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import report_tables
from report_tables import HOSTILE, cell, lost, table

from nestor.bench.statistics import BenchStatistics
from nestor.bench.table import COLUMNS
from nestor.errors import DataError, Unsupported
from nestor.views.plots.canvas import pens as matplotlib_pens
from nestor.views.report import ScenarioInfo, report_html, write_report
from nestor.views.report.figure import in_plot
from nestor.views.report.groups import pens
from nestor.views.report.markup import clean, json_data, tag
from nestor.views.report.scenario_header import RULES

VOID = {"meta", "link", "input", "br", "wbr"}
NAMES = [
    "rich",
    *(
        pytest.param(n, marks=pytest.mark.slow) if n == "a thousand" else n
        for n in report_tables.AWKWARD
    ),
]
# What plotly reads as markup in a label; the report itself makes no other.
OWN_MARKUP = re.compile(r'</?b>|<br>|<span style="font-size:\d+px">|</span>')


class Elements(HTMLParser):
    """All elements with their attributes and text, as a browser would see them."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs))
        element = {"tag": tag, **dict(attrs), "text": ""}
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        self.text.append(data)
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [e for e in self.found if e["tag"] == tag and attributes.items() <= e.items()]


@pytest.fixture(scope="session")
def elements(written):
    return lambda name: Elements(written(name).read_text(encoding="utf-8"))


def plots(elements):
    return [json.loads(e["text"]) for e in elements.all("script", type="application/json")]


def strings(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_loaded_and_only_two_scripts_may_run(elements, name):
    page = elements(name)
    assert {e["tag"] for e in page.found} & {
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "a",
    } <= {"a"}
    links = [e[key] for e in page.found for key in ("src", "href", "srcset", "action") if key in e]
    assert all(link == "data:," or re.fullmatch(r"#scenario-\d+", link) for link in links)
    assert not re.search(r"url\(|@import", page.all("style")[0]["text"])
    assert not [key for e in page.found for key in e if key.startswith("on")]

    running = [e["text"] for e in page.all("script") if e.get("type") != "application/json"]
    hashes = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in running}
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert len(running) == 2
    assert set(rules["script-src"].split()) == {f"'sha256-{h}'" for h in hashes}


@pytest.mark.parametrize("name", NAMES)
def test_no_plot_holds_markup_that_is_not_ours(elements, name):
    found = plots(elements(name))
    assert found or name in ("empty", "only skipped")
    for text in (text for plot in found for text in strings(plot)):
        rest = OWN_MARKUP.sub("", text)
        assert "<" not in rest
        assert "%{" not in rest
        assert not re.search(r"&(?!amp;|lt;|gt;|#37;)", rest)


def rows_of(page):
    """The summary's lines: attributes of the row, and its cells by metric."""
    found, cells = [], None
    for e in page.found:
        if e["tag"] == "tr" and "data-contender" in e:
            cells = {}
            found.append((e, cells))
        elif e["tag"] == "td" and "data-metric" in e:
            cells[e["data-metric"]] = e
    return found


def test_the_summary_is_the_tables_medians(elements):
    frame = report_tables.rich()
    keys = ["track", "contender", "chains", "cores"]
    seen = 0
    for row, cells in rows_of(elements("rich")):
        of_row = (frame[[*keys]].astype(str) == [row[f"data-{key}"] for key in keys]).all(axis=1)
        if "data-size" in row:
            of_row &= frame["sweep_value"] == float(row["data-size"])
        own = frame[of_row & frame["sweep_value"].isna().eq("data-size" not in row)]
        assert 3 <= len(own) <= 5
        for metric in cells.keys() - {"ratio"}:
            if (own["verdict"] == "DISAGREE").any() and not metric.endswith("bytes"):
                assert "data-value" not in cells[metric]
                continue
            ended = own["status"].isin(
                ["ok", "gates_failed"] if metric.endswith("bytes") else ["ok"]
            )
            if own["censored"].sum() * 2 > len(own) and metric.startswith("time_"):
                assert "data-value" not in cells[metric]
                continue
            expected = own[metric][ended | own["censored"]].astype(float)
            expected = expected.fillna(np.inf) if metric.startswith("time_") else expected[ended]
            if expected.notna().any():
                assert float(cells[metric]["data-value"]) == pytest.approx(
                    expected.median(), rel=1e-12
                )
                seen += 1
            else:
                assert "data-value" not in cells[metric]
    # 2 tracks x 4 sizes x 4 contenders, less 4 censored groups, 8 figures each at least; 8 groups of cores
    assert seen > 28 * 7 + 8 * 7


def test_a_wrong_answer_has_no_speed_and_an_unproved_one_is_pale(elements):
    page = elements("rich")
    by_name = {
        (row["data-track"], row["data-contender"], row.get("data-size")): c
        for row, c in rows_of(page)
    }
    wrong = by_name["matched", "toy:wrong@centered", "10000.0"]
    assert {e["text"] for m, e in wrong.items() if not m.endswith("bytes")} == {"-"}
    assert wrong["peak_bytes"]["text"].startswith("500 MB")
    unproved = by_name["defaults", "numpyro:nuts@noncentered", "300.0"]
    assert unproved["ess_per_s"]["class"] == "num pale"
    assert by_name["matched", "numpyro:nuts@noncentered", "300.0"]["ess_per_s"]["class"] == "num"
    drawn = [t for plot in plots(page) for t in strings(plot["data"]) if "toy:wrong" in t]
    # In plots of memory alone: one for each track, at the one size at which it ran.
    assert drawn == [t for t in drawn if "host: 500 MB" in t]
    assert len(drawn) == 2


def test_a_censored_time_is_said_to_be_longer(elements):
    cells = {(r["data-contender"], r.get("data-size")): c for r, c in rows_of(elements("rich"))}
    late = cells["pymc:pymc@noncentered", "100000.0"]["time_to_ess_s"]
    assert late["text"] == "> 10 min 00 s"
    assert late["data-at-least"] == "600.0"


def test_exponents_are_those_of_a_fit_on_logarithms(elements):
    frame = report_tables.rich()
    own = frame[(frame["contender"] == "pymc:nutpie@noncentered") & (frame["track"] == "matched")]
    own = own[own["scenario"] == "trees"].astype({"sweep_value": float, "sampling_s": float})
    slope = np.polyfit(np.log(own["sweep_value"]), np.log(own["sampling_s"]), 1)[0]
    legends = [
        t["name"]
        for plot in plots(elements("rich"))
        for t in plot["data"]
        if "exponent" in t.get("name", "")
    ]
    assert any("nutpie" in name and f"exponent {slope:.2f} (" in name for name in legends)


def test_all_that_is_said_of_a_scenario_is_on_the_page(elements):
    text = re.sub(r"\s+", " ", "".join(elements("rich").text))
    for info in report_tables.infos():
        words = [info.title, info.about, info.formula, info.data, *info.priors.values()]
        words += [*info.settings.values(), *info.command, *info.toml.splitlines()]
        assert [w for w in words if w not in text] == []
    for expected in (
        *RULES,
        "300 to 100,000 rows",
        "stopped after 600 s",
        "engine 'reference' cannot run gpu: it computes on the CPU only",
        "the yardstick has 212 effective draws of tau_school[x]; no shift of 0.1 could be seen",
        "against numpyro:nuts@centered",
        "Example CPU 3000",
        "Example GPU 80GB",
        "jax 0.12.0, nestor 0.1.0, pymc 6.4.0",
        "0.50 to 0.90",
        "2026-11-26 10:01 to 2026-11-26 10:05 UTC",
        "the GPU pays from about rows =",
    ):
        assert expected in text


def test_hostile_text_is_shown_as_it_is(elements):
    page = elements("hostile")
    text = "".join(page.text)
    for hostile in HOSTILE:
        assert clean(hostile) in text
    contenders = {row["data-contender"] for row, _ in rows_of(page)}
    assert contenders == {clean(hostile) for hostile in HOSTILE}
    # Each line of ours that a hostile text stands in is closed where we closed it.
    assert len(page.all("section")) == 2
    assert len(page.all("main")) == 1


def test_a_scenario_without_runs_and_runs_without_a_scenario_are_both_shown():
    page = Elements(
        report_html(report_tables.one_run(), [ScenarioInfo(name="planned", title="Planned")])
    )
    titles = [e["text"].strip() for e in page.all("h2")]
    assert titles == ["Planned", "trees"]
    assert "No run of this scenario is in the table." in "".join(page.text)


def test_a_scenario_that_ran_in_two_places_is_shown_once_with_all_commands():
    infos = [
        ScenarioInfo(name="trees", command=(c, "nestor report")) for c in ("on a CPU", "on a GPU")
    ]
    page = Elements(report_html(report_tables.one_run(), infos))
    assert len(page.all("section")) == 1
    assert page.all("pre")[0]["text"].splitlines() == ["on a CPU", "nestor report", "on a GPU"]


def test_a_quick_form_says_that_it_counts_for_nothing():
    page = Elements(report_html(table([cell(quick=True)]), []))
    assert page.all("span", **{"class": "badge"})[0]["text"] == "quick form"


def test_upper_bounds_are_marked():
    page = Elements(report_html(table([cell(time_is_bound=True)]), []))
    assert rows_of(page)[0][1]["time_to_ess_s"]["text"].startswith("≤ ")


def test_warmup_and_sampling_that_were_not_told_apart_are_a_phase_of_their_own():
    run = cell(warmup_s=None, sampling_s=None, total_s=100.0)
    drawn = plots(Elements(report_html(table([run]), [])))
    rest = next(t for plot in drawn for t in plot["data"] if t.get("name") == "not told apart")
    # 100 s less import 4, upload 0.1, compile 42, conversion 0.3 and transfer 0.05
    assert rest["x"] == pytest.approx([53.55, 53.55])


def test_every_failure_is_listed_once_with_its_runs():
    runs = [cell(seed=s, **lost("failed", "exploded")) for s in (1, 2, 3)]
    runs += [cell(seed=4, **lost("timeout", "")), cell(seed=5)]
    page = Elements(report_html(table(runs), []))
    failed = [e["text"] for e in page.all("td", **{"class": "message"})]
    assert failed == ["exploded", "no message"]
    assert "1 of 5" in "".join(page.text)


def test_versions_that_cannot_be_read_are_shown_as_they_are():
    page = Elements(report_html(table([cell(versions="not json"), cell(seed=2)]), []))
    assert "jax 0.12.0, nestor 0.1.0, pymc 6.4.0, not json" in "".join(page.text)


def test_what_is_no_table_of_results_is_refused_and_leaves_the_file_alone(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(DataError, match="no table of benchmark results"):
        write_report(BenchStatistics(pd.DataFrame({"scenario": ["a"]})), [], path)
    assert path.read_text(encoding="utf-8") == "before"
    write_report(BenchStatistics(report_tables.one_run()), [], path)
    assert path.read_text(encoding="utf-8") == report_html(report_tables.one_run(), [])
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_the_same_whenever_it_is_made():
    assert report_html(report_tables.hostile(), []) == report_html(report_tables.hostile(), [])


def test_without_plotly_it_says_what_to_install(monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(Unsupported, match=r"pip install 'nestor\[report\]'"):
        report_html(report_tables.one_run(), [])


def test_importing_the_report_is_light():
    code = "import sys, nestor.views.report; print(sorted({'pandas', 'plotly', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_contenders_have_the_colours_of_the_pictures():
    names = list("abcdefg")
    here, there = pens(names), matplotlib_pens(names)
    # All but the last, black, which a dark page would hide.
    assert [here[n].colour for n in names[:-1]] == [there[n].colour for n in names[:-1]]
    many = pens(str(i) for i in range(20))
    assert len(set(many.values())) == 20


def test_tags_escape_what_they_are_given():
    assert tag("td", '<&">', title='"<') == '<td title="&quot;&lt;">&lt;&amp;&quot;&gt;</td>'
    assert tag("p", None, ["a", tag("b", "c")], id=None) == "<p>a<b>c</b></p>"
    assert clean("a\x00\ud800\r\nb") == "a\ufffd\ufffd\nb"


@pytest.mark.parametrize("text", ["</script>", "<!--", "&lt;", "\u2028", "]]>"])
def test_json_cannot_leave_its_element(text):
    (script,) = Elements(json_data(json.dumps([text], ensure_ascii=False))).found
    assert json.loads(script["text"]) == [text]
    assert not set("<>&\u2028") & set(script["text"])


def test_a_label_of_a_plot_keeps_its_direction_and_its_signs():
    assert in_plot("<b>a & b</b>") == "&lt;b&gt;a &amp; b&lt;/b&gt;"
    assert in_plot("50%{x}") == "50&#37;{x}"
    assert in_plot("עברית") == "\u2068עברית\u2069"
    assert len(in_plot("a" * 300)) == 60


def test_the_synthetic_tables_have_the_columns_of_real_ones():
    for make in (report_tables.rich, *report_tables.AWKWARD.values()):
        if make is not report_tables.thousand:
            assert list(make().columns) == list(COLUMNS)


def headlines(*rows):
    page = Elements(report_html(table(list(rows)), []))
    return [" ".join(e["text"].split()) for e in page.all("p", **{"class": "headline"})]


def timed(contender, seconds, seeds=(1, 2, 3), **more):
    return [
        cell(contender=contender, seed=s, time_to_ess_s=t, **more)
        for s, t in zip(seeds, seconds, strict=True)
    ]


def test_the_headline_says_who_is_fastest_by_how_much_and_whether_it_is_right():
    slow, quick = (
        timed("b:c@centered", [20.0, 22.0, 21.0]),
        timed("a:b@centered", [9.0, 10.0, 11.0]),
    )
    wrong = timed("x:y@centered", [1.0, 1.0, 1.0], verdict="DISAGREE")
    late = [cell(contender="z:z@centered", seed=s, **lost("timeout", "late")) for s in (1, 2, 3)]
    (said,) = headlines(*slow, *quick, *wrong, *late)
    # Paired resamples of three: medians of both at the same seeds, 20 / 9 to 22 / 10 and 21 / 11.
    assert said == (
        "a:b@centered (AGREE, 10.0 s) is the fastest to 400 effective draws, 2.1 times (95% interval "
        "1.91 to 2.22) as fast as b:c@centered (AGREE, 21.0 s). Of the others 1 did not reach it, 1 gave a "
        "wrong answer."
    )


def test_the_headline_does_not_say_more_than_the_runs_do():
    near = timed("b:c@centered", [9.0, 12.0, 10.1])
    (said,) = headlines(*timed("a:b@centered", [10.0, 9.5, 10.0]), *near)
    assert "is not told apart from b:c@centered" in said
    two = timed("b:c@centered", [20.0, 22.0], seeds=(1, 2))
    (said,) = headlines(*timed("a:b@centered", [10.0, 9.5], seeds=(1, 2)), *two)
    assert "(no interval: 2 runs)" in said
    assert "95%" not in said
    (said,) = headlines(*two)
    assert said.endswith("and the only one that reached it with an answer known to be right.")
    (said,) = headlines(cell(verdict="INCONCLUSIVE"))
    assert (
        said == "No contender reached 400 effective draws with an answer that is known to be right."
    )


def test_two_runs_have_no_interval_in_any_caption():
    def captions(runs):
        return [e["text"] for e in Elements(report_html(runs, [])).all("figcaption")]

    two = captions(table([cell(seed=1), cell(seed=2)]))
    assert two
    assert not any("95%" in text for text in two)
    assert any("95%" in text for text in captions(table([cell(seed=s) for s in (1, 2, 3)])))


def test_priors_have_four_digits_and_one_of_a_kind_is_no_plural():
    info = ScenarioInfo(
        name="trees",
        priors={"beta": "Normal(0, 12.345678)", "tau": "HalfNormal(2)", "sigma": "= 0.00012345678"},
    )
    run = cell(rows=1, leaves=1, nodes=1, depth=1, effects=1, scalars=1)
    text = " ".join("".join(Elements(report_html(table([run]), [info])).text).split())
    assert "beta Normal(0, 12.35)" in text
    assert "tau HalfNormal(2)" in text
    assert "sigma = 0.0001235" in text
    assert "1 row, 1 leaf, 1 node, 1 level, 1 effect, 1 random scalar" in text


def test_upper_bounds_are_marked_in_plots_ratios_and_headline():
    quick = timed("a:b@centered", [5.0, 5.0, 5.0])
    bound = timed("b:c@centered", [20.0, 20.0, 20.0], time_is_bound=True)
    page = Elements(report_html(table(quick + bound), []))
    cells = {row["data-contender"]: c for row, c in rows_of(page)}
    assert cells["b:c@centered"]["ratio"]["text"].startswith("≤ 4.00")
    texts = [t for plot in plots(page) for t in strings(plot["data"])]
    assert " ≤ 20.0 s" in texts
    assert " 5.00 s" in texts or " 5.0 s" in texts
    assert any(t.endswith("median of 3 runs") and "≤ 20.0 s" in t for t in texts)
    assert "b:c@centered (AGREE, ≤ 20.0 s)" in headlines(*quick, *bound)[0]
    # A bound below: what it is compared with may take less still.
    turned = timed("a:b@centered", [5.0, 5.0, 5.0], time_is_bound=True)
    page = Elements(report_html(table(turned + timed("b:c@centered", [20.0, 20.0, 20.0])), []))
    cells = {row["data-contender"]: c for row, c in rows_of(page)}
    assert cells["b:c@centered"]["ratio"]["text"].startswith("≥ 4.00")


def test_signs_of_less_or_equal_in_texts_are_kept():
    name = "x:y@a<=b,c≤d"
    page = Elements(report_html(table([cell(contender=name, reason="x <= 1 ≤ 2")]), []))
    assert "x <= 1 ≤ 2" in "".join(page.text)
    labels = [t for plot in plots(page) for t in strings(plot)]
    assert any("a&lt;=b,c≤d" in text for text in labels)


def test_a_load_of_other_processes_is_said_beside_the_figures():
    runs = [cell(seed=s, machine_cores=2, load=load) for s, load in ((1, 1.9), (2, 5.0), (3, 6.2))]
    notes = [
        e["text"] for e in Elements(report_html(table(runs), [])).all("p", **{"class": "note"})
    ]
    (note,) = notes
    assert note.startswith(
        "Other processes were busy: a load of 5.0 to 6.2 before 2 of 3 runs, on 2 cores."
    )
    quiet = Elements(report_html(table(runs[:1]), []))
    assert not quiet.all("p", **{"class": "note"})
