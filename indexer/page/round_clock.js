/**
 * The round being played: its clock, how long it lasts at least, and when it expires.
 * Touches its own element and the browser's clock.
 */

import { el, short } from "./view.js";

const TICK_MS = 100;

export class RoundClock {
  #startedAt = 0;
  #expiresInMs = Infinity;
  #timer = 0;
  /** How long a play lasts at least. */
  shortestMs = 0;

  /**
   * @param {HTMLElement} place
   * @param {{onTick: () => void, onExpired: () => void}} listeners
   */
  constructor(place, { onTick, onExpired }) {
    this.place = place;
    this.onTick = onTick;
    this.onExpired = onExpired;
    this.time = el("strong", { role: "timer" });
  }

  /** @returns {number} whole milliseconds since the round came; the relay's clock started a little before */
  get elapsedMs() {
    return this.#timer === 0 ? 0 : Math.floor(performance.now() - this.#startedAt);
  }

  /** @returns {number} milliseconds until it can be reported */
  get waitMs() {
    return this.#timer === 0 ? 0 : Math.max(0, this.shortestMs - this.elapsedMs);
  }

  /** @param {import("./rounds.js").Round} round just started */
  start(round) {
    this.stop();
    this.#startedAt = performance.now();
    // By the relay's own clock: this device's may be wrong.
    const issuedAt = Date.parse(round.createdAt);
    this.#expiresInMs = round.expiresAt ? Date.parse(round.expiresAt) - issuedAt : Infinity;
    this.place.hidden = false;
    this.place.replaceChildren(
      el("p", {}, el("span", { class: "playing", text: "Round running" }), this.time),
      el(
        "p",
        { class: "round-facts" },
        el("span", { text: `Round ${short(round._id, 6)}` }),
        round.seed ? el("span", { text: `seed ${short(round.seed)}`, "data-tip": SEED_TIP, tabindex: 0 }) : null,
        round.encryptionKey ? el("span", { text: "encrypted", "data-tip": SEALED_TIP, tabindex: 0 }) : null,
      ),
    );
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.place.hidden = true;
  }

  #tick() {
    if (this.elapsedMs >= this.#expiresInMs) return this.onExpired();
    const seconds = this.elapsedMs / 1000;
    const text = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
    if (this.time.textContent !== text) this.time.textContent = text;
    this.onTick();
  }
}

const SEED_TIP = "Drawn by the relay before the play, from a secret whose hash is published: nobody could choose it.";
const SEALED_TIP = "The report is encrypted in this browser, under a key of this round alone.";
