/**
 * The panel that submits a play, plays a round, or tries to cheat.
 * Touches its own elements and localStorage (the player's address); talks to the relay through the client it is given.
 */

import { Account } from "./account.js";
import { Arena } from "./arena.js";
import { isPlayerAddress, toChecksumAddress, toHex } from "./fairscore.js";
import { Outcome } from "./outcome.js";
import { RoundClock } from "./round_clock.js";
import { el, identicon, number } from "./view.js";

/** The honest play of the documentation, 2652 points, and the claim that its authors made of it, 5420. */
const FIELDS = [
  { name: "perfect", label: "Perfect hits", value: 45, max: 400, step: 1 },
  { name: "good", label: "Good hits", value: 12, max: 400, step: 1 },
  { name: "miss", label: "Misses", value: 3, max: 400, step: 1 },
  { name: "combo", label: "Best combo", value: 42, max: 600, step: 1 },
  { name: "gameTime", label: "Time (ms)", value: 30_000, max: 300_000, step: 500 },
];
const CHEAT_CLAIM = 5420;
const STORAGE_KEY = "fairscore.player";
const SUBMIT_BUDGET_MS = 10_000;

/**
 * What `streambeat-counts@1` computes, in exact tenths: combo multiplies by 1.0 to 50.0, a good hit counts half. Pure.
 * @param {{perfect: number, good: number, combo: number}} counts
 * @returns {{multiplier10: number, score10: number, score: number}} score: whole points, a half is dropped
 */
export function streambeatScore({ perfect, good, combo }) {
  const multiplier10 = Math.min(10 + combo, 500);
  const score10 = multiplier10 * (10 * perfect + 5 * good);
  return { multiplier10, score10, score: Math.floor(score10 / 10) };
}

/** @returns {string} names a request, so that its retry counts once */
function newKey() {
  return toHex(crypto.getRandomValues(new Uint8Array(16))).slice(2);
}

/** @returns {string} 20 random bytes as an address: nobody's, so nothing can be lost with it */
function randomPlayer() {
  return toChecksumAddress(toHex(crypto.getRandomValues(new Uint8Array(20))));
}

/** @returns {string} the address of the last visit, or a new one */
function rememberedPlayer() {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    if (stored && isPlayerAddress(stored)) return toChecksumAddress(stored);
  } catch {
    // Storage may be blocked: then the address lasts as long as the page.
  }
  return randomPlayer();
}

/**
 * Whether a refused report ends its round: it was judged, or the round is over. One that was not heard, came too often
 * or with a session that is over can be sent again.
 * @param {any} error
 * @returns {boolean}
 */
function isFinal({ status, code }) {
  return [400, 404, 409, 422].includes(status) && code !== "IDEMPOTENCY_IN_FLIGHT";
}

export class PlayPanel {
  /** @type {AbortController} */
  #running = new AbortController();
  #player = "";
  /** The shortest play and the smallest gap between notes, in ms: the defaults until the relay has said its own. */
  #rules = { gameTimeMsMin: 10_000, noteGapMsMin: 50 };
  /** @type {import("./rounds.js").Round|null} the round being played */
  #round = null;
  /** What the time was before a round's clock set it. */
  #timeBefore = "";

  /**
   * @param {Document} document
   * @param {import("./fairscore.js").Fairscore} client
   * @param {{onPlayer: (player: string) => void, announce: (text: string) => void, tournament: string|null}} options
   *   onPlayer: called with the player's address, now and whenever it changes; announce: says a line to screen readers;
   *   tournament: id of the one to begin with
   */
  constructor(document, client, { onPlayer, announce, tournament }) {
    const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
    this.client = client;
    this.onPlayer = onPlayer;
    this.announce = announce;
    this.form = byId("play-form");
    this.preview = byId("preview");
    this.buttons = { submit: byId("submit"), cheat: byId("cheat") };
    this.playerField = { input: byId("player"), face: byId("player-face"), error: byId("player-error") };
    this.random = byId("new-player");
    this.signing = { field: byId("sign-field"), input: byId("sign") };
    byId("counts").append(...FIELDS.map((field) => this.#field(field)));
    this.outcome = new Outcome(byId("result"), client, announce);
    this.clock = new RoundClock(byId("round"), { onTick: () => this.#tick(), onExpired: () => this.#leaveRound() });
    this.account = new Account(byId("session"), client, { announce, onPlayer: (player) => this.#signedIn(player) });
    this.arena = new Arena(document, client, { wanted: tournament, onChoose: () => this.#showPreview() });
    this.playerField.input.addEventListener("input", () => this.#readPlayer());
    this.random.addEventListener("click", () => this.#setPlayer(randomPlayer()));
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      if (this.arena.isRound && this.#round === null) void this.#start();
      else void this.#send(this.#honest());
    });
    this.buttons.cheat.addEventListener("click", () => void this.#send(this.#cheating()));
    this.#setPlayer(rememberedPlayer());
    this.#showPreview();
    void this.#askRules();
  }

  /** Ask how long a play lasts at least: a round is not reported before. */
  async #askRules() {
    const path = `/api/games/${encodeURIComponent(this.client.gameId)}/ruleset`;
    const rules = await this.client.get(path, { budgetMs: 0 }).catch(() => null);
    Object.assign(this.#rules, rules?.parameters);
    this.#showPreview();
  }

  /** A slider and a number that follow each other. @param {typeof FIELDS[number]} field */
  #field({ name, label, value, max, step }) {
    const input = el("input", {
      id: name,
      type: "number",
      name,
      min: 0,
      max: 1_000_000_000,
      step: 1,
      value,
      inputmode: "numeric",
      required: true,
    });
    const slider = el("input", { type: "range", min: 0, max, step, value, "aria-label": label });
    slider.addEventListener("input", () => {
      input.value = slider.value;
      this.#showPreview();
    });
    input.addEventListener("input", () => {
      slider.value = input.value;
      this.#showPreview();
    });
    return el("div", { class: "field count" }, el("label", { for: name, text: label }), slider, input);
  }

  /** @param {string} address */
  #setPlayer(address) {
    this.playerField.input.value = address;
    this.#readPlayer();
  }

  #readPlayer() {
    const address = this.playerField.input.value.trim();
    const isValid = isPlayerAddress(address);
    this.playerField.input.setAttribute("aria-invalid", String(!isValid));
    this.playerField.error.textContent = isValid
      ? ""
      : "An address is 0x and 40 hex digits; mixed case must be its EIP-55 checksum.";
    this.#player = isValid ? toChecksumAddress(address) : "";
    this.#enable();
    if (!isValid) return;
    this.playerField.face.replaceChildren(identicon(address));
    this.arena.you = this.#player;
    this.onPlayer(this.#player);
    try {
      localStorage.setItem(STORAGE_KEY, this.#player);
    } catch {
      // As above: a blocked storage only costs the memory of the next visit.
    }
  }

  /** @param {string|null} player who signed in; null: nobody is any more */
  #signedIn(player) {
    if (player !== null) this.#setPlayer(player);
    this.signing.field.hidden = player === null;
    this.#lockPlayer();
  }

  /** A round's player and a session's player cannot become another one. */
  #lockPlayer() {
    const isLocked = this.#round !== null || this.account.wallet !== null;
    this.playerField.input.readOnly = isLocked;
    this.random.hidden = isLocked;
    this.arena.lock(this.#round !== null);
  }

  /** @returns {Record<string, number>|null} the counts, or null while one is not a whole number ≥ 0 */
  #counts() {
    if (!this.form.checkValidity()) return null;
    return Object.fromEntries(FIELDS.map(({ name }) => [name, Number(this.form.elements[name].value)]));
  }

  #honest() {
    const counts = /** @type {any} */ (this.#counts());
    return counts && { ...counts, score: streambeatScore(counts).score };
  }

  #cheating() {
    const honest = this.#honest();
    if (!honest) return null;
    // Where the counts really give the famous claim, claim twice as much: the point is that the claim does not matter.
    return { ...honest, score: Math.abs(honest.score - CHEAT_CLAIM) <= 1 ? 2 * honest.score : CHEAT_CLAIM };
  }

  #enable() {
    const isReady = this.#player !== "" && this.#counts() !== null && !this.form.hasAttribute("aria-busy");
    const isTooSoon = this.#round !== null && this.clock.waitMs > 0;
    for (const button of Object.values(this.buttons)) button.disabled = !isReady || isTooSoon;
  }

  #showPreview() {
    const counts = /** @type {any} */ (this.#counts());
    if (!counts) {
      this.#enable();
      this.preview.replaceChildren(el("span", { class: "formula", text: "Every count is a whole number, 0 or more." }));
      return;
    }
    const notes = counts.perfect + counts.good + counts.miss;
    this.clock.shortestMs = Math.max(this.#rules.gameTimeMsMin, (notes - 1) * this.#rules.noteGapMsMin);
    const { multiplier10, score10, score } = streambeatScore(counts);
    const points = (score10 / 10).toLocaleString("en-US");
    const formula = `(${counts.perfect}×10 + ${counts.good}×5) × ${(multiplier10 / 10).toFixed(1)}`;
    const cap = multiplier10 === 500 && counts.combo > 490 ? " (capped)" : "";
    this.preview.replaceChildren(
      el("span", { class: "formula", text: `${formula}${cap} =` }),
      el("strong", { text: points }),
    );
    this.#label(score);
    this.#enable();
  }

  /** @param {number} score */
  #label(score) {
    const { submit, cheat } = this.buttons;
    const isBefore = this.arena.isRound && this.#round === null;
    const verb = this.#round === null ? "Submit" : "Report";
    const waitS = Math.ceil(this.clock.waitMs / 1000);
    const text = this.#round !== null && waitS > 0 ? `Report in ${waitS} s` : `${verb} ${number(score)}`;
    submit.textContent = isBefore ? "Start a round" : text;
    cheat.hidden = isBefore;
    cheat.textContent = `Try to cheat: claim ${number(this.#cheating().score)}`;
  }

  /** The round's clock is the time of its play. */
  #tick() {
    const { gameTime } = this.form.elements;
    gameTime.value = String(this.clock.elapsedMs);
    gameTime.previousElementSibling.value = gameTime.value;
    this.#showPreview();
  }

  async #start(idempotencyKey = newKey()) {
    if (!this.#player) return;
    const signal = this.#begin();
    const { tournamentId } = this.arena;
    try {
      const options = { player: this.#player, tournamentId, idempotencyKey, budgetMs: SUBMIT_BUDGET_MS, signal };
      this.#enterRound(await this.client.startRound(options));
    } catch (error) {
      if (!signal.aborted) this.outcome.failed(error, () => void this.#start(idempotencyKey), "the round");
    } finally {
      if (!signal.aborted) this.#unbusy();
    }
  }

  /** @param {import("./rounds.js").Round} round */
  #enterRound(round) {
    this.#round = round;
    this.outcome.hide();
    this.#playing(true);
    this.clock.start(round);
    this.announce("The round has started.");
  }

  #leaveRound() {
    if (this.#round === null) return;
    this.#round = null;
    this.clock.stop();
    this.#playing(false);
    this.#showPreview();
  }

  /** @param {boolean} isPlaying while a round is played, its clock sets the time */
  #playing(isPlaying) {
    const { gameTime } = this.form.elements;
    if (isPlaying && !gameTime.readOnly) this.#timeBefore = gameTime.value;
    if (!isPlaying) gameTime.value = gameTime.previousElementSibling.value = this.#timeBefore;
    gameTime.readOnly = isPlaying;
    gameTime.previousElementSibling.disabled = isPlaying;
    this.#lockPlayer();
  }

  /** End what runs, and be busy. @returns {AbortSignal} */
  #begin() {
    this.#running.abort();
    this.#running = new AbortController();
    this.form.setAttribute("aria-busy", "true");
    this.#enable();
    return this.#running.signal;
  }

  /** @param {any} play */
  async #send(play, idempotencyKey = newKey(), round = this.#round) {
    if (!play || !this.#player) return;
    const signal = this.#begin();
    const player = this.#player;
    this.outcome.judging(play.score);
    const roundStartedAt = performance.now() - this.clock.elapsedMs;
    try {
      const startedAt = performance.now();
      const signed = await this.#sign(play, round, signal);
      const options = { ...signed, idempotencyKey, budgetMs: SUBMIT_BUDGET_MS, signal };
      const answer = round
        ? await this.client.endRound(round, play, options)
        : await this.client.submit(play, { player, wait: 0, ...options });
      if (round) this.#leaveRound();
      this.#unbusy();
      if (round) await this.outcome.followRound({ ...round, ...answer }, play.score, roundStartedAt, signal);
      else await this.outcome.accepted(answer, startedAt, signal);
      void this.arena.refresh();
    } catch (error) {
      if (signal.aborted) return;
      if (isFinal(error)) this.#leaveRound();
      this.outcome.failed(error, () => void this.#send(play, idempotencyKey, round), number(play.score));
    } finally {
      if (!signal.aborted) this.#unbusy();
    }
  }

  /**
   * @param {any} play
   * @param {import("./rounds.js").Round|null} round
   * @param {AbortSignal} signal
   * @returns {Promise<{signature?: string, deadline?: number}>}
   */
  async #sign(play, round, signal) {
    const by = this.signing.input.checked ? await this.account.signer(signal) : null;
    if (by === null) return {};
    const options = { player: this.#player, roundId: round?._id, signer: by.signer, signal };
    return this.client.sign(by.wallet, play, options);
  }

  #unbusy() {
    this.form.removeAttribute("aria-busy");
    this.#enable();
  }
}
