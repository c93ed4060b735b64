"""Who a player is: signatures of wallets, of keys they delegated to, and of contract wallets.

Touches the database (delegations) and the chain (ERC-1271), through what it is handed. What follows from their answers
is decided in `relay.proof`.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, Protocol

from relay import proof
from relay.api.operations import Credential
from relay.attestation import Domain
from relay.chain_limits import rate_limited, troubled
from relay.chain_types import ChainAnswerError, ChainUnavailableError
from relay.errors import CallerError, WorldError
from relay.proof import NOBODY, Proof, Signing
from relay.store import sessions
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.submission import Submission

WALLET_S = 3.0  # a contract wallet that was not asked by then is not asked
WALLET_GAS = 5_000_000  # enough for any known wallet; a hostile one cannot answer with more than about 1.5 MB for it
WALLETS_AT_ONCE = 16  # questions to contract wallets under way, so that junk cannot occupy the chain's endpoint
IS_VALID_SIGNATURE = bytes.fromhex("1626ba7e")  # ERC-1271: the function, and the word that says yes
YES = IS_VALID_SIGNATURE.ljust(32, b"\0")


class CallsContracts(Protocol):
    """The chain, as far as players need it."""

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        """eth_call at the latest block, of at most `gas`."""


class Players:
    """Proves who plays, on one contract. `now_s` is the clock of deadlines, unix seconds."""

    def __init__(
        self,
        database: Database,
        chain: CallsContracts,
        domain: Domain,
        now_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        self.domain = domain
        self._database, self._chain, self._now_s = database, chain, now_s
        self._wallets = asyncio.Semaphore(WALLETS_AT_ONCE)

    async def prove(self, submission: Submission, credential: Credential | None) -> Proof:
        """Return how a submission shows who played, as its game wants it.

        1. a session acts for its own player; 2. a game that asks for no proof concludes nothing; 3. no signature: the
        session, or nothing; 4. what the signature says.

        Raises:
            CallerError: FORBIDDEN_PLAYER, the session is another player's.
            WorldError: STORE_UNAVAILABLE, CHAIN_UNAVAILABLE: it could not be found out.
        """
        player, signing, identity = submission.player, submission.signing, submission.game.config.identity
        session = None if credential is None else credential.player
        if session is not None and session != player:
            raise CallerError("FORBIDDEN_PLAYER", "The session is another player's: it acts for its own address only.")
        by_session = NOBODY if session is None else proof.by_token(session)
        if identity == "off":
            return by_session
        if signing is None:
            return proof.missing() if identity == "required" and session is None else by_session
        return await self._weigh(submission.game.id, player, signing)

    async def signed_by(
        self, player: bytes, digest: bytes, signature: bytes
    ) -> Literal["signature", "contract_wallet"] | None:
        """Return how the player's wallet, and no key it delegated to, signed `digest`; None if it did not.

        Raises:
            WorldError: CHAIN_UNAVAILABLE, a contract wallet could not be asked.
        """
        if proof.signer_of(digest, signature) == player:
            return "signature"
        return "contract_wallet" if await self._says_yes(player, digest, signature) else None

    async def _weigh(self, game_id: str, player: bytes, signing: Signing) -> Proof:
        """1. something is signed; 2. in time; 3. by a key the player delegated to, or 4. by the player's wallet."""
        digest, deadline, now_s = (
            proof.digest_of(self.domain, game_id, player, signing),
            signing.deadline,
            self._now_s(),
        )
        if digest is None or deadline is None:
            return proof.undated()
        if deadline < now_s:
            return proof.expired(deadline, now_s)
        signer = proof.signer_of(digest, signing.signature)
        if signer not in (None, player) and (key := await self._delegation(player, signer, now_s * 1000)) is not None:
            return proof.delegated(key.address, digest, deadline, key.delegation, key.until_ms // 1000, now_s)
        method = await self.signed_by(player, digest, signing.signature)
        return proof.invalid() if method is None else proof.signed(method, player, digest, deadline)

    async def _delegation(self, player: bytes, address: bytes, now_ms: int) -> sessions.SessionKey | None:
        def job(connection: Connection) -> sessions.SessionKey | None:
            return sessions.key_of(connection, player, address, now_ms)

        try:
            return await self._database.read(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The player's keys cannot be looked up now; try again.") from None

    async def _says_yes(self, player: bytes, digest: bytes, signature: bytes) -> bool:
        """Ask the contract at the player's address (ERC-1271); where none is, nothing answers, and that is no."""
        length = len(signature)
        padded = signature.ljust(-(-length // 32) * 32, b"\0")
        head = digest + (64).to_bytes(32, "big") + length.to_bytes(32, "big")
        try:
            async with asyncio.timeout(WALLET_S), self._wallets:
                said = await self._chain.call(player, IS_VALID_SIGNATURE + head + padded, gas=WALLET_GAS)
        except ChainAnswerError as error:
            if troubled(error) or rate_limited(error.code, error.message):
                raise _unasked() from None
            return False  # reverted: no
        except (ChainUnavailableError, TimeoutError):
            raise _unasked() from None
        return said[:32] == YES


def _unasked() -> WorldError:
    return WorldError("CHAIN_UNAVAILABLE", "A contract wallet could not be asked about its signature; try again.")
