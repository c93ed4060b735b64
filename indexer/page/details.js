/**
 * The dialog of one score: its place on the chain, and its evidence fetched and hashed in front of the visitor.
 * Touches its dialog; talks to the relay through the client it is given.
 */

import { compare } from "./fairscore.js";
import { DISPUTED, LEVELS, checkList, copyable, el, identicon, number, rawJson, short, statusChip, tickList } from "./view.js";

export class Details {
  #opened = new AbortController();

  /**
   * @param {HTMLDialogElement} dialog
   * @param {import("./fairscore.js").Fairscore} client
   */
  constructor(dialog, client) {
    this.dialog = dialog;
    this.client = client;
    dialog.addEventListener("close", () => this.#opened.abort());
    // A click on the backdrop has the dialog itself as its target.
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  /**
   * @param {import("./stream.js").Row} row
   * @param {{heading: string, isTally: boolean}} value what the row's number is; a tally's row names its newest score
   */
  open(row, value) {
    this.#opened.abort();
    this.#opened = new AbortController();
    const scoreId = `${this.client.gameId}:${row.roundId}`;
    const name = `#${row.roundId} of ${this.client.gameId}`;
    const proof = el("section", { class: "proof", "aria-live": "polite" }, el("p", { text: "Fetching the evidence…" }));
    const close = el("button", {
      type: "button",
      class: "icon-button",
      "aria-label": "Close",
      text: "✕",
      on: { click: () => this.dialog.close() },
    });
    this.dialog.replaceChildren(
      el(
        "header",
        {},
        identicon(row.player),
        el(
          "div",
          {},
          el("h2", { id: "details-title", text: number(row.score) }),
          el("p", { text: value.isTally ? `${value.heading}. Its newest score is ${name}` : `${value.heading} ${name}` }),
        ),
        close,
      ),
      this.#facts(row),
      proof,
      el(
        "p",
        { class: "links" },
        el("a", { href: `/api/scores/${encodeURIComponent(scoreId)}`, text: "Score" }),
        row.submissionId ? el("a", { href: `/api/submissions/${row.submissionId}`, text: "Submission" }) : null,
        el("a", { href: `/api/evidence/${row.evidenceHash}`, text: "Evidence" }),
        el("a", { href: `/api/players/${row.player}/scores`, text: "All scores of this player" }),
      ),
    );
    if (!this.dialog.open) this.dialog.showModal();
    const { signal } = this.#opened;
    void this.#prove(proof, row, scoreId, signal).catch((error) => {
      if (signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      const again = { click: () => this.open(row, value) };
      const retry = el("button", { type: "button", class: "quiet", text: "Try again", on: again });
      proof.replaceChildren(el("p", { class: "warning", text: `${reason}.` }), retry);
    });
  }

  /** @param {import("./stream.js").Row} row */
  #facts(row) {
    const level = row.evidenceLevel === null ? undefined : LEVELS[row.evidenceLevel];
    const when = new Date(row.timestamp);
    const facts = {
      Player: copyable(row.player),
      Rank: String(row.rank),
      Status: statusChip(row.status),
      Evidence: level ? `Level ${row.evidenceLevel}, ${level.name}. ${level.meaning}` : "Not read yet",
      Block: `${number(row.position[0])}, log ${number(row.position[1])}`,
      Time: el("time", {
        datetime: row.timestamp,
        text: Number.isNaN(when.getTime()) ? row.timestamp : when.toLocaleString(),
      }),
      Transaction: copyable(row.txHash),
      "Evidence hash": copyable(row.evidenceHash),
    };
    return el(
      "dl",
      { class: "facts" },
      ...Object.entries(facts).map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", {}, value))),
    );
  }

  /**
   * @param {HTMLElement} place
   * @param {import("./stream.js").Row} row
   * @param {string} scoreId
   * @param {AbortSignal} signal
   */
  async #prove(place, row, scoreId, signal) {
    const [score, { ok, computed, bytes, evidence }] = await Promise.all([
      this.client.get(`/api/scores/${encodeURIComponent(scoreId)}`, { signal }),
      this.client.verifyEvidence(row.evidenceHash, { signal }),
    ]);
    const disputed = score.disputed ? el("p", { class: "warning", text: DISPUTED }) : null;
    if (bytes === null) {
      const text = "No evidence is published under this hash. An auditor would flag this score.";
      place.replaceChildren(disputed ?? el("p", { class: "warning", text }));
      return;
    }
    const comparisons = [
      compare(`keccak-256 of its ${number(bytes.length)} bytes is the hash on the chain`, row.evidenceHash, computed),
    ];
    /** @type {HTMLElement[]} */
    const documents = [];
    if (ok) {
      comparisons.push(compare("Player in the evidence", row.player, evidence.player));
      // The score itself, not the row's number: on some boards that is a sum or a count.
      comparisons.push(compare("Score in the evidence", score.score, evidence.score));
      documents.push(...vouchers(evidence));
      const summary = el("summary", { text: `All ${evidence.checks.length} checks of the verdict` });
      documents.push(el("details", {}, summary, checkList(evidence.checks)), rawJson("The evidence", evidence));
    }
    const heading = el("h3", { text: "Checked in this browser" });
    place.replaceChildren(...(disputed ? [disputed] : []), heading, tickList(comparisons), ...documents);
  }
}

/** How a player showed who plays (`proof.method` of the evidence). */
const PROOFS = {
  token: "The player was signed in with the wallet",
  signature: "Signed by the player's wallet",
  session_key: "Signed by a key the player's wallet delegated to",
  contract_wallet: "Signed by the player's contract wallet",
};

/**
 * Who vouches for a score beside the counts: the round it was played in, the game's server, the player's key.
 * @param {any} evidence
 * @returns {HTMLElement[]}
 */
function vouchers({ round, confirmation, proof }) {
  const lines = [];
  if (round) lines.push(el("li", {}, "Played in round ", el("code", { text: round.id })));
  if (confirmation) lines.push(el("li", { text: `The game's server confirmed ${number(confirmation.score)}` }));
  if (proof) {
    const how = PROOFS[/** @type {keyof typeof PROOFS} */ (proof.method)] ?? proof.method;
    lines.push(el("li", {}, `${how}: `, el("code", { text: short(proof.signer) })));
  }
  return lines.length > 0 ? [el("ul", { class: "vouchers" }, ...lines)] : [];
}
