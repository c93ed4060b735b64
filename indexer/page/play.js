/**
 * The panel that submits a play or tries to cheat, and shows the receipt or the refusal.
 * Touches its own elements and localStorage (the player's address); talks to the relay through the client it is given.
 */

import { FairscoreError, isPlayerAddress, toChecksumAddress, toHex } from "./fairscore.js";
import { checkList, copyable, el, identicon, number, rawJson, short, tickList } from "./view.js";

/** The honest play of the documentation, 2652 points, and the claim that its authors made of it, 5420. */
const FIELDS = [
  { name: "perfect", label: "Perfect hits", value: 45, max: 400, step: 1 },
  { name: "good", label: "Good hits", value: 12, max: 400, step: 1 },
  { name: "miss", label: "Misses", value: 3, max: 400, step: 1 },
  { name: "combo", label: "Best combo", value: 42, max: 600, step: 1 },
  { name: "gameTime", label: "Time (ms)", value: 30_000, max: 300_000, step: 500 },
];
const CHEAT_CLAIM = 5420;
const STEPS = ["accepted", "sent", "included", "final"];
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

export class PlayPanel {
  /** @type {AbortController} */
  #running = new AbortController();
  #player = "";

  /**
   * @param {Document} document
   * @param {import("./fairscore.js").Fairscore} client
   * @param {{onPlayer: (player: string) => void, announce: (text: string) => void}} listeners
   *   onPlayer: called with the player's address, now and whenever it changes; announce: says a line to screen readers
   */
  constructor(document, client, { onPlayer, announce }) {
    const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
    this.client = client;
    this.onPlayer = onPlayer;
    this.announce = announce;
    this.form = byId("play-form");
    this.preview = byId("preview");
    this.result = byId("result");
    this.buttons = { submit: byId("submit"), cheat: byId("cheat") };
    this.playerField = { input: byId("player"), face: byId("player-face"), error: byId("player-error") };
    byId("counts").append(...FIELDS.map((field) => this.#field(field)));
    this.playerField.input.addEventListener("input", () => this.#readPlayer());
    byId("new-player").addEventListener("click", () => this.#setPlayer(randomPlayer()));
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#send(this.#honest());
    });
    this.buttons.cheat.addEventListener("click", () => void this.#send(this.#cheating()));
    this.#setPlayer(rememberedPlayer());
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
    this.onPlayer(this.#player);
    try {
      localStorage.setItem(STORAGE_KEY, this.#player);
    } catch {
      // As above: a blocked storage only costs the memory of the next visit.
    }
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
    for (const button of Object.values(this.buttons)) button.disabled = !isReady;
  }

  #showPreview() {
    const counts = /** @type {any} */ (this.#counts());
    this.#enable();
    if (!counts) {
      this.preview.replaceChildren(el("span", { class: "formula", text: "Every count is a whole number, 0 or more." }));
      return;
    }
    const { multiplier10, score10, score } = streambeatScore(counts);
    const points = (score10 / 10).toLocaleString("en-US");
    const formula = `(${counts.perfect}×10 + ${counts.good}×5) × ${(multiplier10 / 10).toFixed(1)}`;
    const cap = multiplier10 === 500 && counts.combo > 490 ? " (capped)" : "";
    this.preview.replaceChildren(
      el("span", { class: "formula", text: `${formula}${cap} =` }),
      el("strong", { text: points }),
    );
    this.buttons.submit.textContent = `Submit ${number(score)}`;
    this.buttons.cheat.textContent = `Try to cheat: claim ${number(this.#cheating().score)}`;
  }

  /** @param {any} play */
  async #send(play, idempotencyKey = toHex(crypto.getRandomValues(new Uint8Array(16))).slice(2)) {
    if (!play || !this.#player) return;
    this.#running.abort();
    this.#running = new AbortController();
    const { signal } = this.#running;
    const player = this.#player;
    this.form.setAttribute("aria-busy", "true");
    this.#enable();
    this.#show("pending", el("h2", { text: `Judging ${number(play.score)}…` }));
    try {
      const startedAt = performance.now();
      const answer = await this.client.submit(play, {
        player,
        idempotencyKey,
        wait: 0,
        budgetMs: SUBMIT_BUDGET_MS,
        signal,
      });
      this.#unbusy();
      await this.#showAccepted(answer, startedAt, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#showFailure(error, () => void this.#send(play, idempotencyKey), play);
    } finally {
      if (!signal.aborted) this.#unbusy();
    }
  }

  #unbusy() {
    this.form.removeAttribute("aria-busy");
    this.#enable();
  }

  /**
   * @param {string} state
   * @param {...(Node|null)} content
   */
  #show(state, ...content) {
    this.result.dataset.state = state;
    this.result.hidden = false;
    this.result.replaceChildren(...content.filter((node) => node !== null));
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
    this.result.scrollIntoView({ behavior, block: this.result.offsetHeight < innerHeight ? "nearest" : "start" });
  }

  /**
   * The signed answer, checked, and its way to the chain as it happens.
   * @param {any} answer
   * @param {number} startedAt
   * @param {AbortSignal} signal
   */
  async #showAccepted(answer, startedAt, signal) {
    const { list, reach } = wayToTheChain(startedAt);
    const ticks = el("div", { class: "verification" }, el("p", { text: "Checking the receipt…" }));
    const verdict = el("div");
    const links = el(
      "p",
      { class: "links" },
      el("a", { href: answer.links?.self ?? `/api/submissions/${answer.submissionId}`, text: "Submission" }),
      el("a", { href: `/api/evidence/${answer.evidenceHash}`, text: "Evidence" }),
    );
    this.#show(
      "accepted",
      el("h2", {}, "Accepted: ", el("strong", { text: number(answer.score) })),
      el("p", { class: "reason", text: "Recomputed and signed by the relay, durable before it answered." }),
      list,
      ticks,
      verdict,
      links,
      rawJson("The signed receipt", answer.receipt),
    );
    this.announce(`Accepted: ${number(answer.score)}.`);
    reach(answer.status);
    const checking = this.#showVerification(ticks, answer, signal);
    const final = this.client.wait(answer.submissionId, {
      until: "final",
      signal,
      onStatus: (submission) => {
        reach(submission.status);
        if (submission.txHash && !links.dataset.tx) {
          links.dataset.tx = submission.txHash;
          links.after(el("p", { class: "tx" }, "Transaction ", copyable(submission.txHash)));
        }
        if (submission.checks?.length && !verdict.firstChild) verdict.append(passedChecks(submission.checks));
      },
    });
    try {
      await Promise.all([checking, final]);
    } catch (error) {
      if (signal.aborted) return;
      const isEnded = error instanceof FairscoreError && error.code === "SUBMISSION_ENDED";
      const stands = isEnded ? "" : " The acceptance stands: it was durable before it was answered.";
      const reason = error instanceof FairscoreError ? error.reason : String(error);
      links.before(el("p", { class: "warning", text: `${reason}.${stands}` }));
    }
  }

  /**
   * @param {HTMLElement} place
   * @param {any} answer
   * @param {AbortSignal} signal
   */
  async #showVerification(place, answer, signal) {
    const { ok, checks } = await this.client.verifyReceipt(answer.receipt, { answer, signal });
    const summary = ok
      ? `Receipt checked in this browser: ${checks.length} comparisons hold, evidence hash recomputed.`
      : "This receipt does not hold. Keep it: it is proof against the relay.";
    place.replaceChildren(
      el(
        "details",
        { class: "verified", "data-ok": String(ok), open: !ok },
        el("summary", { text: summary }),
        tickList(checks),
      ),
    );
  }

  /**
   * @param {unknown} error
   * @param {() => void} retry
   * @param {any} play
   */
  #showFailure(error, retry, play) {
    const failure =
      error instanceof FairscoreError
        ? error
        : new FairscoreError(String(error), { code: "PAGE_DEFECT", cause: error });
    const { code, reason, checks, errors, status, requestId, retryAfterMs } = failure;
    const isJudged = checks.length > 0;
    const isRefused = status !== null && status < 500 && status !== 429;
    const title = isRefused ? `Refused: ${number(play.score)}` : status === 429 ? "Too many plays" : "No answer";
    const advice = isRefused
      ? null
      : status === 429
        ? `Wait ${Math.ceil((retryAfterMs ?? 1000) / 1000)} s and try again.`
        : "Trying again is safe: it carries the same idempotency key, so the play counts once.";
    const again = isRefused
      ? null
      : el("button", { type: "button", class: "primary", text: "Try again", on: { click: retry } });
    const fields = errors.map((/** @type {any} */ { pointer, detail }) =>
      el("li", { text: `${pointer ?? ""} ${detail ?? ""}`.trim() }),
    );
    this.announce(`${title}. ${reason}`);
    this.#show(
      isRefused ? "refused" : "failed",
      el("h2", { text: title }),
      el("p", { class: "reason", text: reason }),
      el(
        "p",
        {},
        status === null
          ? el("code", { text: code })
          : el("a", { href: `/problems/${code}` }, el("code", { text: code })),
      ),
      advice ? el("p", { text: advice }) : null,
      fields.length ? el("ul", { class: "field-errors" }, ...fields) : null,
      isJudged ? el("h3", { text: `All ${checks.length} checks` }) : null,
      isJudged ? checkList(checks) : null,
      again,
      requestId ? el("p", { class: "request-id" }, "Request ", el("code", { text: short(requestId, 8) })) : null,
    );
  }
}

/**
 * @param {any[]} checks of an accepted submission
 * @returns {HTMLElement}
 */
function passedChecks(checks) {
  const flags = checks.filter(({ result }) => result === "flag").length;
  const text = `${checks.length} checks, ${flags === 0 ? "none failed" : `${flags} flagged for an auditor`}`;
  return el("details", { class: "verified" }, el("summary", { text }), checkList(checks));
}

/**
 * The steps that an accepted play passes, each stamped with the time it took.
 * @param {number} startedAt of `performance.now()`
 * @returns {{list: HTMLElement, reach: (status: string) => void}}
 */
function wayToTheChain(startedAt) {
  const steps = STEPS.map((step) => el("li", { "data-step": step }, el("span", { text: step }), el("time")));
  /** @param {string} status */
  const reach = (status) => {
    const last = STEPS.indexOf(status === "queued" ? "accepted" : status);
    for (const item of steps.slice(0, last + 1)) {
      if (item.hasAttribute("data-done")) continue;
      item.toggleAttribute("data-done", true);
      item.lastChild.textContent = `${((performance.now() - startedAt) / 1000).toFixed(2)} s`;
    }
  };
  return { list: el("ol", { class: "steps", "aria-label": "Way to the chain" }, ...steps), reach };
}
