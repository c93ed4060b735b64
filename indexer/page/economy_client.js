/**
 * The economy's HTTP interface as the page asks it: one key, one game, reads only.
 * Touches the network through `fetch`. The key travels in a header, never in a URL.
 */

import { FairscoreError, errorOf } from "./errors.js";

const BASE = "/api/economy/";
/** A server that does not answer for this long is as good as absent, milliseconds. */
const PATIENCE_MS = 10_000;

export class EconomyClient {
  #key;

  /**
   * @param {string} key an API key of role server, auditor or admin
   * @param {string} gameId for keys that belong to no game; empty otherwise
   */
  constructor(key, gameId = "") {
    this.#key = key;
    this.gameId = gameId;
    /** The game that answers are about, once one said so: a key of one game needs not name it. */
    this.game = gameId;
  }

  /**
   * Read one answer.
   * @param {string} path below /api/economy/, its parts percent-encoded by the caller
   * @param {Record<string, string|number|null|undefined>} [params] empty ones are left out
   * @returns {Promise<any>} the `data` of the envelope; the answer itself where there is none (audit flags)
   * @throws {FairscoreError} with the server's code and detail; code NETWORK_UNREACHABLE where nothing answered
   */
  async get(path, params = {}) {
    const url = new URL(path.replace(/^\/+/, ""), new URL(BASE, location.origin));
    const asked = this.gameId ? { ...params, gameId: this.gameId } : params;
    for (const [name, value] of Object.entries(asked)) {
      if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
    }
    const headers = { Authorization: `Bearer ${this.#key}`, Accept: "application/json" };
    const unreachable = (/** @type {unknown} */ cause) =>
      new FairscoreError(`No answer from ${location.origin}.`, { code: "NETWORK_UNREACHABLE", cause });
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(url, { headers, signal, cache: "no-store", credentials: "omit" }).catch((cause) => {
      throw unreachable(cause);
    });
    if (!response.ok) throw await errorOf(response);
    const answer = await response.json().catch((cause) => {
      throw unreachable(cause);
    });
    const data = answer.data ?? answer;
    if (typeof data.gameId === "string") this.game = data.gameId;
    return data;
  }
}
