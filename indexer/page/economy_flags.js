/**
 * Audit flags of the game: what was refused too often, and what an auditor should look at.
 * Touches the document and, through the client, the network.
 */

import { LiveList, choice, head, moment, state, table } from "./economy_parts.js";
import { el, number } from "./view.js";

/**
 * Build the panel.
 * @param {HTMLElement} root an empty section
 * @param {import("./economy_client.js").EconomyClient} client
 * @returns {{refresh: () => Promise<void>}}
 */
export function create(root, client) {
  const changed = () => void list.restart().catch((error) => (list.nothing.textContent = error.message));
  const status = choice(
    "Status",
    { open: "open", "": "any", confirmed: "confirmed", false_positive: "false positive", dismissed: "dismissed" },
    changed,
  );
  const severity = choice("Severity", { "": "any", critical: "critical", warning: "warning" }, changed);
  const columns = ["Severity", "Why", "About", { name: "Times", class: "number" }, "Last seen", "Status"];
  const { box, body } = table("Audit flags, newest first", columns);
  const list = new LiveList({
    body,
    idOf: (item) => item.id,
    row: (item) => el("tr", { "data-flag": item.id }),
    show,
    empty: "No such flag. Refused attempts, odd transfers and balances that differ from the ledger are told here.",
    read: async (cursor) => {
      const asked = { status: status.value(), severity: severity.value(), cursor };
      const page = await client.get("audit-flags", asked);
      return { items: page.flags, nextCursor: page.nextCursor };
    },
  });
  const lede = "An auditor's key resolves them: PATCH /api/audit-flags/{id}.";
  root.append(...head("Flags", lede, status.label, severity.label), box, list.nothing, list.foot);
  return { refresh: () => list.refresh() };
}

/** @param {any} row @param {any} item */
function show(row, item) {
  const told = `${item.occurrences} ${item.lastSeenAt} ${item.status} ${item.reason}`;
  if (row.dataset.told === told) return;
  row.dataset.told = told;
  row.replaceChildren(
    el("td", {}, state(item.severity)),
    el("td", {}, el("div", { text: item.reason }), el("code", { text: item.code })),
    el("td", { text: item.playerId ?? `${item.subject.type} ${item.subject.id}` }),
    el("td", { class: "number", text: number(item.occurrences) }),
    el("td", {}, moment(item.lastSeenAt)),
    el("td", { text: item.status.replaceAll("_", " ") }),
  );
}
