"""The report in a real browser: it draws, it answers, it loads nothing, and nothing hostile runs."""

import pytest
import report_tables

WIDE, TELEPHONE = 1280, 390
NAMES = ["rich", *report_tables.AWKWARD]
WITHOUT_PLOTS = ("empty", "only skipped")


class Visit:
    """A page, with all that it complained of and asked for."""

    def __init__(self, page):
        self.page, self.errors, self.requests = page, [], []
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: self.errors.append("a dialog opened"))

    def open(self, path):
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-drawn=all]", state="attached")
        return self.page


@pytest.fixture
def visit(browser):
    pages = []

    def visit(width=WIDE, **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        return Visit(page)

    yield visit
    for page in pages:
        page.close()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "a thousand" else n for n in NAMES]
)
def test_it_opens_draws_and_asks_for_nothing(written, visit, name):
    path = written(name)
    seen = visit(TELEPHONE)
    page = seen.open(path)
    assert seen.errors == []
    assert seen.requests == [path.as_uri()]
    # Only what is shown is drawn, and all of it.
    shown = page.locator("figure.plot:visible")
    assert (shown.count() == 0) == (name in WITHOUT_PLOTS)
    assert page.locator("figure.plot:visible:has(svg .subplot.xy)").count() == shown.count()
    for width in (TELEPHONE, WIDE):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hacked") is None


def test_nothing_hostile_is_an_element_of_the_page(written, visit):
    page = visit().open(written("hostile"))
    for control in page.locator("fieldset.switch span").all():
        control.click()
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    assert page.locator("img, iframe, main b > b, a[href*=example]").count() == 0
    assert page.locator("svg a").count() == 0
    assert page.evaluate("window.hacked") is None
    # Plotly draws the characters themselves, markup and templates included.
    names = (
        page.locator("figure.plot:visible").first.locator(".annotation-text").all_text_contents()
    )
    assert any("<b>bold</b> &lt;i&gt; <a href=" in name for name in names)
    assert any("%{x} %{y}<extra>z</extra>" in name for name in names)


def growth_plot(page):
    figure = page.locator("figure.plot:visible", has_text="Time per gradient against rows")
    figure.scroll_into_view_if_needed()
    return figure


def test_hovering_shows_what_a_point_is(written, visit):
    page = visit().open(written("rich"))
    figure = growth_plot(page)
    figure.locator(".scatterlayer .trace").first.locator(".point").first.hover(force=True)
    tip = figure.locator(".hoverlayer .hovertext")
    tip.wait_for()
    assert "pymc:nutpie@noncentered" in tip.text_content()
    assert "median of 5 runs" in tip.text_content()


def test_a_click_on_the_legend_hides_a_curve_and_another_shows_it(written, visit):
    page = visit().open(written("rich"))
    figure = growth_plot(page)
    traces, toggle = figure.locator(".scatterlayer .trace"), figure.locator(".legendtoggle").first
    before = traces.count()
    assert before == 4  # contenders with a right answer
    toggle.click()
    page.wait_for_function(
        "([f, n]) => f.querySelectorAll('.scatterlayer .trace').length === n",
        arg=[figure.element_handle(), before - 1],
    )
    toggle.click()
    page.wait_for_function(
        "([f, n]) => f.querySelectorAll('.scatterlayer .trace').length === n",
        arg=[figure.element_handle(), before],
    )


def test_a_click_on_the_legend_of_bars_hides_one_kind_of_them(written, visit):
    page = visit().open(written("rich"))
    figure = page.locator("figure.plot:visible").first
    bars = figure.locator(".barlayer .point path")
    before = bars.count()
    figure.locator(".legendtoggle").first.click()
    page.wait_for_function(
        "([f, n]) => f.querySelectorAll('.barlayer .point path').length < n",
        arg=[figure.element_handle(), before],
    )


def test_switches_show_one_track_and_one_size_and_draw_it(written, visit):
    seen = visit()
    page = seen.open(written("rich"))
    tracks = page.locator("fieldset.switch", has_text="Track").first
    assert page.locator("#s0t0").is_visible()
    assert page.locator("#s0t1").is_hidden()
    tracks.get_by_text("matched").click()
    page.wait_for_selector("html[data-drawn=all]", state="attached")
    assert page.locator("#s0t0").is_hidden()
    shown = page.locator("#s0t1 figure.plot:visible")
    assert shown.count() == page.locator("#s0t1 figure.plot:visible:has(svg.main-svg)").count() > 0
    page.locator("#s0t1 fieldset.switch").get_by_text("300", exact=True).click()
    page.wait_for_selector("#s0t1z0 svg.main-svg")
    assert page.locator("#s0t1z3").is_hidden()
    assert seen.errors == []


def test_plots_follow_the_windows_width(written, visit):
    page = visit().open(written("rich"))
    svg = page.locator("figure.plot:visible svg.main-svg").first
    name = page.locator("figure.plot:visible .annotation-text").first
    whole = "numpyro:nuts@noncentered,gpu,float64,vectorized"
    assert svg.bounding_box()["width"] > 1000
    assert whole in name.text_content()
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function(
        "() => document.querySelector('figure.plot svg.main-svg').clientWidth < 390"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # The whole name all the same, in more lines.
    assert whole in name.text_content()
    assert name.locator("tspan.line").count() > 1


CLIPPED = """() => [...document.querySelectorAll('figure.plot')].flatMap((figure) => {
    if (!figure.offsetParent) return [];
    const box = figure.querySelector('.canvas').getBoundingClientRect();
    return [...figure.querySelectorAll('svg text')].filter((text) => {
        const at = text.getBoundingClientRect();
        return at.width && (at.right > box.right || at.left < box.left || at.bottom > box.bottom);
    }).map((text) => text.textContent);
})"""


@pytest.mark.parametrize("name", ["rich", "long names"])
@pytest.mark.parametrize("width", [420, WIDE])
def test_no_label_of_a_plot_is_clipped(written, visit, name, width):
    page = visit(width).open(written(name))
    shown = page.locator("figure.plot:visible .annotation-text").all_text_contents()
    if name == "long names":
        assert any(report_tables.LONG in text for text in shown)
    assert page.evaluate(CLIPPED) == []


def test_a_dark_page_has_light_text_in_its_plots(written, visit):
    page = visit(color_scheme="dark").open(written("one run"))
    fill = "getComputedStyle(document.querySelector('.xtick text')).fill"
    assert page.evaluate(fill) == "rgb(228, 231, 236)"  # --ink of the dark scheme
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"() => {fill} === 'rgb(29, 36, 48)'")


def test_without_scripts_all_tables_are_there(written, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written("rich").as_uri())
    # A table for each track of the first scenario, and one of the second.
    assert page.locator("table.summary:visible").count() == 3
    context.close()


def test_the_policy_holds_where_escaping_would_have_failed(written, visit):
    seen = visit()
    page = seen.open(written("one run"))
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.hacked = 5';
            document.body.append(script);
            document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.hacked = 6">');
            document.body.insertAdjacentHTML('beforeend', '<img src="https://example.org/a.png">');
        }"""
    )
    reached = page.evaluate("fetch('https://example.org/').then(() => true, () => false)")
    page.wait_for_timeout(100)
    assert page.evaluate("window.hacked") is None
    assert not reached
    assert any("Content Security Policy" in error for error in seen.errors)
