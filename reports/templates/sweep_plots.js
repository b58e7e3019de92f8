"use strict";
// The scatter of two figures with its front, and the roofline; drawn by Plotly, tips by the page.

const HUES = ["#2f6fd0", "#c2417c", "#d98a00", "#7d55c7", "#147a4b", "#5aa9c9", "#a0522d", "#8a8f2a"];
const DRAWN = 6000; // more points of one kind than that are thinned evenly
const control = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const escaped = (text) => String(text).replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const thinned = (list) => {
  const every = Math.ceil(list.length / DRAWN);
  return every > 1 ? list.filter((_, place) => place % every === 0) : list;
};

function marks(list, at, marker, name, rest = {}) {
  return {
    type: "scatter", mode: "markers", name, hoverinfo: "none", marker,
    x: list.map((point) => at(point)[0]), y: list.map((point) => at(point)[1]),
    customdata: list.map((point) => point.number), ...rest,
  };
}

// What each kind of point looks like, by rising importance; `shade` gives colours by a value.
function layers(at, shade) {
  const built = points.filter((point) => point.figures && at(point).every(Number.isFinite));
  const kind = (state) => thinned(built.filter((point) => point.state === state));
  const dot = (list, size, colour) => (shade && list.length
    ? { size, ...shade(list), line: { width: 0 } }
    : { size, color: css(colour), line: { width: size > 8 ? 1 : 0, color: css("surface") } });
  const seen = (exact) => built.filter((point) => point.verified === exact);
  const ring = (colour) => ({ size: 16, symbol: "circle-open", color: css(colour), line: { width: 2 } });
  const hidden = control("infeasible").checked ? [] : kind(1);
  const out = [
    marks(hidden, at, { size: 5, color: css("other"), opacity: 0.55 }, "infeasible"),
    marks(kind(2), at, { ...dot(kind(2), 6, "stream"), opacity: shade ? 0.9 : 0.55 }, "feasible"),
    marks(kind(3), at, dot(kind(3), 9, "store"), "front of all objectives"),
    marks(seen(true), at, ring("pass"), "exact on RTL"),
    marks(seen(false), at, ring("fail"), "differs on RTL"),
  ].filter((trace) => trace.x.length);
  if (chosen.point?.figures) {
    out.push(marks([chosen.point], at, { size: 22, symbol: "circle-open", color: css("ink"), line: { width: 2.5 } }, "chosen", { showlegend: false }));
  }
  return out;
}

// The feasible points that no other beats in these two figures, from the best in the first on.
function stairs(x, y) {
  const [a, b] = [sweep.senses[x], sweep.senses[y]];
  const good = points.filter((point) => point.state >= 2)
    .map((point) => [a * figure(point, x), b * figure(point, y)])
    .sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  let best = Infinity;
  const kept = good.filter(([, value]) => value < best && ((best = value), true));
  return { x: kept.map((pair) => a * pair[0]), y: kept.map((pair) => b * pair[1]) };
}

function shading(name) {
  if (!name) return { shade: null, axis: undefined };
  const of = (point) => (sweep.figures.includes(name) ? figure(point, name) : parameter(point, name));
  const known = points.filter((point) => point.figures).map(of);
  const numbers = known.every((value) => typeof value === "number");
  const words = [...new Set(known.map(write.value))];
  const scale = { colorscale: "Viridis", colorbar: { title: { text: escaped(write.title(name)) }, thickness: 12, outlinewidth: 0 } };
  if (!numbers) Object.assign(scale.colorbar, { tickvals: words.map((_, i) => i), ticktext: words.map(escaped) });
  const number = (point) => (numbers ? of(point) : words.indexOf(write.value(of(point))));
  return { shade: (list) => ({ color: list.map(number), coloraxis: "coloraxis" }), axis: scale };
}

function layout(x, y, more = {}) {
  const axis = (title, log, rest) => ({
    title: { text: escaped(title), standoff: 8 }, type: log ? "log" : "linear", ...(log ? { dtick: "D2" } : {}), automargin: true,
    gridcolor: css("line"), zeroline: false, linecolor: css("line"), tickcolor: css("line"), ...rest,
  });
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: css("ink") },
    margin: { l: 56, r: 12, t: 12, b: 48 }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: axis(...x), yaxis: axis(...y), ...more,
  };
}
const number = (name) => (name === "latency" ? { tickformat: "~s", ticksuffix: "s" } : { tickformat: "~s" });

function peerMarks(x, y) {
  const shown = control("peers")?.checked ? sweep.peers : [];
  const both = shown.filter((peer) => x in peer.figures && y in peer.figures);
  const trace = {
    type: "scatter", mode: "markers+text", name: "published", hoverinfo: "none", textposition: "top center",
    x: both.map((peer) => peer.figures[x]), y: both.map((peer) => peer.figures[y]),
    text: both.map((peer) => escaped(peer.name)), textfont: { color: css("muted") },
    customdata: both.map((peer) => peer.name), marker: { size: 10, symbol: "diamond", color: css("load") },
  };
  // Where only one axis means the same, the peer is a line across.
  const lines = shown.filter((peer) => (x in peer.figures) !== (y in peer.figures)).map((peer) => {
    const upright = x in peer.figures;
    const at = upright ? peer.figures[x] : peer.figures[y];
    // markers without colour: they give room at the edge and a place to hover over
    const line = { type: "scatter", mode: "lines+markers", name: "published", showlegend: false, hoverinfo: "none", marker: { size: 12, opacity: 0 }, line: { color: css("load"), width: 1.5, dash: "dot" } };
    const ends = Array.from({ length: 41 }, (_, i) => i / 40);
    const same = ends.map(() => at);
    const names = ends.map(() => peer.name);
    return upright
      ? { ...line, x: same, y: ends, yaxis: "y2", customdata: names, peer: [at, peer.name, "x"] }
      : { ...line, x: ends, y: same, xaxis: "x2", customdata: names, peer: [at, peer.name, "y"] };
  });
  return [...(both.length ? [trace] : []), ...lines];
}

function drawPareto() {
  const [x, y] = [control("axis-x").value, control("axis-y").value];
  const [logX, logY] = [control("log-x").checked, control("log-y").checked];
  const { shade, axis } = shading(control("colour").value);
  const peers = peerMarks(x, y);
  const front = { type: "scatter", mode: "lines", name: "front of these two", hoverinfo: "skip", line: { shape: "hv", color: css("store"), width: 1.5 }, ...stairs(x, y) };
  const notes = peers.filter((trace) => trace.peer).map(({ peer: [at, name, way] }, place) => {
    const value = (way === "x" ? logX : logY) ? Math.log10(at) : at;
    const place2 = { text: escaped(name), showarrow: false, font: { color: css("load"), size: 11.5 } };
    return way === "x"
      ? { ...place2, x: value, y: 0.99 - 0.06 * place, yref: "paper", xanchor: "right", xshift: -4 }
      : { ...place2, x: 0.99, xref: "paper", y: value, yanchor: "bottom" };
  });
  const across = { range: [0, 1], fixedrange: true, visible: false };
  const traces = [front, ...layers((point) => [figure(point, x), figure(point, y)], shade), ...peers];
  const more = { annotations: notes, yaxis2: { ...across, overlaying: "y" }, xaxis2: { ...across, overlaying: "x" } };
  if (axis) more.coloraxis = axis;
  return plot("pareto", traces, layout([write.title(x), logX, number(x)], [write.title(y), logY, number(y)], more));
}

function drawRoofline() {
  const at = (point) => {
    const [compute, bandwidth, cycles] = ["floor_compute", "floor_bandwidth", "cycles"].map((name) => figure(point, name));
    return [compute / bandwidth, compute / cycles];
  };
  const xs = points.filter((point) => point.figures).map((point) => at(point)[0]).filter(Number.isFinite);
  const ends = [Math.min(0.5, ...xs) / 1.3, Math.max(2, ...xs) * 1.3];
  const roof = (name, x, y, colour) => ({ type: "scatter", mode: "lines", name, x, y, hoverinfo: "skip", line: { color: css(colour), width: 2 } });
  const traces = [
    roof("bandwidth floor", [ends[0], 1], [ends[0], 1], "load"),
    roof("compute floor", [1, ends[1]], [1, 1], "vector"),
    ...layers(at, null),
  ];
  return plot("roofline", traces, layout(["compute floor over bandwidth floor", true, {}], ["compute floor over cycles", true, { tickformat: "~%" }]));
}

function drawBreakdown() {
  const { points: numbers, kinds } = sweep.breakdowns;
  const names = numbers.map((number) => `point ${number}`);
  const traces = Object.entries(kinds).map(([kind, cycles], place) => ({
    type: "bar", orientation: "h", name: escaped(kind), x: cycles, y: names, customdata: numbers, hoverinfo: "none",
    marker: { color: kind === "all others" ? css("other") : HUES[place % HUES.length] },
  }));
  const shape = layout(["cycles", false, { tickformat: "~s" }], ["", false, { type: "category" }]);
  return plot("breakdown", traces, { ...shape, barmode: "stack", legend: { ...shape.legend, traceorder: "normal" }, bargap: 0.35, height: 120 + 34 * numbers.length });
}

async function plot(id, traces, shape) {
  const place = control(id);
  const first = !place.classList.contains("js-plotly-plot");
  await Plotly.react(place, traces, shape, { responsive: true, displayModeBar: false });
  if (!first) return;
  place.on("plotly_hover", ({ points: [{ customdata, data, x }], event }) => {
    const layer = id === "breakdown" ? `${data.name}: ${x.toLocaleString("en")} cycles\n` : "";
    const peer = sweep.peers.find((one) => one.name === customdata);
    tip.show(peer ? `${peer.name}\n${peer.text}` : layer + tipOf(byNumber.get(customdata)), event.clientX, event.clientY);
  });
  place.on("plotly_unhover", () => tip.hide());
  place.on("plotly_click", ({ points: [{ customdata }] }) => byNumber.has(customdata) && choose(customdata));
}

const drawAll = () => Promise.all([drawPareto(), sweep.roofline && drawRoofline(), sweep.breakdowns.points.length && drawBreakdown()]);

plotlyReady.then(async () => {
  const range = (name) => {
    const known = points.filter((point) => point.state >= 2).map((point) => figure(point, name));
    return known.length > 0 && Math.min(...known) > 0 && Math.max(...known) > 20 * Math.min(...known);
  };
  for (const way of ["x", "y"]) {
    const select = control(`axis-${way}`);
    control(`log-${way}`).checked = range(select.value);
    select.addEventListener("change", () => { control(`log-${way}`).checked = range(select.value); });
  }
  for (const tool of document.querySelectorAll("#pareto-tools select, #pareto-tools input")) tool.addEventListener("change", drawAll);
  chosen.listeners.push(drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  await drawAll();
  document.documentElement.dataset.drawn = "yes";
});
