/**
 * Checks of what the relay said: published evidence hashed again, and a receipt held against it. Anybody can repeat them.
 * Touches the network through the client it is given. The methods of `Fairscore` of the same names call these.
 */

import { FairscoreError } from "./errors.js";
import { fromHex, hashText, keccak256, toChecksumAddress, toHex } from "./keccak.js";

/**
 * @typedef {import("./fairscore.js").Comparison} Comparison
 * @typedef {import("./fairscore.js").EvidenceCheck} EvidenceCheck
 */

/**
 * One packed record of a ScoreBatch: player (20) ‖ score uint96 (12) ‖ roundId uint64 (8) ‖ evidenceHash (32). Pure.
 * @param {string} records hex of exactly one record
 * @returns {{player: string, score: bigint, roundId: bigint, evidenceHash: string}}
 * @throws {TypeError} when it is not 72 bytes of hex
 */
export function unpackRecord(records) {
  const bytes = fromHex(records);
  if (bytes.length !== 72) throw new TypeError(`one record is 72 bytes, this has ${bytes.length}`);
  return {
    player: toChecksumAddress(toHex(bytes.subarray(0, 20))),
    score: BigInt(toHex(bytes.subarray(20, 32))),
    roundId: BigInt(toHex(bytes.subarray(32, 40))),
    evidenceHash: toHex(bytes.subarray(40)),
  };
}

/**
 * Whether two spellings of the same value agree; hex in any case, numbers of any type. Pure.
 * @param {string} name
 * @param {unknown} expected
 * @param {unknown} actual
 * @returns {Comparison}
 */
export function compare(name, expected, actual) {
  const [left, right] = [String(expected), String(actual)];
  return { name, ok: left.toLowerCase() === right.toLowerCase(), expected: left, actual: right };
}

/**
 * @param {import("./fairscore.js").Fairscore} client
 * @param {string} hash
 * @param {{signal?: AbortSignal}} options
 * @returns {Promise<EvidenceCheck>}
 */
export async function verifyEvidence(client, hash, { signal }) {
  try {
    const { bytes } = await client.request(`/api/evidence/${encodeURIComponent(hash)}`, { signal });
    const computed = toHex(keccak256(bytes));
    const ok = computed === hash.toLowerCase();
    // Bytes that are not what the hash promises are not shown as evidence.
    return { ok, hash, computed, bytes, evidence: ok ? JSON.parse(new TextDecoder().decode(bytes)) : null };
  } catch (error) {
    if (error instanceof FairscoreError && error.status === 404)
      return { ok: false, hash, computed: null, bytes: null, evidence: null };
    throw error;
  }
}

/**
 * @param {import("./fairscore.js").Fairscore} client
 * @param {any} receipt
 * @param {{answer?: any, signal?: AbortSignal}} options
 * @returns {Promise<{ok: boolean, checks: Comparison[], evidence: EvidenceCheck|null}>}
 */
export async function verifyReceipt(client, receipt, { answer = null, signal }) {
  const { primaryType, message } = receipt.typedData;
  let record;
  try {
    record = unpackRecord(message.records);
  } catch (error) {
    const malformed = { name: "record", ok: false, expected: "one packed record", actual: String(error) };
    return { ok: false, checks: [malformed], evidence: null };
  }
  const evidence = await verifyEvidence(client, record.evidenceHash, { signal });
  const checks = [
    compare("type", "ScoreBatch", primaryType),
    compare("game", hashText(receipt.gameId), message.gameId),
    compare("player", receipt.player, record.player),
    compare("score", receipt.score, record.score),
    compare("round", receipt.roundId, record.roundId),
    compare("deadline", receipt.deadline, message.deadline),
    compare("rules", receipt.rulesHash, message.rulesHash),
    compare("evidence hash", receipt.evidenceHash, record.evidenceHash),
    compare("evidence bytes", record.evidenceHash, evidence.computed ?? "not published"),
    compare("evidence: player", record.player, evidence.evidence?.player),
    compare("evidence: score", record.score, evidence.evidence?.score),
    compare("evidence: rules", message.rulesHash, evidence.evidence?.rulesHash),
  ];
  if (answer !== null) {
    checks.push(compare("answer: score", record.score, answer.score));
    checks.push(compare("answer: evidence hash", record.evidenceHash, answer.evidenceHash));
    checks.push(compare("answer: submission", answer.submissionId, evidence.evidence?.submissionId));
  }
  return { ok: checks.every(({ ok }) => ok), checks, evidence };
}
