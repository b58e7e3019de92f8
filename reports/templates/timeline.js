"use strict";
// The timeline: one canvas, a track for each unit, zoom and pan over cycles.

(() => {
  const data = JSON.parse(document.getElementById("timeline-data").textContent);
  const canvas = document.getElementById("timeline");
  const context = canvas.getContext("2d");
  const AXIS = 24, TITLE = 20, LANE = 18, GAP = 8, NARROW = 3;
  const CLOSEST = 20; // cycles shown at least
  const [NODE, PART, START, STOP, LANE_OF] = [0, 1, 2, 3, 4];
  let [from, to] = [0, data.cycles];
  let hovered = null;
  let colours = {};
  let waiting = false;
  let scale = 1; // pixels of a cycle

  let y = AXIS;
  for (const track of data.units) {
    track.top = y + TITLE;
    y = track.top + track.lanes * LANE + GAP;
    // Latest stop of all bars up to each: with it, a search finds the first bar in sight.
    let latest = 0;
    track.latest = track.bars.map((bar) => (latest = Math.max(latest, bar[STOP])));
  }
  const height = y;
  canvas.style.height = `${height}px`;

  const count = (value) => Math.round(value).toLocaleString("en-US");
  const time = (cycles) => {
    const us = (cycles / data.hertz) * 1e6;
    return us >= 1000 ? `${(us / 1000).toPrecision(4)} ms` : `${us.toPrecision(4)} µs`;
  };
  const x = (cycle) => (cycle - from) * scale;
  const cycleAt = (px) => from + (px / canvas.clientWidth) * (to - from);

  function firstInSight(track, cycle) {
    let [low, high] = [0, track.bars.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (track.latest[middle] <= cycle) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const names = ["load", "store", "stationary", "stream", "vector", "ink", "muted", "line", "faint", "on-bar"];
    colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    draw();
  }

  function drawAxis(width) {
    const wanted = (to - from) / Math.max(2, width / 110);
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = Math.max(1, power * [1, 2, 5, 10].find((m) => m * power >= wanted));
    context.textAlign = "center";
    for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
      const at = Math.round(x(tick)) + 0.5;
      context.fillStyle = colours.line;
      context.fillRect(at, AXIS - 4, 1, height);
      context.fillStyle = colours.muted;
      const text = count(tick);
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(Math.max(at, half), width - half), 10);
    }
    context.textAlign = "left";
  }

  function drawBar(track, bar, width) {
    const left = Math.max(-2, x(bar[START]));
    const right = Math.min(width + 2, x(bar[STOP]));
    const top = track.top + bar[LANE_OF] * LANE;
    const wide = right - left;
    const gap = wide > NARROW ? 1 : 0; // neighbours stay apart where there is room
    const same = hovered && hovered.bar[NODE] === bar[NODE];
    const alpha = hovered && !same ? 0.35 : bar[NODE] % 2 ? 0.82 : 1;
    if (context.globalAlpha !== alpha) context.globalAlpha = alpha;
    if (gap) context.clearRect(left, top, gap, LANE - 2);
    context.fillRect(left + gap, top, Math.max(1, wide - gap), LANE - 2);
    if (hovered && hovered.bar === bar) {
      context.globalAlpha = 1;
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      context.strokeRect(left + gap + 1, top + 1, Math.max(1, wide - gap - 2), LANE - 4);
    }
    if (wide > 34) {
      const room = Math.floor((wide - 10) / 6.1);
      const name = data.nodes[bar[NODE]];
      const text = name.length > room ? `…${name.slice(name.length - room + 1).replace(/^\W/, "")}` : name;
      context.globalAlpha = hovered && !same ? 0.5 : 1;
      context.fillStyle = colours["on-bar"];
      if (room > 2) context.fillText(text, left + 5, top + LANE / 2 - 1);
      context.fillStyle = colours[track.unit];
    }
  }

  // Narrow bars are drawn as spans of a few pixels, the paler the less of them is busy.
  function drawTrack(track, width) {
    const spans = []; // of each lane: left, right, pixels that are busy
    const finish = ([left, right, busy], lane) => {
      context.globalAlpha = (hovered ? 0.35 : 0.9) * Math.min(1, 0.15 + busy / (right - left));
      context.fillRect(left, track.top + lane * LANE, Math.max(1, right - left), LANE - 2);
    };
    for (let i = firstInSight(track, from); i < track.bars.length; i++) {
      const bar = track.bars[i];
      if (bar[START] >= to) break;
      if (bar[STOP] <= from) continue;
      const [left, right, lane] = [x(bar[START]), x(bar[STOP]), bar[LANE_OF]];
      const span = spans[lane];
      if (right - left > NARROW || hovered?.bar[NODE] === bar[NODE]) drawBar(track, bar, width);
      else if (span && left < span[1] + 1 && left < span[0] + NARROW) {
        span[2] += right - Math.max(left, span[1]);
        span[1] = Math.max(span[1], right);
      } else {
        if (span) finish(span, lane);
        spans[lane] = [left, right, right - left];
      }
    }
    spans.forEach(finish);
  }

  function paint() {
    waiting = false;
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    scale = width / (to - from);
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    drawAxis(width);
    for (const track of data.units) {
      context.fillStyle = colours.muted;
      const busy = ((100 * track.busy) / data.cycles).toFixed(1);
      context.fillText(`${track.title} · busy ${busy} %`, 0, track.top - TITLE / 2 + 1);
      context.fillStyle = colours.faint;
      context.fillRect(0, track.top, width, track.lanes * LANE - 2);
      context.fillStyle = colours[track.unit];
      drawTrack(track, width);
      context.globalAlpha = 1;
    }
  }

  function draw() {
    if (!waiting) requestAnimationFrame(paint);
    waiting = true;
  }

  function look(first, last) {
    const span = Math.min(data.cycles, Math.max(CLOSEST, last - first));
    from = Math.min(Math.max(0, first), data.cycles - span);
    to = from + span;
    document.getElementById("timeline-range").textContent =
      `cycles ${count(from)} to ${count(to)} (${time(span)})`;
    draw();
  }
  const zoom = (factor, cycle) => look(cycle - (cycle - from) * factor, cycle + (to - cycle) * factor);
  const pan = (px) => {
    const shift = (px / canvas.clientWidth) * (to - from);
    look(from + shift, to + shift);
  };

  function find(px, py) {
    const track = data.units.find((t) => py >= t.top && py < t.top + t.lanes * LANE);
    if (!track) return null;
    const lane = Math.floor((py - track.top) / LANE);
    const [low, high] = [cycleAt(px - 2), cycleAt(px + 2)];
    let found = null;
    for (let i = firstInSight(track, low); i < track.bars.length; i++) {
      const bar = track.bars[i];
      if (bar[START] > high) break;
      const hit = bar[LANE_OF] === lane && bar[STOP] > low;
      if (hit && (!found || cycleAt(px) >= bar[START])) found = { track, bar };
    }
    return found;
  }

  function hover(event) {
    const box = canvas.getBoundingClientRect();
    const found = find(event.clientX - box.left, event.clientY - box.top);
    if (found?.bar !== hovered?.bar) {
      hovered = found;
      draw();
    }
    if (!found) return tip.hide();
    const [node, part, start, stop] = found.bar;
    const lines = [data.nodes[node], found.track.title + (part >= 0 ? `, part ${part}` : "")];
    lines.push(`cycles ${count(start)} to ${count(stop - 1)}`, `${count(stop - start)} cycles, ${time(stop - start)}`);
    tip.show(lines.join("\n"), event.clientX, event.clientY);
  }

  const touches = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, event.clientX);
    canvas.classList.add("dragging");
    hover(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = touches.get(event.pointerId);
    if (before === undefined) return hover(event);
    const [a, b] = [...touches.values()];
    touches.set(event.pointerId, event.clientX);
    if (touches.size === 2) {
      const [c, d] = [...touches.values()];
      const left = canvas.getBoundingClientRect().left;
      zoom(Math.abs(a - b) / Math.max(10, Math.abs(c - d)), cycleAt((c + d) / 2 - left));
    } else pan(before - event.clientX);
    tip.hide();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      touches.delete(event.pointerId);
      canvas.classList.toggle("dragging", touches.size > 0);
    });
  }
  canvas.addEventListener("pointerleave", () => {
    hovered = null;
    tip.hide();
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    // Without a key, the wheel scrolls the page until the timeline has been clicked.
    if (!sideways && !event.ctrlKey && !event.metaKey && document.activeElement !== canvas) return;
    event.preventDefault();
    if (sideways) pan(event.deltaX || event.deltaY);
    else zoom(Math.exp(event.deltaY * 0.002), cycleAt(event.offsetX));
  }, { passive: false });

  const middle = () => (from + to) / 2;
  const actions = {
    "+": () => zoom(0.5, middle()),
    "-": () => zoom(2, middle()),
    0: () => look(0, data.cycles),
    ArrowLeft: () => pan(-canvas.clientWidth / 5),
    ArrowRight: () => pan(canvas.clientWidth / 5),
  };
  canvas.addEventListener("keydown", (event) => {
    const action = actions[event.key === "=" ? "+" : event.key];
    if (!action || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  });
  for (const button of document.querySelectorAll("[data-timeline]")) {
    button.addEventListener("click", actions[button.dataset.timeline]);
  }
  // A layer in the table shows its commands.
  for (const button of document.querySelectorAll("[data-layer]")) {
    button.addEventListener("click", () => {
      const node = data.nodes.indexOf(button.dataset.layer);
      const bars = data.units.flatMap((track) => track.bars.filter((bar) => bar[NODE] === node));
      if (!bars.length) return;
      const first = bars.reduce((least, bar) => Math.min(least, bar[START]), Infinity);
      const last = bars.reduce((most, bar) => Math.max(most, bar[STOP]), 0);
      look(first - (last - first) / 20, last + (last - first) / 20);
      canvas.scrollIntoView({ block: "center", behavior: "smooth" });
      canvas.focus({ preventScroll: true });
    });
  }

  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
  readColours();
  look(0, data.cycles);
})();
