/**
 * What can be bought on the marketplace now.
 * Touches the document and, through the client, the network.
 */

import { LiveList, field, head, moment, table } from "./economy_parts.js";
import { el, number } from "./view.js";

const SECOND_MS = 1_000;

/**
 * Build the panel.
 * @param {HTMLElement} root an empty section
 * @param {import("./economy_client.js").EconomyClient} client
 * @returns {{refresh: () => Promise<void>}}
 */
export function create(root, client) {
  const changed = () => void list.restart().catch((error) => (list.nothing.textContent = error.message));
  const filters = {
    item: field("Item", { type: "search" }, changed),
    seller: field("Seller", { type: "search" }, changed),
  };
  const columns = ["Item", "Seller", { name: "Price", class: "amount" }, { name: "Tax", class: "amount" }, "Listed", "Ends"];
  const { box, body } = table("Listings that can be bought, newest first", columns);
  const list = new LiveList({
    body,
    idOf: (item) => item.listingId,
    row: (item) => el("tr", { "data-listing": item.listingId }),
    show,
    empty: "Nothing is for sale. POST /api/economy/marketplace/list puts items up.",
    read: async (cursor) => {
      const asked = { item: filters.item.value(), seller: filters.seller.value(), cursor };
      const page = await client.get("marketplace", asked);
      return { items: page.listings, nextCursor: page.nextCursor };
    },
  });
  const lede = "What is listed is in escrow until it is bought, cancelled or over.";
  root.append(...head("Market", lede, filters.item.label, filters.seller.label), box, list.nothing, list.foot);
  return { refresh: () => list.refresh() };
}

/** @param {any} row @param {any} item */
function show(row, item) {
  const ends = item.expiresAt === null ? "when it is sold" : left(Date.parse(item.expiresAt) - Date.now());
  if (row.hasChildNodes()) {
    if (row.lastChild.textContent !== ends) row.lastChild.textContent = ends; // all else never changes
    return;
  }
  row.append(
    el("td", { text: `${number(item.quantity)} × ${item.itemId}` }),
    el("td", { text: item.seller }),
    el("td", { class: "amount", text: `${number(item.price)} ${item.currencyId}` }),
    el("td", { class: "amount", text: item.tax ? number(item.tax) : "–" }),
    el("td", {}, moment(item.listedAt)),
    el("td", { text: ends }),
  );
}

/** @param {number} ms @returns {string} how long that is, to the second in the last hour */
function left(ms) {
  const seconds = Math.max(0, Math.ceil(ms / SECOND_MS));
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)];
  if (days) return `in ${days} d ${hours % 24} h`;
  if (hours) return `in ${hours} h ${minutes % 60} min`;
  return minutes ? `in ${minutes} min ${seconds % 60} s` : `in ${seconds} s`;
}
