/**
 * Rounds and tournaments: start a game, end it with its report, wait for what becomes of it.
 * Touches the network through the client it is given. The methods of `Fairscore` of the same names call these.
 */

import { FairscoreError } from "./errors.js";
import { canSeal, seal } from "./sealing.js";
import { sleep } from "./stream.js";

/**
 * @typedef {"active"|"reported"|"confirmed"|"accepted"|"invalidated"|"expired"} RoundState
 * @typedef {{_id: string, status: RoundState, playerId: string, tournamentId: string|null, seed?: string,
 *   expiresAt?: string, encryptionKeyId?: string|null, encryptionKey?: string|null, submissionId?: string|null,
 *   [name: string]: any}} Round
 * @typedef {{id: string, gameId: string, name: string, status: string, startsAt: string, endsAt: string|null,
 *   [name: string]: any}} Tournament
 */

/** Where a round's way ends; nothing but a revocation of its score comes after. */
export const SETTLED = new Set(["accepted", "invalidated", "expired"]);

const POLL_MS_MIN = 250;
const POLL_MS_MAX = 2_000;

/** The path of the rounds of a tournament, or of those outside of any. @param {string|null|undefined} tournamentId */
export function roundsPath(tournamentId) {
  return tournamentId ? `/api/tournaments/${encodeURIComponent(tournamentId)}/rounds` : "/api/rounds";
}

/** The path of one round. @param {Round} round */
export function roundPath({ _id, tournamentId }) {
  return `${roundsPath(tournamentId)}/${encodeURIComponent(_id)}`;
}

/**
 * @param {import("./fairscore.js").Fairscore} client
 * @param {{player?: string, playerId?: string, tournamentId?: string|null, chartId?: string, idempotencyKey?: string,
 *   signal?: AbortSignal, budgetMs?: number}} who
 * @returns {Promise<Round>}
 */
export async function startRound(client, { player, playerId, tournamentId, chartId, ...options }) {
  const who = player === undefined ? { playerId } : { playerAddress: player };
  const game = tournamentId ? {} : { gameId: client.gameId };
  return client.post(roundsPath(tournamentId), { ...game, ...who, chartId }, options);
}

/**
 * @param {import("./fairscore.js").Fairscore} client
 * @param {Round} round as `startRound` answered it
 * @param {Record<string, unknown>} scoreData
 * @param {{signature?: string, deadline?: number, encrypt?: boolean, idempotencyKey?: string, signal?: AbortSignal,
 *   budgetMs?: number}} options
 * @returns {Promise<any>}
 */
export async function endRound(client, round, scoreData, { signature, deadline, encrypt, ...options }) {
  const report = { scoreData, signature, deadline };
  const isSealed = encrypt ?? (Boolean(round.encryptionKey) && canSeal());
  const body = isSealed ? await seal(/** @type {any} */ (round), report) : report;
  return client.post(`${roundPath(round)}/end`, body, options);
}

/**
 * @param {import("./fairscore.js").Fairscore} client
 * @param {Round} round
 * @param {{timeoutMs?: number, onStatus?: (round: Round) => void, signal?: AbortSignal}} options
 * @returns {Promise<Round>}
 */
export async function waitForRound(client, round, { timeoutMs = 300_000, onStatus, signal }) {
  const giveUpAt = Date.now() + timeoutMs;
  let last = null;
  for (let delay = POLL_MS_MIN; ; delay = Math.min(POLL_MS_MAX, delay * 1.3)) {
    const budgetMs = Math.max(0, giveUpAt - Date.now());
    const now = await client.get(roundPath(round), { signal, budgetMs });
    if (now.status !== last) onStatus?.(now);
    last = now.status;
    if (SETTLED.has(last)) return now;
    if (Date.now() + delay > giveUpAt)
      throw new FairscoreError(`The round is still ${last}`, { code: "WAIT_TIMEOUT", submission: now });
    await sleep(delay, signal);
  }
}
