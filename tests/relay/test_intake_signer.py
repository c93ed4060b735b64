"""What is accepted while the attestation key is elsewhere, away or not accepted: signed receipts, or nothing at all."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from relay.attestation import recover, score_batch_digest
from relay.contract import Record, game_key, pack_record
from relay.games import GameConfig
from relay.keccak import keccak
from relay.remote_signer import SignerService
from relay.store.tables import submissions
from tests.harness.odd_signer import odd_signer

SECRET = keccak(b"an attestation key elsewhere")


def signed_by(answer: dict[str, Any], domain: Any) -> bytes:
    """Who signed the receipt, recomputed from its plain fields."""
    receipt = answer["receipt"]
    record = Record(
        bytes.fromhex(receipt["player"][2:]), receipt["score"], receipt["roundId"],
        bytes.fromhex(receipt["evidenceHash"][2:]),
    )  # fmt: skip
    rules = bytes.fromhex(receipt["rulesHash"][2:])
    digest = score_batch_digest(domain, game_key(receipt["gameId"]), rules, receipt["deadline"], pack_record(record))
    return recover(digest, bytes.fromhex(receipt["signature"][2:]))


def test_a_remote_attestation_key(database_url: str, relay_at: Any, make_play: Callable[..., Any]) -> None:
    """Signs many at once; while it is wrong or away everything is 503 and nothing is recorded; then all goes on."""

    async def run() -> None:
        async with relay_at(database_url) as relay:
            with odd_signer(SECRET) as odd:
                (signer,) = SignerService(odd.url).signers()
                attestor = relay.intake.attestor = replace(relay.intake.attestor, signer=signer)

                def player(number: int) -> str:
                    return "0x" + f"{number + 1:040x}"

                answers = await asyncio.gather(*(relay.submit(make_play(player(n))) for n in range(40)))
                assert {answer.status for answer in answers} == {202}
                assert {signed_by(answer.json, attestor.domain) for answer in answers} == {signer.address}
                assert relay.intake.unsigned() is None
                for mood in ("other key", "500", "text", "refused", "closes"):
                    odd.mood = mood
                    refused = await asyncio.gather(*(relay.submit(make_play(player(n + 50))) for n in range(8)))
                    assert {answer.status for answer in refused} == {503}
                    assert {answer.json["code"] for answer in refused} == {"SIGNER_UNAVAILABLE"}
                    assert "remote signer" in (relay.intake.unsigned() or "")  # said by GET /health/ready
                stored = await relay.database.read(lambda c: c.scalar(select(func.count()).select_from(submissions)))
                assert stored == 40
                odd.mood = "honest"
                await asyncio.sleep(1.1)
                again = await asyncio.gather(*(relay.submit(make_play(player(n + 50))) for n in range(8)))
                assert {answer.status for answer in again} == {202}
                assert relay.intake.unsigned() is None
                rounds = sorted(answer.json["receipt"]["roundId"] for answer in (*answers, *again))
                assert rounds == list(range(rounds[0], rounds[0] + 48)), "what was refused took no number"

    asyncio.run(run())


def test_a_score_is_invalidated_while_the_signer_is_away(
    sqlite_url: str, relay_at: Any, make_play: Callable[..., Any]
) -> None:
    """That takes no signature: what others send at the same time, and is refused for want of one, is no hindrance."""
    game = GameConfig("streambeat", anonymous_submit=True, switches={"TIMING_IMPLAUSIBLE": "dry_run"})

    async def run() -> None:
        async with relay_at(sqlite_url, game) as relay:
            secret = relay.keys.create("server").secret
            started = await relay.request("POST", "/api/rounds", b'{"playerId":"p"}')
            path = f"/api/rounds/{started.json['_id']}"
            claim = json.dumps(make_play()["scoreData"]).encode()
            assert (await relay.request("POST", f"{path}/end", claim, {"prefer": "respond-async"})).status == 200
            with odd_signer(SECRET) as odd:
                (signer,) = SignerService(odd.url).signers()
                relay.intake.attestor = replace(relay.intake.attestor, signer=signer)
                odd.mood = "500"
                gate = threading.Event()
                shut = asyncio.create_task(relay.writer.run(lambda _: gate.wait(60)))  # so that both come in one group
                header = {"escs-game-secret-key": secret}
                said = relay.request("PUT", f"{path}/game-server-confirmation", b'{"isValid":false}', header)
                both = [asyncio.create_task(one) for one in (relay.submit(make_play()), said)]
                await asyncio.sleep(0.2)
                gate.set()
                submitted, told = await asyncio.gather(*both)
                await shut
            assert (submitted.status, submitted.json["code"]) == (503, "SIGNER_UNAVAILABLE")
            assert (told.status, told.json["submissionStatus"]) == (200, "revoked")

    asyncio.run(run())


def test_a_key_that_the_contract_revoked(sqlite_url: str, relay_at: Any, make_play: Callable[..., Any]) -> None:
    """Signing on would promise what cannot be kept."""

    async def run() -> None:
        async with relay_at(sqlite_url) as relay:
            relay.intake.suspended = True
            refused = await relay.submit(make_play())
            assert (refused.status, refused.json["code"]) == (503, "SIGNER_UNAVAILABLE")
            assert "does not accept" in refused.json["detail"]
            relay.intake.suspended = False
            assert (await relay.submit(make_play())).status == 202

    asyncio.run(run())


@pytest.mark.parametrize("count", [1, 5, 6, 20])
def test_a_swap_between_groups_never_mixes_signer_and_signature(
    sqlite_url: str, relay_at: Any, make_play: Callable[..., Any], count: int
) -> None:
    """However keys are swapped while groups are written, each receipt verifies under the signer that it names."""

    async def run() -> None:
        async with relay_at(sqlite_url) as relay:
            first = relay.intake.attestor
            with odd_signer(SECRET) as odd:
                (remote,) = SignerService(odd.url).signers()
                both = (first, replace(first, signer=remote))
                tasks = []
                for number in range(4 * count):
                    relay.intake.attestor = both[number % 2]
                    tasks.append(asyncio.create_task(relay.submit(make_play("0x" + f"{number + 1:040x}"))))
                    await asyncio.sleep(0)
                for answer in await asyncio.gather(*tasks):
                    assert answer.status == 202
                    named = bytes.fromhex(answer.json["receipt"]["signer"][2:])
                    assert signed_by(answer.json, first.domain) == named

    asyncio.run(run())
