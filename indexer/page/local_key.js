/**
 * A key of the page itself that signs scores for a player: delegated by the wallet once, then it asks nobody.
 * Touches WebCrypto. Lives in memory, as long as the page; the relay lets such a key do nothing but sign scores.
 */

import { fromHex, keccak256 } from "./keccak.js";
import { addressOf, newKey, signDigest } from "./secp256k1.js";

/** @typedef {{name: string, type: string}[]} Fields */

const BYTES = new TextEncoder();

/**
 * A value as one 32-byte word of EIP-712's `encodeData`. Only flat types: structs within structs and arrays are not ours.
 * @param {string} type
 * @param {any} value
 * @returns {Uint8Array}
 */
function word(type, value) {
  if (type === "string") return keccak256(BYTES.encode(value));
  const isNumber = type.startsWith("uint");
  if (!isNumber && type !== "address" && type !== "bytes32") throw new TypeError(`no EIP-712 type of ours: ${type}`);
  const digits = isNumber ? BigInt(value).toString(16) : value.slice(2);
  return fromHex(`0x${digits.padStart(64, "0")}`);
}

/**
 * @param {string} name
 * @param {Fields} fields
 * @param {Record<string, any>} values
 * @returns {Uint8Array} EIP-712's `hashStruct`
 */
function hashStruct(name, fields, values) {
  const type = `${name}(${fields.map(({ type, name }) => `${type} ${name}`).join(",")})`;
  const words = [keccak256(BYTES.encode(type)), ...fields.map(({ type, name }) => word(type, values[name]))];
  const whole = new Uint8Array(32 * words.length);
  words.forEach((each, at) => whole.set(each, 32 * at));
  return keccak256(whole);
}

/**
 * The digest of an EIP-712 document. Pure.
 * @param {{types: Record<string, Fields>, primaryType: string, domain: any, message: any}} document
 * @returns {Uint8Array} 32 bytes
 */
export function digestOf({ types, primaryType, domain, message }) {
  const whole = new Uint8Array(66);
  whole.set([0x19, 0x01]);
  whole.set(hashStruct("EIP712Domain", types.EIP712Domain, domain), 2);
  whole.set(hashStruct(primaryType, types[primaryType], message), 34);
  return keccak256(whole);
}

/** A key that answers as a wallet does (EIP-1193), so that it stands wherever a wallet can. */
export class LocalKey {
  #key;

  /** @param {bigint} [key] */
  constructor(key = newKey()) {
    this.#key = key;
    this.address = addressOf(key);
  }

  /**
   * @param {{method: string, params?: any[]}} call
   * @returns {Promise<any>}
   * @throws {TypeError} for what such a key does not do
   */
  async request({ method, params = [] }) {
    if (method === "eth_requestAccounts" || method === "eth_accounts") return [this.address.toLowerCase()];
    if (method !== "eth_signTypedData_v4") throw new TypeError(`a key of the page does not do ${method}`);
    const [address, document] = params;
    if (address.toLowerCase() !== this.address.toLowerCase()) throw new TypeError("not an account of this key");
    return signDigest(this.#key, digestOf(JSON.parse(document)));
  }
}
