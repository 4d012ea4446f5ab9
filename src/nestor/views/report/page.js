// Draws the plots of the report and switches between its parts. The page reads well without it.
(() => {
  "use strict";
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");
  const config = {
    displaylogo: false,
    typesetMath: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const drawn = new Map();

  function colours() {
    const style = getComputedStyle(root);
    const get = (name) => style.getPropertyValue(name).trim();
    return { ink: get("--ink"), grid: get("--grid"), line: get("--line"), card: get("--card") };
  }

  const isNarrow = (figure) => figure.clientWidth < 520;

  // Sets what depends on the colour scheme and on the width.
  function dress(figure, { data, layout }) {
    const { ink, grid, line, card } = colours();
    const narrow = isNarrow(figure);
    layout.font = { ...layout.font, color: ink, size: narrow ? 10.5 : 12 };
    layout.hoverlabel = { ...layout.hoverlabel, bgcolor: card, bordercolor: line, font: { color: ink } };
    for (const [name, axis] of Object.entries(layout)) {
      if (/^[xy]axis\d*$/.test(name)) {
        Object.assign(axis, { gridcolor: grid, zerolinecolor: line, linecolor: line, tickcolor: line });
      }
    }
    for (const trace of data) {
      for (const bars of [trace.error_x, trace.error_y]) if (bars) bars.color = ink;
    }
    if (coarse.matches) layout.dragmode = false; // a finger scrolls the page
  }

  // The form of a plot for the figure's width; some have names in more lines on a narrow screen.
  function formOf(figure, plot) {
    const form = (isNarrow(figure) && plot.layout.meta?.narrow) || plot;
    dress(figure, form);
    figure.querySelector(".canvas").style.height = `${form.layout.height}px`;
    return form;
  }

  function redraw(figure) {
    const spec = drawn.get(figure);
    spec.narrow = isNarrow(figure);
    const { data, layout } = formOf(figure, spec.plot);
    Plotly.react(figure.querySelector(".canvas"), data, layout, config);
  }

  const visible = (element) => element.offsetParent !== null;

  async function draw(figure) {
    const box = figure.querySelector(".canvas");
    const plot = JSON.parse(figure.querySelector("script").textContent);
    const { data, layout } = formOf(figure, plot);
    drawn.set(figure, { plot, narrow: isNarrow(figure) });
    try {
      await Plotly.newPlot(box, data, layout, config);
    } catch (error) {
      box.textContent = `This plot could not be drawn: ${error}`;
      console.error(error);
    }
  }

  // One plot at a time, so that the page stays responsive; hidden ones wait until they are shown.
  let busy = false;
  async function drawVisible() {
    if (busy) return;
    busy = true;
    delete root.dataset.drawn;
    for (;;) {
      const next = [...document.querySelectorAll("figure.plot")].find((f) => !drawn.has(f) && visible(f));
      if (!next) break;
      await draw(next);
      await new Promise((done) => setTimeout(done));
    }
    busy = false;
    root.dataset.drawn = "all";
  }

  // A plot that was hidden, or whose window changed, takes its new width, and the texts that fit it.
  function fit(figure) {
    if (drawn.get(figure).narrow !== isNarrow(figure)) redraw(figure);
    else Plotly.Plots.resize(figure.querySelector(".canvas"));
  }

  function show() {
    for (const choice of document.querySelectorAll("fieldset.switch input")) {
      document.getElementById(choice.value).hidden = !choice.checked;
    }
    for (const figure of drawn.keys()) if (visible(figure)) fit(figure);
    drawVisible();
  }

  root.classList.add("scripted");
  document.addEventListener("change", (event) => {
    if (event.target.matches("fieldset.switch input")) show();
  });
  dark.addEventListener("change", () => [...drawn.keys()].forEach(redraw));
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => [...drawn.keys()].filter(visible).forEach(fit), 100);
  });
  show();
})();
