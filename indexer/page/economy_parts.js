/**
 * What the panels of the economy's page share: heads, tables, filters, lists that stay live, moves in words.
 * Touches the document only. Data becomes text nodes and attributes, never markup: names come from strangers.
 */

import { el, number } from "./view.js";

const TIMES = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
/** How long somebody types before the list is asked for, milliseconds. */
const TYPING_MS = 300;

/**
 * @param {string|null} text RFC 3339
 * @returns {HTMLElement} the moment in the reader's own time zone
 */
export function moment(text) {
  return text === null ? el("span", { text: "–" }) : el("time", { datetime: text, text: TIMES.format(new Date(text)) });
}

/** @param {string} name of an account in the ledger @returns {string} as people call it */
export function account(name) {
  if (name.startsWith("player:")) return name.slice("player:".length);
  return name.startsWith("escrow:") ? `${name.slice("escrow:".length)} (in escrow)` : name;
}

/** @param {any} move of a transaction @returns {string} "50 gold: mint → ann" */
export function moveWords({ amount, currencyId, itemId, from, to }) {
  return `${number(amount)} ${currencyId ?? itemId}: ${account(from)} → ${account(to)}`;
}

/** @param {string} state as economy.css colours it @param {string} [text] @returns {HTMLElement} */
export function state(state, text = state.replaceAll("_", " ")) {
  return el("span", { class: "state", "data-state": state, text });
}

/** @param {string} title @param {string} lede @param {...Node} controls @returns {Node[]} the head of a panel */
export function head(title, lede, ...controls) {
  const header = el("header", {}, el("h2", { text: title }), el("p", { class: "lede", text: lede }));
  return controls.length ? [header, el("div", { class: "controls" }, ...controls)] : [header];
}

/**
 * @param {string} caption for those who do not see it
 * @param {(string|{name: string, class: string})[]} columns
 * @returns {{box: HTMLElement, body: HTMLElement}} the table in a box that scrolls sideways, and where its rows go
 */
export function table(caption, columns) {
  const names = columns.map((column) => (typeof column === "string" ? { name: column, class: null } : column));
  const cells = names.map(({ name, class: kind }) => el("th", { scope: "col", class: kind, text: name }));
  const body = el("tbody");
  const whole = el(
    "table",
    {},
    el("caption", { class: "hidden", text: caption }),
    el("thead", {}, el("tr", {}, ...cells)),
    body,
  );
  return { box: el("div", { class: "scroll" }, whole), body };
}

/** @param {string} label @param {Record<string, string>} options value: text @param {() => void} changed */
export function choice(label, options, changed) {
  const items = Object.entries(options).map(([value, text]) => el("option", { value, text }));
  const select = el("select", { on: { change: changed } }, ...items);
  return { label: el("label", {}, label, select), value: () => select.value };
}

/** @param {string} label @param {Record<string, any>} props of the input @param {() => void} changed */
export function field(label, props, changed) {
  let timer = 0;
  const typed = () => {
    clearTimeout(timer);
    timer = setTimeout(changed, TYPING_MS);
  };
  const input = el("input", { spellcheck: "false", autocomplete: "off", ...props, on: { input: typed } });
  return { label: el("label", {}, label, input), value: () => input.value.trim() };
}

/**
 * A list that is read again and again: its first page stays live, what follows is asked for by a button. A row stays
 * the same element, so that it keeps the focus and what is read does not move.
 */
export class LiveList {
  /** @type {Map<string, any>} rows by id */
  #rows = new Map();
  /** @type {string|null} */
  #cursor = null;
  #asked = 0;

  /**
   * @param {object} how
   * @param {HTMLElement} how.body
   * @param {(cursor: string|null) => Promise<{items: any[], nextCursor: string|null}>} how.read newest first
   * @param {(item: any) => string} how.idOf
   * @param {(item: any) => any} how.row makes a row
   * @param {(row: any, item: any) => void} how.show fills a row, again with each answer
   * @param {string} how.empty what to say where there is nothing
   * @param {boolean} [how.keeps] whether what is no longer on the first page stays: nothing leaves such a list
   */
  constructor(how) {
    this.how = how;
    this.nothing = el("p", { class: "message", text: how.empty, hidden: true });
    this.more = el("button", { type: "button", class: "quiet", text: "More", hidden: true });
    this.more.addEventListener("click", () => void this.#further());
    this.foot = el("div", { class: "panel-foot" }, this.more);
  }

  /** Read the first page again. */
  async refresh() {
    const asked = ++this.#asked;
    const { items, nextCursor } = await this.how.read(null);
    if (asked !== this.#asked) return; // the filters have changed meanwhile
    const isJoined = this.how.keeps && items.some((item) => this.#rows.has(this.how.idOf(item)));
    if (!isJoined) {
      const ids = new Set(items.map(this.how.idOf));
      for (const [id, row] of this.#rows) if (!ids.has(id)) this.#remove(id, row);
      this.#cursor = nextCursor;
    }
    this.#place(items, 0);
    this.#said();
  }

  /** Forget everything, and read what the filters ask for now. */
  async restart() {
    for (const [id, row] of this.#rows) this.#remove(id, row);
    await this.refresh();
  }

  async #further() {
    const asked = this.#asked;
    this.more.disabled = true;
    try {
      const { items, nextCursor } = await this.how.read(this.#cursor);
      if (asked > this.#asked || !this.more.isConnected) return;
      this.#cursor = nextCursor;
      this.#place(items, this.how.body.children.length);
      this.more.textContent = "More";
    } catch (error) {
      this.more.textContent = `${/** @type {any} */ (error).message} Try again`;
    } finally {
      this.more.disabled = false;
      this.#said();
    }
  }

  /** @param {any[]} items @param {number} start where the first of them belongs */
  #place(items, start) {
    const { body, idOf, row, show } = this.how;
    for (const [index, item] of items.entries()) {
      const id = idOf(item);
      const known = this.#rows.get(id) ?? row(item);
      show(known, item);
      const there = body.children[start + index] ?? null;
      if (known !== there) body.insertBefore(known, there);
      this.#rows.set(id, known);
    }
  }

  /** @param {string} id @param {any} row */
  #remove(id, row) {
    row.remove();
    this.#rows.delete(id);
  }

  #said() {
    this.nothing.hidden = this.#rows.size > 0;
    this.more.hidden = this.#cursor === null || this.#rows.size === 0;
  }
}
