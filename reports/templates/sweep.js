"use strict";
// A sweep's points: how their values are written, which is chosen, and what is known of it.

const sweep = JSON.parse(document.getElementById("sweep-data").textContent);
const STATES = ["cannot be built", "infeasible", "feasible", "on the front"];
const points = sweep.points.map(([number, state, values, figures, why]) => ({
  number, state, values, figures, why, verified: sweep.verified[number],
}));
const byNumber = new Map(points.map((point) => [point.number, point]));

const write = {
  value(value) {
    if (Array.isArray(value)) return value.join(" ") || "none";
    return String(value);
  },
  figure(name, value) {
    if (name === "latency") {
      const [unit, scale] = value >= 1 ? ["s", 1] : value >= 1e-3 ? ["ms", 1e3] : ["µs", 1e6];
      return `${(value * scale).toPrecision(4)} ${unit}`;
    }
    return value.toLocaleString("en", { maximumSignificantDigits: Number.isInteger(value) ? 21 : 5 });
  },
  title: (name) => sweep.titles[name] ?? name,
  state(point) {
    const seen = point.verified === undefined ? "" : point.verified ? ", exact on RTL" : ", differs on RTL";
    return STATES[point.state] + seen;
  },
};
const figure = (point, name) => point.figures?.[sweep.figures.indexOf(name)];
const parameter = (point, name) => point.values[sweep.parameters.indexOf(name)];

function tipOf(point) {
  const goals = sweep.objectives.map((name) => `${write.title(name)}: ${write.figure(name, figure(point, name))}`);
  const values = sweep.varied.map((name) => `${name} ${write.value(parameter(point, name))}`);
  return [`point ${point.number}, ${write.state(point)}`, ...goals, ...values].join("\n");
}

const chosen = { point: null, listeners: [] };
function choose(number) {
  chosen.point = byNumber.get(number) ?? null;
  showPoint(chosen.point);
  for (const listener of chosen.listeners) listener(chosen.point);
}

function showPoint(point) {
  const pairs = (id, rows) => {
    document.getElementById(id).replaceChildren(...rows.map(([name, text]) => {
      const row = document.createElement("div");
      const [head, value] = [document.createElement("dt"), document.createElement("dd")];
      [head.textContent, value.textContent] = [name, text];
      row.append(head, value);
      return row;
    }));
  };
  document.getElementById("point-head").textContent = point ? `Point ${point.number}` : "No point chosen";
  document.getElementById("point-state").textContent = point
    ? write.state(point) + (point.why ? `: ${point.why}` : "")
    : "Click a point of a plot or a number in the table.";
  pairs("point-parameters", point ? sweep.parameters.map((n) => [n, write.value(parameter(point, n))]) : []);
  const names = point?.figures ? sweep.figures : [];
  const rows = names.map((name) => [write.title(name), write.figure(name, figure(point, name))]);
  if (names.length && sweep.roofline) {
    const [compute, bandwidth, cycles] = ["floor_compute", "floor_bandwidth", "cycles"].map((n) => figure(point, n));
    rows.push(["bound by", compute >= bandwidth ? "compute" : "bandwidth"]);
    rows.push(["of the products' peak", `${((100 * compute) / cycles).toFixed(1)} %`]);
  }
  pairs("point-figures", rows);
}

for (const button of document.querySelectorAll("[data-point]")) {
  button.addEventListener("click", () => choose(Number(button.dataset.point)));
}
