"""Signing in with Ethereum and delegating to session keys over HTTP: what opens a session, and all that does not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from relay.api.auth import REMEMBER_S, KeyRing
from relay.api.sessions import own_domains
from relay.chain import Chain
from relay.chain_types import ChainAnswerError, ChainUnavailableError
from relay.games import GameConfig
from relay.store import sessions as store
from relay.store.session_tables import sign_in_nonces
from tests.conftest import Anvil
from tests.harness.contract_wallet import deploy_wallet
from tests.harness.wallets import Wallet, other_forms, sign_in_text, twin
from tests.relay.api.test_openapi import check_answer
from tests.relay.conftest import DOMAIN, Reply, running

ALICE, BOB = Wallet("alice"), Wallet("bob")
GAME = GameConfig("streambeat", allowed_origins=("https://play.example:8443", "*"))


class Desk:
    """A relay seen through HTTP, every answer held against the OpenAPI document."""

    def __init__(self, relay: Any, api: dict[str, Any]) -> None:
        self.relay, self.api = relay, api

    async def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> Reply:
        """Send a request; the answer must be as documented."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        raw = None if body is None else json.dumps(body).encode()
        reply: Reply = await self.relay.request(method, path, raw, headers)
        template = "/api/sessions/keys/{keyId}" if path.startswith("/api/sessions/keys/") else path
        if reply.status != 204:
            check_answer(self.api, method, template, reply)
        return reply

    async def nonce(self) -> str:
        """A new nonce."""
        return str((await self.ask("POST", "/api/sessions/nonce")).json["nonce"])

    async def sign_in(self, wallet: Wallet = ALICE, **changes: Any) -> Reply:
        """Sign in with a new nonce; `changes` are of the message."""
        text = sign_in_text(wallet.address, await self.nonce(), **changes)
        return await self.ask("POST", "/api/sessions", {"message": text, "signature": wallet.sign_text(text)})

    async def token(self, wallet: Wallet = ALICE) -> str:
        """A session's token."""
        return str((await self.sign_in(wallet)).json["token"])


@asynccontextmanager
async def desk_at(url: str, *games: GameConfig, chain: Any = None) -> AsyncIterator[Desk]:
    """A relay over the database at `url`."""
    async with running(url, *(games or (GAME,)), chain=chain) as relay:
        yield Desk(relay, (await relay.request("GET", "/openapi.json")).json)


def test_a_session_from_its_nonce_to_its_end(database_url: str) -> None:
    """Signed in once, shown, worth nothing after its end, here at once and elsewhere within a second."""

    async def scenario() -> None:
        async with desk_at(database_url) as desk:
            told = await desk.ask("POST", "/api/sessions/nonce")
            assert told.headers["cache-control"] == "no-store"
            assert (told.json["chainId"], told.json["domain"]) == (31337, "game.example")
            assert told.json["typedDataDomain"]["verifyingContract"].lower() == "0x" + DOMAIN.contract.hex()
            text = sign_in_text(ALICE.address, told.json["nonce"])
            body = {"message": text, "signature": ALICE.sign_text(text)}
            opened = await desk.ask("POST", "/api/sessions", body)
            assert opened.status == 201
            assert opened.headers["cache-control"] == "no-store"
            token = opened.json["token"]
            assert token.startswith("fs_live_pt_")
            assert (opened.json["player"], opened.json["proof"]) == (ALICE.address, "signature")
            again = await desk.ask("POST", "/api/sessions", body)
            assert (again.status, again.json["code"]) == (403, "SIGN_IN_NONCE")

            shown = await desk.ask("GET", "/api/sessions/current", token=token)
            assert (shown.status, shown.json["sessionId"]) == (200, opened.json["sessionId"])
            assert "token" not in shown.json
            now_s = [0.0]
            elsewhere = KeyRing(desk.relay.database, desk.relay.writer, lambda: now_s[0])
            credential = await elsewhere(token)
            assert credential is not None
            assert (credential.role, credential.player, credential.game_id) == ("player", ALICE.raw, None)
            assert (await desk.ask("DELETE", "/api/sessions/current", token=token)).status == 204
            assert (await desk.ask("GET", "/api/sessions/current", token=token)).status == 401
            now_s[0] += REMEMBER_S
            assert await elsewhere(token) is None

    asyncio.run(scenario())


def test_only_the_hash_of_a_token_is_stored(sqlite_url: str) -> None:
    """What a thief of the database finds opens nothing."""

    async def scenario() -> None:
        async with desk_at(sqlite_url) as desk:
            token = await desk.token()
            dump = await desk.relay.database.read(lambda c: "\n".join(c.connection.driver_connection.iterdump()))
            assert token not in dump
            assert token[len("fs_live_pt_") :] not in dump
            assert (await desk.ask("GET", "/api/sessions/current", token=token[:-1])).status == 401

    asyncio.run(scenario())


MESSAGES_FOR_OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"domain": "evil.example"}, "SIGN_IN_DOMAIN"),
    ({"domain": "*"}, "SIGN_IN_DOMAIN"),
    ({"chain_id": 1}, "SIGN_IN_CHAIN"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "SIGN_IN_EXPIRED"),
    ({"not_before": "2990-01-01T00:00:00Z"}, "SIGN_IN_NOT_YET_VALID"),
    ({"issued_at": "2990-01-01T00:00:00Z"}, "SIGN_IN_NOT_YET_VALID"),
    ({"uri": "no uri"}, "SIGN_IN_MALFORMED"),
]


def test_messages_for_others_are_refused(sqlite_url: str) -> None:
    """Each by its code; a page whose origin a game names is not among them."""

    async def scenario() -> None:
        async with desk_at(sqlite_url) as desk:
            for changes, code in MESSAGES_FOR_OTHERS:
                refused = await desk.sign_in(**changes)
                assert (refused.status in (400, 403), refused.json["code"]) == (True, code), changes
            assert (await desk.sign_in(domain="play.example:8443", uri="https://play.example:8443")).status == 201

    asyncio.run(scenario())


def test_nonces_and_signatures_that_are_not(sqlite_url: str) -> None:
    """Made up, expired, taken twice at once; another wallet's, malleable, mangled, of another text."""

    async def scenario() -> None:
        silent = Answers(b"")
        async with desk_at(sqlite_url, chain=silent) as desk:

            async def code(message: str, signature: str) -> str:
                reply = await desk.ask("POST", "/api/sessions", {"message": message, "signature": signature})
                return "" if reply.status == 201 else str(reply.json["code"])

            made_up = sign_in_text(ALICE.address, "0123456789abcdef")
            assert await code(made_up, ALICE.sign_text(made_up)) == "SIGN_IN_NONCE"
            await desk.relay.writer.run(lambda c: store.give_nonce(c, "expired0", int(time.time() * 1000) - 1))
            expired = sign_in_text(ALICE.address, "expired0")
            assert await code(expired, ALICE.sign_text(expired)) == "SIGN_IN_NONCE"

            text = sign_in_text(ALICE.address, await desk.nonce())
            signature = ALICE.sign_text(text)
            assert await code(text, BOB.sign_text(text)) == "SIGN_IN_SIGNATURE"
            assert await code(text, twin(signature)) == "SIGN_IN_SIGNATURE"
            assert await code(text, "0x" + "00" * 65) == "SIGN_IN_SIGNATURE"
            assert await code(text, signature[:-2] + "1d") == "SIGN_IN_SIGNATURE"
            assert await code(text, "0xff") == "SIGN_IN_SIGNATURE"
            assert await code(text + "\nRequest ID: 1", signature) == "SIGN_IN_SIGNATURE"
            wrong_case = text.replace(ALICE.address, ALICE.address.swapcase().replace("0X", "0x"))
            assert await code(wrong_case, ALICE.sign_text(wrong_case)) == "PLAYER_INVALID"
            replies = await asyncio.gather(*(code(text, signature) for _ in range(8)))  # the nonce was not burnt above
            assert sorted(replies) == ["", *["SIGN_IN_NONCE"] * 7]
            for form in other_forms(signature).values():
                assert await code(text, form) == "SIGN_IN_NONCE"  # the same signature, told as such, and used
            other = sign_in_text(ALICE.address, await desk.nonce())
            assert await code(other, other_forms(ALICE.sign_text(other))["EIP-2098"]) == ""

    asyncio.run(scenario())


BAD_BODIES: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("no object", b"[]"),
    ("unknown field", b'{"message":"x","signature":"0x00","x":1}'),
    ("no signature", b'{"message":"x"}'),
    ("no text", b'{"message":1,"signature":"0x00"}'),
    ("an empty text", b'{"message":"","signature":"0x00"}'),
    ("a text too long", b'{"message":"' + b"a" * 4_097 + b'","signature":"0x00"}'),
    ("odd digits", b'{"message":"x","signature":"0x0"}'),
    ("no digits", b'{"message":"x","signature":"0xzz"}'),
    ("a line break after the signature", b'{"message":"x","signature":"0x00\\n"}'),
    ("an endless signature", b'{"message":"x","signature":"0x' + b"00" * 1_025 + b'"}'),
    ("a lone surrogate", b'{"message":"\\ud800","signature":"0x00"}'),
    ("a repeated key", b'{"message":"x","message":"y","signature":"0x00"}'),
    ("not UTF-8", b'{"message":"\xff","signature":"0x00"}'),
]
BAD_DELEGATIONS: dict[str, dict[str, Any]] = {
    "a float": {"expiresAt": 1.5},
    "a text": {"expiresAt": "1"},
    "a boolean": {"expiresAt": True},
    "negative": {"expiresAt": -1},
    "beyond 2^53": {"expiresAt": 2**53},
    "another scope": {"scope": "*"},
    "no scope": {"scope": None},
    "no address": {"address": "0x"},
    "a wrong checksum": {"address": BOB.address.swapcase().replace("0X", "0x")},
    "the zero address": {"player": "0x" + "00" * 20},
    "more": {"keyId": "skey_1"},
}


def test_bad_bodies_by_name(sqlite_url: str) -> None:
    """400 each, and no 500 whatever is sent; paths and tokens that are none are refused as such."""

    async def scenario() -> None:
        async with desk_at(sqlite_url, chain=Answers(b"")) as desk:
            for name, raw in BAD_BODIES:
                reply = await desk.relay.request("POST", "/api/sessions", raw)
                known = ("PAYLOAD_MALFORMED", "SIGN_IN_MALFORMED")
                assert (reply.status, reply.json["code"] in known) == (400, True), (name, reply.body)
            good = ALICE.delegate(DOMAIN, BOB.address, int(time.time()) + 60)
            for name, changes in BAD_DELEGATIONS.items():
                reply = await desk.ask("POST", "/api/sessions/keys", {**good, **changes})
                assert reply.status == 400, (name, reply.body)
            token = await desk.token()
            for key_id in ("x", "%00", "skey_" + "0" * 26, "a" * 5_000):
                assert (await desk.ask("DELETE", f"/api/sessions/keys/{key_id}", token=token)).status in (400, 404)
            for wrong in ("fs_live_pt_", "fs_live_pt_" + "a" * 43, token[:-1], token + "a", token.upper()):
                assert (await desk.ask("GET", "/api/sessions/current", token=wrong)).status == 401
            server = desk.relay.keys.create("server").secret
            assert (await desk.ask("GET", "/api/sessions/current", token=server)).json["code"] == "FORBIDDEN_ROLE"

    asyncio.run(scenario())


def test_two_processes_agree_on_nonces_and_sessions(database_url: str) -> None:
    """A nonce of one opens a session at the other, once; its token is good at both; ended at one, it ends at both."""

    async def scenario() -> None:
        async with desk_at(database_url) as one, desk_at(database_url) as other:
            text = sign_in_text(ALICE.address, await one.nonce())
            body = {"message": text, "signature": ALICE.sign_text(text)}
            replies = await asyncio.gather(
                *(desk.ask("POST", "/api/sessions", body) for _ in range(10) for desk in (one, other))
            )
            assert sorted(reply.status for reply in replies) == [201, *[403] * 19]
            token = next(reply.json["token"] for reply in replies if reply.status == 201)
            for desk in (one, other):
                assert (await desk.ask("GET", "/api/sessions/current", token=token)).status == 200
            assert (await one.ask("DELETE", "/api/sessions/current", token=token)).status == 204
            ended = time.monotonic()
            asked = time.monotonic()
            while (await other.ask("GET", "/api/sessions/current", token=token)).status == 200:
                assert asked - ended < REMEMBER_S
                await asyncio.sleep(0.05)
                asked = time.monotonic()
            assert (await one.ask("GET", "/api/sessions/current", token=token)).status == 401

    asyncio.run(scenario())


class Answers:
    """A chain on which every call answers the same, or fails."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:  # noqa: ARG002
        """eth_call."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_contract_wallet_signs_in(sqlite_url: str, anvil: Anvil) -> None:
    """The contract says whose signature it takes (ERC-1271), and what it does not take is refused."""

    async def scenario() -> None:
        chain = Chain(anvil.url)
        contract = deploy_wallet(anvil, ALICE.raw)
        address = "0x" + contract.hex()
        try:
            async with desk_at(sqlite_url, chain=chain) as desk:
                text = sign_in_text(address, await desk.nonce())
                for signature in (BOB.sign_text(text), "0x1234"):  # another's; one at which the contract reverts
                    refused = await desk.ask("POST", "/api/sessions", {"message": text, "signature": signature})
                    assert refused.json["code"] == "SIGN_IN_SIGNATURE"
                body = {"message": text, "signature": ALICE.sign_text(text)}
                opened = await desk.ask("POST", "/api/sessions", body)
                assert (opened.status, opened.json["proof"]) == (201, "contract_wallet")
                assert opened.json["player"].lower() == address
                body = ALICE.delegate(DOMAIN, BOB.address, int(time.time()) + 60, player=address)
                made = await desk.ask("POST", "/api/sessions/keys", body)
                assert (made.status, made.json["player"].lower()) == (201, address)
        finally:
            await chain.close()

    asyncio.run(scenario())


YES = bytes.fromhex("1626ba7e").ljust(32, b"\0")
WALLETS_ANSWERS: list[tuple[bytes | Exception, int]] = [
    (ChainUnavailableError("gone"), 503),
    (ChainAnswerError(-32005, "daily request count exceeded, request rate limited", None), 503),
    (ChainAnswerError(-32603, "internal error", None), 503),
    (ChainAnswerError(3, "execution reverted", b""), 403),
    (b"", 403),
    (YES[:4], 403),
    (bytes(32), 403),
    (b"\xff" * 32, 403),
    (YES[:4] + b"\x01" * 28, 403),
    (YES, 201),
]


def test_what_a_wallets_answer_means(sqlite_url: str) -> None:
    """Only the one word is a yes; a chain that cannot be asked is neither yes nor no, and the nonce stays good."""

    async def scenario() -> None:
        chain = Answers(b"")
        async with desk_at(sqlite_url, chain=chain) as desk:
            text = sign_in_text("0x" + "11" * 20, await desk.nonce())
            for chain.answer, status in WALLETS_ANSWERS:
                body = {"message": text, "signature": "0x" + "00" * 65}
                assert (await desk.ask("POST", "/api/sessions", body)).status == status, chain.answer

    asyncio.run(scenario())


def test_what_has_ended_is_forgotten(database_url: str) -> None:
    """Nonces at once, sessions and keys after a day; what holds stays."""

    async def scenario() -> None:
        async with desk_at(database_url) as desk:
            await desk.nonce()
            await desk.token()
            await desk.ask("POST", "/api/sessions/keys", ALICE.delegate(DOMAIN, BOB.address, int(time.time()) + 60))
            now_ms = int(time.time() * 1000)
            sweep = [await desk.relay.writer.run(lambda c, at=at: store.sweep(c, at)) for at in (
                now_ms, now_ms + 3_000_000, now_ms + 90_000_000, now_ms + 86_400_000 + 3_700_000,
            )]  # fmt: skip
            assert sweep == [0, 1, 2, 0]
            assert await desk.relay.intake.sweep() == 0

    asyncio.run(scenario())


def test_more_nonces_than_one_step_forgets(sqlite_url: str) -> None:
    """Whoever asks for nonces and never signs in leaves nothing behind."""
    many = [{"nonce": f"{number:032x}", "expires_at_ms": 1} for number in range(2 * store.SWEEP_ROWS + 1)]

    async def scenario() -> None:
        async with desk_at(sqlite_url) as desk:
            await desk.relay.writer.run(lambda c: c.execute(insert(sign_in_nonces), many))
            await desk.relay.intake.sweep()
            left = await desk.relay.database.read(lambda c: c.scalar(select(func.count()).select_from(sign_in_nonces)))
            assert left == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "domains"),
    [
        ("http://127.0.0.1:8000", ("localhost:8000", "127.0.0.1:8000")),
        ("http://0.0.0.0:8000", ("localhost:8000", "127.0.0.1:8000")),
        ("http://10.0.0.7:9000", ("10.0.0.7:9000",)),
        ("http://10.0.0.7:80", ("10.0.0.7",)),
    ],
)
def test_a_servers_own_domains(url: str, domains: tuple[str, ...]) -> None:
    """Where it listens, and what its operator adds."""
    assert own_domains(url, ["Play.Example"]) == (*domains, "play.example")
