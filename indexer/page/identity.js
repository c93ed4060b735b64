/**
 * A player's sessions with the relay, and signatures for its scores.
 * Touches the network through the client and the wallet it is given; keeps nothing.
 */

import { FairscoreError } from "./errors.js";
import { accountOf, sessionKeyDocument, signDocument, signInMessage, signText, submitScoreDocument } from "./wallet.js";

/**
 * @typedef {{token: string, player: string, expiresAt: string}} Session `expiresAt`: RFC 3339
 * @typedef {import("./fairscore.js").Fairscore} Client
 * @typedef {import("./wallet.js").Wallet} Wallet
 */

const STATEMENT = "Sign in to play. This costs nothing and sends no transaction.";
const SIGNATURE_S = 600;
const SESSION_KEY_S = 12 * 3600;

/**
 * @param {Client} client
 * @param {Wallet} wallet
 * @param {{address?: string, statement?: string, signal?: AbortSignal}} options
 * @returns {Promise<Session>}
 */
export async function signIn(client, wallet, { address, statement = STATEMENT, signal }) {
  const account = address ?? (await accountOf(wallet));
  const { nonce, chainId } = await client.post("/api/sessions/nonce", {}, { signal });
  const { host, origin } = globalThis.location;
  const issuedAt = new Date().toISOString();
  const message = signInMessage({ domain: host, address: account, uri: origin, chainId, nonce, issuedAt, statement });
  const signature = await signText(wallet, account, message);
  const { token, player, expiresAt } = await client.post("/api/sessions", { message, signature }, { signal });
  return { token, player, expiresAt };
}

/**
 * @param {Client} client
 * @param {{signal?: AbortSignal}} options
 */
export async function endSession(client, { signal }) {
  try {
    await client.request("/api/sessions/current", { method: "DELETE", signal });
  } catch (error) {
    // Over already: that is what was asked for.
    if (!(error instanceof FairscoreError && error.status === 401)) throw error;
  }
}

/**
 * @param {Client} client
 * @param {string} token
 * @param {{signal?: AbortSignal}} options
 * @returns {Promise<any|null>}
 */
export async function readSession(client, token, { signal }) {
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const { bytes } = await client.request("/api/sessions/current", { headers, signal });
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    if (error instanceof FairscoreError && error.status === 401) return null;
    throw error;
  }
}

/**
 * @param {Client} client
 * @param {Wallet} wallet
 * @param {Record<string, unknown>} scoreData
 * @param {{player: string, roundId?: string|null, signer?: string, validS?: number, signal?: AbortSignal}} options
 * @returns {Promise<{signature: string, deadline: number}>}
 */
export async function signSubmission(client, wallet, scoreData, options) {
  const { player, roundId = null, signer = player, validS = SIGNATURE_S, signal } = options;
  const domain = await client.signingDomain({ signal });
  const deadline = Math.floor(Date.now() / 1000) + validS;
  const document = submitScoreDocument({ domain, gameId: client.gameId, roundId, player, scoreData, deadline });
  return { signature: await signDocument(wallet, signer, document), deadline };
}

/**
 * @param {Client} client
 * @param {Wallet} wallet
 * @param {{player: string, address: string, validS?: number, signal?: AbortSignal}} options
 * @returns {Promise<{keyId: string, player: string, address: string, scope: string, expiresAt: string}>}
 */
export async function delegate(client, wallet, { player, address, validS = SESSION_KEY_S, signal }) {
  const domain = await client.signingDomain({ signal });
  const expiresAt = Math.floor(Date.now() / 1000) + validS;
  const document = sessionKeyDocument({ domain, player, key: address, expiresAt });
  const signature = await signDocument(wallet, player, document);
  const body = { player, address, expiresAt, scope: "submit", signature };
  return client.post("/api/sessions/keys", body, { signal });
}
