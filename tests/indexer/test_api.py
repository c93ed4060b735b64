"""The indexer's HTTP answers over a real socket: one order everywhere, strict questions, the page."""

from collections.abc import Iterator

import pytest

from indexer.fold import Evidence
from tests.indexer.fake_chain import FakeChain, oracle, record_of
from tests.indexer.serving import BOARD, Serving
from tests.indexer.watching import GAME, named

PLAYERS = [bytes([1 + number // 200, number % 200]) * 10 for number in range(250)]


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """250 players, two scores each, one withdrawn."""
    url = f"sqlite:///{tmp_path_factory.mktemp('api') / 'api.db'}"
    if request.param == "postgresql":
        import uuid

        import psycopg

        server, name = request.getfixturevalue("postgres_server"), f"api_{uuid.uuid4().hex}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"'.encode())
        base, _, query = server.partition("?")
        url = f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
    chain = FakeChain()
    running = Serving(url, chain)
    best = record_of(1, PLAYERS[0], 2652)
    running.evidence.known[best.evidence_hash] = Evidence("sub_best", 1)
    for start in range(0, 250, 50):
        chain.submit(GAME, [(player, 2652 - start) for player in PLAYERS[start : start + 50]])
        chain.mine()
    chain.submit(GAME, [(player, 7) for player in PLAYERS])
    chain.mine()
    chain.judge(GAME, 2, invalid=True)
    chain.mine()
    running.settle()
    yield running
    running.stop()


def test_every_list_gives_the_same_order(serving: Serving) -> None:
    expected = [(named(player), score) for player, score, _ in oracle(serving.chain.world, GAME)]
    rows: list[dict[str, object]] = []
    path = f"{BOARD}?limit=37"
    while path:
        status, _, page = serving.get(path)
        assert (status, page["total"], page["blockNumber"]) == (200, 250, serving.chain.height)
        rows += page["rows"]
        path = f"{BOARD}?limit=37&cursor={page['nextCursor']}" if page["nextCursor"] else ""
    assert [(row["player"], row["score"]) for row in rows] == expected
    assert [row["rank"] for row in rows] == list(range(1, 251))
    _, _, legacy = serving.get("/api/leaderboard?limit=200")
    assert legacy == {"success": True, "leaderboard": rows[:200]}
    assert serving.get("/api/leaderboard")[2]["leaderboard"] == rows[:50]
    for rank in (1, 2, 57, 130, 249, 250):
        player = rows[rank - 1]["player"]
        _, _, one = serving.get(f"{BOARD}/players/{player}")
        assert {name: one[name] for name in rows[rank - 1]} == rows[rank - 1]
        assert one["percentile"] == (250 - rank + 1) * 10_000 // 250 / 100
        _, _, around = serving.get(f"{BOARD}/around/{str(player).lower()}?limit=5")
        first = min(max(rank - 3, 0), 245)
        assert around["rows"] == rows[first : first + 5]


def test_a_row_says_everything(serving: Serving) -> None:
    _, headers, page = serving.get(f"{BOARD}?limit=1")
    play = serving.chain.world.plays[GAME, 1]
    assert page["rows"] == [
        {
            "rank": 1, "player": named(PLAYERS[0]), "score": 2652, "timestamp": "2023-11-14T22:13:21Z",
            "evidenceLevel": 1, "txHash": serving.chain.blocks[1].logs[0].transaction_hash,
            "submissionId": "sub_best", "status": "final", "roundId": 1,
            "evidenceHash": "0x" + play.evidence_hash.hex(), "position": [1, 0],
            "disputed": False,
        }
    ]  # fmt: skip
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-request-id"]


def test_stats_scores_and_history(serving: Serving) -> None:
    _, _, stats = serving.get(f"{BOARD}/stats")
    assert stats == {
        "gameId": GAME, "board": "default", "players": 250, "scores": 500, "best": 2652,
        "blockNumber": serving.chain.height, "blockTime": "2023-11-14T22:13:27Z",
        "finalBlock": serving.chain.height - 2,
        "season": {"name": "all", "startsAt": "1970-01-01T00:00:00Z", "endsAt": None},
    }  # fmt: skip
    _, _, best = serving.get(f"/api/scores/{GAME}:1")
    assert (best["player"], best["score"], best["status"], best["position"]) == (
        named(PLAYERS[0]), 2652, "final", [1, 0],
    )  # fmt: skip
    assert best["links"] == {
        "evidence": f"/api/evidence/{best['evidenceHash']}",
        "submission": "/api/submissions/sub_best",
    }
    assert serving.get(f"/api/scores/{GAME}:2")[2]["status"] == "revoked"
    _, _, first = serving.get(f"/api/players/{named(PLAYERS[1])}/scores?limit=1")
    _, _, second = serving.get(f"/api/players/{named(PLAYERS[1])}/scores?limit=1&cursor={first['nextCursor']}")
    both = first["scores"] + second["scores"]
    assert [(score["score"], score["status"]) for score in both] == [(7, "included"), (2652, "revoked")]
    assert second["nextCursor"] is None
    assert serving.get(f"/api/players/{named(PLAYERS[1])}/scores?gameId={GAME}")[2]["scores"] == both


WRONG = {
    "/api/leaderboard?limit=0": (400, "QUERY_INVALID"),
    "/api/leaderboard?limit=201": (400, "QUERY_INVALID"),
    "/api/leaderboard?limit=ten": (400, "QUERY_INVALID"),
    "/api/leaderboard?limit=1.5": (400, "QUERY_INVALID"),
    "/api/leaderboard?limit=1&limit=2": (400, "QUERY_INVALID"),
    "/api/leaderboard?offset=5": (400, "QUERY_INVALID"),
    f"{BOARD}?cursor=AAAA": (400, "QUERY_INVALID"),
    f"{BOARD}?cursor=%00": (400, "QUERY_INVALID"),
    f"{BOARD}?cursor={'A' * 22}%20": (400, "QUERY_INVALID"),
    "/api/leaderboards/nobody/default": (404, "GAME_UNKNOWN"),
    f"/api/leaderboards/{GAME}/weekly": (404, "BOARD_UNKNOWN"),
    f"{BOARD}/players/0x12": (400, "PLAYER_INVALID"),
    f"{BOARD}/players/0x{'0' * 40}": (400, "PLAYER_INVALID"),
    f"{BOARD}/players/0x{'aB' * 20}": (400, "PLAYER_INVALID"),
    f"{BOARD}/players/0x{'12' * 20}": (404, "PLAYER_NOT_RANKED"),
    f"{BOARD}/around/0x{'12' * 20}": (404, "PLAYER_NOT_RANKED"),
    f"{BOARD}/around/{named(PLAYERS[0])}?limit=-1": (400, "QUERY_INVALID"),
    f"/api/scores/{GAME}": (400, "PATH_INVALID"),
    f"/api/scores/{GAME}:x": (400, "PATH_INVALID"),
    f"/api/scores/{GAME}:99999": (404, "SCORE_UNKNOWN"),
    f"/api/scores/{GAME}:18446744073709551615": (404, "SCORE_UNKNOWN"),
    "/api/scores/other:1": (404, "GAME_UNKNOWN"),
    f"/api/players/{named(PLAYERS[0])}/scores?cursor=AAAAAAAAAACAAAAAAAAAAA": (400, "QUERY_INVALID"),  # 2^63
    f"/api/players/{named(PLAYERS[0])}/scores?gameId=": (400, "QUERY_INVALID"),
    f"/api/players/{named(PLAYERS[0])}/scores?gameId=other": (404, "GAME_UNKNOWN"),
    "/api/leaderboards/nobody/default/stream": (404, "GAME_UNKNOWN"),
    f"{BOARD}/stream?since=1": (400, "QUERY_INVALID"),
}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_questions_are_refused_with_a_code(serving: Serving, path: str) -> None:
    status, headers, problem = serving.get(path)
    assert (status, problem["code"]) == WRONG[path]
    assert headers["content-type"] == "application/problem+json"
    assert problem["success"] is False


def test_the_page_and_its_modules(serving: Serving) -> None:
    status, headers, body = serving.get("/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"<title>" in body
    for path, kind in (("/fairscore.js", "text/javascript"), ("/style.css", "text/css"), ("/icon.svg", "image/svg")):
        status, headers, body = serving.get(path)
        assert (status, headers["content-type"].startswith(kind)) == (200, True)
        assert body
        assert headers["x-content-type-options"] == "nosniff"
        assert serving.get(path, {"If-None-Match": headers["etag"]})[0] == 304
        assert serving.get(path, {"If-None-Match": f'W/{headers["etag"]}, "x"'})[0] == 304
        assert serving.get(path, {"If-None-Match": '"another"'})[0] == 200
    assert serving.get("/fairscore.js")[1]["access-control-allow-origin"] == "*"
    for absent in ("/README.md", "/../config.py", "/page", "/index.html/"):
        assert serving.get(absent)[0] == 404


def test_readiness_names_its_checks(serving: Serving) -> None:
    checks = serving.service.ready()
    assert set(checks) == {"indexer.chain", "indexer.lag", "indexer.events", "indexer.providers"}
    assert all(check.ok for check in checks.values()), checks
