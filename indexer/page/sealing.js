/**
 * Encryption of a round's report: AES-256-GCM by WebCrypto, under the key that the relay gave out with the round.
 * Touches the browser's randomness and WebCrypto. It keeps the report from whoever reads along; it proves nothing.
 */

const IV_BYTES = 12;
/** How many bytes become a string at once: arguments of one call are limited. */
const CHUNK_BYTES = 0x8000;

/** Whether this page may encrypt: browsers offer WebCrypto over HTTPS and on localhost only. @returns {boolean} */
export function canSeal() {
  return globalThis.crypto?.subtle !== undefined;
}

/**
 * Encrypt a report as `relay/payload.py` reads it: base64 of IV (12 random bytes), ciphertext and tag (16 bytes).
 * @param {{_id: string, encryptionKeyId: string, encryptionKey: string}} round as its start was answered
 * @param {unknown} report what would have been sent in plain
 * @returns {Promise<{encrypted: string, keyId: string}>}
 * @throws {TypeError} where WebCrypto is missing or the round came without a key
 */
export async function seal({ _id, encryptionKeyId, encryptionKey }, report) {
  if (!canSeal()) throw new TypeError("encryption needs WebCrypto: serve the page over HTTPS or from localhost");
  if (!encryptionKey) throw new TypeError("this round was started without an encryption key");
  const bytes = new TextEncoder();
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
  const key = await crypto.subtle.importKey("raw", fromBase64Url(encryptionKey), "AES-GCM", false, ["encrypt"]);
  const parameters = { name: "AES-GCM", iv, additionalData: bytes.encode(_id), tagLength: 128 };
  const sealed = await crypto.subtle.encrypt(parameters, key, bytes.encode(JSON.stringify(report)));
  const whole = new Uint8Array(IV_BYTES + sealed.byteLength);
  whole.set(iv);
  whole.set(new Uint8Array(sealed), IV_BYTES);
  return { encrypted: toBase64(whole), keyId: encryptionKeyId };
}

/**
 * @param {string} text base64url, padded or not
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64Url(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} base64 with padding
 */
export function toBase64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK_BYTES));
  return btoa(binary);
}
