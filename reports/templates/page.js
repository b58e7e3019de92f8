"use strict";
// What every report uses: the tip, switches between views, tables that sort and filter.

const tip = {
  box: document.getElementById("tip"),
  show(text, x, y) {
    this.box.textContent = text;
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    const left = Math.min(x + 14, innerWidth - width - 8);
    const top = y + 18 + height > innerHeight ? y - height - 12 : y + 18;
    this.box.style.left = `${Math.max(8, left)}px`;
    this.box.style.top = `${Math.max(8, top)}px`;
  },
  hide() {
    this.box.hidden = true;
  },
};

document.addEventListener("pointermove", (event) => {
  const place = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
  if (place) tip.show(place.dataset.tip, event.clientX, event.clientY);
  else if (!event.target.closest?.("#timeline, .charted")) tip.hide();
});
document.addEventListener("pointerdown", (event) => {
  const place = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
  if (place) tip.show(place.dataset.tip, event.clientX, event.clientY);
});
document.addEventListener("scroll", () => tip.hide(), { capture: true, passive: true });

// A switch is a group of buttons; each shows the element whose id it names.
for (const group of document.querySelectorAll("[data-switch]")) {
  const buttons = [...group.querySelectorAll("button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) {
        other.setAttribute("aria-pressed", String(other === button));
        document.getElementById(other.dataset.shows).hidden = other !== button;
      }
    });
  }
}

for (const table of document.querySelectorAll("table[data-sort]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null); // empty cells last
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending" || (
        head.getAttribute("aria-sort") === null && !("value" in body.rows[0].cells[column].dataset)
      );
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        return x === null || y === null || up ? compare(x, y) : compare(y, x);
      });
      body.append(...rows);
    });
  });
  const filter = document.querySelector(`input[data-filters="${table.id}"]`);
  const found = document.getElementById(`${table.id}-found`);
  filter?.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    found.textContent = words.length ? `${shown} of ${body.rows.length}` : "";
  });
}
