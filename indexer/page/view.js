/**
 * The pieces that several parts of the page show: elements, addresses, hashes, badges, lists of checks, tooltips.
 * Touches the document only. Data becomes text nodes and attributes, never markup.
 */

/** Evidence levels (product.md): the claim behind every rank. */
export const LEVELS = [
  { name: "claimed", meaning: "A number within bounds. Nothing was recomputed." },
  { name: "counts", meaning: "Recomputed from hit counts that the client supplied." },
  { name: "confirmed", meaning: "Counts or claim, and the game's own server confirmed the same score." },
  {
    name: "replayed",
    meaning: "Recomputed note by note from the raw input log of a single-use round, on the server's clock.",
  },
  { name: "replayed + signed", meaning: "Replayed note by note, and the player's wallet signed the result." },
];

/** What each check asks; a code that is not here is shown as it is. */
const CHECKS = {
  PLAYER_INVALID: "Player is a valid address",
  COUNT_NEGATIVE: "No count is negative",
  SCORE_OUT_OF_BOUNDS: "Score is within bounds",
  GAME_TIME_TOO_SHORT: "The game lasted long enough",
  TOO_FEW_NOTES: "Enough notes were played",
  COMBO_EXCEEDS_HITS: "The combo fits the hits",
  SCORE_MISMATCH: "The recomputed score equals the claim",
  NOTES_EXCEED_TIME: "So many notes fit the time",
  SCORE_ABOVE_MAXIMUM: "Score is possible on this chart",
  PERFECT_RATIO_HIGH: "The share of perfect hits is human",
  TIMING_IMPLAUSIBLE: "Game time fits the clock",
  WALL_CLOCK_TOO_SHORT: "The round lasted as long as its play",
  WALL_CLOCK_DRIFT: "The play took no longer than it says",
  SCORE_SPIKE: "The score fits the player's history",
  DUPLICATE_SUBMISSION: "Not submitted before",
  RATE_LIMITED: "Within the rate limit",
  BACKEND_SCORE_MISMATCH: "The game's server confirmed this score",
  SIGNATURE_REQUIRED: "The player proved who plays",
  SIGNATURE_INVALID: "The signature fits player and score",
  SIGNATURE_EXPIRED: "The signature was in time",
  SESSION_KEY_SCOPE: "The key that signed was allowed to",
};
const RESULTS = {
  pass: { mark: "✓", word: "passed" },
  flag: { mark: "!", word: "flagged" },
  fail: { mark: "✕", word: "failed" },
  insufficient_data: { mark: "–", word: "not enough data" },
};

/**
 * Build an element. `props` are attributes, except `text`, `on` (listeners) and `class`; null and false are left out.
 * @param {string} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node|string|null|undefined)} children
 * @returns {any} the element
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = String(value);
    else if (name === "on")
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const NUMBERS = new Intl.NumberFormat("en-US");

/**
 * An integer with thousands separators; big ones arrive as strings.
 * @param {number|string|bigint} value
 * @returns {string}
 */
export function number(value) {
  return NUMBERS.format(typeof value === "string" ? BigInt(value) : value);
}

/**
 * @param {string} hex
 * @param {number} [tail]
 * @returns {string} 0x1234…abcd
 */
export function short(hex, tail = 4) {
  return hex.length <= 10 + tail ? hex : `${hex.slice(0, 6)}…${hex.slice(-tail)}`;
}

/**
 * A mirrored 5×5 picture of an address, so that players can be told apart at a glance. Decorative.
 * @param {string} address
 * @returns {SVGSVGElement}
 */
export function identicon(address) {
  const digits = address.slice(2).toLowerCase().padEnd(40, "0");
  const nibble = (/** @type {number} */ index) => parseInt(digits[index], 16) || 0;
  const hue = (nibble(0) * 16 + nibble(1)) * (360 / 256);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-1 -1 7 7");
  svg.setAttribute("class", "identicon");
  svg.setAttribute("aria-hidden", "true");
  /** @param {number} x @param {number} y @param {number} size @param {string} fill */
  const square = (x, y, size, fill) => {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of Object.entries({ x, y, width: size, height: size, fill }))
      rect.setAttribute(name, String(value));
    svg.append(rect);
  };
  square(-1, -1, 7, `hsl(${hue} 45% 90%)`);
  for (let cell = 0; cell < 15; cell++) {
    if (nibble(2 + cell) % 2) continue;
    const [column, row] = [cell % 3, Math.floor(cell / 3)];
    const fill = `hsl(${(hue + (nibble(20 + cell) > 11 ? 150 : 0)) % 360} 58% 42%)`;
    square(column, row, 1.02, fill);
    if (column < 2) square(4 - column, row, 1.02, fill);
  }
  return svg;
}

/**
 * An evidence level as bars and a word; its tooltip explains it.
 * @param {number|null} level null while the evidence is not read yet
 * @returns {HTMLElement}
 */
export function levelBadge(level) {
  const bars = el("span", { class: "bars", "aria-hidden": "true" }, ...[1, 2, 3, 4].map(() => el("i")));
  return showLevel(el("span", { class: "level", tabindex: 0 }, bars, el("span")), level);
}

/**
 * Make a badge show another level. The element stays the same: it may have the focus, or a tooltip may point at it.
 * @param {HTMLElement} badge
 * @param {number|null} level
 * @returns {HTMLElement} the badge
 */
export function showLevel(badge, level) {
  const known = level === null ? undefined : LEVELS[level];
  const [bars, word] = badge.children;
  const lit = known ? Number(level) : 0;
  for (const [index, bar] of [...bars.children].entries()) bar.classList.toggle("on", index < lit);
  word.textContent = known ? known.name : "unread";
  badge.dataset.level = String(level ?? "none");
  badge.dataset.tip = known
    ? `Level ${level}: ${known.meaning}`
    : "The evidence of this score has not been read yet.";
  return badge;
}

/** What each state of a score on the chain means. */
const STATUS_TIPS = {
  included: "In a block. It becomes final when the chain can no longer undo that block.",
  final: "In a block that the chain can no longer undo.",
  retracted: "Its block was undone or the score was invalidated: it no longer counts.",
};

/**
 * A score's state on the chain.
 * @param {string} status
 * @returns {HTMLElement}
 */
export function statusChip(status) {
  return showStatus(el("span", { class: "status", tabindex: 0 }), status);
}

/**
 * Make a chip show another state; the element stays the same.
 * @param {HTMLElement} chip
 * @param {string} status
 * @returns {HTMLElement} the chip
 */
export function showStatus(chip, status) {
  chip.dataset.status = status;
  chip.dataset.tip = STATUS_TIPS[/** @type {keyof typeof STATUS_TIPS} */ (status)] ?? status;
  chip.textContent = status;
  return chip;
}

/** Why a disputed score is one; said in the row's tooltip and in the details. */
export const DISPUTED =
  "Disputed: the published evidence of this score is missing or does not say what the chain says. " +
  "It is shown until an auditor has decided.";

/**
 * A long value in full with a button that copies it.
 * @param {string} value
 * @returns {HTMLElement}
 */
export function copyable(value) {
  const button = el("button", {
    type: "button",
    class: "quiet copy",
    text: "Copy",
    "aria-label": `Copy ${short(value)}`,
  });
  button.addEventListener("click", async () => {
    const isDone = await navigator.clipboard.writeText(value).then(
      () => true,
      () => false,
    );
    button.textContent = isDone ? "Copied" : "Select it by hand";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return el("span", { class: "copyable" }, el("code", { text: value }), button);
}

/**
 * A number of a check as text: "expected 2,652". A name that ends in 10 counts in tenths.
 * @param {string} name
 * @param {any} value
 * @returns {string}
 */
function figure(name, value) {
  if (name.endsWith("10") && Number.isInteger(value)) return figure(name.slice(0, -2), value / 10);
  const words = name
    .replace(/([a-z])([A-Z0-9])/g, "$1 $2")
    .replaceAll("_", " ")
    .toLowerCase();
  const text =
    typeof value === "number" ? number(value) : typeof value === "object" ? JSON.stringify(value) : String(value);
  return `${words} ${text}`;
}

/**
 * All checks of a verdict, each with its result and the numbers it compared; what failed comes first.
 * @param {any[]} checks
 * @returns {HTMLElement}
 */
export function checkList(checks) {
  const order = ["fail", "flag", "insufficient_data", "pass"];
  const sorted = [...checks].sort((a, b) => order.indexOf(a.result) - order.indexOf(b.result));
  const list = el("ul", { class: "checks" });
  for (const { code, result, version, reason, detail, ...numbers } of sorted) {
    const { mark, word } = RESULTS[/** @type {keyof typeof RESULTS} */ (result)] ?? { mark: "?", word: String(result) };
    const known = Object.entries(numbers).filter(([, value]) => value !== null && value !== undefined);
    const figures = known.flatMap(([name, value], index) => [
      index ? " · " : "",
      el("span", { text: figure(name, value) }),
    ]);
    const label = CHECKS[/** @type {keyof typeof CHECKS} */ (code)];
    // A refusal's reason stands above the list; a flag's stands only here.
    const name = (result === "flag" || !label ? (reason ?? detail) : null) ?? label ?? code;
    list.append(
      el(
        "li",
        { "data-result": result, "data-code": code },
        el("span", { class: "mark", "aria-hidden": "true", text: mark }),
        el("span", { class: "check-name" }, name, el("span", { class: "hidden", text: ` (${word})` })),
        el("span", { class: "figures" }, name === code ? null : el("code", { text: code }), ...figures),
      ),
    );
  }
  return list;
}

/**
 * Comparisons of a receipt or of evidence, each with a tick.
 * @param {{name: string, ok: boolean, expected: string, actual: string}[]} comparisons
 * @returns {HTMLElement}
 */
export function tickList(comparisons) {
  const list = el("ul", { class: "checks ticks" });
  for (const { name, ok, expected, actual } of comparisons) {
    const difference = ok ? null : el("span", { class: "figures", text: `expected ${expected}, found ${actual}` });
    const mark = el("span", { class: "mark", "aria-hidden": "true", text: ok ? "✓" : "✕" });
    const said = el("span", { class: "hidden", text: ok ? " (matches)" : " (differs)" });
    list.append(
      el(
        "li",
        { "data-result": ok ? "pass" : "fail" },
        mark,
        el("span", { class: "check-name" }, name, said),
        difference,
      ),
    );
  }
  return list;
}

/**
 * Tooltips for everything with `data-tip`: on hover and on keyboard focus, dismissed by Escape (WCAG 1.4.13).
 * @param {any} tip the one element that shows them, in the top layer so that a dialog does not cover it
 */
export function installTooltips(tip) {
  /** @type {Element|null} */
  let owner = null;
  const hide = () => {
    owner?.removeAttribute("aria-describedby");
    owner = null;
    if (tip.matches(":popover-open")) tip.hidePopover();
  };
  /** @param {any} event */
  const show = ({ target }) => {
    const next = target instanceof Element ? target.closest("[data-tip]") : null;
    if (next === owner || (target instanceof Element && tip.contains(target))) return;
    hide();
    if (!next) return;
    owner = next;
    owner.setAttribute("aria-describedby", tip.id);
    tip.textContent = next.getAttribute("data-tip");
    tip.showPopover();
    const [around, size] = [next.getBoundingClientRect(), tip.getBoundingClientRect()];
    const left = Math.max(8, Math.min(innerWidth - size.width - 8, around.left + around.width / 2 - size.width / 2));
    const isRoomAbove = around.top > size.height + 12;
    tip.style.left = `${left}px`;
    tip.style.top = `${isRoomAbove ? around.top - size.height - 8 : around.bottom + 8}px`;
  };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, { capture: true, passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}

/**
 * A JSON document, folded away under a line.
 * @param {string} summary
 * @param {unknown} document
 * @returns {HTMLElement}
 */
export function rawJson(summary, document) {
  const pre = el("pre", { tabindex: 0, text: JSON.stringify(document, null, 2) });
  return el("details", { class: "raw" }, el("summary", { text: summary }), pre);
}
