/**
 * The leaderboard table: one element per player, moved to its new place when the standings change.
 * Touches the elements it is given. Knows nothing of the network.
 */

import { DISPUTED, el, identicon, levelBadge, number, short, showLevel, showStatus, statusChip } from "./view.js";

/** @typedef {import("./stream.js").Row} Row */

const MOVE = { duration: 480, easing: "cubic-bezier(.2,.8,.2,1)" };
const GLOW = { duration: 1600, easing: "ease-out" };
const SKELETON_ROWS = 6;

export class Board {
  /** @type {Map<string, {tr: HTMLElement, parts: Record<string, HTMLElement>, row: Row|null}>} */
  #entries = new Map();
  /** @type {Row[]} */
  #rows = [];
  #you = "";
  #isAll = false;
  #isDrawn = false;
  #unit = "";

  /**
   * @param {{table: HTMLElement, heading: HTMLElement, body: HTMLElement, message: HTMLElement,
   *   showAll: HTMLElement}} elements
   * @param {{gameId: string, visible: () => number, onOpen: (row: Row) => void}} options
   *   visible: how many places to show before the visitor asks for all
   */
  constructor(elements, options) {
    this.elements = elements;
    this.options = options;
    this.motion = matchMedia("(prefers-reduced-motion: no-preference)");
    elements.showAll.addEventListener("click", () => {
      this.#isAll = !this.#isAll;
      this.draw(this.#rows);
    });
    this.#skeleton();
  }

  /** @param {string} player whose row is marked */
  set you(player) {
    this.#you = player.toLowerCase();
    for (const [address, { tr }] of this.#entries) tr.toggleAttribute("data-you", address.toLowerCase() === this.#you);
  }

  /** @returns {Row|undefined} the marked player's row, shown or not */
  get yourRow() {
    return this.#rows.find(({ player }) => player.toLowerCase() === this.#you);
  }

  /** @returns {Row[]} the rows on the screen */
  get shown() {
    return this.#isAll ? this.#rows : this.#rows.slice(0, this.options.visible());
  }

  /**
   * Something to say instead of rows.
   * @param {Node|null} message
   */
  say(message) {
    this.elements.message.replaceChildren(...(message ? [message] : []));
  }

  /** Placeholders until the first snapshot. */
  #skeleton() {
    for (let index = 0; index < SKELETON_ROWS; index++) {
      const cells = Array.from({ length: 6 }, () => el("td", { role: "cell" }, el("span", { class: "bone" })));
      this.elements.body.append(el("tr", { role: "row", class: "skeleton", "aria-hidden": "true" }, ...cells));
    }
  }

  /** Forget the rows of one board or season before those of another are there. */
  reset() {
    this.clear();
    this.#rows = [];
    this.#isAll = this.#isDrawn = false;
    this.elements.table.hidden = false;
    this.elements.table.setAttribute("aria-busy", "true");
    this.elements.showAll.hidden = true;
    this.say(null);
    this.#skeleton();
  }

  /**
   * Name the number of each row: in the column's heading, and beside the number where a phone has no headings.
   * @param {{heading: string, unit: string}} value
   */
  label({ heading, unit }) {
    this.elements.heading.textContent = heading;
    this.#unit = unit;
    for (const { parts } of this.#entries.values()) parts.score.dataset.unit = unit;
  }

  /** Take placeholders, rows and headings away, for a board that cannot be loaded. */
  clear() {
    this.elements.body.replaceChildren();
    this.#entries.clear();
    this.elements.table.hidden = true;
    this.elements.table.setAttribute("aria-busy", "false");
  }

  /**
   * Show the standings. Rows glide from where they are to where they belong (FLIP: measure, move, animate the difference),
   * unless the visitor prefers reduced motion or the page is hidden.
   * @param {Row[]} rows
   */
  draw(rows) {
    const { table, body, showAll } = this.elements;
    if (!this.#isDrawn) this.clear();
    this.#rows = rows;
    const shown = this.shown;
    const isMoving = this.#isDrawn && this.motion.matches && !document.hidden;
    const before = isMoving ? this.#tops() : null;
    const present = new Set(shown.map(({ player }) => player));
    for (const [player, { tr }] of this.#entries) {
      if (present.has(player)) continue;
      tr.remove();
      this.#entries.delete(player);
    }
    /** @type {Element|null} */
    let place = body.firstElementChild;
    for (const row of shown) {
      const { tr } = this.#entry(row);
      if (tr === place) place = place.nextElementSibling;
      else body.insertBefore(tr, place);
    }
    if (before) this.#glide(before);
    this.#isDrawn = true;
    table.hidden = rows.length === 0;
    table.setAttribute("aria-rowcount", String(rows.length + 1));
    showAll.hidden = rows.length <= this.options.visible();
    showAll.textContent = this.#isAll ? "Show fewer" : `Show all ${number(rows.length)}`;
  }

  /** @returns {Map<HTMLElement, number>} where every row is now, in the middle of a glide too */
  #tops() {
    const tops = new Map();
    for (const { tr } of this.#entries.values()) tops.set(tr, tr.getBoundingClientRect().top);
    for (const tr of tops.keys())
      for (const animation of tr.getAnimations()) if (animation.id === "glide") animation.cancel();
    return tops;
  }

  /** @param {Map<HTMLElement, number>} before */
  #glide(before) {
    const after = Array.from(
      this.#entries.values(),
      ({ tr }) => /** @type {const} */ ([tr, tr.getBoundingClientRect().top]),
    );
    for (const [tr, top] of after) {
      const was = before.get(tr);
      if (was === undefined) {
        tr.animate(
          [
            { opacity: 0, transform: "translateX(-12px)" },
            { opacity: 1, transform: "none" },
          ],
          MOVE,
        );
      } else if (Math.abs(was - top) > 1) {
        const glide = tr.animate([{ transform: `translateY(${was - top}px)` }, { transform: "none" }], MOVE);
        glide.id = "glide";
        // Who climbs passes over the others, who sink under.
        tr.toggleAttribute("data-climbing", was > top);
        glide.finished.then(
          () => tr.removeAttribute("data-climbing"),
          () => undefined,
        );
      }
    }
  }

  /**
   * The element of a player's row, made or brought up to date. What changes is changed in place: an element that a
   * visitor points at, has focused or scrolls to is never replaced by another.
   * @param {Row} row
   */
  #entry(row) {
    let entry = this.#entries.get(row.player);
    if (!entry) {
      entry = this.#newEntry(row);
      this.#entries.set(row.player, entry);
    }
    const old = entry.row;
    if (old === row) return entry;
    const { tr, parts } = entry;
    entry.row = row;
    tr.dataset.rank = String(row.rank);
    tr.toggleAttribute("data-disputed", row.disputed);
    parts.disputed.hidden = !row.disputed;
    if (old?.rank !== row.rank) parts.rank.textContent = String(row.rank);
    if (old?.score !== row.score) parts.score.textContent = number(row.score);
    if (old?.evidenceLevel !== row.evidenceLevel) showLevel(parts.level, row.evidenceLevel);
    if (old?.status !== row.status) showStatus(parts.status, row.status);
    if (old?.txHash !== row.txHash || old?.roundId !== row.roundId) this.#link(parts.link, row);
    if (this.#isDrawn && old?.roundId !== row.roundId) this.#glow(tr);
    return entry;
  }

  /** @param {Row} row */
  #newEntry(row) {
    const parts = {
      rank: el("td", { role: "cell", class: "c-rank" }),
      score: el("td", { role: "cell", class: "c-score", "data-unit": this.#unit }),
      level: levelBadge(row.evidenceLevel),
      disputed: el("span", { class: "disputed", tabindex: 0, "data-tip": DISPUTED, text: "disputed", hidden: true }),
      link: el("a", {}, el("code")),
      status: statusChip(row.status),
    };
    const name = el("span", { class: "address", title: row.player, text: short(row.player) });
    const you = el("span", { class: "you", text: "you" });
    const tr = el(
      "tr",
      { role: "row", "data-player": row.player },
      parts.rank,
      el("td", { role: "cell", class: "c-player" }, identicon(row.player), name, you),
      parts.score,
      el("td", { role: "cell", class: "c-level" }, parts.level, parts.disputed),
      el("td", { role: "cell", class: "c-tx" }, parts.link),
      el("td", { role: "cell", class: "c-status" }, parts.status),
    );
    tr.toggleAttribute("data-you", row.player.toLowerCase() === this.#you);
    const open = () => this.options.onOpen(this.#entries.get(row.player)?.row ?? row);
    // The link in the row is the way for keyboards; for a pointer the whole row opens the same details.
    tr.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const isLink = event.target instanceof Element && event.target.closest("a") !== null;
      if (isLink && (event.metaKey || event.ctrlKey || event.shiftKey)) return;
      event.preventDefault();
      open();
    });
    return { tr, parts, row: null };
  }

  /**
   * @param {HTMLElement} link
   * @param {Row} row
   */
  #link(link, row) {
    link.setAttribute("href", `/api/scores/${encodeURIComponent(`${this.options.gameId}:${row.roundId}`)}`);
    link.setAttribute("aria-label", `Details of transaction ${short(row.txHash)} by ${short(row.player)}`);
    /** @type {Element} */ (link.firstElementChild).textContent = short(row.txHash);
  }

  /** @param {HTMLElement} tr whose score just changed */
  #glow(tr) {
    if (!document.hidden) tr.animate([{ backgroundColor: "var(--glow)", offset: 0 }], GLOW);
  }
}
