/**
 * What can go wrong between a browser and the relay, as one error class that says what to do about it.
 * Touches the body of the answer it is given, nothing else.
 */

/** A refusal or a failure, with what the relay said about it. */
export class FairscoreError extends Error {
  /**
   * @param {string} message
   * @param {{code: string, status?: number|null, reason?: string, checks?: import("./fairscore.js").Check[], errors?: any[],
   *   requestId?: string|null, retryAfterMs?: number|null, submission?: any, cause?: unknown}} details
   */
  constructor(
    message,
    {
      code,
      status = null,
      reason,
      checks = [],
      errors = [],
      requestId = null,
      retryAfterMs = null,
      submission = null,
      cause,
    },
  ) {
    super(message, { cause });
    this.name = "FairscoreError";
    /** Stable code: of the first failed check, of the problem, or NETWORK_UNREACHABLE, WAIT_TIMEOUT, SUBMISSION_ENDED. */
    this.code = code;
    /** HTTP status, or null when no answer came. */
    this.status = status;
    /** Text for a person. */
    this.reason = reason ?? message;
    /** Every check of the verdict, passed ones too; empty when the relay did not judge. */
    this.checks = checks;
    /** Field errors: `{pointer, code, detail}`. */
    this.errors = errors;
    this.requestId = requestId;
    /** Milliseconds the relay asked to wait, or null. */
    this.retryAfterMs = retryAfterMs;
    /** The submission as last seen, where one exists. */
    this.submission = submission;
  }
}

/**
 * Retry-After as milliseconds (RFC 9110, section 10.2.3: seconds or a date). Pure.
 * @param {string|null} value
 * @param {number} nowMs
 * @returns {number|null} null when absent or unreadable
 */
export function parseRetryAfter(value, nowMs) {
  if (value === null || value.trim() === "") return null;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}

/**
 * Whether the same request with the same idempotency key may be sent again. Pure.
 * A 500 may not: it is a defect, and repeating it helps nobody.
 * @param {FairscoreError} failure
 * @returns {boolean}
 */
export function isRetryable({ status, code }) {
  if (status === null) return code === "NETWORK_UNREACHABLE";
  return status === 429 || status === 502 || status === 503 || status === 504 || code === "IDEMPOTENCY_IN_FLIGHT";
}

/**
 * The error that a refused answer says (problem+json, RFC 9457), or a plain one where something else answered.
 * @param {Response} response whose body is not read yet
 * @returns {Promise<FairscoreError>}
 */
export async function errorOf(response) {
  /** @type {any} */
  const problem = await response.json().catch(() => ({}));
  const text =
    problem.detail ?? problem.title ?? `The server answered ${response.status} ${response.statusText}`.trim();
  return new FairscoreError(text, {
    code: problem.code ?? `HTTP_${response.status}`,
    status: response.status,
    reason: problem.reason ?? text,
    checks: problem.checks ?? [],
    errors: problem.errors ?? [],
    requestId: problem.requestId ?? response.headers.get("X-Request-Id"),
    retryAfterMs: parseRetryAfter(response.headers.get("Retry-After"), Date.now()),
  });
}
