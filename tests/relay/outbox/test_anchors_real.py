"""Anchors from a ledger to the compiled contract on the embedded chain, and back as a proof that holds there."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from relay.attestation import Domain
from relay.chain import Chain
from relay.chain_pool import ChainPool
from relay.deployment import Roles, deploy
from relay.devnet import Devnet
from relay.economy.proofs import read_proof, verify
from relay.findings import State
from relay.home import Remembered
from relay.outbox.anchors import AnchorCargo
from relay.signer import LocalSigner
from relay.store.checkpoint_moves import CheckpointRows
from relay.store.checkpoints import Where, prove_inclusion
from relay.verify_proof import read_anchors
from tests.harness.anchors import ECONOMY, GAME, anchoring, check_checkpoints, play, states
from tests.harness.outboxes import SETTINGS, Bench, bench, eventually


def test_a_ledger_is_anchored_on_the_real_contract(sqlite_url: str, tmp_path: Path) -> None:
    async def finals(b: Bench, count: int) -> bool:
        return await states(b) == ["final"] * count

    async def run() -> None:
        devnet = await Devnet.start(tmp_path)
        chain = Chain(devnet.rpc_url)
        keys = {role: LocalSigner(key.secret) for role, key in devnet.keys.items()}
        roles = Roles(*(keys[role].address for role in ("admin", "attestation", "guardian", "auditor")))
        at = (await deploy(chain, keys["admin"], roles)).address
        domain, settings = Domain(devnet.chain_id, at), replace(SETTINGS, estimate_gas=True, confirmations=1)
        try:
            async with bench(sqlite_url) as b:
                outbox = b.outbox(chain, settings=settings, domain=domain, keys=(keys["gas"], keys["attestation"]))
                cargo = AnchorCargo(chain, CheckpointRows(b.database), keys["attestation"], domain, settings)
                outbox.desk.cargoes = {cargo.kind: cargo}
                await outbox.start()
                for number, count in enumerate((3, 40), 1):
                    await play(b, count)
                    await anchoring(b).advance()
                    outbox.wake()
                    await eventually(lambda number=number: finals(b, number))  # type: ignore[misc]
                await outbox.stop()
                await check_checkpoints(b)
                where = Where(devnet.chain_id, at)
                proof = await b.database.read(lambda c: prove_inclusion(c, where, GAME, 7))
                pool = ChainPool([("here", chain)])
                seen = await read_anchors(pool, devnet.chain_id, Remembered(at, 0), ECONOMY)
                found = verify(read_proof(json.dumps(proof).encode()), seen.at)
                assert seen.genuine
                assert [one.event.count for one in seen.at.anchors] == [3, 40]
                assert {one.state for one in found} == {State.OK}, found
        finally:
            await chain.close()
            await devnet.stop()

    asyncio.run(run())
