/**
 * Charts over time: lines of levels, stacked bars of counts. SVG of its own, read by eye, pointer, keyboard or as a table.
 * Touches the document only. Series differ by dash or hatching as well as by colour.
 */

import { el, number } from "./view.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH_PX, HEIGHT] = [560, 192];
const EDGE = { left: 46, right: 10, top: 10, bottom: 22 };
/** How a stacked bar is filled: plain, or one of these patterns. */
const HATCHES = ["", "M0 8 8 0", "M0 4H8", "M4 0V8", "M0 0 8 8"];

let serial = 0;

/**
 * @param {string} tag
 * @param {Record<string, string|number>} attributes
 * @param {...Node} children
 * @returns {any} an SVG element
 */
function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * A round number at or above the highest value: 1, 2, 2.5 or 5 times a power of ten. Pure.
 * @param {number} highest
 * @returns {number}
 */
export function roundTop(highest) {
  if (highest <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((top) => top >= highest) ?? highest;
}

const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** @param {string} at RFC 3339 @param {boolean} isLong whether the day matters */
function moment(at, isLong) {
  const time = new Date(at);
  const clock = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return isLong ? `${time.toLocaleDateString([], { month: "short", day: "numeric" })} ${clock}` : clock;
}

/**
 * @typedef {{name: string, values: number[]}} Series
 * @typedef {{times: string[], series: Series[], nothing: string, format?: (value: number) => string}} Drawing
 *   nothing: what is said where there is no series; format: a value as a person reads it
 */

export class Chart {
  /** @type {Drawing|null} */
  #drawing = null;
  /** @type {number|null} the step that is read out; null is the newest */
  #at = null;
  #id = `chart-${++serial}`;
  /** As wide as it is shown: letters are not squeezed. */
  #width = WIDTH_PX;

  /** @param {string} title @param {"lines"|"bars"} kind @param {string} what one sentence about what is shown */
  constructor(title, kind, what) {
    this.kind = kind;
    this.title = title;
    this.what = what;
    this.readout = el("span", { "aria-live": "off" });
    this.keys = el("ul", { class: "keys" });
    this.nothing = el("p", { class: "nothing", hidden: true });
    this.plot = svg("svg", {
      class: "plot",
      viewBox: `0 0 ${WIDTH_PX} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      tabindex: 0,
      "aria-labelledby": `${this.#id}-title ${this.#id}-desc`,
    });
    this.table = el("div", { tabindex: 0, role: "region", "aria-label": `${title}, as a table` });
    this.fallback = el("details", {}, el("summary", { text: "As a table" }), this.table);
    this.spoken = el("p", { class: "hidden", role: "status" });
    this.element = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("h3", { text: title }), this.readout),
      this.keys,
      this.plot,
      this.nothing,
      this.fallback,
      this.spoken,
    );
    this.#listen();
  }

  #listen() {
    this.plot.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#point(event.clientX));
    this.plot.addEventListener("pointerleave", () => this.#choose(null, false));
    this.plot.addEventListener("blur", () => this.#choose(null, false));
    this.plot.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (this.#drawing === null) return;
      const last = this.#drawing.times.length - 1;
      const at = this.#at ?? last;
      /** @type {Record<string, number|null>} */
      const keys = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: null };
      if (!(event.key in keys)) return;
      event.preventDefault();
      const wanted = keys[event.key];
      this.#choose(wanted === null ? null : Math.max(0, Math.min(last, wanted)), true);
    });
    this.fallback.addEventListener("toggle", () => this.#tabulate());
  }

  /** @param {number} clientX */
  #point(clientX) {
    if (this.#drawing === null) return;
    const box = this.plot.getBoundingClientRect();
    const count = this.#drawing.times.length;
    const share = (((clientX - box.left) / box.width) * this.#width - EDGE.left) / (this.#width - EDGE.left - EDGE.right);
    const index = this.kind === "bars" ? Math.floor(share * count) : Math.round(share * (count - 1));
    this.#choose(Math.max(0, Math.min(count - 1, index)), false);
  }

  /** @param {number|null} index @param {boolean} aloud whether a screen reader is told */
  #choose(index, aloud) {
    this.#at = index;
    this.#render();
    if (aloud) this.spoken.textContent = `${this.readout.textContent}: ${this.#values().join(", ")}`;
  }

  /** @param {Drawing} drawing replaces what was shown */
  draw(drawing) {
    this.#drawing = drawing;
    if (this.#at !== null && this.#at >= drawing.times.length) this.#at = null;
    this.#render();
    this.#tabulate();
  }

  /** @param {number} value */
  #text(value) {
    return this.#drawing?.format?.(value) ?? number(value);
  }

  /** @returns {string[]} each series' name and value at the step that is read out */
  #values() {
    const { series, times } = /** @type {Drawing} */ (this.#drawing);
    const at = this.#at ?? times.length - 1;
    return series.map(({ name, values }) => `${name} ${this.#text(values[at])}`);
  }

  #render() {
    if (this.#drawing === null) return;
    const { times, series, nothing } = this.#drawing;
    const isEmpty = series.length === 0;
    for (const part of [this.plot, this.keys, this.fallback]) part.toggleAttribute("hidden", isEmpty);
    this.nothing.hidden = !isEmpty;
    this.nothing.textContent = nothing;
    this.readout.textContent = "";
    if (isEmpty) return;
    this.#width = this.plot.clientWidth || this.#width;
    this.plot.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    const isLong = Date.parse(times[times.length - 1]) - Date.parse(times[0]) > 22 * 3_600_000;
    const isNow = this.#at === null;
    const chosen = this.#at ?? times.length - 1;
    const isTotal = isNow && this.kind === "bars";
    this.readout.textContent = isTotal ? "in the whole window" : isNow ? "now" : moment(times[chosen], isLong);
    const shown = series.map(({ values }) => (isTotal ? values.reduce((a, b) => a + b, 0) : values[chosen]));
    this.keys.replaceChildren(
      ...series.map(({ name }, index) =>
        el("li", {}, this.#sample(index), `${name} `, el("strong", { text: this.#text(shown[index]) })),
      ),
    );
    const children = [
      svg("title", { id: `${this.#id}-title` }),
      svg("desc", { id: `${this.#id}-desc` }),
      ...this.#frame(isLong),
      ...(this.kind === "lines" ? this.#lines() : this.#bars()),
    ];
    children[0].textContent = this.title;
    children[1].textContent = `${this.what} Now: ${this.#values().join(", ")}. Arrow keys read the values of other times.`;
    this.plot.replaceChildren(...children);
  }

  /** @param {number} index of a series @returns {SVGElement} its key in the legend */
  #sample(index) {
    const box = svg("svg", { viewBox: "0 0 24 12", "aria-hidden": "true" });
    if (this.kind === "lines") box.append(svg("path", { d: "M1 6H23", class: "line series", "data-series": index }));
    else box.append(...this.#filled({ x: 5, y: 0, width: 14, height: 12, rx: 2 }, index, box));
    return box;
  }

  /** @param {number} value @param {number} top */
  #y(value, top) {
    return HEIGHT - EDGE.bottom - (Math.max(0, value) / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  }

  /** @returns {number} the value at the upper edge */
  #top() {
    const { times, series } = /** @type {Drawing} */ (this.#drawing);
    if (this.kind === "lines") return roundTop(Math.max(...series.flatMap(({ values }) => values)));
    return roundTop(Math.max(...times.map((_, at) => series.reduce((sum, { values }) => sum + values[at], 0))));
  }

  /** @param {number} at @param {number} count */
  #x(at, count) {
    return EDGE.left + (at / Math.max(1, count - 1)) * (this.#width - EDGE.left - EDGE.right);
  }

  /** @param {boolean} isLong @returns {SVGElement[]} rules, values and times */
  #frame(isLong) {
    const { times } = /** @type {Drawing} */ (this.#drawing);
    const top = this.#top();
    const shapes = [];
    for (const share of [0, 0.5, 1]) {
      const y = this.#y(share * top, top);
      const label = svg("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" });
      const raw = this.#text(share * top);
      label.textContent = raw.length > 6 ? COMPACT.format(Number(raw.replaceAll(",", ""))) : raw;
      shapes.push(svg("line", { class: "grid", x1: EDGE.left, x2: this.#width - EDGE.right, y1: y, y2: y }), label);
    }
    const last = times.length - 1;
    for (const [at, anchor] of /** @type {[number, string][]} */ ([
      [0, "start"],
      [Math.round(last / 2), "middle"],
      [last, "end"],
    ])) {
      const label = svg("text", { x: this.#x(at, times.length), y: HEIGHT - 5, "text-anchor": anchor });
      label.textContent = moment(times[at], isLong);
      shapes.push(label);
    }
    return shapes;
  }

  /** @returns {SVGElement[]} a line for each series, the last one's area, and where the reading is */
  #lines() {
    const { times, series } = /** @type {Drawing} */ (this.#drawing);
    const [top, count] = [this.#top(), times.length];
    const shapes = [];
    for (const [index, { values }] of series.entries()) {
      const points = values.map((value, at) => `${this.#x(at, count).toFixed(1)} ${this.#y(value, top).toFixed(1)}`);
      const d = `M${points.join("L")}`;
      const floor = HEIGHT - EDGE.bottom;
      if (index === 0) {
        const area = `${d}L${this.#width - EDGE.right} ${floor}L${EDGE.left} ${floor}Z`;
        shapes.push(svg("path", { d: area, class: "area series", "data-series": index }));
      }
      shapes.push(svg("path", { d, class: "line series", "data-series": index }));
    }
    if (this.#at === null) return shapes;
    const x = this.#x(this.#at, count);
    shapes.push(svg("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    for (const [index, { values }] of series.entries()) {
      const y = this.#y(values[this.#at], top);
      shapes.push(svg("circle", { class: "dot-mark series", "data-series": index, cx: x, cy: y, r: 3.5 }));
    }
    return shapes;
  }

  /** @returns {SVGElement[]} a stack for each step, and where the reading is */
  #bars() {
    const { times, series } = /** @type {Drawing} */ (this.#drawing);
    const top = this.#top();
    const step = (this.#width - EDGE.left - EDGE.right) / times.length;
    const shapes = [];
    if (this.#at !== null) {
      const x = EDGE.left + (this.#at + 0.5) * step;
      shapes.push(svg("line", { class: "cursor", x1: x, x2: x, y1: EDGE.top, y2: HEIGHT - EDGE.bottom }));
    }
    for (const at of times.keys()) {
      let below = 0;
      for (const [index, { values }] of series.entries()) {
        if (values[at] === 0) continue;
        const [y, floor] = [this.#y(below + values[at], top), this.#y(below, top)];
        const box = { x: EDGE.left + at * step + step * 0.1, y, width: Math.max(1, step * 0.8), height: floor - y };
        shapes.push(...this.#filled(box, index, this.plot));
        below += values[at];
      }
    }
    for (const index of series.keys()) shapes.unshift(...this.#pattern(index, this.#id));
    return shapes;
  }

  /**
   * @param {Record<string, number>} box
   * @param {number} index of the series
   * @param {SVGElement} holder that the pattern is in
   * @returns {SVGElement[]} the box, filled as the series is
   */
  #filled(box, index, holder) {
    const isHatched = HATCHES[index % HATCHES.length] !== "";
    const tone = { ...box, class: isHatched ? "faint series" : "solid series", "data-series": index };
    if (!isHatched) return [svg("rect", tone)];
    const id = holder === this.plot ? this.#id : `${this.#id}-key`;
    const over = svg("rect", { ...box, fill: `url(#${id}-${index})` });
    return [...(holder === this.plot ? [] : this.#pattern(index, id)), svg("rect", tone), over];
  }

  /** @param {number} index @param {string} id @returns {SVGElement[]} how a series is hatched; none for a plain one */
  #pattern(index, id) {
    const d = HATCHES[index % HATCHES.length];
    if (d === "") return [];
    const line = svg("path", { d, class: "hatch series", "data-series": index });
    const size = { width: 8, height: 8, patternUnits: "userSpaceOnUse" };
    return [svg("pattern", { id: `${id}-${index}`, ...size }, line)];
  }

  /** The same numbers for who reads tables; made only while it is open. */
  #tabulate() {
    if (this.#drawing === null || !this.fallback.open) return;
    const { times, series } = this.#drawing;
    const head = ["Time", ...series.map(({ name }) => name)].map((text) => el("th", { scope: "col", text }));
    const rows = times.map((time, at) =>
      el(
        "tr",
        {},
        el("th", { scope: "row", text: moment(time, true) }),
        ...series.map(({ values }) => el("td", { text: this.#text(values[at]) })),
      ),
    );
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows.reverse()));
    const scrolled = this.table.scrollTop;
    this.table.replaceChildren(table);
    this.table.scrollTop = scrolled;
  }
}
