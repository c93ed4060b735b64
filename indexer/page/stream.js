/**
 * A live leaderboard: reads the event stream, survives disconnects, keeps the standings sorted.
 * Touches the network only through the `fetch` it is given.
 *
 * Why fetch and not EventSource: EventSource hides comment heartbeats (so a dead connection cannot be told from a
 * quiet board), hides HTTP statuses and Retry-After, and reconnects after a fixed time, so that a server restart
 * brings every client back in the same instant. Resuming uses `?after=`, which needs no CORS preflight.
 */

/**
 * @typedef {{rank: number, player: string, score: number|string, timestamp: string, evidenceLevel: number|null,
 *   txHash: string, submissionId: string|null, status: string, roundId: number|string, evidenceHash: string,
 *   position: [number, number], disputed: boolean}} Row
 * @typedef {{name: string, startsAt: string, endsAt: string|null}} Season
 * @typedef {{epoch: string, seq: number, rows: Row[], total: number, blockNumber: number, window: number,
 *   season: Season|null, order: string, ties: string}} Standings
 * @typedef {{id: string|null, event: string, data: string}} ServerSentEvent
 * @typedef {{state: "connecting"|"live"|"reconnecting"|"stale"|"failed"|"closed", attempt: number,
 *   retryInMs: number|null, error: Error|null}} StreamStatus
 */

/** The server heartbeats every 15 s: after two missed ones and some grace the connection is taken for dead. */
const SILENCE_MS_MAX = 35_000;
const BACKOFF_MS_BASE = 250;
const BACKOFF_MS_MAX = 15_000;
/** How many top places are followed of a board that outgrows its snapshot; the size of the server's snapshot. */
const WINDOW_MIN = 100;

/**
 * How long to wait before the next attempt: exponential with "equal jitter" (half fixed, half random), so that clients
 * of a restarted server spread out, and never sooner than the server asked. Pure.
 * @param {number} attempt 0 for the first retry
 * @param {number} random in [0, 1)
 * @param {number|null} [retryAfterMs] what the server asked for
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, random, retryAfterMs = null) {
  const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_BASE * 2 ** Math.min(attempt, 16));
  const spread = ceiling / 2 + (random * ceiling) / 2;
  return retryAfterMs === null ? spread : retryAfterMs + random * BACKOFF_MS_BASE;
}

/**
 * Sleep that an AbortSignal ends early by rejecting with its reason.
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/**
 * An incremental parser of text/event-stream (WHATWG HTML, section 9.2.6): feed it text cut anywhere.
 * @param {(event: ServerSentEvent) => void} onEvent
 * @returns {(text: string) => void}
 */
export function eventStreamParser(onEvent) {
  let buffer = "";
  let isStart = true;
  let event = "";
  /** @type {string|null} */
  let id = null;
  /** @type {string[]} */
  let data = [];
  /** @param {string} line */
  const take = (line) => {
    if (line === "") {
      if (data.length) onEvent({ id, event: event || "message", data: data.join("\n") });
      event = "";
      data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id" && !value.includes("\0")) id = value;
  };
  return (text) => {
    buffer += text;
    if (isStart && buffer) {
      isStart = false;
      if (buffer[0] === "\ufeff") buffer = buffer.slice(1);
    }
    for (;;) {
      const end = buffer.search(/[\r\n]/);
      // A CR at the very end may be half of a CRLF: wait for the next chunk to tell.
      if (end < 0 || (buffer[end] === "\r" && end === buffer.length - 1)) return;
      const line = buffer.slice(0, end);
      buffer = buffer.slice(end + (buffer.startsWith("\r\n", end) ? 2 : 1));
      take(line);
    }
  };
}

/**
 * The board's order: the better score first, then the earlier position on the chain. Pure.
 * Scores above 2^53 - 1 arrive as strings, so those are compared as BigInt.
 * @param {Row} a
 * @param {Row} b
 * @param {string} [order] "desc": the higher score is the better one; "asc": the lower
 * @returns {number} negative when `a` ranks before `b`
 */
export function compareRows(a, b, order = "desc") {
  if (a.score !== b.score) {
    const plain = typeof a.score === "number" && typeof b.score === "number";
    const [left, right] = plain ? [a.score, b.score] : [BigInt(a.score), BigInt(b.score)];
    if (left !== right) return left > right === (order === "desc") ? -1 : 1;
  }
  return a.position[0] - b.position[0] || a.position[1] - b.position[1];
}

/**
 * Give the rows their ranks; a row that keeps its rank stays the same object, so a view can tell what changed.
 * @param {Row[]} rows in order
 * @param {string} ties "shared": equal scores have one rank, that of the first of them (1, 1, 3)
 * @returns {Row[]}
 */
function ranked(rows, ties) {
  let rank = 0;
  return rows.map((row, index) => {
    const tied = ties === "shared" && index > 0 && String(rows[index - 1].score) === String(row.score);
    if (!tied) rank = index + 1;
    return row.rank === rank ? row : { ...row, rank };
  });
}

/**
 * A player's new best (or, with rank null, its removal) applied to the followed top of the board.
 * @param {Standings} state
 * @param {any} row
 * @returns {Standings}
 */
function placed(state, row) {
  const { type, seq, gameId, board, previousRank, total: given, ...entry } = row;
  const wasThere = state.rows.some((other) => other.player === entry.player);
  const rows = state.rows.filter((other) => other.player !== entry.player);
  const total = given ?? state.total + (entry.rank === null ? -1 : previousRank === null ? 1 : 0);
  // Is every player of the board among our rows? If not, what follows our last row is unknown to us.
  const isWhole = state.total <= state.rows.length;
  const last = state.rows[state.rows.length - 1];
  const isInside = entry.rank !== null && (isWhole || (last !== undefined && compareRows(entry, last, state.order) <= 0));
  if (isInside) {
    const index = rows.findIndex((other) => compareRows(entry, other, state.order) < 0);
    rows.splice(index < 0 ? rows.length : index, 0, entry);
  }
  if (!isInside && !wasThere) return { ...state, total };
  return { ...state, total, rows: ranked(rows.slice(0, state.window), state.ties) };
}

/**
 * How many top places to follow: all that the server sent of a board that is larger, else room to grow.
 * @param {Row[]} rows
 * @param {number} total
 * @returns {number}
 */
function windowOf(rows, total) {
  return total > rows.length ? rows.length : Math.max(WINDOW_MIN, rows.length);
}

/**
 * One stream event folded into the standings. Pure; rows that did not change keep their identity.
 * @param {Standings|null} state null before the first snapshot
 * @param {any} event the event's data
 * @returns {Standings}
 * @throws {TypeError} when a delta comes before any snapshot
 */
export function foldStandings(state, event) {
  if (event.type === "snapshot") {
    const { epoch, seq, total, blockNumber, season = null, order = "desc", ties = "earliest" } = event;
    const rows = ranked([...event.rows].sort((a, b) => compareRows(a, b, order)), ties);
    const window = windowOf(rows, total);
    return { epoch: String(epoch), seq, rows, total, blockNumber: blockNumber ?? 0, window, season, order, ties };
  }
  if (state === null) throw new TypeError("a delta arrived before any snapshot");
  const block = Math.max(state.blockNumber, event.blockNumber ?? 0, event.position?.[0] ?? 0);
  const next = { ...state, seq: event.seq, blockNumber: block };
  if (event.type === "standing") return placed(next, event);
  if (event.type === "season") {
    const rows = ranked([...event.rows].sort((a, b) => compareRows(a, b, state.order)), state.ties);
    return { ...next, season: event.season, rows, total: event.total, window: windowOf(rows, event.total) };
  }
  if (event.type === "final") {
    const finals = new Set(event.scoreIds);
    const isNowFinal = (/** @type {Row} */ row) =>
      row.status !== "final" && finals.has(`${event.gameId}:${row.roundId}`);
    return { ...next, rows: next.rows.map((row) => (isNowFinal(row) ? { ...row, status: "final" } : row)) };
  }
  if (event.type === "retract") {
    // The player's `standing` follows with what is left of it; until then the row says that it no longer counts.
    const isGone = (/** @type {Row} */ row) => String(row.roundId) === String(event.roundId);
    return { ...next, rows: next.rows.map((row) => (isGone(row) ? { ...row, status: "retracted" } : row)) };
  }
  return next;
}

/**
 * Whether an event continues the state: sequence numbers of a board are consecutive within an epoch. Pure.
 * @param {Standings|null} state
 * @param {any} event
 * @param {string|null} epoch of the event's id
 * @returns {"next"|"repeat"|"gap"}
 */
export function continuity(state, event, epoch) {
  if (event.type === "snapshot") return "next";
  if (state === null || (epoch !== null && epoch !== state.epoch)) return "gap";
  if (event.seq <= state.seq) return "repeat";
  return event.seq === state.seq + 1 ? "next" : "gap";
}

/**
 * So many rows left the followed top, and it is unknown who moves up, that a new snapshot is due. Pure.
 * @param {Standings} state
 * @returns {boolean}
 */
export function isDepleted(state) {
  return state.total > state.rows.length && state.rows.length < state.window / 2;
}

/** A subscription to one board. Made by `Fairscore.subscribe`; `close()` ends it, `wake()` retries at once. */
export class Subscription {
  /** @type {Standings|null} */
  #state = null;
  #closed = new AbortController();
  #pause = new AbortController();
  /** True when the next connection must start from a snapshot. */
  #mustRestart = true;
  #attempt = 0;

  /**
   * @param {string} url of the stream
   * @param {typeof globalThis.fetch} fetch
   * @param {(response: Response) => Promise<Error & {status: number|null, retryAfterMs: number|null}>} errorOf
   * @param {{onSnapshot?: (standings: Standings) => void, onEvent?: (event: any) => void,
   *   onStandings?: (standings: Standings) => void, onStatus?: (status: StreamStatus) => void,
   *   silenceMsMax?: number}} listeners
   */
  constructor(url, fetch, errorOf, listeners) {
    this.url = url;
    this.fetch = fetch;
    this.errorOf = errorOf;
    this.listeners = listeners;
    this.silenceMsMax = listeners.silenceMsMax ?? SILENCE_MS_MAX;
    void this.#run();
  }

  /** The standings as of the last event, or null before the first snapshot. */
  get standings() {
    return this.#state;
  }

  /** End the subscription; no callback is called afterwards except the status `closed`. */
  close() {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new DOMException("closed by the caller", "AbortError"));
    this.#report("closed");
  }

  /** Cut the wait before the next attempt short, for example when the network is back or the page visible again. */
  wake() {
    this.#attempt = 0;
    this.#pause.abort();
  }

  /**
   * @param {StreamStatus["state"]} state
   * @param {number|null} [retryInMs]
   * @param {Error|null} [error]
   */
  #report(state, retryInMs = null, error = null) {
    this.#tell(this.listeners.onStatus, { state, attempt: this.#attempt, retryInMs, error });
  }

  /**
   * Call a listener; what it throws is its own defect and is reported as such, it must not look like a lost connection.
   * @template T
   * @param {((value: T) => void)|undefined} listener
   * @param {T} value
   */
  #tell(listener, value) {
    try {
      listener?.(value);
    } catch (error) {
      reportError(error);
    }
  }

  async #run() {
    this.#report("connecting");
    while (!this.#closed.signal.aborted) {
      /** @type {any} */
      let failure = null;
      try {
        await this.#connectOnce();
      } catch (error) {
        failure = error;
      }
      if (this.#closed.signal.aborted) return;
      if (failure?.status === 404) return this.#report("failed", null, failure);
      // 400 or 410 may be our cursor: start over rather than repeat it for ever.
      if (failure?.status >= 400 && failure?.status < 500) this.#mustRestart = true;
      const delay = backoffMs(this.#attempt, Math.random(), failure?.retryAfterMs ?? null);
      this.#report(failure?.name === "SilenceError" ? "stale" : "reconnecting", delay, failure);
      this.#attempt += 1;
      this.#pause = new AbortController();
      const ends = AbortSignal.any([this.#pause.signal, this.#closed.signal]);
      await sleep(delay, ends).catch(() => undefined);
    }
  }

  /** One connection, until it ends; returns or throws when another is due. */
  async #connectOnce() {
    const connection = new AbortController();
    const signal = AbortSignal.any([connection.signal, this.#closed.signal]);
    const url = new URL(this.url);
    if (this.#state !== null && !this.#mustRestart)
      url.searchParams.set("after", `${this.#state.epoch}-${this.#state.seq}`);
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    let watchdog;
    const watch = () => {
      clearTimeout(watchdog);
      const silence = new Error(`no byte and no heartbeat for ${this.silenceMsMax} ms`);
      silence.name = "SilenceError";
      watchdog = setTimeout(() => connection.abort(silence), this.silenceMsMax);
    };
    try {
      watch();
      const response = await this.fetch(url, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal });
      if (!response.ok || response.body === null) throw await this.errorOf(response);
      if (url.searchParams.has("after")) this.#report("live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      /** @type {ServerSentEvent[]} */
      const arrived = [];
      const parse = eventStreamParser((event) => arrived.push(event));
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        watch();
        this.#attempt = 0;
        parse(value);
        if (arrived.length && !this.#take(arrived.splice(0))) return;
      }
    } finally {
      clearTimeout(watchdog);
      connection.abort();
    }
  }

  /**
   * Apply the events of one chunk; the standings are handed out once for all of them.
   * @param {ServerSentEvent[]} events
   * @returns {boolean} false when the stream must be restarted from a snapshot
   */
  #take(events) {
    const before = this.#state;
    for (const { id, event: name, data } of events) {
      const event = { type: name, ...JSON.parse(data) };
      const dash = id?.lastIndexOf("-") ?? -1;
      const epoch = id !== null && dash > 0 ? id.slice(0, dash) : null;
      const place = continuity(this.#state, event, epoch);
      if (place === "repeat") continue;
      if (place === "gap") {
        this.#mustRestart = true;
        break;
      }
      this.#state = foldStandings(this.#state, event);
      if (event.type === "snapshot") {
        if (epoch !== null) this.#state.epoch = epoch;
        this.#mustRestart = false;
        this.#report("live");
        this.#tell(this.listeners.onSnapshot, this.#state);
      }
      this.#tell(this.listeners.onEvent, event);
    }
    if (this.#state !== null && this.#state !== before) this.#tell(this.listeners.onStandings, this.#state);
    if (this.#state !== null && isDepleted(this.#state)) this.#mustRestart = true;
    return !this.#mustRestart;
  }
}
