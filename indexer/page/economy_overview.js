/**
 * The overview of an economy: tiles, charts of supply and of operations, and what to do where nothing is yet.
 * Touches the elements it is given. Knows nothing of the network.
 */

import { Chart } from "./economy_charts.js";
import { el, number, short } from "./view.js";

/** Currencies with a chart before the visitor asks for all. */
const CHARTS_FIRST = 4;
/** Stacked series before the rest becomes one. */
const STACK_MAX = 4;

/**
 * Whole units as a person reads them. Pure.
 * @param {number} units
 * @param {number} decimals
 * @returns {string}
 */
export function amount(units, decimals) {
  if (decimals === 0) return number(units);
  const digits = String(Math.abs(units)).padStart(decimals + 1, "0");
  const fraction = digits.slice(-decimals).replace(/0+$/, "");
  return `${units < 0 ? "-" : ""}${number(digits.slice(0, -decimals))}${fraction && `.${fraction}`}`;
}

/**
 * The most frequent series, the rest added up: more than a few kinds cannot be told apart. Pure.
 * @param {{name: string, values: number[]}[]} series most frequent first
 * @returns {{name: string, values: number[]}[]}
 */
export function mostFrequent(series) {
  if (series.length <= STACK_MAX + 1) return series;
  const rest = series.slice(STACK_MAX);
  const values = rest[0].values.map((_, at) => rest.reduce((sum, one) => sum + one.values[at], 0));
  return [...series.slice(0, STACK_MAX), { name: `${rest.length} others`, values }];
}

export class Overview {
  /** @type {Map<string, Chart>} */
  #charts = new Map();
  #isAll = false;
  #operations = new Chart("Operations", "bars", "Operations that took effect, by action.");
  #refusals = new Chart("Refused operations", "bars", "Operations that were refused, by code.");
  /** @type {any} */
  #stats = null;

  /** @param {Record<"tiles"|"charts"|"teaching"|"game"|"all", HTMLElement>} elements */
  constructor(elements) {
    this.elements = elements;
    this.#refusals.element.dataset.kind = "refused";
    elements.all.addEventListener("click", () => {
      this.#isAll = !this.#isAll;
      if (this.#stats) this.draw(this.#stats);
    });
  }

  /** Forget one game before another is shown. */
  reset() {
    this.#stats = null;
    this.#charts.clear();
    for (const part of ["tiles", "charts", "teaching", "game"]) this.elements[/** @type {"tiles"} */ (part)].replaceChildren();
  }

  /** @param {any} stats the answer of GET /api/economy/stats */
  draw(stats) {
    const { teaching, game, charts, all } = this.elements;
    this.#stats = stats;
    if (game.textContent !== said(stats)) game.textContent = said(stats);
    this.#tiles(stats);
    const isNew = stats.supply.length === 0;
    if (isNew !== teaching.hasChildNodes()) teaching.replaceChildren(...(isNew ? [lesson(stats.gameId)] : []));
    const shown = this.#isAll ? stats.supply : stats.supply.slice(0, CHARTS_FIRST);
    const wanted = shown.map((/** @type {any} */ { currencyId }, /** @type {number} */ at) => {
      const chart = this.#chart(currencyId, stats.supply[at].name);
      chart.draw(supplyDrawing(stats, at));
      return chart.element;
    });
    const named = (/** @type {any[]} */ counted, /** @type {string} */ name) =>
      mostFrequent(counted.map((one) => ({ name: one[name], values: one.counts })));
    const { times, operations, refusals } = stats.series;
    this.#operations.draw({ times, series: named(operations, "action"), nothing: "Nothing happened in this window." });
    this.#refusals.draw({ times, series: named(refusals, "code"), nothing: "No operation was refused in this window." });
    if (!isNew) wanted.push(this.#operations.element, this.#refusals.element);
    // Replaced only when other charts are wanted: who has the focus in one keeps it.
    const isSame = wanted.length === charts.children.length && wanted.every((one, at) => one === charts.children[at]);
    if (!isSame) charts.replaceChildren(...wanted);
    all.hidden = stats.supply.length <= CHARTS_FIRST;
    all.textContent = this.#isAll ? "Show fewer currencies" : `Show all ${number(stats.supply.length)} currencies`;
  }

  /** @param {string} currencyId @param {string} name @returns {Chart} */
  #chart(currencyId, name) {
    let chart = this.#charts.get(currencyId);
    if (!chart) {
      chart = new Chart(`Supply of ${name}`, "lines", `In circulation, minted, burned and in escrow of ${name} over time.`);
      chart.element.dataset.currency = currencyId;
      this.#charts.set(currencyId, chart);
    }
    return chart;
  }

  /** @param {any} stats */
  #tiles({ players, transactions, ledger, openFlags, openListings, configVersion, guardEnabled }) {
    const flags = openFlags.warning + openFlags.critical;
    const tone = openFlags.critical > 0 ? "bad" : flags > 0 ? "warn" : "";
    const { checkpoint } = ledger;
    const anchor = checkpoint ? `${checkpoint.state}${checkpoint.txHash ? ` · ${short(checkpoint.txHash)}` : ""}` : "no checkpoint yet";
    const graver = openFlags.critical > 0 ? `${number(openFlags.critical)} critical` : "";
    this.#tile("players", "Players", number(players), "");
    this.#tile("transactions", "Transactions", number(transactions), ledger.head ? `head ${short(ledger.head)}` : "");
    this.#tile("anchored", "Anchored up to", number(ledger.anchored), anchor);
    this.#tile("flags", "Open flags", number(flags), graver, tone);
    this.#tile("listings", "Open listings", number(openListings), "");
    this.#tile("guard", "Guard", guardEnabled ? "on" : "off", `configuration ${number(configVersion)}`, guardEnabled ? "" : "warn");
  }

  /** @param {string} id @param {string} term @param {string} value @param {string} note @param {string} [tone] */
  #tile(id, term, value, note, tone = "") {
    const { tiles } = this.elements;
    let tile = /** @type {HTMLElement|null} */ (tiles.querySelector(`[data-tile="${id}"]`));
    if (!tile) {
      tile = el("div", { "data-tile": id }, el("dt", { text: term }), el("dd"), el("dd", { class: "note" }));
      tiles.append(/** @type {HTMLElement} */ (tile));
    }
    const [, figure, small] = /** @type {HTMLElement} */ (tile).children;
    if (figure.textContent !== value) figure.textContent = value;
    if (small.textContent !== note) small.textContent = note;
    /** @type {HTMLElement} */ (tile).dataset.tone = tone;
  }
}

/** @param {any} stats @returns {string} what game this is, in a line */
function said({ gameId, declared }) {
  const of = (/** @type {number} */ count, /** @type {string} */ one, /** @type {string} */ many) =>
    `${number(count)} ${count === 1 ? one : many}`;
  const { currencies, items, recipes, lootTables } = declared;
  const parts = [
    of(currencies, "currency", "currencies"),
    of(items, "item", "items"),
    of(recipes, "recipe", "recipes"),
    of(lootTables, "loot table", "loot tables"),
  ];
  return `${gameId}: ${parts.join(", ")}`;
}

/** @param {any} stats @param {number} at @returns {import("./economy_charts.js").Drawing} one currency over time */
function supplyDrawing(stats, at) {
  const levels = stats.series.supply[at];
  const { decimals } = stats.supply[at];
  return {
    times: stats.series.times,
    series: [
      { name: "circulating", values: levels.circulating },
      { name: "minted", values: levels.minted },
      { name: "burned", values: levels.burned },
      { name: "in escrow", values: levels.escrowed },
    ],
    nothing: "",
    format: (value) => amount(value, decimals),
  };
}

/** @param {string} gameId @returns {HTMLElement} how an economy begins */
function lesson(gameId) {
  const call = (/** @type {string} */ path, /** @type {object} */ body) =>
    `curl -s -X POST "${location.origin}/api/economy/${path}?gameId=${encodeURIComponent(gameId)}" ` +
    `-H "Authorization: Bearer $KEY" -H "Content-Type: application/json" -d '${JSON.stringify(body)}'`;
  const lines = [
    call("currencies", { currencyId: "gold", name: "Gold", icon: "coin" }),
    call("players", { externalId: "ann" }),
    call("grant", { externalId: "ann", currencyId: "gold", amount: 100 }),
  ];
  const text = lines.join("\n");
  return el(
    "div",
    { class: "teach" },
    el("h2", { text: "No currency yet" }),
    el("p", { text: "Found one, name a player and grant something: paste this with your server key in KEY. It appears here at once." }),
    el("pre", {}, el("code", { text })),
    el("button", {
      type: "button",
      class: "quiet",
      text: "Copy",
      on: {
        click: async (/** @type {Event} */ event) => {
          const button = /** @type {HTMLElement} */ (event.currentTarget);
          await navigator.clipboard.writeText(text).then(
            () => (button.textContent = "Copied"),
            () => (button.textContent = "Select and copy it"),
          );
        },
      },
    }),
  );
}
