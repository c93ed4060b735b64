"""Contract wallets cannot hold up anybody: questions are bounded in time and number."""

import asyncio
from typing import Any

import pytest

from relay import players
from relay.chain import Chain
from relay.errors import WorldError
from relay.players import Players
from relay.store.engine import open_database
from tests.conftest import Anvil
from tests.harness.contract_wallet import deploy
from tests.harness.wallets import Wallet
from tests.relay.conftest import DOMAIN

ALICE = Wallet("alice")


class Hanging:
    """A chain that never answers."""

    def __init__(self) -> None:
        self.asked = self.most = 0

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:  # noqa: ARG002
        """eth_call."""
        self.asked += 1
        self.most = max(self.most, self.asked)
        try:
            await asyncio.Event().wait()
        finally:
            self.asked -= 1
        return b""


def test_a_chain_that_never_answers(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 16 questions at once, each over in time, "cannot be asked" for all; own keys are not kept waiting."""
    monkeypatch.setattr(players, "WALLET_S", 3600)

    async def scenario() -> None:
        chain, database = Hanging(), open_database(sqlite_url)
        known = Players(database, chain, DOMAIN)
        digest, junk = b"\x01" * 32, bytes(65)

        def ask() -> list[asyncio.Task[Any]]:
            return [asyncio.create_task(known.signed_by(b"\x11" * 20, digest, junk)) for _ in range(100)]

        asked = ask()
        await asyncio.sleep(0)
        signature = bytes(ALICE.account.unsafe_sign_hash(digest).signature)
        assert await known.signed_by(ALICE.raw, digest, signature) == "signature"
        assert chain.asked == players.WALLETS_AT_ONCE
        assert not any(each.done() for each in asked)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        monkeypatch.setattr(players, "WALLET_S", 0.1)
        asked = ask()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert {getattr(result, "code", None) for result in results} == {"CHAIN_UNAVAILABLE"}
        assert all(isinstance(result, WorldError) for result in results)
        assert (chain.most, chain.asked) == (players.WALLETS_AT_ONCE, 0)
        database.close()

    asyncio.run(scenario())


def test_a_wallet_that_answers_at_length(sqlite_url: str, anvil: Anvil) -> None:
    """A contract that would return 16 MB runs out of gas, and is not the player; one of 1 MB is read and no."""

    async def scenario() -> None:
        chain, database = Chain(anvil.url), open_database(sqlite_url)
        known = Players(database, chain, DOMAIN)
        try:
            for size in ("ffffff", "0fffff"):
                runtime = f"62{size}6000f3"  # RETURN(0, size)
                wallet = deploy(anvil, f"66{runtime}60005260076019f3")
                assert await known.signed_by(wallet, b"\x01" * 32, bytes(65)) is None
        finally:
            await chain.close()
            database.close()

    asyncio.run(scenario())
