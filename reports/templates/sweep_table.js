"use strict";
// The table of all points: sorted and filtered in memory, some hundred rows drawn at a time.

const ROWS = 200;
const table = {
  body: document.querySelector("#points tbody"),
  heads: [...document.querySelectorAll("#points th")],
  sorted: { column: 0, up: true },
  shown: ROWS,
  found: [],
};
const columns = [
  { get: (point) => point.number },
  { get: (point) => point.state, text: write.state },
  ...sweep.varied.map((name) => ({ get: (point) => parameter(point, name), text: (point) => write.value(parameter(point, name)) })),
  ...sweep.figures.map((name) => ({
    get: (point) => figure(point, name),
    text: (point) => (point.figures ? write.figure(name, figure(point, name)) : "–"),
  })),
];
const searched = new Map(points.map((point) => [
  point,
  [`${point.number}`, write.state(point), point.state === 3 ? "feasible" : "", point.why, ...sweep.parameters.map((name, i) => `${name}=${write.value(point.values[i])}`)].join(" ").toLowerCase(),
]));

// Words are found where they begin: "feasible" is not in "infeasible", "2of4" is in "mnist-2of4".
function holds(text, word) {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    if (!/[a-z0-9]/.test(text[at - 1] ?? " ")) return true;
  }
  return false;
}

function compare(a, b) {
  const [x, y] = [a === undefined || a === null, b === undefined || b === null];
  if (x || y) return x - y;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return write.value(a).localeCompare(write.value(b), "en", { numeric: true });
}

function find() {
  const words = control("points-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const name = control("bound-figure").value;
  const bound = (id) => (control(id).value.trim() === "" ? null : Number(control(id).value));
  const [low, high] = [bound("bound-min"), bound("bound-max")];
  const { get } = columns[table.sorted.column];
  table.found = points.filter((point) => {
    if (!words.every((word) => holds(searched.get(point), word))) return false;
    if (low === null && high === null) return true;
    const value = sweep.figures.includes(name) ? figure(point, name) : parameter(point, name);
    return typeof value === "number" && !(low !== null && value < low) && !(high !== null && value > high);
  }).sort((a, b) => {
    const [x, y] = [get(a), get(b)];
    const empty = x === undefined || y === undefined;
    return (empty || table.sorted.up ? compare(x, y) : compare(y, x)) || a.number - b.number;
  });
  table.shown = ROWS;
  draw();
}

function draw() {
  const rows = table.found.slice(0, table.shown).map((point) => {
    const row = document.createElement("tr");
    if (point === chosen.point) row.className = "chosen";
    columns.forEach(({ get, text }, place) => {
      const cell = row.insertCell();
      if (place) cell.textContent = text(point);
      else {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = String(get(point));
        button.addEventListener("click", () => {
          choose(point.number);
          control("pareto").scrollIntoView({ block: "center" });
        });
        cell.append(button);
      }
    });
    row.cells[1].title = point.why;
    return row;
  });
  table.body.replaceChildren(...rows);
  control("points-found").textContent = `${table.found.length.toLocaleString("en")} of ${points.length.toLocaleString("en")} points, ${rows.length} drawn`;
  control("points-more").hidden = rows.length === table.found.length;
}

table.heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  table.sorted = { column, up: table.sorted.column === column ? !table.sorted.up : true };
  for (const other of table.heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", table.sorted.up ? "ascending" : "descending");
  find();
}));
for (const id of ["points-filter", "bound-figure", "bound-min", "bound-max"]) control(id).addEventListener("input", find);
control("points-more").addEventListener("click", () => {
  table.shown += ROWS;
  draw();
});
chosen.listeners.push(draw);

// Downloads hold what the filters leave; the page has all of it, nothing is fetched.
const record = (point) => ({
  number: point.number,
  state: write.state(point),
  ...Object.fromEntries(sweep.parameters.map((name, i) => [name, point.values[i]])),
  ...Object.fromEntries(sweep.figures.map((name, i) => [name, point.figures?.[i] ?? null])),
  problem: point.why,
});
const quoted = (value) => {
  const text = value === null ? "" : write.value(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const FORMS = {
  csv: ["text/csv", (list) => [Object.keys(list[0] ?? {}), ...list.map(Object.values)].map((row) => row.map(quoted).join(",")).join("\n")],
  json: ["application/json", (list) => JSON.stringify(list, null, 1)],
};
for (const link of document.querySelectorAll("a[data-download]")) {
  link.addEventListener("click", () => {
    const [type, text] = FORMS[link.dataset.download];
    URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([text(table.found.map(record)) + "\n"], { type }));
  });
}
showPoint(null);
find();
