"""Signing in with a wallet (ERC-4361), and the session it opens, over HTTP.

Touches the database through `relay.store.sessions`, and the chain where the wallet is a contract. Nonces are kept in
the database, so that any process takes back what another gave; a token is shown once and stored as its SHA-256.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from relay import siwe
from relay.api.auth import PLAYER_TOKEN
from relay.api.operations import PLAYER, Answer, Call, Headers, Operation, Response, answer
from relay.api.pages import rfc3339
from relay.api.signing import SigningDomain
from relay.attestation import NAME, VERSION
from relay.errors import CallerError, WorldError
from relay.games import ANY_ORIGIN, Games
from relay.ids import new_id
from relay.keccak import checksum_address
from relay.players import Players
from relay.proof import signed_text_digest
from relay.store import sessions as store
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.store.keys import digest
from relay.store.writer import Writer
from relay.strict_json import Request
from relay.submission import Signature, read_address

T = TypeVar("T")

TOKEN_BYTES = 32
SESSION_MS = 3_600_000
NONCE_MS = 600_000
STATEMENT = "Sign in to play. This costs nothing and sends no transaction."
PLAYERS_ONLY = frozenset({PLAYER})
PRIVATE: Headers = ((b"cache-control", b"no-store"),)
BEARER = re.compile(rb"bearer +(\S+) *", re.IGNORECASE)
SIGN_IN_ERRORS = (
    "PAYLOAD_MALFORMED", "PLAYER_INVALID", "SIGN_IN_MALFORMED", "SIGN_IN_DOMAIN", "SIGN_IN_CHAIN", "SIGN_IN_NONCE",
    "SIGN_IN_EXPIRED", "SIGN_IN_NOT_YET_VALID", "SIGN_IN_SIGNATURE", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED",
    "CHAIN_UNAVAILABLE", "STORE_UNAVAILABLE",
)  # fmt: skip
PLAYER_ERRORS = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "STORE_UNAVAILABLE")


class NonceDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What a sign-in message is made of: it names `domain` and `chainId`, and this nonce once, before `expiresAt`."""

    nonce: str
    expires_at: str
    domain: str
    chain_id: int
    statement: str
    typed_data_domain: SigningDomain


class SignInRequest(Request, frozen=True):
    """A sign-in: the text of ERC-4361, and the wallet's signature of it (EIP-191 `personal_sign`)."""

    message: Annotated[str, Meta(min_length=1, max_length=siwe.TEXT_MAX, description="exactly as it was signed")]
    signature: Signature


class SessionDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A player's session; `proof` says how the wallet signed: `signature`, or `contract_wallet` (ERC-1271)."""

    session_id: str
    player: str
    proof: str
    created_at: str
    expires_at: str


class NewSession(SessionDocument, frozen=True, rename="camel"):
    """A session just opened. The token is shown once: `Authorization: Bearer <token>` acts for the player."""

    success: bool
    token: str
    token_type: str = "Bearer"  # noqa: S105 - RFC 6750's name


class Sessions:
    """The endpoints. `own` are the domains this server is reached at, the preferred first.

    `forget` makes an ended token unknown here at once; other processes notice within a second.
    """

    def __init__(
        self,
        players: Players,
        games: Games,
        database: Database,
        writer: Writer,
        own: tuple[str, ...] = (),
        forget: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._players, self._games, self._database, self._writer = players, games, database, writer
        self._own, self._forget = own, forget

    def _domains(self) -> frozenset[str]:
        """Who may sign players in: this server, and pages whose origin some game allows by name."""
        origins = self._games.origins() - {ANY_ORIGIN}
        return frozenset(self._own) | {origin.partition("://")[2].lower() for origin in origins}

    async def nonce(self, call: Call) -> Answer:
        """Give out a nonce, with all else that a sign-in message needs."""
        nonce = secrets.token_hex(16)

        def job(connection: Connection) -> int:
            expires_at_ms = self._database.now_ms(connection) + NONCE_MS
            store.give_nonce(connection, nonce, expires_at_ms)
            return expires_at_ms

        expires_at_ms = await self._write(job)
        domains, signed_for = self._domains(), self._players.domain
        page = call.headers.get(b"origin", b"").decode("latin-1").partition("://")[2].lower()
        contract = checksum_address(signed_for.contract)
        document = NonceDocument(
            nonce,
            rfc3339(expires_at_ms),
            page if page in domains else next(iter((*self._own, *sorted(domains))), ""),
            signed_for.chain_id,
            STATEMENT,
            SigningDomain(NAME, VERSION, signed_for.chain_id, contract),
        )
        return answer(document, headers=PRIVATE)

    async def sign_in(self, call: Call) -> Answer:
        """Open a session: 1. read the message, 2. is it for us and for now, 3. whose wallet, 4. its nonce, once."""
        body: SignInRequest = call.body
        said = siwe.read(body.message)
        now_ms = time.time_ns() // 1_000_000
        siwe.check(said, siwe.Expected(self._domains(), self._players.domain.chain_id, now_ms))
        player = read_address(said.address, "/message")
        signature = bytes.fromhex(body.signature[2:])
        proof = await self._players.signed_by(player, signed_text_digest(body.message), signature)
        if proof is None:
            raise CallerError("SIGN_IN_SIGNATURE", f"The message was not signed by the wallet at {said.address}.")
        token = PLAYER_TOKEN + secrets.token_urlsafe(TOKEN_BYTES)

        def job(connection: Connection) -> store.Session | None:
            at_ms = self._database.now_ms(connection)
            if not store.take_nonce(connection, said.nonce, at_ms):
                return None
            session = store.Session(new_id("ses_", at_ms), player, proof, at_ms, at_ms + SESSION_MS, None)
            store.open_session(connection, session, digest(token))
            return session

        session = await self._write(job)
        if session is None:
            raise CallerError("SIGN_IN_NONCE", "The message's nonce was not given out here, was used, or is too old.")
        return answer(NewSession(*_shown(session), True, token), 201, PRIVATE)

    async def current(self, call: Call) -> Answer:
        """Show the caller's session."""
        session_id = _session_of(call)
        try:
            session = await self._database.read(lambda connection: store.one(connection, session_id))
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The session cannot be read now; try again.") from None
        if session is None:
            raise CallerError("NOT_AUTHENTICATED", "The session is over.")
        return answer(SessionDocument(*_shown(session)), headers=PRIVATE)

    async def end(self, call: Call) -> Answer:
        """End the caller's session: the token is worth nothing from the answer on."""
        session_id = _session_of(call)

        def job(connection: Connection) -> None:
            store.close_session(connection, session_id, self._database.now_ms(connection))

        await self._write(job)
        if (presented := BEARER.fullmatch(call.headers.get(b"authorization", b""))) is not None:
            self._forget(digest(presented[1].decode("latin-1")))
        return Answer(204, b"", b"", PRIVATE)

    async def _write(self, job: Callable[[Connection], T]) -> T:
        try:
            return await self._writer.run(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The session could not be stored; try again.") from None

    def operations(self) -> list[Operation]:
        """Return the declarations."""
        return [
            Operation(
                "POST", "/api/sessions/nonce", "A nonce to sign in with", self.nonce, {200: NonceDocument},
                ("STORE_UNAVAILABLE",), tag="Players",
                description="Valid for 10 minutes, once. A body is ignored.",
            ),
            Operation(
                "POST", "/api/sessions", "Sign in with Ethereum", self.sign_in,
                {201: Response(NewSession, "Signed in for an hour.")}, SIGN_IN_ERRORS,
                request=SignInRequest, tag="Players", operation_id="signIn",
                description="ERC-4361: the message names a domain that signs in here, this relay's chain, and a nonce "
                "of `POST /api/sessions/nonce`. Contract wallets are asked by ERC-1271.",
            ),
            Operation(
                "GET", "/api/sessions/current", "The session of the token presented", self.current,
                {200: SessionDocument}, PLAYER_ERRORS, PLAYERS_ONLY, tag="Players",
            ),
            Operation(
                "DELETE", "/api/sessions/current", "End the session of the token presented", self.end,
                {204: Response(None, "It has ended.")}, PLAYER_ERRORS, PLAYERS_ONLY, tag="Players",
            ),
        ]  # fmt: skip


def own_domains(url: str, further: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the domains a server at `url` is reached at, the preferred first, and those its operator adds.

    On the loopback interface, and where it listens on all, a browser on the same machine calls it `localhost`, too.
    """
    at = urlsplit(url)
    local = at.hostname in {"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    names = ("localhost", "127.0.0.1") if local else (at.hostname or "",)
    port = "" if at.port in (None, 80) else f":{at.port}"  # browsers leave it out, too
    return (*(name + port for name in names), *(one.lower() for one in further))


def _session_of(call: Call) -> str:
    if call.credential is None:
        raise CallerError("NOT_AUTHENTICATED", "This operation needs a session's token.")
    return call.credential.key_id


def _shown(session: store.Session) -> tuple[str, str, str, str, str]:
    """Return the fields of a SessionDocument."""
    times = rfc3339(session.created_at_ms), rfc3339(session.expires_at_ms)
    return session.id, checksum_address(session.player), session.proof, *times
