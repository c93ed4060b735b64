/**
 * Which board and which season is shown: the selectors, the board's rules in words, the season's countdown.
 * Touches its elements and the address bar's query; talks to the relay through the client it is given.
 */

import { el, number } from "./view.js";

/**
 * @typedef {import("./fairscore.js").BoardInfo} BoardInfo
 * @typedef {import("./stream.js").Season} Season
 * @typedef {{heading: string, unit: string, isTally: boolean, rule: string}} Value
 */

/**
 * What the number of a row is, by the board's operator. Of a tally it is no single score, and no evidence says it.
 * @type {Record<string, Value>}
 */
const VALUES = {
  best: { heading: "Score", unit: "", isTally: false, rule: "The best score of each player" },
  latest: { heading: "Latest score", unit: "latest", isTally: false, rule: "The latest score of each player" },
  sum: { heading: "Total score", unit: "in total", isTally: true, rule: "All scores of each player, added up" },
  count: { heading: "Plays", unit: "plays", isTally: true, rule: "The number of scores of each player" },
};
/** @type {Record<string, string>} */
const SEASONS = {
  daily: "A new season begins every day (UTC).",
  weekly: "A new season begins every Monday (UTC).",
  monthly: "A new season begins every month (UTC).",
};

/**
 * What the number of a row is called on this board. Pure.
 * @param {BoardInfo|undefined} board undefined while its configuration is not known
 * @returns {Value}
 */
export function valueOf(board) {
  return VALUES[board?.operator ?? "best"] ?? VALUES.best;
}

/**
 * A board's rules as sentences. Pure.
 * @param {BoardInfo} board
 * @returns {string}
 */
export function rulesOf(board) {
  const first = board.order === "asc" ? "the lowest first" : "the highest first";
  const ties = board.ties === "shared" ? "equal ones share a rank" : "of equal ones the earlier";
  const places = board.capacity === null ? "" : ` ${number(board.capacity)} places.`;
  const schedule = SEASONS[board.seasonRule] ?? `A new season begins by the schedule ${board.seasonRule} (UTC).`;
  const season = board.season.endsAt === null ? "" : ` ${schedule}`;
  return `${valueOf(board).rule}, ${first}; ${ties}.${places}${season}`;
}

/**
 * Time left as days and a clock: "3 d 04:05:06". Pure.
 * @param {number} ms
 * @returns {string}
 */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  const days = Math.floor(seconds / 86_400);
  return `${days ? `${number(days)} d ` : ""}${clock.map((part) => String(part).padStart(2, "0")).join(":")}`;
}

/**
 * Make a select offer these choices; it is left alone while nothing changed, so that an open one stays open.
 * @param {HTMLSelectElement} select
 * @param {{value: string, text: string}[]} choices
 * @param {string} chosen
 */
function offer(select, choices, chosen) {
  const known = Array.from(select.options, ({ value, text }) => ({ value, text }));
  if (JSON.stringify(known) !== JSON.stringify(choices))
    select.replaceChildren(...choices.map(({ value, text }) => el("option", { value, text })));
  select.value = chosen;
}

export class Choice {
  /** @type {BoardInfo[]} */
  #boards = [];
  /** @type {Season[]} */
  #seasons = [];
  /** @type {Season|null} the season on the screen */
  #shown = null;
  #asked = 0;

  /**
   * @param {{board: HTMLSelectElement, season: HTMLSelectElement, ends: HTMLElement, rules: HTMLElement}} elements
   *   the selects stand in labels, which are hidden while there is nothing to choose
   * @param {import("./fairscore.js").Fairscore} client
   * @param {{onChoose: () => void, onKnown: () => void}} listeners
   *   onChoose: another board or season is wanted; onKnown: the configuration of the boards was read
   */
  constructor(elements, client, listeners) {
    this.elements = elements;
    this.client = client;
    this.listeners = listeners;
    this.#read();
    elements.board.addEventListener("change", () => this.choose(elements.board.value, null));
    elements.season.addEventListener("change", () => this.choose(this.board, elements.season.value || null));
    addEventListener("popstate", () => {
      this.#read();
      this.#changed();
    });
    setInterval(() => this.#showEnd(), 1000);
  }

  #read() {
    const query = new URLSearchParams(location.search);
    /** Name of the board. */
    this.board = query.get("board") ?? "default";
    /** @type {string|null} Name of a season that is over, null for the current one. */
    this.season = query.get("season");
  }

  /**
   * Show another board or season.
   * @param {string} board
   * @param {string|null} season null for the current one
   */
  choose(board, season) {
    const url = new URL(location.href);
    url.searchParams.set("board", board);
    if (season === null) url.searchParams.delete("season");
    else url.searchParams.set("season", season);
    history.pushState(null, "", url);
    this.#read();
    this.#changed();
  }

  #changed() {
    this.#seasons = [];
    this.#shown = null;
    this.#show();
    this.listeners.onChoose();
  }

  /** @returns {BoardInfo|undefined} the configuration of the chosen board */
  get info() {
    return this.#boards.find(({ board }) => board === this.board);
  }

  /** Read boards and seasons anew: configurations change, seasons end. Without an answer the old ones stay. */
  async refresh() {
    const asked = ++this.#asked;
    const board = this.board;
    const [boards, seasons] = await Promise.all([
      this.client.boards({ budgetMs: 0 }).catch(() => this.#boards),
      this.client.seasons({ board, budgetMs: 0 }).catch(() => this.#seasons),
    ]);
    if (asked !== this.#asked || board !== this.board) return;
    this.#boards = boards;
    this.#seasons = seasons;
    // A link may name the season that is still the current one: that one is followed.
    if (this.season !== null && this.season === seasons[0]?.name) return this.choose(board, null);
    this.#show();
    this.listeners.onKnown();
  }

  /**
   * Say which season is on the screen.
   * @param {Season|null} season
   */
  showing(season) {
    if (season?.name === this.#shown?.name) return;
    this.#shown = season;
    this.#showEnd();
  }

  #show() {
    const { board, season, rules } = this.elements;
    const boards = this.#boards.map((one) => ({ value: one.board, text: one.board }));
    offer(board, boards, this.board);
    const [current, ...past] = this.#seasons;
    const seasons = past.map(({ name }) => ({ value: name, text: name }));
    // The current season has no name as a value: whoever follows it follows the next one, too.
    if (current) seasons.unshift({ value: "", text: `${current.name} (current)` });
    const isOver = past.some(({ name }) => name === this.season);
    offer(season, seasons, isOver ? (this.season ?? "") : "");
    /** @type {HTMLElement} */ (board.parentElement).hidden = boards.length < 2;
    /** @type {HTMLElement} */ (season.parentElement).hidden = !current || (current.endsAt === null && !past.length);
    rules.textContent = this.info ? rulesOf(this.info) : "";
    this.#showEnd();
  }

  #showEnd() {
    const { ends } = this.elements;
    const endsAt = this.#shown?.endsAt ?? null;
    ends.hidden = endsAt === null;
    if (endsAt === null) return;
    const left = Date.parse(endsAt) - Date.now();
    const over = this.season === null ? "Over: the next block begins another season" : `Ended ${endsAt.slice(0, 10)}`;
    ends.textContent = left > 0 ? `Ends in ${countdown(left)}` : over;
    ends.setAttribute("title", new Date(endsAt).toUTCString());
  }
}
