"""fairscore.js: which failures are retried, what an error carries, and how a receipt is compared."""

from typing import Any

from playwright.sync_api import Page

from relay.keccak import keccak

PLAYER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
# Plays scripted answers through the `fetch` given to the client and records what was asked. The same behaviour over
# real sockets and against the real relay is in test_page_live.py.
SUBMIT = """async ({answers, options}) => {
    const { Fairscore } = await import('/fairscore.js');
    const asked = [];
    const fetch = async (url, init) => {
        const answer = answers[Math.min(asked.length, answers.length - 1)];
        asked.push({ url, method: init.method, headers: init.headers, body: init.body });
        if (answer === null) throw new TypeError('Failed to fetch');
        return new Response(JSON.stringify(answer.body), { status: answer.status, headers: answer.headers });
    };
    const client = new Fairscore({ baseUrl: 'http://relay.invalid', apiKey: 'fs_live_pk_x', fetch });
    const play = { score: 2652, perfect: 45, good: 12, miss: 3, combo: 42, gameTime: 30000 };
    try {
        return { asked, answer: await client.submit(play, options) };
    } catch (error) {
        const { name, code, status, reason, checks, errors, requestId, retryAfterMs } = error;
        return { asked, error: { name, code, status, reason, checks, errors, requestId, retryAfterMs } };
    }
}"""
ACCEPTED: dict[str, Any] = {
    "status": 202,
    "body": {"submissionId": "sub_1"},
    "headers": {"Idempotent-Replayed": "true"},
}


def submit(blank: Page, *answers: dict[str, Any] | None, **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = blank.evaluate(SUBMIT, {"answers": answers, "options": {"player": PLAYER, **options}})
    return result


def test_a_submission_is_what_the_api_asks_for(blank: Page) -> None:
    told = submit(blank, ACCEPTED, wait=0)
    (asked,) = told["asked"]
    assert asked["url"] == "http://relay.invalid/api/submit-score"
    assert asked["method"] == "POST"
    assert asked["headers"]["Prefer"] == "respond-async"
    assert asked["headers"]["Authorization"] == "Bearer fs_live_pk_x"
    assert len(asked["headers"]["Idempotency-Key"]) == 32
    assert told["answer"]["replayed"] is True
    assert told["answer"]["idempotencyKey"] == asked["headers"]["Idempotency-Key"]


def test_wait_becomes_prefer_within_the_relays_limit(blank: Page) -> None:
    preferences = [submit(blank, ACCEPTED, wait=wait)["asked"][0]["headers"].get("Prefer") for wait in (None, 0.2, 90)]
    assert preferences == [None, "wait=1", "wait=30"]


def test_lost_answers_are_retried_with_the_same_key(blank: Page) -> None:
    busy = {"status": 503, "body": {"code": "OVERLOADED"}, "headers": {"Retry-After": "0"}}
    in_flight = {"status": 409, "body": {"code": "IDEMPOTENCY_IN_FLIGHT"}, "headers": {"Retry-After": "0"}}
    told = submit(blank, None, busy, in_flight, ACCEPTED)
    assert told["answer"]["submissionId"] == "sub_1"
    assert len({asked["headers"]["Idempotency-Key"] for asked in told["asked"]}) == 1
    assert len({asked["body"] for asked in told["asked"]}) == 1
    assert len(told["asked"]) == 4


def test_a_refusal_is_not_retried_and_says_why(blank: Page) -> None:
    checks = [{"code": "SCORE_MISMATCH", "result": "fail", "claimed": 5420, "expected": 2652}]
    body = {
        "code": "SCORE_MISMATCH",
        "detail": "d",
        "reason": "Claimed 5420, computed 2652",
        "checks": checks,
        "requestId": "r1",
    }
    told = submit(blank, {"status": 422, "body": body, "headers": {}})
    assert len(told["asked"]) == 1
    assert told["error"] == {
        "name": "FairscoreError",
        "code": "SCORE_MISMATCH",
        "status": 422,
        "reason": "Claimed 5420, computed 2652",
        "checks": checks,
        "errors": [],
        "requestId": "r1",
        "retryAfterMs": None,
    }


def test_defects_and_contradictions_are_not_repeated(blank: Page) -> None:
    for status, code in (
        (500, "INTERNAL"),
        (400, "PAYLOAD_MALFORMED"),
        (422, "IDEMPOTENCY_KEY_REUSED"),
        (409, "REFERENCE_EXISTS"),
    ):
        told = submit(blank, {"status": status, "body": {"code": code}, "headers": {}})
        assert (len(told["asked"]), told["error"]["code"]) == (1, code)


def test_a_long_retry_after_is_left_to_the_caller(blank: Page) -> None:
    limited = {"status": 429, "body": {"code": "RATE_LIMITED"}, "headers": {"Retry-After": "60"}}
    told = submit(blank, limited)
    assert len(told["asked"]) == 1
    assert (told["error"]["code"], told["error"]["retryAfterMs"]) == ("RATE_LIMITED", 60_000)


def test_unreachable_gives_up_when_the_budget_is_spent(blank: Page) -> None:
    told = submit(blank, None, budgetMs=1500)
    assert 2 <= len(told["asked"]) <= 5
    assert (told["error"]["code"], told["error"]["status"]) == ("NETWORK_UNREACHABLE", None)


def test_an_answer_that_is_not_a_problem_document_is_still_an_error(blank: Page) -> None:
    told = submit(blank, {"status": 413, "body": "too large", "headers": {"X-Request-Id": "r9"}})
    assert (told["error"]["code"], told["error"]["requestId"]) == ("HTTP_413", "r9")


def test_retry_after_is_seconds_or_a_date(blank: Page) -> None:
    values = ["3", " 0 ", "Sun, 22 Nov 2026 12:00:05 GMT", "Sun, 22 Nov 2026 11:00:00 GMT", "soon", "", None]
    parsed = blank.evaluate(
        """async (values) => {
            const { parseRetryAfter } = await import('/fairscore.js');
            return values.map((value) => parseRetryAfter(value, Date.UTC(2026, 10, 22, 12, 0, 0)));
        }""",
        values,
    )
    assert parsed == [3000, 0, 5000, 0, None, None, None]


EVIDENCE = b'{"player":"%s","rulesHash":"0x%s","score":2652,"submissionId":"sub_1"}' % (
    PLAYER.lower().encode(),
    b"22" * 32,
)
VERIFY = """async ({receipt, answer, evidence, status}) => {
    const { Fairscore } = await import('/fairscore.js');
    const fetch = async () => new Response(evidence, { status });
    const client = new Fairscore({ baseUrl: 'http://relay.invalid', fetch });
    const { ok, checks } = await client.verifyReceipt(receipt, { answer });
    return { ok, wrong: checks.filter((check) => !check.ok).map(({ name }) => name) };
}"""


def receipt(**changes: Any) -> dict[str, Any]:
    """A receipt packed here by hand, as contract.md says: player ‖ uint96 ‖ uint64 ‖ evidence hash."""
    evidence_hash = keccak(EVIDENCE)
    records = bytes.fromhex(PLAYER[2:]) + (2652).to_bytes(12, "big") + (17).to_bytes(8, "big") + evidence_hash
    message = {
        "gameId": "0x" + keccak(b"streambeat").hex(),
        "rulesHash": "0x" + "22" * 32,
        "deadline": 1_800_000_000,
        "records": "0x" + records.hex(),
    }
    return {
        "typedData": {"primaryType": "ScoreBatch", "message": message | changes.pop("message", {})},
        "gameId": "streambeat",
        "player": PLAYER,
        "score": 2652,
        "roundId": 17,
        "evidenceHash": "0x" + evidence_hash.hex(),
        "rulesHash": "0x" + "22" * 32,
        "deadline": 1_800_000_000,
        **changes,
    }


def verify(
    blank: Page, given: dict[str, Any], evidence: bytes = EVIDENCE, status: int = 200, **answer: Any
) -> dict[str, Any]:
    whole = {"submissionId": "sub_1", "score": 2652, "evidenceHash": given["evidenceHash"], **answer}
    result: dict[str, Any] = blank.evaluate(
        VERIFY, {"receipt": given, "answer": whole, "evidence": evidence.decode(), "status": status}
    )
    return result


def test_an_honest_receipt_verifies(blank: Page) -> None:
    assert verify(blank, receipt()) == {"ok": True, "wrong": []}


def test_every_altered_field_of_a_receipt_is_named(blank: Page) -> None:
    assert verify(blank, receipt(score=2653))["wrong"] == ["score"]
    assert verify(blank, receipt(player="0x" + "11" * 20))["wrong"] == ["player"]
    assert verify(blank, receipt(roundId=18))["wrong"] == ["round"]
    assert verify(blank, receipt(gameId="other"))["wrong"] == ["game"]
    assert verify(blank, receipt(message={"rulesHash": "0x" + "33" * 32}))["wrong"] == ["rules", "evidence: rules"]
    assert verify(blank, receipt(message={"records": "0x00"}))["wrong"] == ["record"]
    assert verify(blank, receipt(), submissionId="sub_2")["wrong"] == ["answer: submission"]
    assert verify(blank, receipt(), score=9999)["wrong"] == ["answer: score"]


def test_evidence_with_one_byte_changed_or_missing_does_not_verify(blank: Page) -> None:
    altered = verify(blank, receipt(), evidence=EVIDENCE.replace(b"2652", b"2653"))
    assert altered["ok"] is False
    assert "evidence bytes" in altered["wrong"]
    missing = verify(blank, receipt(), evidence=b"{}", status=404)
    assert missing["ok"] is False
    assert "evidence bytes" in missing["wrong"]
