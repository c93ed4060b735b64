/**
 * Fairscore's browser client: play rounds or submit a play, sign in, wait for the chain, follow a leaderboard, check a
 * receipt. Touches the network only through `fetch`; keeps nothing on disk. An ES module without dependencies:
 *
 *   import { Fairscore } from "https://your-relay/fairscore.js";
 *   const fairscore = new Fairscore({ gameId: "streambeat" });
 *   const answer = await fairscore.submit({ score: 2652, perfect: 45, … }, { player: "0x…" });
 *   await fairscore.wait(answer.submissionId, { until: "final" });
 *
 *   const { player } = await fairscore.signIn(window.ethereum);
 *   const round = await fairscore.startRound({ player, tournamentId: "…" });
 *   await fairscore.endRound(round, { score: 2652, … });       // encrypted, where the round came with a key
 *   await fairscore.waitForRound(round);                       // confirmed by the game's server, accepted or not
 */

import { FairscoreError, errorOf, isRetryable } from "./errors.js";
import { delegate, endSession, readSession, signIn, signSubmission } from "./identity.js";
import { toHex } from "./keccak.js";
import { verifyEvidence, verifyReceipt } from "./receipt.js";
import { endRound, roundPath, startRound, waitForRound } from "./rounds.js";
import { Subscription, backoffMs, sleep } from "./stream.js";

export { FairscoreError, isRetryable, parseRetryAfter } from "./errors.js";
export { fromHex, hashText, isPlayerAddress, keccak256, toChecksumAddress, toHex } from "./keccak.js";
export { LocalKey } from "./local_key.js";
export { compare, unpackRecord } from "./receipt.js";
export { SETTLED, roundPath } from "./rounds.js";
export { canSeal, seal } from "./sealing.js";
export { accountOf, findWallets, signInMessage, submitScoreDocument } from "./wallet.js";
export { backoffMs, compareRows, continuity, eventStreamParser, foldStandings, isDepleted, sleep } from "./stream.js";

/**
 * @typedef {{score: number, perfect: number, good: number, miss: number, combo: number, gameTime: number}} ScoreData
 * @typedef {{code: string, result: "pass"|"flag"|"fail"|"insufficient_data", [number: string]: unknown}} Check
 * @typedef {{name: string, ok: boolean, expected: string, actual: string}} Comparison
 * @typedef {import("./stream.js").Row} Row
 * @typedef {import("./stream.js").Season} Season
 * @typedef {{board: string, operator: "best"|"latest"|"sum"|"count", order: "desc"|"asc", ties: "earliest"|"shared",
 *   seasonRule: string, capacity: number|null, season: Season, players: number,
 *   links: Record<string, string>}} BoardInfo
 * @typedef {{gameId: string, board: string, season: Season, total: number, rows: Row[], nextCursor: string|null,
 *   blockNumber: number}} BoardPage
 * @typedef {Row & {gameId: string, board: string, season: Season, total: number, percentile: number,
 *   links: Record<string, string>}} PlayerRow
 * @typedef {{ok: boolean, hash: string, computed: string|null, bytes: Uint8Array|null, evidence: any}} EvidenceCheck
 */

/** What an accepted submission passes through, in order. */
export const STATUSES = ["accepted", "queued", "sent", "included", "final"];
/** Statuses after which nothing more happens. */
const ENDED = new Set(["rejected", "revoked"]);

const REQUEST_TIMEOUT_MS = 15_000;
const RETRY_BUDGET_MS = 30_000;
const POLL_MS_MIN = 250;
const POLL_MS_MAX = 2_000;

/**
 * A fresh Idempotency-Key: 128 random bits. (`crypto.randomUUID` is missing on pages not served over HTTPS.)
 * @returns {string}
 */
function newIdempotencyKey() {
  return toHex(crypto.getRandomValues(new Uint8Array(16))).slice(2);
}

export class Fairscore {
  /** @type {import("./wallet.js").Domain|null} */
  #domain = null;

  /**
   * @param {{baseUrl?: string|URL, gameId?: string, apiKey?: string, fetch?: typeof globalThis.fetch}} [options]
   *   baseUrl defaults to the server this module came from; apiKey must be a publishable one, a page keeps no secret.
   */
  constructor({
    baseUrl = new URL(".", import.meta.url),
    gameId = "streambeat",
    apiKey,
    fetch = globalThis.fetch,
  } = {}) {
    this.baseUrl = new URL(baseUrl);
    this.gameId = gameId;
    this.apiKey = apiKey;
    /**
     * Who signed in, until it expires or `signOut`; its token goes with what changes something, never with reads.
     * @type {import("./identity.js").Session|null}
     */
    this.session = null;
    // Called as a bare function: browsers refuse `fetch` with another `this`.
    this.fetch = (/** @type {any} */ input, /** @type {any} */ init) => fetch(input, init);
  }

  /**
   * @param {string} path
   * @returns {string} absolute
   */
  url(path) {
    return new URL(path, this.baseUrl).href;
  }

  /**
   * Send a request until it is answered for good, giving up after `budgetMs` of waiting.
   * @param {string} path
   * @param {{method?: string, headers?: Record<string, string>, body?: string, signal?: AbortSignal,
   *   timeoutMs?: number, budgetMs?: number}} [options]
   * @returns {Promise<{response: Response, bytes: Uint8Array}>}
   * @throws {FairscoreError}
   */
  async request(
    path,
    { method = "GET", headers = {}, body, signal, timeoutMs = REQUEST_TIMEOUT_MS, budgetMs = RETRY_BUDGET_MS } = {},
  ) {
    const giveUpAt = Date.now() + budgetMs;
    const key = (method === "GET" ? null : this.#token()) ?? this.apiKey;
    /** @type {Record<string, string>} */
    const auth = key ? { Authorization: `Bearer ${key}` } : {};
    for (let attempt = 0; ; attempt++) {
      const failure = await this.#attempt(path, { method, body, headers: { ...auth, ...headers } }, timeoutMs, signal);
      if (!(failure instanceof FairscoreError)) return failure;
      const delay = backoffMs(attempt, Math.random(), failure.retryAfterMs);
      if (!isRetryable(failure) || Date.now() + delay > giveUpAt) throw failure;
      await sleep(delay, signal);
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   * @param {number} timeoutMs
   * @param {AbortSignal} [signal]
   * @returns {Promise<{response: Response, bytes: Uint8Array}|FairscoreError>}
   */
  async #attempt(path, init, timeoutMs, signal) {
    signal?.throwIfAborted();
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const response = await this.fetch(this.url(path), {
        ...init,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      if (!response.ok) return await errorOf(response);
      return { response, bytes: new Uint8Array(await response.arrayBuffer()) };
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      return new FairscoreError(`The relay at ${this.baseUrl.origin} cannot be reached`, {
        code: "NETWORK_UNREACHABLE",
        cause,
      });
    }
  }

  /**
   * GET a JSON document of the API.
   * @param {string} path
   * @param {{signal?: AbortSignal, budgetMs?: number}} [options]
   * @returns {Promise<any>}
   */
  async get(path, options = {}) {
    const { bytes } = await this.request(path, options);
    return JSON.parse(new TextDecoder().decode(bytes));
  }

  /** @returns {string|null} the session's token while it is valid; a token that is over would be refused */
  #token() {
    if (this.session && Date.parse(this.session.expiresAt) <= Date.now()) this.session = null;
    return this.session?.token ?? null;
  }

  /**
   * POST a JSON document; a retry after a lost answer carries the same idempotency key, so that it counts once.
   * @param {string} path
   * @param {unknown} document
   * @param {{idempotencyKey?: string, signal?: AbortSignal, budgetMs?: number, timeoutMs?: number}} [options]
   * @returns {Promise<any>}
   * @throws {FairscoreError}
   */
  async post(path, document, { idempotencyKey = newIdempotencyKey(), ...options } = {}) {
    const { bytes } = await this.request(path, {
      ...options,
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
      body: JSON.stringify(document),
    });
    return JSON.parse(new TextDecoder().decode(bytes));
  }

  /**
   * Submit one play. A retry after a lost answer carries the same idempotency key, so the play counts once.
   * @param {ScoreData & Record<string, unknown>} scoreData
   * @param {{player: string, idempotencyKey?: string, wait?: number|null, roundId?: string, signature?: string,
   *   deadline?: number, budgetMs?: number, signal?: AbortSignal}} options
   *   wait: seconds (0–30) the relay may hold its answer until the score is in a block; 0 answers as soon as the
   *   acceptance is durable; null leaves it to the relay. budgetMs: how long to keep retrying.
   * @returns {Promise<any>} the relay's answer (api.md, "Scores"), plus `idempotencyKey` and `replayed`
   * @throws {FairscoreError} refused (`code`, `reason`, `checks`), or unreachable until the budget was spent
   */
  async submit(
    scoreData,
    { player, idempotencyKey = newIdempotencyKey(), wait = null, roundId, signature, deadline, budgetMs, signal },
  ) {
    /** @type {Record<string, string>} */
    const headers = { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey };
    if (wait !== null) headers.Prefer = wait > 0 ? `wait=${Math.min(30, Math.ceil(wait))}` : "respond-async";
    const body = JSON.stringify({
      playerAddress: player,
      gameId: this.gameId,
      scoreData,
      roundId,
      signature,
      deadline,
    });
    const timeoutMs = REQUEST_TIMEOUT_MS + 1000 * (wait ?? 0);
    const { response, bytes } = await this.request("/api/submit-score", {
      method: "POST",
      headers,
      body,
      timeoutMs,
      budgetMs,
      signal,
    });
    const answer = JSON.parse(new TextDecoder().decode(bytes));
    return { ...answer, idempotencyKey, replayed: response.headers.get("Idempotent-Replayed") === "true" };
  }

  /**
   * Wait until an accepted submission is in a block (`included`) or can no longer be undone (`final`).
   * @param {string} submissionId
   * @param {{until?: "included"|"final", timeoutMs?: number, onStatus?: (submission: any) => void, signal?: AbortSignal}} [options]
   *   onStatus: called with the submission each time its status differs from the last
   * @returns {Promise<any>} the submission
   * @throws {FairscoreError} SUBMISSION_ENDED when it was rejected or revoked, WAIT_TIMEOUT when the time is over
   */
  async wait(submissionId, { until = "included", timeoutMs = 120_000, onStatus, signal } = {}) {
    const giveUpAt = Date.now() + timeoutMs;
    const goal = STATUSES.indexOf(until);
    let last = null;
    for (let delay = POLL_MS_MIN; ; delay = Math.min(POLL_MS_MAX, delay * 1.3)) {
      const budgetMs = Math.max(0, giveUpAt - Date.now());
      const submission = await this.get(`/api/submissions/${encodeURIComponent(submissionId)}`, { signal, budgetMs });
      if (submission.status !== last) onStatus?.(submission);
      last = submission.status;
      if (STATUSES.indexOf(last) >= goal) return submission;
      if (ENDED.has(last))
        throw new FairscoreError(`The submission was ${last}`, { code: "SUBMISSION_ENDED", submission });
      if (Date.now() + delay > giveUpAt) {
        throw new FairscoreError(`Still ${last} after ${timeoutMs} ms`, { code: "WAIT_TIMEOUT", submission });
      }
      await sleep(delay, signal);
    }
  }

  /**
   * Sign in with Ethereum (ERC-4361): the wallet signs a text that names this page, this chain and a fresh nonce. What
   * this client changes from then on is done as that player, until the session is over.
   * @param {import("./wallet.js").Wallet} wallet an EIP-1193 provider: `window.ethereum`, or one of `findWallets()`
   * @param {{address?: string, statement?: string, signal?: AbortSignal}} [options] address: which of its accounts
   * @returns {Promise<import("./identity.js").Session>}
   * @throws {FairscoreError} refused by the relay; the wallet's own error where its owner declined
   */
  async signIn(wallet, options = {}) {
    this.session = await signIn(this, wallet, options);
    return this.session;
  }

  /** End the session, here and at the relay. @param {{signal?: AbortSignal}} [options] */
  async signOut(options = {}) {
    if (this.#token() !== null) await endSession(this, options);
    this.session = null;
  }

  /**
   * The session as the relay knows it.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<any|null>} null where it is over or there is none
   */
  async currentSession(options = {}) {
    const token = this.#token();
    return token === null ? null : readSession(this, token, options);
  }

  /**
   * The EIP-712 domain of this relay's contract; asked for once.
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<import("./wallet.js").Domain>}
   */
  async signingDomain(options = {}) {
    this.#domain ??= (await this.get("/api/signing", options)).domain;
    return /** @type {any} */ (this.#domain);
  }

  /**
   * Let the player sign one score (EIP-712 `SubmitScore`); the answer is what `submit` and `endRound` take.
   * @param {import("./wallet.js").Wallet} wallet
   * @param {Record<string, unknown>} scoreData exactly as it is submitted
   * @param {{player: string, roundId?: string|null, signer?: string, validS?: number, signal?: AbortSignal}} options
   *   signer: the account that signs, where it is a session key of the player; validS: how long it may be submitted
   * @returns {Promise<{signature: string, deadline: number}>}
   */
  sign(wallet, scoreData, options) {
    return signSubmission(this, wallet, scoreData, options);
  }

  /**
   * Let another key sign scores for the player, so that the wallet need not ask its owner for each: a key that the game
   * made in this browser with a library of its choice. The wallet signs that once (EIP-712 `SessionKey`).
   * @param {import("./wallet.js").Wallet} wallet
   * @param {{player: string, address: string, validS?: number, signal?: AbortSignal}} options
   *   address: of the other key; validS: seconds, at most 24 hours
   * @returns {Promise<{keyId: string, player: string, address: string, scope: string, expiresAt: string}>}
   */
  delegate(wallet, options) {
    return delegate(this, wallet, options);
  }

  /**
   * Start a round: the relay's clock and seed from here on, one report.
   * @param {{player?: string, playerId?: string, tournamentId?: string|null, chartId?: string,
   *   idempotencyKey?: string, signal?: AbortSignal, budgetMs?: number}} options one of player (an address) and playerId; no tournament: a free round of the game
   * @returns {Promise<import("./rounds.js").Round>} keep it until the end: the encryption key is told only here
   */
  startRound(options) {
    return startRound(this, options);
  }

  /**
   * Report a round's result, encrypted where the round came with a key and the browser can.
   * @param {import("./rounds.js").Round} round as `startRound` answered it
   * @param {Record<string, unknown>} scoreData
   * @param {{signature?: string, deadline?: number, encrypt?: boolean, idempotencyKey?: string, signal?: AbortSignal,
   *   budgetMs?: number}} [options]
   * @returns {Promise<any>} the round as it is now, with what became of its submission
   * @throws {FairscoreError} refused (`code`, `reason`, `checks`)
   */
  endRound(round, scoreData, options = {}) {
    return endRound(this, round, scoreData, options);
  }

  /**
   * A round as it is now.
   * @param {import("./rounds.js").Round} round
   * @param {{signal?: AbortSignal, budgetMs?: number}} [options]
   * @returns {Promise<import("./rounds.js").Round>}
   */
  round(round, options = {}) {
    return this.get(roundPath(round), options);
  }

  /**
   * Wait until a round is accepted, invalidated or expired.
   * @param {import("./rounds.js").Round} round
   * @param {{timeoutMs?: number, onStatus?: (round: import("./rounds.js").Round) => void, signal?: AbortSignal}} [options]
   * @returns {Promise<import("./rounds.js").Round>}
   * @throws {FairscoreError} WAIT_TIMEOUT when the time is over
   */
  waitForRound(round, options = {}) {
    return waitForRound(this, round, options);
  }

  /**
   * The tournaments of this game, newest first.
   * @param {{signal?: AbortSignal, budgetMs?: number}} [options]
   * @returns {Promise<import("./rounds.js").Tournament[]>}
   */
  async tournaments(options = {}) {
    return (await this.get(`/api/tournaments?gameId=${encodeURIComponent(this.gameId)}`, options)).tournaments;
  }

  /**
   * A tournament's standings: provisional while rounds are open, then final.
   * @param {string} tournamentId
   * @param {{signal?: AbortSignal, budgetMs?: number}} [options]
   * @returns {Promise<any>}
   */
  tournamentStandings(tournamentId, options = {}) {
    return this.get(`/api/tournaments/${encodeURIComponent(tournamentId)}/standings`, options);
  }

  /**
   * The path of a board of this game, or of something below it.
   * @param {string} board
   * @param {string} [rest] with its leading slash
   * @param {Record<string, string|number|null|undefined>} [query] null and undefined are left out
   * @returns {string}
   */
  boardPath(board, rest = "", query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    const path = `/api/leaderboards/${encodeURIComponent(this.gameId)}/${encodeURIComponent(board)}${rest}`;
    return search ? `${path}?${search}` : path;
  }

  /**
   * The boards of this game: what each makes of a player's scores, how it ranks, and its current season.
   * @param {{signal?: AbortSignal, budgetMs?: number}} [options]
   * @returns {Promise<BoardInfo[]>} `default` is always among them
   */
  async boards(options = {}) {
    return (await this.get(`/api/leaderboards/${encodeURIComponent(this.gameId)}`, options)).boards;
  }

  /**
   * The seasons of a board: the current one and those that are over in which somebody stands.
   * @param {{board?: string, signal?: AbortSignal, budgetMs?: number}} [options]
   * @returns {Promise<Season[]>} newest first; `endsAt` is null where a board knows no seasons
   */
  async seasons({ board = "default", ...options } = {}) {
    return (await this.get(this.boardPath(board, "/seasons"), options)).seasons;
  }

  /**
   * A page of a board, best first, without following it; the way to read a season that is over.
   * @param {{board?: string, season?: string|null, limit?: number, cursor?: string|null, signal?: AbortSignal,
   *   budgetMs?: number}} [options]
   *   season: its name, null for the current one; limit: 1–200; cursor: `nextCursor` of the page before
   * @returns {Promise<BoardPage>}
   */
  async standings({ board = "default", season = null, limit = 100, cursor = null, ...options } = {}) {
    return this.get(this.boardPath(board, "", { season, limit, cursor }), options);
  }

  /**
   * A player's row on a board.
   * @param {string} player
   * @param {{board?: string, season?: string|null, signal?: AbortSignal, budgetMs?: number}} [options]
   * @returns {Promise<PlayerRow|null>} null when the player has no score there
   */
  async player(player, { board = "default", season = null, ...options } = {}) {
    try {
      return await this.get(this.boardPath(board, `/players/${encodeURIComponent(player)}`, { season }), options);
    } catch (error) {
      if (error instanceof FairscoreError && error.code === "PLAYER_NOT_RANKED") return null;
      throw error;
    }
  }

  /**
   * Follow a board's current season: a snapshot, then every change; resumes without gap or repeat after a disconnect.
   * @param {{board?: string, silenceMsMax?: number,
   *   onSnapshot?: (standings: import("./stream.js").Standings) => void, onEvent?: (event: any) => void,
   *   onStandings?: (standings: import("./stream.js").Standings) => void,
   *   onStatus?: (status: import("./stream.js").StreamStatus) => void}} [options]
   *   onStandings: the sorted, ranked top of the board after each burst of events (snapshots included)
   * @returns {Subscription}
   */
  subscribe({ board = "default", ...listeners } = {}) {
    return new Subscription(this.url(this.boardPath(board, "/stream")), this.fetch, errorOf, listeners);
  }

  /**
   * Fetch published evidence by its hash and hash its bytes again.
   * @param {string} hash keccak-256, hex
   * @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<EvidenceCheck>} `ok` false and `bytes` null when none is published under that hash
   * @throws {FairscoreError} when the relay cannot be reached
   */
  verifyEvidence(hash, options = {}) {
    return verifyEvidence(this, hash, options);
  }

  /**
   * Check that a receipt promises what the relay answered: the packed record that was signed holds this player, score,
   * round and evidence hash, and the published evidence has that hash and says the same.
   *
   * Not checked here: the signature itself. Any EIP-712 tool recovers its signer from `receipt.typedData` and
   * `receipt.signature`; it is to be `receipt.signer`.
   * @param {any} receipt of an accepted submission
   * @param {{answer?: any, signal?: AbortSignal}} [options] answer: the whole answer of `submit`, to compare with as well
   * @returns {Promise<{ok: boolean, checks: Comparison[], evidence: EvidenceCheck|null}>}
   * @throws {FairscoreError} when the relay cannot be reached
   */
  verifyReceipt(receipt, options = {}) {
    return verifyReceipt(this, receipt, options);
  }
}
