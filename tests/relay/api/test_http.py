"""HTTP conventions: ids, methods, bodies, keys, CORS, pages, problems."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from starlette.routing import Mount

from relay.api.asgi import Api
from relay.api.auth import KeyRing
from relay.api.operations import Answer, Call, Operation, Receive, Send, answer
from relay.errors import PROBLEMS
from relay.games import GameConfig
from relay.health import Check

Make = Callable[..., dict[str, Any]]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function."""
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_request_ids(sqlite_url: str, relay_at: Any) -> None:
    """Echoed when valid, made up otherwise, never the same twice."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            ids = []
            for given in ("my-id/1", "", "a b", "x" * 129, "é"):
                reply = await relay.request("GET", "/health/live", headers={"X-Request-Id": given})
                ids.append(reply.headers["x-request-id"])
            assert ids[0] == "my-id/1"
            assert all(made.startswith("req_") for made in ids[1:])
            assert len(set(ids)) == 5

    run(scenario)


def test_methods_and_unknown_addresses(sqlite_url: str, relay_at: Any) -> None:
    """404, 405 with Allow, HEAD like GET without a body, OPTIONS."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            for path in ("/nope", "/api/submissions/", "/api/submissions/a/b", "/api/evidence/{evidenceHash}x/y"):
                reply = await relay.request("GET", path)
                assert (reply.status, reply.json["code"]) == (404, "NOT_FOUND")
            reply = await relay.request("DELETE", "/api/submit-score")
            assert (reply.status, reply.headers["allow"]) == (405, "OPTIONS, POST")
            got, head = [await relay.request(method, "/health/live") for method in ("GET", "HEAD")]
            assert head.body == b""
            assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))
            options = await relay.request("OPTIONS", "/health")
            assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")

    run(scenario)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("application/json", 202), ("application/json;charset=UTF-8", 202), ("application/vnd.game+json", 202),
     (None, 202), ("text/plain", 415), ("application/x-www-form-urlencoded", 415),
     ("application/json; charset=latin-1", 415), ("multipart/form-data", 415)],
)  # fmt: skip
def test_media_types(sqlite_url: str, relay_at: Any, kind: str | None, status: int) -> None:
    """JSON in UTF-8, or nothing said."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            headers = {} if kind is None else {"content_type": kind}
            assert (await relay.submit(**headers)).status == status
            if status == 202:
                assert (await relay.submit(content_encoding="gzip")).status == 415

    run(scenario)


def test_bodies_in_pieces_and_clients_that_leave(sqlite_url: str, relay_at: Any, make_play: Make) -> None:
    """A body may come in pieces, is cut off at the limit without being read, and may never come."""
    import json

    raw = json.dumps(make_play()).encode()

    async def ask(api: Any, messages: list[dict[str, Any]], headers: list[tuple[bytes, bytes]]) -> list[Any]:
        sent: list[Any] = []
        pending = iter(messages)

        async def receive() -> dict[str, Any]:
            return next(pending)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/api/submit-score", "query_string": b"", "headers": headers}
        await api(scope, receive, send)
        return sent

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            pieces: list[dict[str, Any]] = [
                {"type": "http.request", "body": raw[at : at + 20], "more_body": True} for at in range(0, len(raw), 20)
            ]
            ended = [*pieces, {"type": "http.request"}]
            assert (await ask(relay.api, ended, [(b"prefer", b"respond-async")]))[0]["status"] == 202
            left: list[dict[str, Any]] = [*pieces[:2], {"type": "http.disconnect"}]
            assert await ask(relay.api, left, []) == []
            announced = [(b"content-length", b"99999999")]
            assert (await ask(relay.api, [], [*announced, (b"expect", b"100-continue")]))[0]["status"] == 413
            big: dict[str, Any] = {"type": "http.request", "body": b" " * 600_000, "more_body": True}
            last: dict[str, Any] = {"type": "http.request"}
            # The rest is taken, for a connection closed over unread bytes is reset, and the answer lost; up to 16 MiB.
            for headers in ([], announced):
                assert (await ask(relay.api, [big, big, last], headers))[0]["status"] == 413
                assert (await ask(relay.api, [big] * 32, headers))[0]["status"] == 413
                assert await ask(relay.api, [big, big, big, {"type": "http.disconnect"}], headers) == []

    run(scenario)


def test_keys_and_roles(database_url: str, relay_at: Any, make_play: Make) -> None:
    """401 without or with a wrong key (even where none is needed), 403 for the wrong role or game."""
    games = (GameConfig("streambeat"), GameConfig("open", anonymous_submit=True))

    async def scenario() -> None:
        async with relay_at(database_url, *games) as relay:
            keys = {role: relay.keys.create(role) for role in ("server", "client", "auditor", "admin")}
            foreign = relay.keys.create("client", game_id="open")

            async def post(token: str | None, game: str | None = "streambeat") -> Any:
                fields = {} if token is None else {"authorization": f"Bearer {token}"}
                return await relay.submit(make_play(**({} if game is None else {"gameId": game})), **fields)

            missing = await post(None)
            assert (missing.status, missing.json["code"]) == (401, "NOT_AUTHENTICATED")
            assert missing.headers["www-authenticate"] == 'Bearer realm="fairscore"'
            for role, status in (("server", 202), ("client", 202), ("auditor", 403), ("admin", 403)):
                assert (await post(keys[role].secret)).status == status
            assert (await post(None, "open")).status == 202
            for wrong in ("nonsense", keys["client"].secret + "x", keys["client"].info.prefix, "é"):
                reply = await post(wrong, "open")
                assert (reply.status, reply.json["code"]) == (401, "NOT_AUTHENTICATED")
                assert 'error="invalid_token"' in reply.headers["www-authenticate"]
            assert (await relay.submit(authorization="Basic YTpi")).status == 401
            assert (await relay.request("GET", "/health", headers={"Authorization": "Bearer no"})).status == 401
            assert (await post(foreign.secret)).json["code"] == "FORBIDDEN_GAME"
            assert (await post(foreign.secret, None)).json["receipt"]["gameId"] == "open"
            for role, status in (("server", 200), ("client", 403), ("auditor", 200), ("admin", 200)):
                header = {"Authorization": f"bearer {keys[role].secret}"}
                assert (await relay.request("GET", "/api/audit-flags", headers=header)).status == status

    run(scenario)


def test_the_life_of_a_key(database_url: str, relay_at: Any) -> None:
    """Stored as a hash, noticed within a second when revoked or expired, last use written in bulk."""
    clock = {"s": 0.0, "ms": time.time_ns() // 1_000_000}

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            ring = KeyRing(relay.database, relay.writer, lambda: clock["s"], lambda: int(clock["ms"]))
            new = relay.keys.create("server", name="build", expires_at_ms=int(clock["ms"]) + 60_000)
            assert new.secret.startswith("fs_live_sk_")
            assert len(new.secret) >= 11 + 43
            assert new.secret not in repr(new)
            stored = await relay.database.read(lambda c: c.execute(text("SELECT * FROM api_keys")).one())
            assert new.secret.encode() not in b"".join(v if isinstance(v, bytes) else str(v).encode() for v in stored)
            credential = await ring(new.secret)
            assert credential is not None
            assert (credential.role, credential.game_id) == ("server", None)
            assert await ring.flush() == 1
            assert relay.keys.list()[0].last_used_at_ms == clock["ms"]
            clock["ms"] += 60_000
            assert await ring(new.secret) is None  # remembered, and with it when it ends
            second = relay.keys.create("client")
            assert await ring(second.secret) is not None
            assert relay.keys.revoke(second.info.prefix)
            assert not relay.keys.revoke(second.info.id)
            assert not relay.keys.revoke("key_nobody")
            clock["s"] += 1.0
            assert await ring(second.secret) is None
            with pytest.raises(ValueError, match="role"):
                relay.keys.create("root")

    run(scenario)


def test_cors(sqlite_url: str, relay_at: Any, make_play: Make) -> None:
    """Open reads for every page; submissions for the origins of the game."""
    games = (
        GameConfig("a", anonymous_submit=True, allowed_origins=("https://a.example",)),
        GameConfig("b", anonymous_submit=True, allowed_origins=("https://b.example",)),
    )
    name = "access-control-allow-origin"

    async def scenario() -> None:
        async with relay_at(sqlite_url, *games) as relay:
            read = await relay.request("GET", "/api/submissions", headers={"Origin": "https://any.example"})
            assert read.headers[name] == "*"
            own = await relay.submit(make_play(gameId="a"), origin="https://a.example")
            assert (own.status, own.headers[name], own.headers["vary"]) == (202, "https://a.example", "Origin")
            other = await relay.submit(make_play(gameId="a"), origin="https://b.example")
            assert name not in other.headers
            asks = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
            preflight = await relay.request("OPTIONS", "/api/submit-score", headers=asks)
            assert (preflight.status, preflight.headers[name]) == (204, "https://b.example")
            assert "Idempotency-Key" in preflight.headers["access-control-allow-headers"]
            asks["Origin"] = "https://evil.example"
            assert name not in (await relay.request("OPTIONS", "/api/submit-score", headers=asks)).headers
            assert "access-control-allow-credentials" not in preflight.headers

    run(scenario)


def test_evidence_is_immutable_and_exact(database_url: str, relay_at: Any) -> None:
    """ETag, 304, a year of caching; the ruleset document is there under its hash."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            path = (await relay.submit()).json["links"]["evidence"]
            first = await relay.request("GET", path)
            assert "immutable" in first.headers["cache-control"]
            again = await relay.request("GET", path, headers={"If-None-Match": f'"x", {first.headers["etag"]}'})
            assert (again.status, again.body) == (304, b"")
            rules = (await relay.request("GET", "/api/games/streambeat/ruleset")).json
            document = await relay.request("GET", f"/api/evidence/{rules['hash']}")
            assert document.json == rules["document"]
            for bad, code in (("0x12", "PATH_INVALID"), ("0x" + "00" * 32, "EVIDENCE_UNKNOWN")):
                assert (await relay.request("GET", f"/api/evidence/{bad}")).json["code"] == code
            assert (await relay.request("GET", "/api/games/chess/ruleset")).json["code"] == "GAME_UNKNOWN"

    run(scenario)


def test_lists_page_by_keyset(database_url: str, relay_at: Any, make_play: Make) -> None:
    """Newest first, each row once although rows arrive meanwhile; filters; wrong cursors and parameters are 400."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            players = ["0x" + f"{number:040x}" for number in range(1, 8)]
            ids = [(await relay.submit(make_play(player))).json["submissionId"] for player in players]
            await relay.submit(make_play(players[0], score=5))
            seen: list[str] = []
            path = "/api/submissions?limit=3&status=accepted"
            cursor: str | None = ""
            while cursor is not None:
                page = (await relay.request("GET", path + (f"&cursor={cursor}" if cursor else ""))).json
                seen += [row["submissionId"] for row in page["submissions"]]
                cursor = page["nextCursor"]
                await relay.submit(make_play("0x" + f"{99 + len(seen):040x}"))
            assert seen == sorted(ids, reverse=True)
            own = (await relay.request("GET", f"/api/submissions?player={players[0]}")).json["submissions"]
            assert [row["status"] for row in own] == ["rejected", "accepted"]
            for query in ("limit=0", "limit=201", "limit=1e1", "limit=1.0", "limit=%2B1", "limit=x", "cursor=zzz",
                          "cursor=%ff", "nope=1", "limit=1&limit=2",
                          "player=0x12", "status=lost", "a=%ff", "cursor=c3ViXyc7"):  # fmt: skip
                assert (await relay.request("GET", f"/api/submissions?{query}")).status == 400, query
            for odd in ("gameId=%00", "gameId=%F0%9F%98%80"):
                assert (await relay.request("GET", f"/api/submissions?{odd}")).json["submissions"] == []

    run(scenario)


def test_flags_are_listed_and_filtered(database_url: str, relay_at: Any, make_play: Make) -> None:
    """One open flag per player and code, under all three addresses; a key of one game sees that game."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            await relay.submit(make_play(score=5420))
            await relay.submit(make_play(score=2_000_000, roundId="x"))
            admin = {"Authorization": f"Bearer {relay.keys.create('admin').secret}"}
            stranger = {"Authorization": f"Bearer {relay.keys.create('server', game_id='chess').secret}"}
            for path in ("/api/audit-flags", "/audit-flags", "/api/economy/audit-flags"):
                flags = (await relay.request("GET", path, headers=admin)).json["flags"]
                assert {(flag["code"], flag["occurrences"]) for flag in flags} == {
                    ("SCORE_MISMATCH", 2), ("SCORE_OUT_OF_BOUNDS", 1),
                }  # fmt: skip
            assert isinstance(flags[0]["createdAt"], int)
            assert (flags[0]["status"], flags[0]["resolved"], flags[0]["resolution"]) == ("open", False, None)
            counts = {}
            for query in ("reason=SCORE_MISMATCH", "reason=out of bounds", "severity=critical", "status=open",
                          "player=0x52908400098527886E0F7030069857D2E4169EE7", "gameId=chess", "limit=1"):  # fmt: skip
                path = f"/api/audit-flags?{query.replace(' ', '%20')}"
                counts[query.split("=")[0]] = len((await relay.request("GET", path, headers=admin)).json["flags"])
            assert counts == {"reason": 1, "severity": 0, "status": 2, "player": 2, "gameId": 0, "limit": 1}
            assert (await relay.request("GET", "/api/audit-flags", headers=stranger)).json["flags"] == []
            assert (await relay.request("GET", "/api/audit-flags?gameId=streambeat", headers=stranger)).json[
                "flags"
            ] == []

    run(scenario)


def test_health_and_metrics(sqlite_url: str, relay_at: Any) -> None:
    """Ready names its checks; metrics count what was answered."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            assert (await relay.request("GET", "/health/ready")).json["status"] == "ready"
            relay.checks["chain"] = Check(False, "the endpoint does not answer")
            failing = await relay.request("GET", "/health/ready")
            assert (failing.status, failing.json["checks"]["chain"]["ok"]) == (503, False)
            assert (await relay.request("GET", "/health")).status == 200
            assert (await relay.request("GET", "/health/live")).json == {"status": "live"}
            await relay.submit()
            metrics = (await relay.request("GET", "/metrics")).body.decode()
            assert 'fairscore_http_requests_total{method="POST",route="/api/submit-score",status="202"} 1.0' in metrics
            assert "fairscore_submissions_accepted_total 1.0" in metrics

    run(scenario)


def test_pages(sqlite_url: str, relay_at: Any) -> None:
    """Every code has a page; the documentation loads nothing from elsewhere."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            for code, problem in PROBLEMS.items():
                page = await relay.request("GET", f"/problems/{code}")
                assert page.status == 200
                assert str(problem.status) in page.body.decode()
            assert (await relay.request("GET", "/problems/NOPE")).status == 404
            docs = (await relay.request("GET", "/docs")).body.decode()
            assert "http://" not in docs
            assert "https://" not in docs

    run(scenario)


def test_errors_in_endpoints_and_streams() -> None:  # noqa: C901 - four little applications, each with its own way
    """A bug is a 500 without details; a stream's headers are completed; after its first byte an error ends it."""

    async def broken(call: Call) -> Answer:
        raise RuntimeError(f"secret of {call.request_id}")

    async def stream(call: Call, receive: Receive, send: Send) -> None:
        if call.path["mode"] == "early":
            raise RuntimeError("before")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        if call.path["mode"] == "late":
            raise RuntimeError("after")
        await send({"type": "http.response.body", "body": b"data: 1\n\n"})

    async def fine(call: Call) -> Answer:
        return answer({"path": dict(call.path)})

    async def fallback(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    api = Api(
        [
            Operation("GET", "/broken", "", broken),
            Operation("GET", "/stream/{mode}", "", stream, stream=True),
            Operation("GET", "/a.b/{one}/c/{two}", "", fine),
        ],
        routes=[Mount("/", fallback)],
    )

    async def ask(path: str, method: str = "GET") -> list[Any]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        await api({"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}, receive, send)
        return sent

    async def scenario() -> None:
        start, body = await ask("/stream/late", "HEAD")  # of a stream it gets the head, and the end
        assert (start["status"], body["body"], body.get("more_body", False)) == (200, b"", False)
        start, body = await ask("/broken")
        assert start["status"] == 500
        assert b"secret" not in body["body"]
        assert (await ask("/stream/early"))[0]["status"] == 500
        ok = await ask("/stream/ok")
        assert {b"x-request-id", b"access-control-allow-origin"} <= {name for name, _ in ok[0]["headers"]}
        with pytest.raises(RuntimeError, match="after"):
            await ask("/stream/late")
        assert (await ask("/a.b/1/c/2"))[1]["body"] == b'{"path":{"one":"1","two":"2"}}'
        assert (await ask("/aXb/1/c/2"))[0]["status"] == 299

    run(scenario)
