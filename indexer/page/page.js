/**
 * The live leaderboard page: connects the client, the board, the play panel and the details.
 * Touches the document, the address bar's query (`?game=&board=&season=&tournament=`) and localStorage (theme).
 */

import { Board } from "./board.js";
import { Choice, valueOf } from "./choice.js";
import { Details } from "./details.js";
import { Fairscore, backoffMs, sleep } from "./fairscore.js";
import { PlayPanel } from "./play.js";
import { installThemeButton } from "./theme_button.js";
import { LEVELS, el, installTooltips, levelBadge, number } from "./view.js";

/** After so long without a connection the page calls its own data old. */
const STALE_MS = 10_000;
/** The place of a player outside the followed top is asked for at most this often. */
const PLACE_MS_MIN = 2_000;

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const wanted = new URLSearchParams(location.search);
const gameId = wanted.get("game") ?? "streambeat";
const client = new Fairscore({ gameId });

const details = new Details(byId("details"), client);
const board = new Board(
  {
    table: byId("table"),
    heading: byId("score-heading"),
    body: byId("rows"),
    message: byId("board-message"),
    showAll: byId("show-all"),
  },
  { gameId, visible: () => (innerWidth < 720 ? 10 : 25), onOpen: (row) => details.open(row, valueOf(choice.info)) },
);
const choice = new Choice(
  { board: byId("board-choice"), season: byId("season-choice"), ends: byId("season-ends"), rules: byId("rules") },
  client,
  { onChoose: () => show(), onKnown: () => board.label(valueOf(choice.info)) },
);

let you = "";
/**
 * What is on the screen: followed standings, or the page of a season that is over.
 * @type {Pick<import("./stream.js").Standings, "rows"|"total"|"blockNumber"|"season">|null}
 */
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
    choice.showing(standings.season);
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
  if (choice.season !== null) return el("p", { class: "message", text: `Nobody scored in ${choice.season}.` });
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
  const { signal } = current;
  const wanted = { board: choice.board, season: choice.season, budgetMs: 0 };
  // No network: then there is simply no place to show.
  const found = await client.player(asked, wanted).catch(() => null);
  if (!found || asked !== you || signal.aborted || board.yourRow) return;
  place.hidden = false;
  place.textContent = `You are on rank ${number(found.rank)} with ${number(found.score)}.`;
}

/** @type {Omit<import("./stream.js").StreamStatus, "state"> & {state: string}} a stream's, or `past`: nothing to follow */
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
  /** @type {Record<string, string>} */
  const texts = {
    connecting: "Connecting…",
    live: "Live",
    reconnecting: `Reconnecting${next}`,
    stale: `Stale, ${age} s old${next}`,
    failed: "Not available",
    past: "Past season",
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
 * @param {any} error
 */
function showUnavailable(isFinal, error) {
  if (byId("board-message").dataset.reason === error.message) return;
  byId("board-message").dataset.reason = error.message;
  const noSeason = error.code === "SEASON_UNKNOWN";
  const headings = { true: noSeason ? "No such season" : "No such board", false: "The leaderboard cannot be loaded" };
  board.clear();
  board.say(
    el(
      "div",
      { class: "message error" },
      el("h2", { text: headings[/** @type {"true"|"false"} */ (String(isFinal))] }),
      isFinal ? absent(noSeason) : outOfReach(error),
    ),
  );
}

/**
 * @param {boolean} noSeason the board exists, the season does not
 * @returns {HTMLElement}
 */
function absent(noSeason) {
  const link = (/** @type {string} */ href, /** @type {string} */ text) => el("a", { href, text });
  const { board: name, season } = choice;
  if (!noSeason) {
    const said = `This server follows no board “${name}” of a game “${gameId}”. `;
    return el("p", {}, said, link("/", "Open the default board"), ".");
  }
  const query = new URLSearchParams({ game: gameId, board: name });
  return el("p", {}, `The board “${name}” has no season “${season}”. `, link(`/?${query}`, "Open the current one"), ".");
}

/**
 * @param {any} error
 * @returns {HTMLElement}
 */
function outOfReach(error) {
  const goesOn = " This page keeps trying by itself.";
  if (error.status) return el("p", { text: `${error.message.replace(/\.$/, "")}.${goesOn}` });
  const asking = `No answer from ${client.baseUrl.origin}. Is `;
  return el("p", {}, asking, el("code", { text: "fairscore run" }), ` running?${goesOn}`);
}

/** Ends whatever is followed or loaded now. */
let current = new AbortController();
/** Try again now instead of later. */
let wake = () => {};

/** Show the chosen board: follow its current season, or load one that is over. */
function show() {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  standings = null;
  announcedRank = placeAskedAt = lastBytesAt = 0;
  delete byId("board-message").dataset.reason;
  byId("your-place").hidden = true;
  byId("stat-players").textContent = byId("stat-block").textContent = "–";
  byId("board-title").textContent = choice.season === null ? "Live leaderboard" : `Leaderboard of ${choice.season}`;
  board.reset();
  board.label(valueOf(choice.info));
  if (choice.season === null) follow(signal);
  else void load(choice.season, signal);
}

/** @param {typeof connection} status */
function connected(status) {
  // "Old" counts from the moment the connection was lost: until then a quiet board is not an old one.
  if (status.state === "live" || connection.state === "live") lastBytesAt = Date.now();
  // What the server is configured to may have changed while it was away.
  if (["live", "past", "failed"].includes(status.state)) void choice.refresh();
  connection = status;
  retryAt = status.retryInMs === null ? 0 : Date.now() + status.retryInMs;
  showConnection();
}

/** @param {AbortSignal} signal */
function follow(signal) {
  const subscription = client.subscribe({
    board: choice.board,
    onEvent: ({ type }) => {
      lastBytesAt = Date.now();
      if (type === "season") void choice.refresh();
    },
    onStandings: (next) => {
      standings = next;
      scheduleDraw();
    },
    onStatus: (status) => {
      if (!signal.aborted) connected(status);
    },
  });
  wake = () => subscription.wake();
  signal.addEventListener("abort", () => subscription.close());
}

/**
 * A season that is over is a page of the list; it is asked for until it is there.
 * @param {string} season
 * @param {AbortSignal} signal
 */
async function load(season, signal) {
  for (let attempt = 0; ; attempt++) {
    connected({ state: "connecting", attempt, retryInMs: null, error: null });
    try {
      standings = await client.standings({ board: choice.board, season, signal, budgetMs: 0 });
      connected({ state: "past", attempt, retryInMs: null, error: null });
      return scheduleDraw();
    } catch (caught) {
      if (signal.aborted) return;
      const error = /** @type {any} */ (caught);
      const isFinal = error.status === 400 || error.status === 404;
      const retryInMs = isFinal ? null : backoffMs(attempt, Math.random(), error.retryAfterMs);
      connected({ state: isFinal ? "failed" : "reconnecting", attempt, retryInMs, error });
      if (retryInMs === null) return;
      const pause = new AbortController();
      wake = () => pause.abort();
      await sleep(retryInMs, AbortSignal.any([pause.signal, signal])).catch(() => undefined);
      if (signal.aborted) return;
    }
  }
}

setInterval(() => connection.retryInMs !== null && showConnection(), 1000);
byId("retry-now").addEventListener("click", () => wake());
addEventListener("online", () => wake());
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (connection.state !== "live") wake();
  scheduleDraw();
});
addEventListener("resize", scheduleDraw);

new PlayPanel(document, client, {
  announce,
  tournament: wanted.get("tournament"),
  onPlayer: (player) => {
    you = player;
    announcedRank = 0;
    placeAskedAt = 0;
    board.you = player;
    scheduleDraw();
  },
});

show();

byId("legend").append(
  ...LEVELS.map(({ meaning }, level) => el("div", {}, el("dt", {}, levelBadge(level)), el("dd", { text: meaning }))),
);
installTooltips(byId("tip"));

installThemeButton(byId("theme"));
