"""Who may call: shields first, then the key that is presented, its role, its game, and the page it is called from.

Touches what it is handed: the key ring, the shields, the games.
"""

import re
from typing import Protocol

from relay.api.operations import Authenticate, Call, Credential, Operation
from relay.api.shields import Shields
from relay.errors import CallerError

BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,512}) *", re.IGNORECASE)
SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")
SECRET_ROLE = "server"  # noqa: S105 - a role: the only role whose key may come in an operation's own header


class Origins(Protocol):
    """Which browser pages may call which game's operations (`relay.games.Games`)."""

    def origins(self) -> frozenset[str]:
        """Every origin that some game allows."""

    def allows_origin(self, origin: str, game_id: str | None) -> bool:
        """Whether a page of `origin` may call a game's operations; None or an unknown game: those of some game."""


class Nowhere:
    """No page of another origin may call anything but open reads."""

    def origins(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def allows_origin(self, origin: str, game_id: str | None) -> bool:  # noqa: ARG002 - it is the same for all
        """No."""
        return False


class Admission:
    """Decides for one request after the other."""

    def __init__(self, authenticate: Authenticate | None, shields: Shields | None, origins: Origins) -> None:
        self._authenticate, self._shields, self._origins = authenticate, shields, origins

    async def admit(self, operation: Operation, call: Call) -> None:
        """Let a request pass: 1. its address, 2. its key, 3. the key's role, 4. the key's game.

        A presented key that is not valid is refused even where none is needed: its owner must learn of it.

        Raises:
            CallerError: TOO_MANY_REQUESTS, NOT_AUTHENTICATED, FORBIDDEN_ROLE, FORBIDDEN_GAME.
            WorldError: STORE_UNAVAILABLE.
        """
        if self._shields is not None:
            call.client = self._shields.client(call.scope)
            self._shields.admit(call.client)
        presented = call.headers.get(b"authorization")
        if presented is not None:
            call.credential = await self._of_bearer(presented, call)
        if operation.secret_header is not None:
            call.credential = await self._of_secret(operation.secret_header, call)
        self.judge_origin(call)
        if operation.roles is None:
            return
        credential = call.credential
        if credential is None:
            if operation.guests:
                return
            raise unauthenticated("This operation needs a key.", presented=False)
        if credential.role not in operation.roles:
            raise forbidden_role(credential.role, ", ".join(sorted(operation.roles)))
        game_id = call.path.get("gameId")
        if game_id is not None and credential.game_id is not None and credential.game_id != game_id:
            raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")

    def judge_origin(self, call: Call) -> None:
        """Note whether the page that calls is one of the game's, as far as path and key tell the game."""
        origin = call.headers.get(b"origin")
        if origin is not None:
            game_id = call.path.get("gameId") or (None if call.credential is None else call.credential.game_id)
            call.origin_allowed = self._origins.allows_origin(origin.decode("latin-1"), game_id)

    async def identify(self, key: str, call: Call) -> Credential:
        """Return whose key it is.

        Raises:
            CallerError: NOT_AUTHENTICATED, TOO_MANY_REQUESTS.
            WorldError: STORE_UNAVAILABLE.
        """
        credential = None
        if key and self._authenticate is not None:
            credential = await self._authenticate(key)
        if credential is None:
            if self._shields is not None:
                self._shields.failed(call.client, key)
            raise unauthenticated("The key presented is unknown, expired or revoked.", presented=True)
        if self._shields is not None:
            self._shields.admit_key(credential)
        return credential

    async def _of_bearer(self, presented: bytes, call: Call) -> Credential:
        found = BEARER.fullmatch(presented.decode("latin-1"))
        return await self.identify("" if found is None else found[1], call)

    async def _of_secret(self, header: bytes, call: Call) -> Credential | None:
        """Return whose key is in the operation's own header; without one, what the bearer key has found."""
        presented = call.headers.get(header)
        if presented is None:
            return call.credential
        found = SECRET.fullmatch(presented.decode("latin-1").strip())
        credential = await self.identify("" if found is None else found[0], call)
        if credential.role != SECRET_ROLE:
            raise forbidden_role(credential.role, SECRET_ROLE)
        if call.credential is not None and call.credential.key_id != credential.key_id:
            detail = f"Authorization and {header.decode()} bring different keys: send one of them."
            raise unauthenticated(detail, presented=True)
        return credential


def unauthenticated(detail: str, *, presented: bool) -> CallerError:
    """Return the 401 of a missing or (RFC 6750 section 3.1) of an invalid key."""
    challenge = 'Bearer realm="fairscore"' + (', error="invalid_token"' if presented else "")
    return CallerError("NOT_AUTHENTICATED", detail, headers={"WWW-Authenticate": challenge})


def forbidden_role(role: str, allowed: str) -> CallerError:
    """Return the 403 of a valid key whose role may not do this."""
    challenge = 'Bearer realm="fairscore", error="insufficient_scope"'
    detail = f"A {role} key may not do this; it takes one of: {allowed}."
    return CallerError("FORBIDDEN_ROLE", detail, headers={"WWW-Authenticate": challenge})
