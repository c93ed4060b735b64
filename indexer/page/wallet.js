/**
 * Who plays: wallets (EIP-1193, found by EIP-6963), Sign-In with Ethereum (ERC-4361), and what a player signs (EIP-712).
 * Touches the wallet it is given and, to find wallets, the window's events. Holds no key.
 */

import { hashText, toChecksumAddress, toHex } from "./keccak.js";

/**
 * @typedef {{request: (call: {method: string, params?: unknown[]}) => Promise<any>}} Wallet an EIP-1193 provider
 * @typedef {{name: string, icon: string|null, wallet: Wallet}} FoundWallet
 * @typedef {{domain: string, address: string, uri: string, chainId: number, nonce: string, issuedAt: string,
 *   statement?: string|null, expirationTime?: string|null, notBefore?: string|null, requestId?: string|null,
 *   resources?: string[]}} SignIn
 * @typedef {{name: string, version: string, chainId: number, verifyingContract: string}} Domain
 */

const DISCOVERY_MS = 50;
const ZERO_HASH = "0x" + "0".repeat(64);

/** What a player signs for one score (contract.md); the domain is the contract's. */
export const SUBMIT_SCORE = [
  { name: "gameId", type: "bytes32" },
  { name: "roundRef", type: "bytes32" },
  { name: "player", type: "address" },
  { name: "score", type: "uint256" },
  { name: "evidenceHash", type: "bytes32" },
  { name: "deadline", type: "uint64" },
];
/** What a wallet signs to let another key sign scores for it, for at most 24 hours; in the same domain. */
export const SESSION_KEY = [
  { name: "player", type: "address" },
  { name: "key", type: "address" },
  { name: "scope", type: "string" },
  { name: "expiresAt", type: "uint64" },
];
const EIP712_DOMAIN = [
  { name: "name", type: "string" },
  { name: "version", type: "string" },
  { name: "chainId", type: "uint256" },
  { name: "verifyingContract", type: "address" },
];

/**
 * The wallets of this browser: those that announce themselves (EIP-6963), else the one at `window.ethereum`.
 * @param {Window & typeof globalThis & {ethereum?: Wallet}} [view]
 * @returns {Promise<FoundWallet[]>}
 */
export async function findWallets(view = window) {
  /** @type {Map<string, FoundWallet>} */
  const found = new Map();
  const heard = (/** @type {any} */ { detail }) => {
    if (typeof detail?.provider?.request !== "function" || !detail.info?.uuid) return;
    const { uuid, name, icon } = detail.info;
    found.set(uuid, { name: String(name ?? "Wallet"), icon: icon ?? null, wallet: detail.provider });
  };
  view.addEventListener("eip6963:announceProvider", heard);
  view.dispatchEvent(new Event("eip6963:requestProvider"));
  await new Promise((resolve) => setTimeout(resolve, DISCOVERY_MS));
  view.removeEventListener("eip6963:announceProvider", heard);
  if (found.size === 0 && typeof view.ethereum?.request === "function")
    return [{ name: "Browser wallet", icon: null, wallet: view.ethereum }];
  return [...found.values()];
}

/**
 * The account that a wallet lets this page use; it asks its owner.
 * @param {Wallet} wallet
 * @returns {Promise<string>} EIP-55
 * @throws {TypeError} when it has none
 */
export async function accountOf(wallet) {
  const accounts = await wallet.request({ method: "eth_requestAccounts" });
  if (!Array.isArray(accounts) || accounts.length === 0) throw new TypeError("the wallet has no account");
  return toChecksumAddress(accounts[0]);
}

/**
 * The text of a sign-in, exactly as the grammar of ERC-4361 writes it. Pure.
 * @param {SignIn} signIn
 * @returns {string}
 */
export function signInMessage({ domain, address, uri, chainId, nonce, issuedAt, statement, ...optional }) {
  const lines = [`${domain} wants you to sign in with your Ethereum account:`, address, ""];
  if (statement) lines.push(statement);
  lines.push("", `URI: ${uri}`, "Version: 1", `Chain ID: ${chainId}`, `Nonce: ${nonce}`, `Issued At: ${issuedAt}`);
  if (optional.expirationTime) lines.push(`Expiration Time: ${optional.expirationTime}`);
  if (optional.notBefore) lines.push(`Not Before: ${optional.notBefore}`);
  if (optional.requestId) lines.push(`Request ID: ${optional.requestId}`);
  if (optional.resources?.length) lines.push("Resources:", ...optional.resources.map((each) => `- ${each}`));
  return lines.join("\n");
}

/**
 * EIP-191 "personal" signature of a text.
 * @param {Wallet} wallet
 * @param {string} address
 * @param {string} text
 * @returns {Promise<string>} 0x and 65 bytes, or whatever a contract wallet answers
 */
export function signText(wallet, address, text) {
  const data = toHex(new TextEncoder().encode(text));
  return wallet.request({ method: "personal_sign", params: [data, address.toLowerCase()] });
}

/**
 * A value as RFC 8785 writes it: no blanks, names in the order of their UTF-16 code units; what is undefined is left out.
 * Pure. Numbers must be safe integers, as everywhere in this protocol.
 * @param {any} value
 * @returns {string}
 */
export function canonicalJson(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const names = Object.keys(value).filter((name) => value[name] !== undefined);
    return `{${names
      .sort()
      .map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`)
      .join(",")}}`;
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new TypeError(`not a whole number: ${value}`);
  return JSON.stringify(value);
}

/**
 * The EIP-712 document of a player's word for one score, for `eth_signTypedData_v4`. Pure.
 * @param {{domain: Domain, gameId: string, roundId?: string|null, player: string, scoreData: Record<string, any>,
 *   deadline: number}} score deadline: unix seconds
 * @returns {any}
 */
export function submitScoreDocument({ domain, gameId, roundId, player, scoreData, deadline }) {
  return {
    types: { EIP712Domain: EIP712_DOMAIN, SubmitScore: SUBMIT_SCORE },
    primaryType: "SubmitScore",
    domain,
    message: {
      gameId: hashText(gameId),
      roundRef: roundId ? hashText(roundId) : ZERO_HASH,
      player: player.toLowerCase(),
      score: String(scoreData.score),
      evidenceHash: hashText(canonicalJson(scoreData)),
      deadline: String(deadline),
    },
  };
}

/**
 * The EIP-712 document by which a wallet lets `key` sign scores for it. Pure.
 * @param {{domain: Domain, player: string, key: string, expiresAt: number}} delegation expiresAt: unix seconds
 * @returns {any}
 */
export function sessionKeyDocument({ domain, player, key, expiresAt }) {
  return {
    types: { EIP712Domain: EIP712_DOMAIN, SessionKey: SESSION_KEY },
    primaryType: "SessionKey",
    domain,
    message: { player: player.toLowerCase(), key: key.toLowerCase(), scope: "submit", expiresAt: String(expiresAt) },
  };
}

/**
 * EIP-712 signature.
 * @param {Wallet} wallet
 * @param {string} address
 * @param {any} document
 * @returns {Promise<string>}
 */
export function signDocument(wallet, address, document) {
  const params = [address.toLowerCase(), JSON.stringify(document)];
  return wallet.request({ method: "eth_signTypedData_v4", params });
}
