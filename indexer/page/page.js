/**
 * The live leaderboard page: connects the client, the board, the play panel and the details.
 * Touches the document, the address bar's query (`?game=&board=`) and localStorage (theme).
 */

import { Board } from "./board.js";
import { Details } from "./details.js";
import { Fairscore } from "./fairscore.js";
import { PlayPanel } from "./play.js";
import { LEVELS, el, installTooltips, levelBadge, number } from "./view.js";

/** After so long without a connection the page calls its own data old. */
const STALE_MS = 10_000;
/** The place of a player outside the followed top is asked for at most this often. */
const PLACE_MS_MIN = 2_000;

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const query = new URLSearchParams(location.search);
const gameId = query.get("game") ?? "streambeat";
const boardName = query.get("board") ?? "default";
const client = new Fairscore({ gameId });

const details = new Details(byId("details"), client);
const board = new Board(
  { table: byId("table"), body: byId("rows"), message: byId("board-message"), showAll: byId("show-all") },
  { gameId, visible: () => (innerWidth < 720 ? 10 : 25), onOpen: (row) => details.open(row) },
);

let you = "";
/** @type {import("./stream.js").Standings|null} */
let standings = null;
let isDrawPending = false;
let lastBytesAt = 0;
let announcedRank = 0;
let placeAskedAt = 0;

/** Draw at most once per frame, however many events arrive; a hidden page has no frames and is drawn when shown. */
function scheduleDraw() {
  if (isDrawPending) return;
  isDrawPending = true;
  requestAnimationFrame(() => {
    isDrawPending = false;
    if (standings === null) return;
    board.draw(standings.rows);
    byId("stat-players").textContent = number(standings.total);
    byId("stat-block").textContent = number(standings.blockNumber);
    board.say(standings.rows.length === 0 ? emptyBoard() : null);
    void showYourPlace();
  });
}

/** @param {string} text said by screen readers, politely */
function announce(text) {
  byId("announcer").textContent = text;
}

/** @returns {HTMLElement} what to do on a board without scores */
function emptyBoard() {
  return el(
    "div",
    { class: "message" },
    el("h2", { text: "No score yet" }),
    el("p", { text: "Be the first: a play appears here as soon as it is in a block." }),
    el("button", {
      type: "button",
      class: "primary",
      text: "Submit the prefilled play",
      on: { click: () => byId("play-form").requestSubmit() },
    }),
  );
}

/** Say where the visitor's own player stands when its row is not on the screen. */
async function showYourPlace() {
  const place = byId("your-place");
  const row = board.yourRow;
  if (row) {
    if (announcedRank !== row.rank) announce(`You are on rank ${row.rank} with ${number(row.score)}.`);
    announcedRank = row.rank;
    place.hidden = board.shown.includes(row);
    place.textContent = `You are on rank ${number(row.rank)} with ${number(row.score)}.`;
    return;
  }
  place.hidden = true;
  const isWhole = standings === null || standings.total <= standings.rows.length;
  if (isWhole || Date.now() - placeAskedAt < PLACE_MS_MIN) return;
  placeAskedAt = Date.now();
  const asked = you;
  const path = `/api/leaderboards/${encodeURIComponent(gameId)}/${encodeURIComponent(boardName)}/players/${asked}`;
  // No row (404) or no network: there is simply no place to show.
  const found = await client.get(path, { budgetMs: 0 }).catch(() => null);
  if (!found || asked !== you || board.yourRow) return;
  place.hidden = false;
  place.textContent = `You are on rank ${number(found.rank)} with ${number(found.score)}.`;
}

/** @type {import("./stream.js").StreamStatus} */
let connection = { state: "connecting", attempt: 0, retryInMs: null, error: null };
let retryAt = 0;

/** The connection as a person would say it; called on every change and once a second while it is down. */
function showConnection() {
  const { state, error } = connection;
  const isDown = state === "reconnecting" || state === "stale" || state === "connecting";
  const isOld = isDown && lastBytesAt > 0 && Date.now() - lastBytesAt > STALE_MS;
  const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  const next = seconds > 0 ? `, next try in ${seconds} s` : "…";
  const age = Math.round((Date.now() - lastBytesAt) / 1000);
  const shown = isOld || state === "stale" ? "stale" : state;
  const texts = {
    connecting: "Connecting…",
    live: "Live",
    reconnecting: `Reconnecting${next}`,
    stale: `Stale, ${age} s old${next}`,
    failed: "Not available",
    closed: "Closed",
  };
  // Screen readers hear of the change, not of every second of the countdown.
  if (byId("connection").dataset.state !== shown) announce(`The leaderboard is ${shown}.`);
  byId("connection").dataset.state = shown;
  const text = byId("connection-text");
  if (text.textContent !== texts[shown]) text.textContent = texts[shown];
  byId("retry-now").hidden = !(isDown && seconds > 1);
  document.body.toggleAttribute("data-stale", shown === "stale");
  if (standings === null && error) showUnavailable(state === "failed", error);
}

/**
 * Nothing was ever loaded: say why and what to do.
 * @param {boolean} isFinal
 * @param {Error} error
 */
function showUnavailable(isFinal, error) {
  const advice = isFinal
    ? el(
        "p",
        {},
        `This server follows no board “${boardName}” of a game “${gameId}”. `,
        el("a", { href: "/", text: "Open the default board" }),
        ".",
      )
    : el(
        "p",
        {},
        `No answer from ${client.baseUrl.origin}. Is `,
        el("code", { text: "fairscore run" }),
        " running? This page keeps trying by itself.",
      );
  if (byId("board-message").dataset.reason === error.message) return;
  byId("board-message").dataset.reason = error.message;
  board.clear();
  board.say(
    el(
      "div",
      { class: "message error" },
      el("h2", { text: isFinal ? "No such board" : "The leaderboard cannot be loaded" }),
      advice,
    ),
  );
}

const subscription = client.subscribe({
  board: boardName,
  onEvent: () => (lastBytesAt = Date.now()),
  onStandings: (next) => {
    standings = next;
    scheduleDraw();
  },
  onStatus: (status) => {
    // "Old" counts from the moment the connection was lost: until then a quiet board is not an old one.
    if (status.state === "live" || connection.state === "live") lastBytesAt = Date.now();
    connection = status;
    retryAt = status.retryInMs === null ? 0 : Date.now() + status.retryInMs;
    showConnection();
  },
});
setInterval(() => connection.state !== "live" && showConnection(), 1000);
byId("retry-now").addEventListener("click", () => subscription.wake());
addEventListener("online", () => subscription.wake());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (connection.state !== "live") subscription.wake();
  scheduleDraw();
});
addEventListener("resize", scheduleDraw);

new PlayPanel(document, client, {
  announce,
  onPlayer: (player) => {
    you = player;
    announcedRank = 0;
    placeAskedAt = 0;
    board.you = player;
    scheduleDraw();
  },
});

byId("legend").append(
  ...LEVELS.map(({ meaning }, level) => el("div", {}, el("dt", {}, levelBadge(level)), el("dd", { text: meaning }))),
);
installTooltips(byId("tip"));

/** Cycle system → light → dark; theme.js applies the choice before the first paint of the next visit. */
const THEMES = [
  { value: "", icon: "◐", label: "Theme: as the system" },
  { value: "light", icon: "☀", label: "Theme: light" },
  { value: "dark", icon: "☾", label: "Theme: dark" },
];
function showTheme() {
  const { icon, label } =
    THEMES.find(({ value }) => value === (document.documentElement.dataset.theme ?? "")) ?? THEMES[0];
  byId("theme").textContent = icon;
  byId("theme").setAttribute("aria-label", label);
  byId("theme").setAttribute("data-tip", label);
}
byId("theme").addEventListener("click", () => {
  const current = THEMES.findIndex(({ value }) => value === (document.documentElement.dataset.theme ?? ""));
  const { value } = THEMES[(current + 1) % THEMES.length];
  if (value) document.documentElement.dataset.theme = value;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem("fairscore.theme", value);
  } catch {
    // A blocked storage only costs the memory of the next visit.
  }
  showTheme();
});
showTheme();
