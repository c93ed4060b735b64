/**
 * The players of an economy: found by id or name, with what one of them has and did last.
 * Touches the document and, through the client, the network.
 */

import { LiveList, field, head, moment, moveWords, state, table } from "./economy_parts.js";
import { el, number } from "./view.js";

const PAGE = 10;
const LATEST = 5;

/**
 * Build the panel.
 * @param {HTMLElement} root an empty section
 * @param {import("./economy_client.js").EconomyClient} client
 * @returns {{refresh: () => Promise<void>}}
 */
export function create(root, client) {
  const changed = () => void list.restart().catch((error) => (list.nothing.textContent = error.message));
  const search = field("Id or name contains", { type: "search" }, changed);
  const { box, body } = table("Players", ["Player", "Name", "Since"]);
  const shown = new Shown(client);
  const list = new LiveList({
    body,
    idOf: (item) => item.externalId,
    row: () => el("tr"),
    show: (row, item) => show(row, item, shown),
    empty: "No such player. POST /api/economy/players declares one.",
    keeps: true,
    read: async (cursor) => {
      const page = await client.get("players", { search: search.value(), limit: PAGE, cursor });
      return { items: page.players, nextCursor: page.nextCursor };
    },
  });
  const lede = "Choose one to see balances, inventory and what happened last.";
  root.append(...head("Players", lede, search.label), box, list.nothing, list.foot, shown.root);
  return {
    refresh: async () => {
      await Promise.all([list.refresh(), shown.refresh()]);
    },
  };
}

/** @param {any} row @param {any} item @param {Shown} shown */
function show(row, item, shown) {
  if (row.dataset.told === item.updatedAt) return;
  row.dataset.told = item.updatedAt;
  const open = el("button", { type: "button", class: "quiet", text: item.externalId });
  open.addEventListener("click", () => void shown.open(item.externalId));
  row.replaceChildren(
    el("td", {}, open),
    el("td", { text: item.displayName ?? "–" }),
    el("td", {}, moment(item.createdAt)),
  );
}

/** The chosen player: live, like everything else. */
class Shown {
  /** @type {string|null} */
  #chosen = null;

  /** @param {import("./economy_client.js").EconomyClient} client */
  constructor(client) {
    this.client = client;
    this.root = el("div", { id: "player", hidden: true });
    this.title = el("h3", { tabindex: -1 });
    this.said = el("p", { class: "lede", role: "status" });
    const close = el("button", { type: "button", class: "quiet", text: "Close", on: { click: () => this.close() } });
    const amounts = (/** @type {string[]} */ ...names) => names.map((name) => ({ name, class: "amount" }));
    this.balances = table("Balances", ["Currency", ...amounts("Balance", "In escrow"), "State"]);
    this.items = table("Inventory", ["Item", ...amounts("Quantity", "In escrow"), "State"]);
    this.latest = table("Latest transactions", ["Time", "Type", "What moved"]);
    const header = el("header", { class: "panel-head" }, el("div", {}, this.title, this.said), close);
    this.root.append(header, this.balances.box, this.items.box, this.latest.box);
  }

  /** @param {string} externalId */
  async open(externalId) {
    this.#chosen = externalId;
    this.title.textContent = externalId;
    this.root.hidden = false;
    for (const { body } of [this.balances, this.items, this.latest]) body.replaceChildren();
    this.said.textContent = "Reading …";
    await this.refresh().catch((error) => (this.said.textContent = error.message));
    this.title.focus();
  }

  /** Choose nobody. */
  close() {
    this.#chosen = null;
    this.root.hidden = true;
  }

  /** Read the chosen player again. */
  async refresh() {
    const chosen = this.#chosen;
    if (chosen === null) return;
    const whose = `players/${encodeURIComponent(chosen)}`;
    const [has, owns, did] = await Promise.all([
      this.client.get(`${whose}/balance`),
      this.client.get(`${whose}/inventory`),
      this.client.get("transactions", { player: chosen, limit: LATEST }),
    ]);
    if (chosen !== this.#chosen) return;
    const nothing = has.balances.length + owns.items.length === 0;
    this.said.textContent = nothing ? "Has nothing yet." : (has.displayName ?? "");
    fill(this.balances.body, has.balances, (one) => holding(one.currencyId, one.balance, one.held, one.frozen));
    fill(this.items.body, owns.items, (one) => holding(one.itemId, one.quantity, one.escrowed, one.frozen));
    fill(this.latest.body, did.transactions, (one) => [
      el("td", {}, moment(one.at)),
      el("td", { text: one.type }),
      el("td", {}, ...one.moves.map((/** @type {any} */ move) => el("div", { text: moveWords(move) }))),
    ]);
  }
}

/** @param {any} body @param {any[]} items @param {(item: any) => Node[]} cells only where something changed */
function fill(body, items, cells) {
  const told = JSON.stringify(items);
  if (body.dataset.told === told && body.hasChildNodes()) return;
  body.dataset.told = told;
  body.replaceChildren(...items.map((item) => el("tr", {}, ...cells(item))));
  body.closest(".scroll").hidden = items.length === 0;
}

/** @param {string} name @param {number} amount @param {number} held @param {boolean} frozen @returns {Node[]} */
function holding(name, amount, held, frozen) {
  return [
    el("td", { text: name }),
    el("td", { class: "amount", text: number(amount) }),
    el("td", { class: "amount", text: held ? number(held) : "–" }),
    el("td", {}, frozen ? state("frozen") : ""),
  ];
}
