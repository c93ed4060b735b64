"""The service as `fairscore run` builds it: embedded chain, one database with the relay's evidence, periodic jobs."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from sqlalchemy import LargeBinary, column, insert, table

from indexer.app import ChainIdentityError, IndexerService, build
from indexer.config import IndexerSettings
from indexer.evidence import Bodies
from indexer.store.evidence import DatabaseEvidence
from relay.attestation import Domain, score_batch_digest
from relay.chain import Chain
from relay.contract import Record, encode_submit_scores, game_key, pack_record
from relay.deployment import Deployment, Roles, deploy, publish_rules, transact
from relay.devnet import Devnet
from relay.keccak import checksum_address, keccak
from relay.signer import LocalSigner
from relay.store.engine import Database, open_database
from relay.store.migrate import upgrade
from tests.indexer.watching import GAME

DOCUMENT = b'{"rules":"of the test"}'
EVIDENCE = table("evidence", column("hash", LargeBinary), column("body", LargeBinary))
PLAYER = b"\x0a" * 20


class Ground:
    """An embedded chain with the contract deployed."""

    def __init__(self, devnet: Devnet) -> None:
        self.devnet, self.chain = devnet, Chain(devnet.rpc_url)
        self.keys = {role: LocalSigner(key.secret) for role, key in devnet.keys.items()}
        self.rules = b""

    async def deploy(self) -> Deployment:
        """Deploy the contract and publish the rules."""
        roles = Roles(*(self.keys[role].address for role in ("admin", "attestation", "guardian", "auditor")))
        deployment = await deploy(self.chain, self.keys["admin"], roles)
        self.rules = await publish_rules(self.chain, self.keys["admin"], deployment.address, GAME, DOCUMENT)
        return deployment

    async def record(self, contract: bytes, round_id: int, score: int, evidence: bytes) -> None:
        """Record one score."""
        packed, deadline = pack_record(Record(PLAYER, score, round_id, keccak(evidence))), int(time.time()) + 3600
        domain = Domain(self.devnet.chain_id, contract)
        digest = score_batch_digest(domain, game_key(GAME), self.rules, deadline, packed)
        signature = self.keys["attestation"].sign(digest)
        data = encode_submit_scores(game_key(GAME), self.rules, deadline, packed, signature)
        await transact(self.chain, self.keys["gas"], contract, data)

    async def close(self) -> None:
        """End it."""
        await self.chain.close()
        await self.devnet.stop()


async def until_shown(service: IndexerService, score: int) -> dict[str, object]:
    """Wait for the row with a score."""
    for _ in range(6_000):
        if service.follower.state is not None:
            for row in service.reading.first_board().window.top():
                if row.score == score:
                    return {name: getattr(row, name) for name in row.__struct_fields__}
        await asyncio.sleep(0.01)
    raise AssertionError(f"{score} is not shown; {service.ready()}")


def evidence_for(submission_id: str) -> bytes:
    """The part of an evidence document that standings show."""
    return json.dumps({"type": "fairscore-evidence@1", "submissionId": submission_id, "evidenceLevel": 1}).encode()


def publish(database: Database, body: bytes) -> None:
    """Store evidence as the relay does."""
    with database.write() as connection:
        connection.execute(insert(EVIDENCE).values(hash=keccak(body), body=body))


def test_scores_of_the_embedded_chain_with_evidence_of_the_same_database(database_url: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        ground = Ground(await Devnet.start(tmp_path))
        database = open_database(database_url)
        upgrade(database, "relay")
        settings = IndexerSettings(database_url=database_url, finality=2)
        try:
            deployment = await ground.deploy()
            service = build(
                settings,
                database,
                rpc_url=ground.devnet.rpc_url,
                contract=checksum_address(deployment.address),
                start_block=deployment.block_number,
            )
            await service.start()
            assert await service._chain.published_rules(game_key(GAME), ground.rules) == DOCUMENT
            assert await service._chain.published_rules(game_key(GAME), keccak(b"other")) is None
            at_once, later = evidence_for("sub_1"), evidence_for("sub_2")
            publish(database, at_once)
            await ground.record(deployment.address, 1, 100, at_once)
            row = await until_shown(service, 100)
            assert (row["submission_id"], row["evidence_level"]) == ("sub_1", 1)
            await ground.record(deployment.address, 2, 200, later)
            row = await until_shown(service, 200)
            assert (row["submission_id"], row["evidence_level"]) == (None, None)
            publish(database, later)
            await service._jobs.look_for_evidence()
            row = await until_shown(service, 200)
            assert row["submission_id"] == "sub_2"
            for _ in range(6_000):
                if (await until_shown(service, 200))["status"] == "final":
                    break
                await asyncio.sleep(0.01)
            assert (await until_shown(service, 200))["status"] == "final"
            assert all(check.ok for check in service.ready().values()), service.ready()
            await service._jobs.prune()
            await service._jobs.watch()
            await service.stop()
            other = await ground.deploy()
            elsewhere = build(
                settings, database, rpc_url=ground.devnet.rpc_url, contract=checksum_address(other.address)
            )
            with pytest.raises(ChainIdentityError, match="contract is 0x"):
                await elsewhere.start()
            await elsewhere.stop()
        finally:
            database.close()
            await ground.close()

    asyncio.run(scenario())


def test_evidence_of_a_database_without_the_relays_tables_is_not_found(database_url: str) -> None:
    database = open_database(database_url)
    source = DatabaseEvidence(database)
    assert asyncio.run(source.find([keccak(b"x")])) == {}
    upgrade(database, "relay")
    unanswered = Bodies({}, frozenset({keccak(b"x")}))
    assert asyncio.run(source.bodies([keccak(b"x")])) == unanswered  # the relay writes elsewhere
    body = evidence_for("sub_9")
    publish(database, body)
    with database.write() as connection:
        connection.execute(insert(EVIDENCE).values(hash=keccak(b"lie"), body=body))
    found = asyncio.run(source.find([keccak(body), keccak(b"lie"), keccak(b"x")]))
    assert {known: evidence.submission_id for known, evidence in found.items()} == {keccak(body): "sub_9"}
    database.close()


@pytest.mark.parametrize(
    ("rpc_url", "contract"), [("", "0x" + "11" * 20), ("http://127.0.0.1:1", ""), ("http://x", "0x1122")]
)
def test_what_is_missing_is_named(sqlite_url: str, rpc_url: str, contract: str) -> None:
    database = open_database(sqlite_url)
    with pytest.raises(ValueError, match=r"needs FAIRSCORE_"):
        build(IndexerSettings(rpc_url=rpc_url, contract=contract), database)
    database.close()


def test_a_chain_out_of_reach_is_waited_for(sqlite_url: str) -> None:
    async def scenario() -> None:
        database = open_database(sqlite_url)
        service = build(IndexerSettings(), database, rpc_url="http://127.0.0.1:1", contract="0x" + "11" * 20)
        await service.start()
        checks = service.ready()
        assert not checks["indexer.chain"].ok
        assert not checks["indexer.lag"].ok
        await service.stop()
        database.close()

    asyncio.run(scenario())


def test_settings_come_from_the_environment_and_show_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "rpc"
    secret.write_text("http://node/token-of-mine\n")
    monkeypatch.setenv("FAIRSCORE_RPC_URL_FILE", str(secret))
    monkeypatch.setenv("FAIRSCORE_FINALITY", "7")
    toml = tmp_path / "fairscore.toml"
    toml.write_text('finality = 3\nevidence_url = "http://relay"\n[games.chess]\n')
    monkeypatch.setenv("FAIRSCORE_CONFIG", str(toml))
    settings = IndexerSettings()
    assert (settings.finality, settings.evidence_url, settings.game_ids) == (7, "http://relay", ("chess",))
    assert settings.rpc_url == "http://node/token-of-mine"
    assert "token-of-mine" not in repr(settings)
