"""The issue's vectors and bad inputs over real HTTP: right answers, stable codes, never a 500, nothing stored."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from tests.harness.plays import player
from tests.harness.process import Fairscore

# The worked example of the published system: 45 perfect, 12 good, 3 miss, combo 42.
COUNTS = {"perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000}
PLAYER = to_checksum_address("0x" + "c0ffee" * 6 + "c0ff")
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fairscore]:
    """One server for all inputs."""
    with Fairscore(tmp_path_factory.mktemp("inputs") / "home") as running:
        yield running


def post(
    server: Fairscore, body: bytes, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON and headers of one submission."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: answer waits
            connection.request("POST", "/api/submit-score", body, JSON if headers is None else headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def payload(score: Any = 2652, address: str = PLAYER, **changes: Any) -> dict[str, Any]:
    """The worked example with another score or other counts."""
    return {"playerAddress": address, "gameId": "streambeat", "scoreData": {"score": score, **COUNTS, **changes}}


def encoded(document: Any) -> bytes:
    """JSON text of a document; Python writes NaN and Infinity, as bad clients do."""
    return json.dumps(document).encode()


def accepted(server: Fairscore) -> int:
    """How many submissions the relay holds as accepted: none of those below may raise it."""
    page = server.get(f"/api/submissions?player={PLAYER}&limit=200")
    return sum(1 for item in page["items" if "items" in page else "submissions"] if item["status"] != "rejected")


@pytest.mark.parametrize("claimed", [2652, 2653])
def test_within_the_tolerance(server: Fairscore, claimed: int) -> None:
    """2652 is the formula's value; 2653 is within its tolerance, and what is signed is what was computed."""
    status, answer, _ = post(server, encoded(payload(claimed, address=player(claimed))))
    assert status in {200, 202}
    assert answer["validated"] is True
    assert answer["score"] == 2652
    assert answer["receipt"]["score"] == 2652


@pytest.mark.parametrize("claimed", [2651])
def test_tolerance_below(server: Fairscore, claimed: int) -> None:
    """The tolerance holds on both sides."""
    assert post(server, encoded(payload(claimed, address=player(claimed))))[0] in {200, 202}


@pytest.mark.parametrize("claimed", [2654, 2650, 5420, 0])
def test_mismatch_is_refused(server: Fairscore, claimed: int) -> None:
    """2654 is beyond the tolerance; 5420 is the published system's own mistaken example."""
    status, answer, headers = post(server, encoded(payload(claimed, address=player(9000 + claimed))))
    assert status == 422
    assert headers["content-type"].startswith("application/problem+json")
    assert answer["code"] == "SCORE_MISMATCH"
    assert answer["success"] is False
    assert answer["error"] == "Score validation failed"
    assert answer["requestId"] == headers["x-request-id"]
    failed = {check["code"] for check in answer["checks"] if check["result"] == "fail"}
    assert failed == {"SCORE_MISMATCH"}


def test_level_one_means_what_it_says(server: Fairscore) -> None:
    """2000 perfect with combo 490 is exactly 1,000,000: counts are client-supplied, so level 1 accepts it."""
    counts = {"perfect": 2000, "good": 0, "miss": 0, "combo": 490, "gameTime": 200_000}
    body = {"playerAddress": player(490), "gameId": "streambeat", "scoreData": {"score": 1_000_000, **counts}}
    status, answer, _ = post(server, encoded(body))
    assert status in {200, 202}
    assert (answer["score"], answer["evidenceLevel"]) == (1_000_000, 1)


def without(field: str) -> dict[str, Any]:
    """The worked example with one field of scoreData missing."""
    document = payload()
    del document["scoreData"][field]
    return document


def nested(depth: int) -> bytes:
    """A value nested deep enough to exhaust a recursive parser."""
    return b'{"playerAddress":' + b"[" * depth + b"]" * depth + b"}"


DUPLICATE = encoded(payload()).replace(b'"score": 2652', b'"score": 5420, "score": 2652')
HUGE = b'{"playerAddress":"' + b"a" * 10_000_000 + b'"}'
BAD = {
    "empty object": b"{}",
    "no body": b"",
    "not json": b"score=2652",
    "not utf-8": b'{"playerAddress":"\xff\xfe"}',
    "byte order mark": b"\xef\xbb\xbf" + encoded(payload()),
    "null": b"null",
    "list": b"[5]",
    "string": b'"abc"',
    "number": b"1.5",
    "true": b"true",
    "missing gameTime": encoded(without("gameTime")),
    "missing score": encoded(without("score")),
    "score abc": encoded(payload("abc")),
    "score as text": encoded(payload("2652")),
    "score 1.5": encoded(payload(1.5)),
    "score 2652.0": encoded(payload(2652.0)),
    "score list": encoded(payload([5])),
    "score true": encoded(payload(True)),
    "score null": encoded(payload(None)),
    "score 1e400": encoded(payload()).replace(b"2652", b"1e400"),
    "score 2.652e3": encoded(payload()).replace(b"2652", b"2.652e3"),
    "score NaN": encoded(payload(float("nan"))),
    "score Infinity": encoded(payload(float("inf"))),
    "score minus": encoded(payload(-1)),
    "score minus zero": encoded(payload()).replace(b"2652", b"-0"),
    "score 400 digits": encoded(payload()).replace(b"2652", b"9" * 400),
    "score beyond 2^53": encoded(payload(2**53)),
    "score beyond the bound": encoded(payload(1_000_001)),
    "perfect true": encoded(payload(perfect=True)),
    "perfect minus": encoded(payload(perfect=-45)),
    "gameTime list": encoded(payload(gameTime=[30000])),
    "gameTime too short": encoded(payload(gameTime=9999)),
    "unknown field": encoded(payload(cheat=1)),
    "unknown top field": encoded({**payload(), "isAdmin": True}),
    "duplicate key": DUPLICATE,
    "duplicate key by escape": DUPLICATE.replace(b'"score": 5420', b'"\\u0073core": 5420'),
    "wrong checksum": encoded(payload(address=PLAYER.swapcase().replace("0X", "0x"))),
    "zero player": encoded(payload(address="0x" + "0" * 40)),
    "short player": encoded(payload(address="0x1234")),
    "player with a line break": encoded(payload(address=PLAYER + "\n")),
    "another game": encoded({**payload(), "gameId": "nosuchgame"}),
    "game id with nul": encoded({**payload(), "gameId": "stream\0beat"}),
    "lone surrogate": encoded({**payload(), "gameId": "X"}).replace(b'"X"', b'"\\ud800"'),
    "nest of 100": nested(100),
    "nest of 100000": nested(100_000),
    "trailing text": encoded(payload()) + b"x",
    "two documents": encoded(payload()) * 2,
    "10 MB": HUGE,
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_bad_input_is_the_callers_fault(server: Fairscore, body: bytes) -> None:
    """Every one of them is a 4xx with a stable code, as problem+json, and nothing is accepted."""
    before = accepted(server)
    status, answer, headers = post(server, body)
    assert 400 <= status < 500, answer
    assert headers["content-type"].startswith("application/problem+json")
    assert answer["status"] == status
    assert answer["code"] == answer["code"].upper() != ""
    assert answer["type"].endswith(f"/problems/{answer['code']}")
    assert answer["success"] is False
    assert answer["reason"]
    assert accepted(server) == before == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_another_content_type(server: Fairscore, kind: str) -> None:
    """Only JSON is read as JSON: a browser's form cannot post a score across origins unasked."""
    status, answer, _ = post(server, encoded(payload()), {"Content-Type": kind})
    assert (status, answer["code"]) == (415, "MEDIA_TYPE_UNSUPPORTED")
    assert accepted(server) == 0


def test_a_body_without_a_length_is_cut_off(server: Fairscore) -> None:
    """A chunked body of unknown length is limited as it arrives."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", "/api/submit-score", iter([b" " * 65_536] * 64), JSON, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["code"] == "BODY_TOO_LARGE"
    connection.close()


def test_the_sixty_first_in_a_minute_is_refused(server: Fairscore) -> None:
    """The 60th submission of a player in a minute passes, the 61st is 429 with Retry-After and opens a flag."""
    address = player(61)
    statuses = []
    for serial in range(61):
        status, answer, headers = post(
            server, encoded(payload(address=address, gameTime=40_000 + serial)), JSON | {"Prefer": "respond-async"}
        )
        statuses.append(status)
    assert statuses == [202] * 60 + [429]
    assert answer["code"] == "RATE_LIMITED"
    assert 1 <= int(headers["retry-after"]) <= 60
    key = json.loads((server.home / "devnet.json").read_text())["keys"]["auditor"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", f"/api/audit-flags?player={address}", headers={"Authorization": f"Bearer {key}"})
    flags = json.loads(connection.getresponse().read())
    assert "61/60 per minute" in json.dumps(flags)
    connection.close()
