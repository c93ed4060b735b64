"""A game's economy settings over HTTP: versioned, recorded, changed by whole documents and by merge patches."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from relay.economy.config import ACTIONS
from tests.harness.economy_http import Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

DEFAULTS = {
    "configVersion": 0,
    "enabled": True,
    "rateLimits": {"default": 60, "craft": 10, "marketplace_list": 5},
    "maxTransactionAmount": 1_000_000,
    "launderingThreshold": 5,
    "velocityMultiplier": 10,
    "amountPerWindow": {},
    "marketplaceTaxBps": 0,
}
MERGE_PATCH = {"content_type": "application/merge-patch+json"}


def test_settings_are_replaced_and_patched(database_url: str, relay_at: Any) -> None:
    """PUT: what is left out has its default. PATCH: what is left out stays, null resets. What changes is a version."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        shown = await server.call("GET", "/config")
        assert data_of(shown) == DEFAULTS
        check_answer(api, "GET", "/api/economy/config", shown)
        steps: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("PATCH", {}, {}),
            ("PATCH", {"rateLimits": {"grant": 100}}, {"rateLimits": {**DEFAULTS["rateLimits"], "grant": 100}}),  # type: ignore[dict-item]
            ("PATCH", {"maxTransactionAmount": 5}, {"maxTransactionAmount": 5}),
            ("PATCH", {"maxTransactionAmount": 5}, {}),
            ("PATCH", {"rateLimits": {"grant": None, "craft": None}}, {"rateLimits": DEFAULTS["rateLimits"]}),
            ("PATCH", {"amountPerWindow": {"default": 7}, "enabled": False},
             {"amountPerWindow": {"default": 7}, "enabled": False}),
            ("PATCH", {"amountPerWindow": None}, {"amountPerWindow": {}}),
            ("PUT", {"marketplaceTaxBps": 250, "rateLimits": {"craft": 1}},
             DEFAULTS | {"marketplaceTaxBps": 250, "rateLimits": {"default": 60, "craft": 1, "marketplace_list": 5}}),
            ("PUT", {"enabled": None}, DEFAULTS),
        ]  # fmt: skip
        expected: dict[str, Any] = dict(DEFAULTS)
        version = 0
        for method, body, change in steps:
            reply = await server.call(method, "/config", body, **MERGE_PATCH)
            version += bool(change)
            expected = expected | change | {"configVersion": version}
            assert data_of(reply) == expected, body
            assert await server.data("/config") == expected
            check_answer(api, method, "/api/economy/config", reply)
        assert version == 7
        assert await Server(server.relay, game_id="go").data("/config") == DEFAULTS

    with_server(database_url, relay_at, scenario)


def test_every_version_is_kept_and_recorded(database_url: str, relay_at: Any) -> None:
    """Who, when, why; in pages, newest first; and in the same record as what operators do."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        admin = Server(server.relay, "admin")
        data_of(await server.call("PATCH", "/config", {"enabled": False, "reason": "load\x00test"}))
        data_of(await admin.call("PATCH", "/config", {"enabled": True}))
        reply = await server.call("GET", "/config/history?limit=1")
        check_answer(api, "GET", "/api/economy/config/history", reply)
        first = data_of(reply)
        second = await server.data(f"/config/history?limit=1&cursor={first['nextCursor']}")
        changes = [*first["changes"], *second["changes"]]
        assert second["nextCursor"] is None
        assert [(one["configVersion"], one["actor"], one["reason"]) for one in changes] == [
            (2, admin.key_id, ""), (1, server.key_id, "load\ufffdtest"),
        ]  # fmt: skip
        assert [one["config"]["enabled"] for one in changes] == [True, False]
        record = text("SELECT subject, actor FROM operator_actions WHERE action = 'economy.config' ORDER BY seq")
        told = await server.relay.database.read(lambda c: c.execute(record).all())
        assert [tuple(row) for row in told] == [("chess@1", server.key_id), ("chess@2", admin.key_id)]
        for cursor in ("AA", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5"):
            check_refused(await server.call("GET", f"/config/history?cursor={cursor}"), 400, "QUERY_INVALID", "?cursor")

    with_server(database_url, relay_at, scenario)


WRONG: list[tuple[Any, list[str]]] = [
    ({"enabled": 1}, ["/enabled"]),
    ({"rateLimits": {"default": 0}}, ["/rateLimits/default"]),
    ({"rateLimits": {"grant": 0, "craft": 10_001}}, ["/rateLimits/grant", "/rateLimits/craft"]),
    ({"rateLimits": {"grant": "1", "dance": 1}}, ["/rateLimits/grant", "/rateLimits/dance"]),
    ({"rateLimits": [1]}, ["/rateLimits"]),
    ({"rateLimits": {"craft": 1.0}}, ["/rateLimits/craft"]),
    ({"maxTransactionAmount": 0, "launderingThreshold": 1}, ["/maxTransactionAmount", "/launderingThreshold"]),
    ({"maxTransactionAmount": 2**53}, ["/maxTransactionAmount"]),
    ({"maxTransactionAmount": 10**30}, ["/maxTransactionAmount"]),
    ({"amountPerWindow": {"grant": -1}}, ["/amountPerWindow/grant"]),
    ({"marketplaceTaxBps": 10_001}, ["/marketplaceTaxBps"]),
    ({"velocityMultiplier": "10"}, ["/velocityMultiplier"]),
    ({"ratelimits": {}}, ["/ratelimits"]),
    ({"configVersion": -1}, ["/configVersion"]),
    ([], [""]),
]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_what_cannot_be_used_is_named(sqlite_url: str, relay_at: Any, method: str) -> None:
    """By pointer, and nothing changes; not even together with what could be used."""

    async def scenario(server: Server) -> None:
        for body, pointers in WRONG:
            reply = await server.call(method, "/config", body)
            assert (reply.status, reply.json["code"]) == (400, "PAYLOAD_MALFORMED"), reply.body
            assert sorted(one["pointer"] for one in reply.json["errors"]) == sorted(pointers), reply.body
        assert await server.data("/config") == DEFAULTS

    with_server(sqlite_url, relay_at, scenario)


def test_a_version_can_be_asked_for(database_url: str, relay_at: Any) -> None:
    """What was read can be sent back; of ten who follow the same version one does, the others hear of it."""

    async def scenario(server: Server) -> None:
        read = await server.data("/config")
        assert data_of(await server.call("PUT", "/config", read)) == read
        asks = [{"configVersion": 0, "launderingThreshold": 10 + n} for n in range(10)]
        replies = await asyncio.gather(*(server.call("PATCH", "/config", ask) for ask in asks))
        assert sorted(reply.status for reply in replies) == [200] + [409] * 9
        assert {reply.json["code"] for reply in replies if reply.status == 409} == {"CONFIG_CHANGED"}
        check_refused(await server.call("PUT", "/config", read), 409, "CONFIG_CHANGED")
        assert (await server.data("/config"))["configVersion"] == 1
        # Without a version each follows the one before it: no change is lost.
        names = ("grant", "spend", "transfer", "purchase", "loot_roll")
        patches = ({"rateLimits": {name: 7}} for name in names)
        for reply in await asyncio.gather(*(server.call("PATCH", "/config", patch) for patch in patches)):
            data_of(reply)
        now = await server.data("/config")
        assert now["configVersion"] == 6
        assert now["rateLimits"] == DEFAULTS["rateLimits"] | dict.fromkeys(names, 7)  # type: ignore[operator]

    with_server(database_url, relay_at, scenario)


def test_a_change_counts_once_for_its_key(database_url: str, relay_at: Any) -> None:
    """A retry hears the first answer, and undoes nothing that was changed since; keys of PUT and PATCH never meet."""

    async def scenario(server: Server) -> None:
        first = await server.call("PATCH", "/config", {"enabled": False, "idempotencyKey": "k"})
        data_of(await server.call("PATCH", "/config", {"enabled": True}))
        again = await server.call("PATCH", "/config", {"enabled": False, "idempotencyKey": "k"})
        assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
        assert (await server.data("/config"))["enabled"] is True
        other = await server.call("PATCH", "/config", {"enabled": True}, idempotency_key="k")
        check_refused(other, 422, "IDEMPOTENCY_KEY_REUSED")
        put = await server.call("PUT", "/config", {"enabled": False}, idempotency_key="k")
        assert data_of(put)["enabled"] is False

    with_server(database_url, relay_at, scenario)


def test_every_action_is_documented(sqlite_url: str, relay_at: Any) -> None:
    """The document names each action that can be limited, and no other."""

    async def scenario(server: Server) -> None:
        schemas = (await server.relay.request("GET", "/openapi.json")).json["components"]["schemas"]
        assert set(schemas["ByAction"]["properties"]) == {"default", *ACTIONS}
        assert schemas["ByAction"]["additionalProperties"] is False

    with_server(sqlite_url, relay_at, scenario)


def test_who_may_change_settings(sqlite_url: str, relay_at: Any) -> None:
    """Servers and admins, of their game; auditors read; clients do not."""

    async def scenario(server: Server) -> None:
        table = {"server": (200, 200), "admin": (200, 200), "auditor": (200, 403), "client": (403, 403)}
        for role, (reads, changes) in table.items():
            caller = Server(server.relay, role)
            assert (await caller.call("GET", "/config")).status == reads
            assert (await caller.call("GET", "/config/history")).status == reads
            for method in ("PUT", "PATCH"):
                assert (await caller.call(method, "/config", {})).status == changes
                if changes == 200:
                    check_refused(await caller.call(method, "/config?gameId=go", {}), 403, "FORBIDDEN_GAME")
        whole = Server(server.relay, "admin", None)
        check_refused(await whole.call("PATCH", "/config", {}), 400, "GAME_REQUIRED")
        check_refused(await whole.call("PATCH", "/config?gameId=nope", {}), 404, "GAME_UNKNOWN")
        assert (await whole.call("PATCH", "/config?gameId=streambeat", {})).status == 200

    with_server(sqlite_url, relay_at, scenario)
