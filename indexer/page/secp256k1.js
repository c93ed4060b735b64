/**
 * ECDSA over secp256k1 with nonces of RFC 6979: what WebCrypto does not have and Ethereum signs with.
 * Touches WebCrypto for HMAC only. The time it takes depends on the key: it is for keys that a page makes, keeps in its
 * own memory for a day and that may do little; a wallet's key has no place here.
 *
 * Sources: SEC 2 (curve), SEC 1 section 4.1.3 (signing), RFC 6979 section 3.2 (nonces), EIP-2 (low s).
 */

import { keccak256, toChecksumAddress, toHex } from "./keccak.js";

const P = 2n ** 256n - 2n ** 32n - 977n;
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
/** The generator. */
const G = {
  x: 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  y: 0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
};

/** @typedef {{x: bigint, y: bigint, z: bigint}} Point in Jacobian coordinates: x/z², y/z³; z = 0 is infinity */

/** @param {bigint} value @param {bigint} modulus */
const mod = (value, modulus) => ((value % modulus) + modulus) % modulus;

/**
 * @param {bigint} value not 0
 * @param {bigint} modulus prime
 * @returns {bigint} by the extended Euclidean algorithm
 */
function inverse(value, modulus) {
  let [a, b, u, v] = [mod(value, modulus), modulus, 1n, 0n];
  while (a > 1n) {
    const quotient = b / a;
    [a, b, u, v] = [b % a, a, v - quotient * u, u];
  }
  return mod(u, modulus);
}

/** @param {Point} point @returns {Point} */
function double({ x, y, z }) {
  const yy = (y * y) % P;
  const s = (4n * x * yy) % P;
  const m = (3n * x * x) % P;
  const doubled = mod(m * m - 2n * s, P);
  return { x: doubled, y: mod(m * (s - doubled) - 8n * yy * yy, P), z: (2n * y * z) % P };
}

/** @param {Point} a @param {Point} b @returns {Point} */
function add(a, b) {
  if (a.z === 0n) return b;
  if (b.z === 0n) return a;
  const [aa, bb] = [(a.z * a.z) % P, (b.z * b.z) % P];
  const [u1, u2] = [(a.x * bb) % P, (b.x * aa) % P];
  const [s1, s2] = [(a.y * bb * b.z) % P, (b.y * aa * a.z) % P];
  const [h, r] = [mod(u2 - u1, P), mod(s2 - s1, P)];
  if (h === 0n) return r === 0n ? double(a) : { x: 1n, y: 1n, z: 0n };
  const hh = (h * h) % P;
  const [hhh, v] = [(h * hh) % P, (u1 * hh) % P];
  const x = mod(r * r - hhh - 2n * v, P);
  return { x, y: mod(r * (v - x) - s1 * hhh, P), z: (h * a.z * b.z) % P };
}

/** @param {bigint} scalar @returns {{x: bigint, y: bigint}} scalar × generator; scalar is 1 to N - 1 */
function times(scalar) {
  let sum = { x: 1n, y: 1n, z: 0n };
  for (let bit = 255n; bit >= 0n; bit--) {
    sum = double(sum);
    if ((scalar >> bit) & 1n) sum = add(sum, { ...G, z: 1n });
  }
  const i = inverse(sum.z, P);
  return { x: mod(sum.x * i * i, P), y: mod(sum.y * i * i * i, P) };
}

/** @param {Uint8Array} bytes @returns {bigint} */
const toInteger = (bytes) => BigInt(toHex(bytes));

/** @param {bigint} value @returns {Uint8Array<ArrayBuffer>} 32 bytes, big-endian */
function toBytes(value) {
  const hex = value.toString(16).padStart(64, "0");
  return Uint8Array.from({ length: 32 }, (_, at) => parseInt(hex.slice(2 * at, 2 * at + 2), 16));
}

/** @param {Uint8Array[]} parts @returns {Uint8Array<ArrayBuffer>} */
function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {Uint8Array<ArrayBuffer>} key @param {Uint8Array<ArrayBuffer>} data */
async function hmac(key, data) {
  const made = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", made, data));
}

/**
 * The nonces of RFC 6979 for a key and a digest, one after the other: the second is needed once in 2¹²⁸.
 * @param {bigint} key
 * @param {Uint8Array} digest
 */
async function* nonces(key, digest) {
  const seed = joined(toBytes(key), toBytes(mod(toInteger(digest), N)));
  let [k, v] = [new Uint8Array(32), new Uint8Array(32).fill(1)];
  for (const step of [0, 1]) {
    k = await hmac(k, joined(v, Uint8Array.of(step), seed));
    v = await hmac(k, v);
  }
  for (;;) {
    v = await hmac(k, v);
    const nonce = toInteger(v);
    if (nonce > 0n && nonce < N) yield nonce;
    k = await hmac(k, joined(v, Uint8Array.of(0)));
    v = await hmac(k, v);
  }
}

/** A fresh private key. @returns {bigint} */
export function newKey() {
  for (;;) {
    const key = toInteger(crypto.getRandomValues(new Uint8Array(32)));
    if (key > 0n && key < N) return key;
  }
}

/**
 * @param {bigint} key
 * @returns {string} the address of the key, EIP-55
 */
export function addressOf(key) {
  const { x, y } = times(key);
  return toChecksumAddress(toHex(keccak256(joined(toBytes(x), toBytes(y))).subarray(12)));
}

/**
 * @param {bigint} key
 * @param {Uint8Array} digest 32 bytes
 * @returns {Promise<string>} r ‖ s ‖ v as hex: s in the lower half, v 27 or 28
 */
export async function signDigest(key, digest) {
  for await (const nonce of nonces(key, digest)) {
    const point = times(nonce);
    const r = mod(point.x, N);
    const s = mod(inverse(nonce, N) * (mod(toInteger(digest), N) + r * key), N);
    if (r === 0n || s === 0n) continue;
    const isHigh = s > N / 2n;
    // x beyond N happens once in 2¹²⁷; the two bits then say so (SEC 1, 4.1.6). Negating s mirrors the point.
    const parity = Number(point.y & 1n) ^ Number(isHigh);
    return toHex(joined(toBytes(r), toBytes(isHigh ? N - s : s), Uint8Array.of(27 + parity)));
  }
  throw new TypeError("unreachable: nonces never end");
}
