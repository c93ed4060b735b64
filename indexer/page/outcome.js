/**
 * The card that says what became of a play: accepted with its receipt and way to the chain, waiting, or refused and why.
 * Touches its own element; talks to the relay through the client it is given.
 */

import { FairscoreError, SETTLED } from "./fairscore.js";
import { checkList, copyable, el, levelBadge, number, rawJson, short, showLevel, tickList } from "./view.js";

const CHAIN_STEPS = ["accepted", "sent", "included", "final"];
const ROUND_STEPS = ["started", "reported", "confirmed", "accepted"];
const ROUND_STEPS_ALONE = ["started", "reported", "accepted"];
/** What ended a round, where the relay's code needs more words. */
const ENDINGS = {
  BACKEND_SCORE_MISMATCH: "The game's server confirmed another score than the one reported.",
  CONFIRMATION_REFUSED: "The game's server says that this round was not valid.",
  CONFIRMATION_TIMEOUT: "The game's server did not confirm the score in time.",
  TOURNAMENT_CANCELLED: "The tournament was called off.",
  ROUND_EXPIRED: "The round was not reported in time.",
  TOO_MANY_OPEN_ROUNDS: "The player started more rounds than may be open at once.",
};

export class Outcome {
  /**
   * @param {HTMLElement} card
   * @param {import("./fairscore.js").Fairscore} client
   * @param {(text: string) => void} announce says a line to screen readers
   */
  constructor(card, client, announce) {
    this.card = card;
    this.client = client;
    this.announce = announce;
  }

  hide() {
    this.card.hidden = true;
  }

  /**
   * @param {string} state
   * @param {...(Node|null)} content
   */
  show(state, ...content) {
    this.card.dataset.state = state;
    this.card.hidden = false;
    this.card.replaceChildren(...content.filter((node) => node !== null));
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
    this.card.scrollIntoView({ behavior, block: this.card.offsetHeight < innerHeight ? "nearest" : "start" });
  }

  /** @param {number} score claimed */
  judging(score) {
    this.show("pending", el("h2", { text: `Judging ${number(score)}…` }));
  }

  /**
   * A reported round: what it waits for, then what became of it.
   * @param {import("./rounds.js").Round} round as its end was answered
   * @param {number} score claimed
   * @param {number} startedAt of `performance.now()`: when the round was started
   * @param {AbortSignal} signal
   */
  async followRound(round, score, startedAt, signal) {
    const steps = round.requireConfirmation ? ROUND_STEPS : ROUND_STEPS_ALONE;
    const { list, reach } = way("Way of the round", steps, startedAt);
    reach("started", 0);
    reach("reported");
    const until = el("p", { class: "reason" });
    /** @param {import("./rounds.js").Round} now */
    const tell = (now) => {
      const deadline = now.confirmationDeadline ? new Date(now.confirmationDeadline).toLocaleTimeString("en-GB") : null;
      until.textContent = `Waiting for the game's server to confirm it${deadline ? `, until ${deadline}` : ""}.`;
    };
    tell(round);
    let settled = round;
    if (!SETTLED.has(round.status)) {
      this.show("pending", el("h2", {}, "Reported: ", el("strong", { text: number(score) })), until, list);
      this.announce(`Reported: ${number(score)}. Waiting for confirmation.`);
      settled = await this.client.waitForRound(round, { onStatus: tell, signal });
    }
    if (settled.status !== "accepted" || !settled.submissionId) return this.#invalidated(settled, score);
    const submission = await this.client.get(`/api/submissions/${settled.submissionId}`, { signal });
    reach("accepted");
    await this.accepted(submission, performance.now(), signal, list);
  }

  /**
   * @param {import("./rounds.js").Round} round
   * @param {number} score
   */
  #invalidated({ status, reason, submissionId }, score) {
    const code = reason ?? "ROUND_EXPIRED";
    const title = status === "expired" ? "Expired" : `Invalidated: ${number(score)}`;
    const text = ENDINGS[/** @type {keyof typeof ENDINGS} */ (code)] ?? "The round's score does not count.";
    this.announce(`${title}. ${text}`);
    this.show(
      "refused",
      el("h2", { text: title }),
      el("p", { class: "reason", text }),
      el("p", {}, el("a", { href: `/problems/${code}` }, el("code", { text: code }))),
      submissionId
        ? el("p", { class: "links" }, el("a", { href: `/api/submissions/${submissionId}`, text: "Submission" }))
        : null,
    );
  }

  /**
   * The signed answer, checked, and its way to the chain as it happens.
   * @param {any} answer of the submission, or the submission itself
   * @param {number} startedAt
   * @param {AbortSignal} signal
   * @param {HTMLElement|null} [before] the way it came
   */
  async accepted(answer, startedAt, signal, before = null) {
    const { list, reach } = way("Way to the chain", CHAIN_STEPS, startedAt);
    const ticks = el("div", { class: "verification" }, el("p", { text: "Checking the receipt…" }));
    const verdict = el("div");
    const level = levelBadge(answer.evidenceLevel);
    const links = el(
      "p",
      { class: "links" },
      el("a", { href: answer.links?.self ?? `/api/submissions/${answer.submissionId}`, text: "Submission" }),
      el("a", { href: `/api/evidence/${answer.evidenceHash}`, text: "Evidence" }),
    );
    this.show(
      "accepted",
      el("h2", {}, "Accepted: ", el("strong", { text: number(answer.score) })),
      el("p", { class: "reason", text: "Recomputed and signed by the relay, durable before it answered." }),
      el("p", { class: "evidence" }, "Evidence: ", level),
      before,
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
        showLevel(level, submission.evidenceLevel);
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
   * @param {string} what of a refusal: "2,652", "the round"
   */
  failed(error, retry, what) {
    const failure =
      error instanceof FairscoreError
        ? error
        : new FairscoreError(String(error), { code: "PAGE_DEFECT", cause: error });
    const { code, reason, checks, errors, status, requestId, retryAfterMs } = failure;
    const isJudged = checks.length > 0;
    const isRefused = status !== null && status < 500 && status !== 429;
    const title = isRefused ? `Refused: ${what}` : status === 429 ? "Too many plays" : "No answer";
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
    this.show(
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
 * The steps that a play passes, each stamped with the time it took.
 * @param {string} label
 * @param {string[]} names in order
 * @param {number} startedAt of `performance.now()`
 * @returns {{list: HTMLElement, reach: (status: string, afterMs?: number) => void}}
 */
function way(label, names, startedAt) {
  const steps = names.map((step) => el("li", { "data-step": step }, el("span", { text: step }), el("time")));
  /** @param {string} status @param {number} [afterMs] */
  const reach = (status, afterMs = performance.now() - startedAt) => {
    const last = names.indexOf(status === "queued" ? "accepted" : status);
    for (const item of steps.slice(0, last + 1)) {
      if (item.hasAttribute("data-done")) continue;
      item.toggleAttribute("data-done", true);
      item.lastChild.textContent = `${(afterMs / 1000).toFixed(2)} s`;
    }
  };
  return { list: el("ol", { class: "steps", "aria-label": label }, ...steps), reach };
}
