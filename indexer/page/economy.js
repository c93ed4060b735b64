/**
 * The economy's page: the key, the live loop, and which part shows what.
 * Touches the document and sessionStorage (key and game id, until "Sign out" or the tab's end); never the address bar.
 */

import { EconomyClient } from "./economy_client.js";
import * as flags from "./economy_flags.js";
import * as market from "./economy_market.js";
import { Overview } from "./economy_overview.js";
import * as players from "./economy_players.js";
import * as transactions from "./economy_transactions.js";
import { isRetryable } from "./errors.js";
import { installThemeButton } from "./theme_button.js";
import { el, installTooltips } from "./view.js";

const EVERY_MS = 1_500;
const BACKOFF_MAX_MS = 15_000;
const KEY = "fairscore.economy.key";
const GAME = "fairscore.economy.game";
/** The panels below the overview, by the id of their section. */
const PARTS = { players, transactions, market, flags };
/** What to do about a refused key, by code; others say it themselves. */
const ADVICE = {
  NOT_AUTHENTICATED: "Copy it once more, in full; it may also have expired or been revoked.",
  FORBIDDEN_ROLE: "Use a key of role server, auditor or admin.",
  FORBIDDEN_GAME: "This key is of another game: leave the game id empty.",
  GAME_REQUIRED: "This key belongs to no game: enter the game id, too.",
  GAME_UNKNOWN: "Check the game id's spelling.",
  NOT_FOUND: "Is this page served by a relay with an economy?",
};

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const overview = new Overview({
  tiles: byId("tiles"),
  charts: byId("charts"),
  teaching: byId("teaching"),
  game: byId("overview-game"),
  all: byId("all-currencies"),
});

/** Storage may be blocked: then the key lives as long as the page. */
const storage = {
  /** @param {string} name */
  get(name) {
    try {
      return sessionStorage.getItem(name) ?? "";
    } catch {
      return "";
    }
  },
  /** @param {Record<string, string>} values empty ones are forgotten */
  keep(values) {
    try {
      for (const [name, value] of Object.entries(values))
        if (value) sessionStorage.setItem(name, value);
        else sessionStorage.removeItem(name);
    } catch {
      // As above.
    }
  },
};

/** Ends the loop of one key. */
let current = new AbortController();
/** Ask now instead of later. */
let wake = () => {};

/** @param {string} state as style.css names them @param {string} text @param {boolean} [isWaiting] */
function connection(state, text, isWaiting = false) {
  const element = byId("connection");
  element.hidden = false;
  if (element.dataset.state !== state) byId("announcer").textContent = text;
  element.dataset.state = state;
  if (byId("connection-text").textContent !== text) byId("connection-text").textContent = text;
  byId("retry-now").hidden = !isWaiting;
  document.body.toggleAttribute("data-stale", state === "stale");
}

/**
 * Wait, but no longer than until somebody wakes it; while the page is hidden until it is seen again.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(() => !document.hidden && done(), ms);
    wake = done;
    signal.addEventListener("abort", done, { once: true });
  });
}

/** @param {any} error @returns {boolean} whether the server, not the key, is what fails */
function isPassing(error) {
  return isRetryable(error) || error.status === undefined || error.status === null || error.status >= 500;
}

/**
 * Look again and again until the key is refused or given back.
 * @param {string} key
 * @param {string} gameId
 */
async function follow(key, gameId) {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const client = new EconomyClient(key, gameId);
  const parts = Object.entries(PARTS).map(([id, { create }]) => create(cleared(id), client));
  overview.reset();
  connection("connecting", "Connecting…");
  for (let failures = 0, isOpen = false; !signal.aborted; ) {
    try {
      const stats = await client.get("stats", { window: byId("window").value });
      if (signal.aborted) return;
      if (!isOpen) opened(key, gameId);
      isOpen = true;
      overview.draw(stats);
      await Promise.all(parts.map((part) => part.refresh()));
      if (signal.aborted) return;
      failures = 0;
      connection("live", "Live");
      await pause(EVERY_MS, signal);
    } catch (caught) {
      if (signal.aborted) return;
      const error = /** @type {any} */ (caught);
      if (!isPassing(error) && !isOpen) return refused(error);
      if (error.status === 401 || error.status === 403) return refused(error);
      const waitMs = Math.max(error.retryAfterMs ?? 0, Math.min(BACKOFF_MAX_MS, EVERY_MS * 2 ** failures++));
      connection("stale", "Offline — retrying", true);
      if (!isOpen) byId("key-error").textContent = `${error.message} This page keeps trying by itself.`;
      await pause(waitMs, signal);
    }
  }
}

/** @param {string} id of a panel @returns {HTMLElement} a new, empty one in its place */
function cleared(id) {
  const section = el("section", { id, class: "panel card" });
  byId(id).replaceWith(section);
  return section;
}

/** @param {string} key @param {string} gameId that were accepted */
function opened(key, gameId) {
  storage.keep({ [KEY]: key, [GAME]: gameId });
  byId("key").value = byId("key-error").textContent = "";
  byId("entrance").hidden = true;
  byId("dashboard").hidden = byId("sign-out").hidden = false;
}

/** Show the form, and forget the key everywhere. */
function closed() {
  current.abort();
  storage.keep({ [KEY]: "", [GAME]: "" });
  byId("key").value = byId("key-error").textContent = "";
  byId("entrance").hidden = false;
  byId("dashboard").hidden = byId("sign-out").hidden = true;
  for (const id of Object.keys(PARTS)) cleared(id);
  overview.reset();
}

/** @param {any} error why the server does not answer this key */
function refused(error) {
  closed();
  connection("failed", "Key refused");
  const advice = ADVICE[/** @type {keyof typeof ADVICE} */ (error.code)] ?? "";
  byId("key-error").textContent = `${error.message} ${advice}`.trim();
  byId(error.code.startsWith("GAME_") ? "game" : "key").focus();
}

byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const key = byId("key").value.trim();
  byId("key-error").textContent = key ? "" : "Enter the key first.";
  if (key) void follow(key, byId("game").value.trim());
  else byId("key").focus();
});
byId("sign-out").addEventListener("click", () => {
  closed();
  byId("connection").hidden = true;
  byId("announcer").textContent = "Signed out. The key is forgotten.";
  byId("key").focus();
});
byId("window").addEventListener("change", () => wake());
byId("retry-now").addEventListener("click", () => wake());
addEventListener("online", () => wake());
document.addEventListener("visibilitychange", () => !document.hidden && wake());

installTooltips(byId("tip"));
installThemeButton(byId("theme"));

const [key, gameId] = [storage.get(KEY), storage.get(GAME)];
if (key) void follow(key, gameId);
