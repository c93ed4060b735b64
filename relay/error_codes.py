"""The stable codes of everything that is refused or fails, each with its status and the text of its page.

Pure. A code never changes its meaning. `relay.errors` raises them.
"""

from typing import NamedTuple


class Problem(NamedTuple):
    """One kind of error answer: HTTP status, title (RFC 9457), and the text of its page under `/problems/<code>`."""

    status: int
    title: str
    explanation: str


def refused(title: str, explanation: str) -> Problem:
    """Return the problem of a failed check: 422, because the request was understood and judged."""
    return Problem(422, title, explanation)


PROBLEMS: dict[str, Problem] = {
    # --- the request itself
    "PAYLOAD_MALFORMED": Problem(
        400,
        "Payload malformed",
        "The body is not strict JSON of the expected shape. Unknown fields, duplicate keys, booleans or floats where "
        "integers belong, NaN and Infinity, lone surrogates and integers beyond 2^53-1 are refused. `errors` names "
        "each field by JSON pointer. Nothing was recorded.",
    ),
    "PLAYER_INVALID": Problem(
        400,
        "Player address invalid",
        "A player is 0x and 40 hexadecimal digits, not the zero address; mixed case must carry a correct EIP-55 "
        "checksum. Nothing was recorded.",
    ),
    "QUERY_INVALID": Problem(400, "Query parameter invalid", "A query parameter is unknown, repeated or out of range."),
    "PATH_INVALID": Problem(
        400, "Path parameter invalid", "A part of the path is not of the form this operation takes."
    ),
    "HEADER_INVALID": Problem(400, "Header invalid", "A header of the request cannot be understood."),
    "REQUEST_MALFORMED": Problem(400, "Not HTTP", "The bytes received are not an HTTP/1.1 request."),
    "REQUEST_TIMEOUT": Problem(408, "Request too slow", "The request was not received completely within 60 seconds."),
    "HEAD_TOO_LARGE": Problem(431, "Head too large", "Address and headers of a request are limited to 64 KiB."),
    "PAYLOAD_DECRYPT_FAILED": Problem(
        400,
        "Payload cannot be decrypted",
        "The encrypted report is not base64 of IV (12 bytes), ciphertext and tag (16), was not made with this round's "
        "key for this round, was altered, or its IV was used before. Which of these is not told. Nothing was recorded.",
    ),
    "ENCRYPTION_REQUIRED": Problem(
        400, "Encryption required", "The game takes the reports of its rounds encrypted only; `encryptionKey` was sent."
    ),
    "ENCRYPTION_KEY_UNKNOWN": Problem(404, "Encryption key unknown", "The game has no payload key with this id."),
    "GAME_REQUIRED": Problem(
        400, "Game required", "`gameId` may be left out only where the relay serves one game or the key belongs to one."
    ),
    "IDEMPOTENCY_KEY_INVALID": Problem(
        400,
        "Idempotency key invalid",
        "An idempotency key is 1 to 255 visible ASCII characters, quoted or not; header and body must agree.",
    ),
    "NOT_AUTHENTICATED": Problem(
        401,
        "Not authenticated",
        "The operation needs a key (`Authorization: Bearer fs_live_…`), or the key sent is unknown, expired or "
        "revoked. A wrong key is refused even where none is needed.",
    ),
    "FORBIDDEN_ROLE": Problem(403, "Role not allowed", "The key is valid, but its role may not do this."),
    "FORBIDDEN_GAME": Problem(403, "Game not allowed", "The key is valid, but it belongs to another game."),
    "FORBIDDEN_PLAYER": Problem(
        403, "Player not allowed", "The session is one player's, and the request is about another player."
    ),
    "NOT_FOUND": Problem(404, "Not found", "There is nothing at this address."),
    "GAME_UNKNOWN": Problem(404, "Game unknown", "This relay does not serve the game."),
    "KEY_UNKNOWN": Problem(404, "Key unknown", "This signer does not hold the key."),
    "SIGNING_REFUSED": Problem(
        403,
        "Signing refused",
        "The signer's policy does not allow this key to sign this; `rule` names what it breaks. Keys sign only batches "
        "of scores and anchors for one contract, or transactions to that contract, on one chain.",
    ),
    "API_KEY_UNKNOWN": Problem(404, "API key unknown", "No key has this id, or yours is of another game than it."),
    "SIGN_IN_MALFORMED": Problem(
        400, "Not a sign-in message", "`message` is the text of ERC-4361 (Sign-In with Ethereum), exactly as signed."
    ),
    "SIGN_IN_DOMAIN": Problem(
        403,
        "Sign-in for another domain",
        "The message names a domain that is neither this server's, nor that of an origin some game allows, nor listed "
        "in FAIRSCORE_SIGN_IN_DOMAINS. A page that shows another site's message to a wallet is phishing.",
    ),
    "SIGN_IN_CHAIN": Problem(403, "Sign-in for another chain", "The message names another chain than this relay's."),
    "SIGN_IN_NONCE": Problem(
        403,
        "Sign-in nonce not valid",
        "The message's nonce was not given out by `POST /api/sessions/nonce`, was used, or is older than 10 minutes. "
        "Each sign-in takes a new one.",
    ),
    "SIGN_IN_EXPIRED": Problem(403, "Sign-in expired", "The message's expiration time has passed."),
    "SIGN_IN_NOT_YET_VALID": Problem(
        403, "Sign-in not yet valid", "The message was issued, or becomes valid, in the future; clocks may differ 60 s."
    ),
    "SIGN_IN_SIGNATURE": Problem(
        403,
        "Sign-in signature wrong",
        "The signature is not that of the message by the wallet at its address, or by the contract there (ERC-1271).",
    ),
    "DELEGATION_INVALID": Problem(
        403,
        "Delegation not valid",
        "The signature is not the player's, of an EIP-712 `SessionKey` with this player, key, scope and `expiresAt` in "
        "the contract's domain.",
    ),
    "DELEGATION_LIFETIME": Problem(
        400,
        "Delegation too long or over",
        "`expiresAt`, in unix seconds, is in the future, and at most 24 hours ahead.",
    ),
    "SESSION_KEY_UNKNOWN": Problem(404, "Session key unknown", "The player delegated to no key with this id."),
    "SUBMISSION_UNKNOWN": Problem(404, "Submission unknown", "No submission has this id."),
    "FLAG_UNKNOWN": Problem(404, "Flag unknown", "No audit flag has this id, or the key belongs to another game."),
    "ROUND_UNKNOWN": Problem(404, "Round unknown", "There is no round with this id, in this tournament, of this game."),
    "TOURNAMENT_UNKNOWN": Problem(404, "Tournament unknown", "There is no tournament with this id."),
    "EVIDENCE_UNKNOWN": Problem(404, "Evidence unknown", "No evidence with this hash is stored here."),
    "BOARD_UNKNOWN": Problem(404, "Board unknown", "The game has no board with this name; every game has `default`."),
    "SEASON_UNKNOWN": Problem(404, "Season unknown", "The board has no such season, or it has not begun."),
    "PLAYER_NOT_RANKED": Problem(404, "Player not ranked", "The player has no valid score on this board."),
    "SCORE_UNKNOWN": Problem(404, "Score unknown", "No score of this round is on the chain, as far as it is indexed."),
    "SENDER_UNKNOWN": Problem(
        404, "Sender unknown", "No key of this address sends transactions here; `GET /api/outbox` lists those that do."
    ),
    "NONCE_UNKNOWN": Problem(404, "Nonce unknown", "This key never reserved the nonce; `GET /api/outbox` lists them."),
    "METHOD_NOT_ALLOWED": Problem(
        405, "Method not allowed", "The address exists, but not with this method; see `Allow`."
    ),
    "DELEGATION_USED": Problem(
        409,
        "Delegation used",
        "This delegation was made before, and may have been revoked since. Another one names another `expiresAt`.",
    ),
    "DELEGATIONS_TOO_MANY": Problem(
        409, "Too many session keys", "A player has at most 16 session keys at a time; revoke one, or let one expire."
    ),
    "SIGNATURE_USED": Problem(
        409,
        "Signature used",
        "A player's signature counts for one submission, and this one was used by `submissionId`. A further play is "
        "signed anew, with another deadline.",
    ),
    "IDEMPOTENCY_IN_FLIGHT": Problem(
        409,
        "Still running",
        "The first request with this idempotency key is not answered yet. Ask again after `Retry-After` seconds.",
    ),
    "ROUND_WRONG_PLAYER": Problem(
        403, "Another player's round", "A round is reported by the player who started it, and counts for nobody else."
    ),
    "ROUND_ALREADY_USED": Problem(
        409,
        "Round already used",
        "A round is reported once. The same report again hears the first answer; this one is another play.",
    ),
    "ROUND_EXPIRED": Problem(
        409,
        "Round expired",
        "The round was not reported by its `expiresAt`, or a third round of the player was started. Start a new round.",
    ),
    "ROUND_INVALIDATED": Problem(
        409,
        "Round invalidated",
        "The round is over: its score was refused or not confirmed, or its tournament is cancelled; `reason` of the "
        "round says which.",
    ),
    "ROUND_WRONG_CHART": Problem(409, "Another chart", "The round, or its tournament, is played on another chart."),
    "ROUND_WRONG_RULES": Problem(
        409, "Rules changed", "The game is judged by other rules than when the round was started. Start a new round."
    ),
    "CONFIRMATION_CONTRADICTS": Problem(
        409,
        "Confirmation contradicts",
        "The round's first confirmation stands, and this one says otherwise. The same again would be no error. An "
        "accepted score is taken back with `POST /api/submissions/{id}/revoke`.",
    ),
    "TOURNAMENT_EXISTS": Problem(
        409, "Tournament exists", "Another tournament has this id. The same request again would have found it."
    ),
    "TOURNAMENT_NOT_OPEN": Problem(
        409, "Tournament not open", "Rounds are started between a tournament's `startsAt` and its `endsAt`."
    ),
    "TOURNAMENT_FULL": Problem(409, "Tournament full", "The tournament has as many players as its `capacity`."),
    "ATTEMPTS_EXHAUSTED": Problem(
        409, "No attempts left", "The player has started as many rounds of the tournament as `attemptsPerPlayer`."
    ),
    "SEED_NOT_COMMITTED": Problem(
        404, "No seeds of that day", "No round of the game could be started on that day, so nothing was committed to."
    ),
    "NONCE_NOT_VOIDABLE": Problem(
        409,
        "Nonce not voidable",
        "A nonce can be voided while its transaction is in no block. One that is mined, final or used by someone else "
        "has had its effect; a recorded score is taken back by revoking it.",
    ),
    "SUBMISSION_NOT_ACCEPTED": Problem(
        409,
        "Submission not accepted",
        "The submission was refused, so there is no score that could be revoked.",
    ),
    "SUBMISSION_NOT_REVOKED": Problem(
        409,
        "Submission not revoked",
        "Only a revoked score can be reinstated. One that somebody invalidated on the contract without this relay is "
        "revoked here first; nothing is sent for that, as the contract has it already.",
    ),
    "FLAG_NOT_REVOCABLE": Problem(
        409,
        "Nothing to revoke",
        "`revoke` takes back the score a flag is about. This one is about none, or about a score on the chain that no "
        "submission of this relay stands behind: that is invalidated on the contract, with an auditor's key.",
    ),
    "SUBMISSION_NOT_PARKED": Problem(
        409, "Submission not parked", "Only a submission that the contract refused (`parked`) can be retried."
    ),
    "BOARD_CONFIGURED": Problem(
        409,
        "Board configured elsewhere",
        "The board is configured in the indexer's settings, `[games.<id>.boards.<name>]`, as every game's `default` "
        "is; it is changed there. Boards made over HTTP are changed over HTTP.",
    ),
    "GAME_CONFIGURED": Problem(
        409,
        "Game configured elsewhere",
        "The game is configured in the relay's settings, `[games.<id>]`, and is changed there. Games made over HTTP, "
        "or with `fairscore games`, are changed the same way.",
    ),
    "API_KEY_NOT_ACTIVE": Problem(
        409, "API key not active", "Only a key that is valid can be rotated; make a new one instead of this one."
    ),
    "UPGRADE_REQUIRED": Problem(
        426, "Upgrade required", "The address takes WebSocket connections; `…/stream` has the same messages over HTTP."
    ),
    "BODY_TOO_LARGE": Problem(
        413, "Body too large", "Bodies are limited to 256 KiB, or 1 MiB where the ruleset takes a replay."
    ),
    "MEDIA_TYPE_UNSUPPORTED": Problem(415, "Media type unsupported", "Bodies are `application/json` in UTF-8."),
    "IDEMPOTENCY_KEY_REUSED": Problem(
        422,
        "Idempotency key reused",
        "This idempotency key was used for another request. Use a new key for a new request.",
    ),
    "RATE_LIMITED": Problem(
        429,
        "Rate limit exceeded",
        "The player has as many submissions in the last 60 seconds as the game allows. Refused attempts do not "
        "consume; `Retry-After` says when the oldest one leaves the window.",
    ),
    "TOO_MANY_REQUESTS": Problem(
        429,
        "Too many requests",
        "One address, or one key, has made more requests within a minute than this server takes; `RateLimit-Policy` "
        "says which and how many, `Retry-After` when the next is taken. Nothing was looked at. A wrong key counts as "
        "many requests.",
    ),
    # --- us and the world
    "INTERNAL_ERROR": Problem(500, "Internal error", "A bug of ours. Tell the operator the request id."),
    "STORE_UNAVAILABLE": Problem(
        503,
        "Storage unavailable",
        "The database did not take the change, so nothing was promised. Send the same request again, with an "
        "idempotency key if it must count once.",
    ),
    "SIGNER_UNAVAILABLE": Problem(
        503,
        "Signer unavailable",
        "What is accepted is signed at once, and nothing can be now: the relay has no attestation key, its remote "
        "signer does not answer, or the contract has revoked the key. Nothing was recorded; send it again.",
    ),
    "NOT_READY": Problem(503, "Not ready", "The server is starting, stopping, or one of its checks fails."),
    "CHAIN_UNAVAILABLE": Problem(503, "Chain unavailable", "The chain's RPC endpoint does not answer."),
    # --- failed checks
    "COUNT_NEGATIVE": refused("Negative count", "Every count, the combo and the game time are at least 0."),
    "SCORE_OUT_OF_BOUNDS": refused(
        "Score out of bounds", "A score lies between 0 and the game's highest score, both ends allowed."
    ),
    "GAME_TIME_TOO_SHORT": refused("Game too short", "A play lasts at least the game's shortest time."),
    "TOO_FEW_NOTES": refused("Too few notes", "perfect + good + miss is at least the game's fewest notes."),
    "COMBO_EXCEEDS_HITS": refused("Combo exceeds hits", "A combo cannot be longer than perfect + good."),
    "SCORE_MISMATCH": refused(
        "Score does not follow from the counts",
        "The score is recomputed in exact tenths: multiplier m10 = min(10 + combo, 500), expected10 = m10 * "
        "(10 * perfect + 5 * good). The claim must be within the tolerance of it.",
    ),
    "NOTES_EXCEED_TIME": refused("More notes than time", "So many notes do not fit into the game time."),
    "SCORE_ABOVE_MAXIMUM": refused(
        "Score above the theoretical maximum",
        "The game registers a highest reachable score, and the claim is above it.",
    ),
    "PERFECT_RATIO_HIGH": refused(
        "Suspiciously perfect", "The share of perfect notes is above the game's limit. Flagged by default, not refused."
    ),
    "SCORE_SPIKE": refused(
        "Score spike", "The score is far above the player's last accepted ones. Flagged by default, not refused."
    ),
    "SIGNATURE_INVALID": refused(
        "Signature invalid",
        "`signature` is of an EIP-712 `SubmitScore` for this game, round, player, score, evidence and deadline, in the "
        "contract's domain, by the player's wallet or a session key of the player's. Its s is in the lower half.",
    ),
    "SIGNATURE_EXPIRED": refused("Signature expired", "The signature's `deadline` has passed by the server's clock."),
    "SESSION_KEY_SCOPE": refused(
        "Session key out of scope", "The key that signed was delegated by the player, and has expired or was revoked."
    ),
    "SIGNATURE_REQUIRED": refused(
        "Proof of the player required",
        "The game takes scores from signed-in players (`POST /api/sessions`) or with the player's `signature` only.",
    ),
    "SCORE_NOT_COMPUTED": refused(
        "Score not computed", "Nothing could be recomputed from the evidence, and what was not computed is not signed."
    ),
    "TIMING_IMPLAUSIBLE": refused(
        "Longer than its round", "The claimed game time is longer than the time from the round's start to its report."
    ),
    "WALL_CLOCK_TOO_SHORT": refused(
        "Longer than its round", "The replay's last event is later than the time from the round's start to its report."
    ),
    "WALL_CLOCK_DRIFT": refused(
        "Slower than its round",
        "The round took more than 1.25 times as long as the play claims. Flagged by default, not refused.",
    ),
    "BACKEND_SCORE_MISMATCH": refused(
        "Game server has another score", "The game's server confirmed the round with another score than was reported."
    ),
    "CONFIRMATION_REFUSED": refused(
        "Game server refuses", "The game's server declared the round invalid, so its score does not count."
    ),
    "CONFIRMATION_TIMEOUT": refused(
        "Not confirmed in time", "The game's server did not confirm the round in time, so its score does not count."
    ),
    "TOURNAMENT_CANCELLED": refused(
        "Tournament cancelled", "The tournament was cancelled while the score waited for its confirmation."
    ),
    "ROUND_REQUIRED": refused("Round required", "The game accepts scores of rounds only, and none was named."),
}
