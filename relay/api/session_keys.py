"""Keys that players delegate to, over HTTP: made by the wallet's signature, listed and revoked in a session.

Touches the database through `relay.store.sessions`, and the chain where the wallet is a contract. What the wallet
signed is published as evidence: whoever checks a score that such a key signed can check the delegation, too.
"""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from relay.api.operations import Answer, Call, Operation, Response, answer
from relay.api.pages import rfc3339, storable
from relay.api.sessions import PLAYER_ERRORS, PLAYERS_ONLY, Sessions
from relay.attestation import Domain, session_key_digest
from relay.canonical import INTEGER_MAX, canonical
from relay.errors import CallerError, WorldError
from relay.games import Games
from relay.ids import new_id
from relay.keccak import checksum_address, keccak
from relay.players import Players
from relay.store import sessions as store
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake import keep_document
from relay.store.intake_rows import Connection
from relay.store.writer import Writer
from relay.strict_json import Request
from relay.submission import Signature, read_address

T = TypeVar("T")

DELEGATION_S_MAX = 86_400
KEYS_MAX = 16
Scope = Literal["submit"]
Address = Annotated[str, Meta(max_length=128, description="0x and 40 hexadecimal digits, EIP-55 or lower")]


class DelegationRequest(Request, frozen=True):
    """A delegation: `address` may sign `SubmitScore` for `player` until `expiresAt`.

    `signature` is the player's wallet's, of an EIP-712 `SessionKey(address player,address key,string scope,uint64
    expiresAt)` in the contract's domain.
    """

    player: Address
    address: Address
    expires_at: Annotated[int, Meta(ge=0, le=INTEGER_MAX, description="unix seconds, at most 24 h ahead")]
    signature: Signature
    scope: Scope = "submit"


class SessionKeyDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A key that signs for a player. `delegationHash` names the published evidence of what the wallet signed."""

    key_id: str
    player: str
    address: str
    scope: Scope
    delegation_hash: str
    created_at: str
    expires_at: str
    revoked_at: str | None


class SessionKeyList(msgspec.Struct, frozen=True, rename="camel"):
    """The keys that may sign for a player now, newest first."""

    keys: list[SessionKeyDocument]


class SessionKeys:
    """The endpoints."""

    def __init__(self, players: Players, database: Database, writer: Writer) -> None:
        self._players, self._database, self._writer = players, database, writer

    async def delegate(self, call: Call) -> Answer:
        """Let a key sign for a player: 1. read, 2. the wallet's signature, 3. store it, once."""
        body: DelegationRequest = call.body
        player, key = read_address(body.player, "/player"), read_address(body.address, "/address")
        domain = self._players.domain
        if call.credential is not None and call.credential.player not in (None, player):
            raise CallerError("FORBIDDEN_PLAYER", "The session is another player's.")
        if key == player:
            raise CallerError("DELEGATION_INVALID", "A wallet signs for itself: delegate to another key.")
        signature = bytes.fromhex(body.signature[2:])
        digest = session_key_digest(domain, player, key, body.scope, body.expires_at)
        if await self._players.signed_by(player, digest, signature) is None:
            raise CallerError("DELEGATION_INVALID", "The player's wallet did not sign this delegation.")
        document = delegation_document(domain, player, key, body)
        delegation = keccak(document)

        def job(connection: Connection) -> store.SessionKey | CallerError:
            now_ms = self._database.now_ms(connection)
            if not now_ms < body.expires_at * 1000 <= now_ms + DELEGATION_S_MAX * 1000:
                return CallerError("DELEGATION_LIFETIME", "A session key expires in the future, at most 24 h ahead.")
            if store.open_keys(connection, player, now_ms) >= KEYS_MAX:
                return CallerError("DELEGATIONS_TOO_MANY", f"A player has at most {KEYS_MAX} session keys.")
            signed = (player, key, body.scope, digest, delegation)
            made = store.SessionKey(new_id("skey_", now_ms), *signed, now_ms, body.expires_at * 1000, None)
            if not store.delegate(connection, made):
                return CallerError("DELEGATION_USED", "This delegation was made before.")
            keep_document(connection, self._database.dialect, delegation, document)
            return made

        made = await self._write(job)
        if isinstance(made, CallerError):
            raise made
        return answer(_shown(made), 201)

    async def page(self, call: Call) -> Answer:
        """Show the keys that may sign for the caller."""
        player = _player_of(call)

        def job(connection: Connection) -> list[store.SessionKey]:
            return store.keys_of(connection, player, self._database.now_ms(connection))

        try:
            held = await self._database.read(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The keys cannot be read now; try again.") from None
        return answer(SessionKeyList([_shown(key) for key in held]))

    async def revoke(self, call: Call) -> Answer:
        """End a delegation: what the key signed and was not submitted by then is refused."""
        player, key_id = _player_of(call), storable(call.path["keyId"])

        def job(connection: Connection) -> store.SessionKey | None:
            return store.revoke_key(connection, player, key_id, self._database.now_ms(connection))

        ended = await self._write(job)
        if ended is None:
            raise CallerError("SESSION_KEY_UNKNOWN", "The player delegated to no key with this id.")
        return answer(_shown(ended))

    async def _write(self, job: Callable[[Connection], T]) -> T:
        try:
            return await self._writer.run(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The key could not be stored; try again.") from None

    def operations(self) -> list[Operation]:
        """Return the declarations."""
        return [
            Operation(
                "POST", "/api/sessions/keys", "Let a key sign scores for a player", self.delegate,
                {201: Response(SessionKeyDocument, "It may sign `SubmitScore` for the player.")},
                ("PAYLOAD_MALFORMED", "PLAYER_INVALID", "DELEGATION_LIFETIME", "DELEGATION_INVALID",
                 "FORBIDDEN_PLAYER", "DELEGATION_USED", "DELEGATIONS_TOO_MANY", "BODY_TOO_LARGE",
                 "MEDIA_TYPE_UNSUPPORTED", "CHAIN_UNAVAILABLE", "STORE_UNAVAILABLE"),
                request=DelegationRequest, tag="Players",
                description="The wallet's signature is the authority: no key or token is needed. At most 24 hours.",
            ),
            Operation(
                "GET", "/api/sessions/keys", "The player's session keys", self.page, {200: SessionKeyList},
                PLAYER_ERRORS, PLAYERS_ONLY, tag="Players",
            ),
            Operation(
                "DELETE", "/api/sessions/keys/{keyId}", "Revoke a session key", self.revoke,
                {200: Response(SessionKeyDocument, "It signs no more from now on.")},
                (*PLAYER_ERRORS, "SESSION_KEY_UNKNOWN"), PLAYERS_ONLY,
                parameters={"keyId": "As answered when it was delegated to."}, tag="Players",
            ),
        ]  # fmt: skip


def delegation_document(domain: Domain, player: bytes, key: bytes, body: DelegationRequest) -> bytes:
    """Return the evidence of a delegation: the typed data's fields, its domain, and the wallet's signature."""
    return canonical(
        {
            "type": "fairscore-delegation@1",
            "chainId": domain.chain_id,
            "contract": "0x" + domain.contract.hex(),
            "player": "0x" + player.hex(),
            "key": "0x" + key.hex(),
            "scope": body.scope,
            "expiresAt": body.expires_at,
            "signature": body.signature.lower(),
        }
    )


def _player_of(call: Call) -> bytes:
    if call.credential is None or call.credential.player is None:
        raise CallerError("NOT_AUTHENTICATED", "This operation needs a session's token.")
    return call.credential.player


def _shown(key: store.SessionKey) -> SessionKeyDocument:
    return SessionKeyDocument(
        key.id,
        checksum_address(key.player),
        checksum_address(key.address),
        "submit",
        "0x" + key.delegation.hex(),
        rfc3339(key.created_at_ms),
        rfc3339(key.expires_at_ms),
        None if key.revoked_at_ms is None else rfc3339(key.revoked_at_ms),
    )


def identity_operations(
    players: Players,
    games: Games,
    database: Database,
    writer: Writer,
    own: tuple[str, ...] = (),
    forget: Callable[[bytes], None] = lambda _: None,
) -> list[Operation]:
    """Return the declarations about who players are; the arguments are those of `Sessions`."""
    sessions = Sessions(players, games, database, writer, own, forget)
    return [*sessions.operations(), *SessionKeys(players, database, writer).operations()]
