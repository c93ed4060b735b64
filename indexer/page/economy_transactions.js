/**
 * The transactions of an economy, newest first and live, each with whether it can be proved on the chain yet.
 * Touches the document and, through the client, the network.
 */

import { LiveList, choice, field, head, moment, moveWords, state, table } from "./economy_parts.js";
import { copyable, el, number, rawJson, short } from "./view.js";

const TYPES = [
  "opening", "grant", "spend", "transfer", "purchase", "craft", "loot", "list", "buy", "cancel", "expire", "reversal",
]; // prettier-ignore
const SOURCES = ["server", "client", "craft", "loot", "marketplace", "purchase", "system"];
const MOVES_SHOWN = 3;
const PAGE = 20;

/** @param {string[]} values @returns {Record<string, string>} */
const any = (values) => ({ "": "any", ...Object.fromEntries(values.map((value) => [value, value])) });

/**
 * Build the panel.
 * @param {HTMLElement} root an empty section
 * @param {import("./economy_client.js").EconomyClient} client
 * @returns {{refresh: () => Promise<void>}}
 */
export function create(root, client) {
  const changed = () => void list.restart().catch((error) => (list.nothing.textContent = error.message));
  const filters = {
    player: field("Player", { type: "search" }, changed),
    currency: field("Currency", { type: "search" }, changed),
    type: choice("Type", any(TYPES), changed),
    source: choice("Source", any(SOURCES), changed),
    from: field("From", { type: "datetime-local" }, changed),
    to: field("Until", { type: "datetime-local" }, changed),
  };
  const { box, body } = table("Transactions, newest first", ["Time", "Type", "What moved", "Reference", "Proof"]);
  const dialog = el("dialog", { "aria-label": "Transaction" });
  const list = new LiveList({
    body,
    idOf: (item) => item.transactionId,
    row: () => el("tr"),
    show: (row, item) => show(row, item, client, dialog),
    empty: "No transaction fits. Grants, transfers and all others appear here as they are booked.",
    keeps: true,
    read: async (cursor) => {
      const page = await client.get("transactions", { ...asked(filters), limit: PAGE, cursor });
      return { items: page.transactions, nextCursor: page.nextCursor };
    },
  });
  const lede = "The newest first. What is anchored can be proved with nothing but the chain.";
  const controls = Object.values(filters).map(({ label }) => label);
  root.append(...head("Transactions", lede, ...controls), box, list.nothing, list.foot, dialog);
  return { refresh: () => list.refresh() };
}

/** @param {Record<string, {value: () => string}>} filters @returns {Record<string, string>} */
function asked(filters) {
  const values = Object.entries(filters).map(([name, { value }]) => [name, value()]);
  const found = Object.fromEntries(values);
  for (const name of ["from", "to"]) if (found[name]) found[name] = new Date(found[name]).toISOString();
  return found;
}

/** @param {any} client @param {any} item @returns {string} */
function proofUrl(client, item) {
  const game = encodeURIComponent(client.game);
  return `/api/economy/proofs/${encodeURIComponent(item.transactionId)}?gameId=${game}`;
}

/** @param {any} row @param {any} item @param {any} client @param {any} dialog */
function show(row, item, client, dialog) {
  const told = `${item.anchored} ${item.reversedBy}`;
  if (row.dataset.told === told) return; // all else never changes
  row.dataset.told = told;
  row.dataset.transaction = item.transactionId;
  const moves = item.moves.slice(0, MOVES_SHOWN).map((/** @type {any} */ move) => el("div", { text: moveWords(move) }));
  const left = item.moves.length - MOVES_SHOWN;
  if (left > 0) moves.push(el("div", { text: `and ${number(left)} more` }));
  const open = el("button", { type: "button", class: "quiet", text: item.type });
  open.addEventListener("click", () => details(dialog, item, client));
  open.setAttribute("aria-label", `${item.type}, details`);
  row.replaceChildren(
    el("td", {}, moment(item.at)),
    el("td", {}, open, item.reversedBy ? state("reversed") : null),
    el("td", {}, ...moves),
    el("td", { text: item.reference ?? "–" }),
    el("td", {}, proof(item, client)),
  );
}

/** @param {any} item @param {any} client @returns {HTMLElement} */
function proof(item, client) {
  if (!item.anchored) return state("waiting", "not anchored yet");
  const name = `proof-${item.transactionId}.json`;
  return el("a", { href: proofUrl(client, item), download: name }, state("anchored"));
}

/** @param {any} dialog @param {any} item @param {any} client */
function details(dialog, item, client) {
  const facts = {
    Booked: moment(item.at),
    Source: item.source,
    Number: number(item.sequence),
    Reason: item.reason,
    Reference: item.reference,
    Reverses: item.reverses,
    "Reversed by": item.reversedBy,
    Settings: `version ${item.configVersion}`,
  };
  const rows = Object.entries(facts).filter(([, value]) => value !== null);
  const close = el("button", { type: "button", class: "quiet", text: "Close", on: { click: () => dialog.close() } });
  const moves = item.moves.map((/** @type {any} */ move) => el("li", { text: moveWords(move) }));
  const line = `fairscore verify-proof proof-${item.transactionId}.json --rpc-url … --contract 0x…`;
  const proved = item.anchored
    ? [el("p", {}, "Save the ", el("a", { href: proofUrl(client, item), download: `proof-${item.transactionId}.json` }, "proof"), ", then ask the chain, not this server:"), copyable(line)]
    : [el("p", { text: "Not anchored yet: the proof is there after the next checkpoint." })]; // prettier-ignore
  dialog.replaceChildren(
    el("header", {}, el("div", {}, el("h2", { text: item.type }), el("p", { text: short(item.transactionId, 6) })), close),
    el("ul", {}, ...moves),
    el("dl", { class: "facts" }, ...rows.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", {}, value)))),
    el("div", { class: "proof" }, ...proved),
    rawJson("The whole document", item),
  ); // prettier-ignore
  dialog.showModal();
}
