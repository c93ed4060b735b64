/**
 * Where a play counts: a single submission, a round of its own, or a round of a tournament; and that one's standings.
 * Touches its own elements; talks to the relay through the client it is given.
 */

import { el, identicon, levelBadge, number, short } from "./view.js";

/** @typedef {import("./rounds.js").Tournament} Tournament */

const STANDINGS_MS = 3_000;
const TOURNAMENTS_MS = 30_000;
const SINGLE = "";
const FREE = "free";
const TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export class Arena {
  /** @type {Map<string, Tournament>} */
  #tournaments = new Map();
  #player = "";
  #asked = new AbortController();

  /**
   * @param {Document} document
   * @param {import("./fairscore.js").Fairscore} client
   * @param {{onChoose: () => void, wanted: string|null}} options wanted: id of the tournament to begin with
   */
  constructor(document, client, { onChoose, wanted }) {
    const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
    this.client = client;
    this.elements = { field: byId("arena-field"), select: byId("arena"), card: byId("cup") };
    this.parts = {
      title: byId("cup-title"),
      state: byId("cup-state"),
      terms: byId("cup-terms"),
      places: byId("cup-places"),
    };
    this.wanted = wanted;
    this.elements.select.addEventListener("change", () => {
      this.#remember();
      this.#show();
      onChoose();
    });
    this.onChoose = onChoose;
    void this.#load();
    this.timer = setInterval(() => !document.hidden && void this.#load(), TOURNAMENTS_MS);
    setInterval(() => !document.hidden && void this.refresh(), STANDINGS_MS);
  }

  /** @returns {boolean} whether a play is a round, with a start and an end */
  get isRound() {
    return this.elements.select.value !== SINGLE;
  }

  /** @returns {string|null} the chosen tournament's id */
  get tournamentId() {
    return this.#chosen?.id ?? null;
  }

  /** @returns {Tournament|null} */
  get #chosen() {
    return this.#tournaments.get(this.elements.select.value) ?? null;
  }

  /** @param {string} player whose place is marked */
  set you(player) {
    this.#player = player.toLowerCase();
    for (const item of this.parts.places.children)
      item.toggleAttribute("data-you", item.dataset.player?.toLowerCase() === this.#player);
  }

  /** Let nobody change the arena while a round of it is played. @param {boolean} isLocked */
  lock(isLocked) {
    this.elements.select.disabled = isLocked;
  }

  async #load() {
    const found = await this.client.tournaments({ budgetMs: 0 }).catch((/** @type {any} */ error) => {
      // A server without tournaments (an indexer alone) is not asked again; one out of reach is.
      if (error.status === 404) clearInterval(this.timer);
      return null;
    });
    if (found === null) return;
    this.#tournaments = new Map(found.map((one) => [one.id, one]));
    const { select, field } = this.elements;
    const before = this.wanted && this.#tournaments.has(this.wanted) ? this.wanted : select.value;
    this.wanted = null;
    const option = (/** @type {string} */ value, /** @type {string} */ text) => el("option", { value, text });
    const named = found.filter(({ id, status }) => status === "open" || id === before);
    const cups = named.map(({ id, name, status }) => option(id, status === "open" ? name : `${name} (${status})`));
    select.replaceChildren(option(SINGLE, "A single submission"), option(FREE, "A round of its own"), ...cups);
    select.value = before;
    if (select.selectedIndex < 0) select.value = SINGLE;
    field.hidden = false;
    this.#show();
    this.onChoose();
  }

  /** Let the address lead back to the chosen tournament. */
  #remember() {
    const url = new URL(location.href);
    if (this.tournamentId === null) url.searchParams.delete("tournament");
    else url.searchParams.set("tournament", this.tournamentId);
    history.replaceState(null, "", url);
  }

  #show() {
    const { card } = this.elements;
    const cup = this.#chosen;
    card.hidden = cup === null;
    if (cup === null) return;
    const { title, terms } = this.parts;
    title.textContent = cup.name;
    const parts = [
      cup.attemptsPerPlayer ? `${number(cup.attemptsPerPlayer)} rounds a player` : "Any number of rounds",
      cup.requireConfirmation ? "a score counts when the game's server confirms it" : "a score counts at once",
      cup.endsAt ? `${cup.status === "ended" ? "ended" : "ends"} ${TIME.format(new Date(cup.endsAt))}` : null,
    ];
    terms.textContent = `${parts.filter((part) => part !== null).join("; ")}.`;
    void this.refresh();
  }

  /** Ask for the standings of the chosen tournament and show them. */
  async refresh() {
    const cup = this.#chosen;
    if (cup === null) return;
    this.#asked.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    const found = await this.client.tournamentStandings(cup.id, { signal, budgetMs: 0 }).catch(() => null);
    if (found === null || signal.aborted || cup.id !== this.tournamentId) return;
    const { state, places } = this.parts;
    state.textContent = found.state;
    state.dataset.state = found.state;
    const rows = found.standings.map((/** @type {any} */ row) => this.#place(row));
    const nobody = el("li", { class: "nobody", text: "Nobody has a score here yet." });
    places.replaceChildren(...(rows.length > 0 ? rows : [nobody]));
  }

  /** @param {any} row */
  #place({ rank, player, playerId, score, evidenceLevel }) {
    const isNamed = playerId && playerId.toLowerCase() !== player.toLowerCase();
    const item = el(
      "li",
      { "data-player": player, "data-rank": rank },
      el("span", { class: "rank", text: number(rank) }),
      el(
        "span",
        { class: "who" },
        identicon(player),
        el("span", { text: isNamed ? playerId : short(player), title: player }),
      ),
      levelBadge(evidenceLevel),
      el("strong", { text: number(score) }),
    );
    item.toggleAttribute("data-you", player.toLowerCase() === this.#player);
    return item;
  }
}
