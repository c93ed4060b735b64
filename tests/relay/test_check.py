"""`fairscore check` against real failures: each is found by name, with a sentence of its own of what to do."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic import command as alembic
from alembic.script import ScriptDirectory
from sqlalchemy import text

from relay.check import check
from relay.check_home import clock_findings
from relay.commands import deploy_once
from relay.config import Settings
from relay.deployment import publish_rules
from relay.findings import Finding, State, passed
from relay.keccak import keccak
from relay.keyring import DEV_SECRETS
from relay.signer import LocalSigner
from relay.startup import connect, games_of
from relay.store import migrate
from relay.store.control_tables import sender_pauses
from relay.store.engine import open_database
from relay.store.outbox_tables import chain_identities, leases
from tests.harness.fault_proxy import Fault, always, fault_proxy
from tests.harness.nodes import Node, anvil
from tests.harness.process import FAIRSCORE, Fairscore
from tests.harness.rpc import rpc

ADMIN, ATTESTATION, GAS, AUDITOR = (LocalSigner(bytes.fromhex(secret)) for secret in DEV_SECRETS)


@dataclass
class Setup:
    """A relay's settings on a chain where everything is as it must be."""

    folder: Path
    node: Node
    contract: str

    def settings(self, **changes: Any) -> Settings:
        """The settings, changed as told."""
        good: dict[str, Any] = {
            "home": self.folder / "home",
            "rpc_url": self.node.url,
            "contract": self.contract,
            "attestation_key_file": self.key(1),
            "gas_key_file": (self.key(2),),
            "auditor_key_file": self.key(3),
        }
        return Settings(**(good | changes))

    def key(self, number: int, mode: int = 0o600) -> Path:
        """A file with a well-known key."""
        path = self.folder / f"{number}.key"
        path.write_text(DEV_SECRETS[number])
        path.chmod(mode)
        return path

    def database(self, *statements: str) -> None:
        """Bring the database to today's version, then change it."""
        database = open_database(self.settings().database)
        for package in ("relay", "indexer"):
            migrate.upgrade(database, package)
        with database.write() as c:
            for statement in statements:
                c.execute(text(statement))
        database.close()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, str]]:
    """One chain with the contract, its roles and the rules of the default game; no test changes it for good."""
    folder = tmp_path_factory.mktemp("deployed")
    with anvil() as node:
        setup = Setup(folder, node, "")
        admin = setup.settings(contract="", admin_key_file=setup.key(0))
        made = deploy_once(admin, guardian="", auditor="", dev_keys=True)
        publish(admin, made.contract)
        yield node, made.contract


def publish(settings: Settings, contract: str) -> None:
    """Publish the rules of the configured games."""

    async def run() -> None:
        chain = connect(settings, settings.rpc_urls)
        for game in games_of(settings, 31337).by_id.values():
            await publish_rules(chain, ADMIN, bytes.fromhex(contract[2:]), game.id, game.rules.body)
        await chain.close()

    asyncio.run(run())


@pytest.fixture
def setup(tmp_path: Path, chain: tuple[Node, str]) -> Setup:
    """A setup of this test's own on the chain of the module."""
    made = Setup(tmp_path, *chain)
    made.settings().home.mkdir()
    made.database()
    return made


@contextmanager
def undone(node: Node) -> Iterator[None]:
    """Take back what happens to the chain inside."""
    snapshot = rpc(node.url, "evm_snapshot")
    yield
    rpc(node.url, "evm_revert", snapshot)


def found(findings: list[Finding], name: str) -> Finding:
    """The one finding of that name that is not fine, else the first."""
    named = [finding for finding in findings if finding.check == name]
    return next((finding for finding in named if finding.state is not State.OK), named[0])


def failures(findings: list[Finding]) -> dict[str, Finding]:
    """What failed, by name; nothing else may have."""
    return {finding.check: finding for finding in findings if finding.state is State.FAILED}


def expect_failure(findings: list[Finding], name: str, *words: str) -> Finding:
    """Only this failed, and its sentences hold the words."""
    assert set(failures(findings)) == {name}, findings
    one = failures(findings)[name]
    assert one.todo, one
    for word in words:
        assert word in f"{one.seen}: {one.todo}", one
    return one


def files(folder: Path) -> dict[str, bytes]:
    """Every file but SQLite's shared memory and log, which come and go with readers."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in found if not path.name.endswith(("-shm", "-wal"))}


def test_all_is_well(setup: Setup) -> None:
    """Every part is looked at and named; nothing is made or changed."""
    before, head = files(setup.folder), rpc(setup.node.url, "eth_blockNumber")
    findings = check(setup.settings(), dev_keys=False)
    assert passed(findings), findings
    assert [finding.check for finding in findings] == [
        "database (relay)", "database (indexer)", f"rpc {setup.node.url.removeprefix('http://')}",
        f"node {setup.node.url.removeprefix('http://')}", "attestation key", "gas key", "auditor key",
        "chain", "clock", "contract", "attestation role", "auditor role",
        "rules of streambeat", "gas balance", "auditor balance",
    ]  # fmt: skip
    assert {finding.state for finding in findings} <= {State.OK, State.NOTE}
    assert found(findings, f"node {setup.node.url.removeprefix('http://')}").seen.startswith("anvil/")
    assert files(setup.folder) == before
    assert rpc(setup.node.url, "eth_blockNumber") == head


# ------------------------------------------------------------------------------ endpoints and chain


def test_an_endpoint_that_does_not_answer(setup: Setup) -> None:
    """What needs it is not looked at, and said to be so; its token is never shown."""
    findings = check(setup.settings(rpc_url="http://127.0.0.1:1/v3/s3cr3t"), dev_keys=False)
    expect_failure(findings, "rpc 127.0.0.1:1", "does not answer", "FAIRSCORE_RPC_URL")
    assert {f.check for f in findings if f.state is State.SKIPPED} == {"contract", "roles", "rules", "balances"}
    assert "s3cr3t" not in str(findings)


def test_no_chain_named(setup: Setup) -> None:
    """On a home whose embedded chain is not there either."""
    findings = check(setup.settings(rpc_url=""), dev_keys=False)
    assert "FAIRSCORE_RPC_URL" in failures(findings)["rpc"].todo


def test_one_of_two_endpoints_is_away(setup: Setup) -> None:
    """The other answers everything else."""
    findings = check(setup.settings(rpc_url=f"{setup.node.url} http://127.0.0.1:1"), dev_keys=False)
    expect_failure(findings, "rpc 127.0.0.1:1", "does not answer")
    assert found(findings, "contract").state is State.OK


def test_an_endpoint_of_another_chain(setup: Setup) -> None:
    """Beside a right one it is refused; alone, the database knows better."""
    with anvil("--chain-id", "5") as other:
        name = f"rpc {other.url.removeprefix('http://')}"
        findings = check(setup.settings(rpc_url=f"{setup.node.url} {other.url}"), dev_keys=False)
        expect_failure(findings, name, "chain 5", "take it out of FAIRSCORE_RPC_URL")
        identity(setup, 31337, genesis_of(setup.node))
        findings = check(setup.settings(rpc_url=other.url), dev_keys=False)
        assert "chain 5" in failures(findings)["chain"].seen
        assert "31337" in failures(findings)["chain"].seen
        assert "FAIRSCORE_RPC_URL" in failures(findings)["chain"].todo


def identity(setup: Setup, chain_id: int, genesis: bytes) -> None:
    """Let the database be of a chain."""
    database = open_database(setup.settings().database)
    row = {"chain_id": chain_id, "genesis_hash": genesis, "contract": bytes.fromhex(setup.contract[2:])}
    with database.write() as c:
        c.execute(chain_identities.insert().values(**row, recorded_at_ms=1))
    database.close()


def genesis_of(node: Node) -> bytes:
    """Hash of a chain's first block."""
    return bytes.fromhex(rpc(node.url, "eth_getBlockByNumber", "0x0", False)["hash"][2:])


def test_another_chain_with_the_same_id(setup: Setup) -> None:
    """Two chains can share an id; not their first block. A right one is known, with the contract."""
    identity(setup, 31337, genesis_of(setup.node))
    assert passed(check(setup.settings(contract=""), dev_keys=False))
    setup.database("DELETE FROM chain_identities")
    identity(setup, 31337, b"\x01" * 32)
    expect_failure(check(setup.settings(), dev_keys=False), "chain", "another block", "FAIRSCORE_DATABASE_URL")


def test_an_endpoint_that_lags(tmp_path: Path) -> None:
    """By blocks and by the chain's own time."""
    options = ("--timestamp", "1700000000")
    with anvil(*options) as ahead, anvil(*options) as behind:
        assert genesis_of(ahead) == genesis_of(behind)
        rpc(ahead.url, "anvil_mine", hex(20), hex(2))
        setup = Setup(tmp_path, ahead, "")
        findings = check(setup.settings(rpc_url=f"{behind.url} {ahead.url}"), dev_keys=False)
    lagging = failures(findings)[f"rpc {behind.url.removeprefix('http://')}"]
    assert "20 blocks behind" in lagging.seen
    assert "catch up" in lagging.todo
    assert found(findings, f"rpc {ahead.url.removeprefix('http://')}").state is State.OK
    assert found(findings, "clock").state is State.NOTE


def test_a_node_that_is_still_catching_up(setup: Setup) -> None:
    """It answers everything, with an old chain."""
    behind = {"startingBlock": "0x0", "currentBlock": "0x64", "highestBlock": "0x1f4"}
    syncing = Fault("syncing", methods=frozenset({"eth_syncing"}), lie=lambda *_: behind)
    with fault_proxy(setup.node.url) as proxy:
        proxy.plan = always(syncing)
        findings = check(setup.settings(rpc_url=proxy.url), dev_keys=False)
    name = f"node {proxy.url.removeprefix('http://')}"
    expect_failure(findings, name, "still catching up: 400 blocks to go", "FAIRSCORE_RPC_URL")


def test_a_clock_that_is_behind_the_chain(setup: Setup) -> None:
    """An hour, as a chain shows it whose newest block is an hour ahead."""
    with anvil() as fast:
        rpc(fast.url, "evm_increaseTime", 3600)
        rpc(fast.url, "anvil_mine", "0x1")
        findings = check(setup.settings(rpc_url=fast.url), dev_keys=False)
    assert "ahead of this machine" in failures(findings)["clock"].seen
    assert "NTP" in failures(findings)["clock"].todo


def test_a_clock_apart_from_the_database() -> None:
    """Either may be wrong."""
    (one,) = clock_findings(1_000_000.0, 1_000_060.0, 1_000_000)
    assert one.state is State.FAILED
    assert "60 s apart" in one.seen
    assert passed(clock_findings(1_000_000.0, 1_000_003.0, None))
    assert clock_findings(1.0, 1.0, None)[0].seen == "agrees with the database"
    assert clock_findings(1.0, None, None)[0].state is State.SKIPPED


# ---------------------------------------------------------------------- contract, roles, rules, money


@pytest.mark.parametrize(("code", "words"), [(None, "no code"), ("0x6001600155", "not this version's Leaderboard")])
def test_what_stands_at_the_address(setup: Setup, code: str | None, words: str) -> None:
    """Nothing, or something else."""
    with undone(setup.node):
        at = "0x" + "42" * 20
        if code:
            rpc(setup.node.url, "anvil_setCode", at, code)
        findings = check(setup.settings(contract=at), dev_keys=False)
    expect_failure(findings, "contract", words, "fairscore deploy")
    assert found(findings, "roles").state is State.SKIPPED


def test_no_contract_known(setup: Setup) -> None:
    """Neither set, nor remembered in home, nor in the database."""
    expect_failure(
        check(setup.settings(contract=""), dev_keys=False), "contract", "none is known", "FAIRSCORE_CONTRACT"
    )


def test_a_contract_address_that_is_none(setup: Setup) -> None:
    """The setting is named."""
    expect_failure(check(setup.settings(contract="0x12"), dev_keys=False), "settings", "FAIRSCORE_CONTRACT")


def test_a_contract_that_is_paused(setup: Setup) -> None:
    """It records nothing until the admin lifts it."""
    with undone(setup.node):
        call(setup, ADMIN, "pause()")
        findings = check(setup.settings(), dev_keys=False)
    expect_failure(findings, "contract", "paused", "unpause()")


def call(setup: Setup, sender: LocalSigner, signature: str) -> None:
    """Send a call without arguments from an account that anvil holds."""
    data = "0x" + keccak(signature.encode())[:4].hex()
    rpc(
        setup.node.url, "eth_sendTransaction", {"from": "0x" + sender.address.hex(), "to": setup.contract, "data": data}
    )


def test_keys_without_their_roles(setup: Setup) -> None:
    """Each says which role, and the command that grants it."""
    changed = {"attestation_key_file": setup.key(2), "gas_key_file": (setup.key(1),), "auditor_key_file": setup.key(0)}
    findings = check(setup.settings(**changed), dev_keys=False)
    assert set(failures(findings)) == {"attestation role", "auditor role"}
    assert "fairscore roles grant signer 0x3C44" in failures(findings)["attestation role"].todo
    assert "fairscore roles grant auditor 0xf39F" in failures(findings)["auditor role"].todo


def test_an_admin_key_of_somebody_else(setup: Setup) -> None:
    """It could publish nothing."""
    expect_failure(check(setup.settings(admin_key_file=setup.key(3)), dev_keys=False), "admin role", "0xf39F")


def test_rules_that_are_not_published(setup: Setup) -> None:
    """A game whose rules the contract does not accept."""
    games = {"arena": {"anonymous_submit": True}}
    expect_failure(
        check(setup.settings(games=games), dev_keys=False), "rules of arena", "not published", "ADMIN_KEY_FILE"
    )


@pytest.mark.parametrize(("table", "words"), [({"ruleset": "none@9"}, "none@9"), ({"nonsense": 1}, "arena")])
def test_games_that_cannot_be_configured(setup: Setup, table: dict[str, Any], words: str) -> None:
    """What is wrong is named."""
    expect_failure(check(setup.settings(games={"arena": table}), dev_keys=False), "settings", words)


def test_too_little_money(setup: Setup) -> None:
    """Says what it pays for, and how much to send."""
    with undone(setup.node):
        rpc(setup.node.url, "anvil_setBalance", "0x" + GAS.address.hex(), hex(10**9))
        findings = check(setup.settings(), dev_keys=False)
        expect_failure(findings, "gas balance", "pays for 0 batches", "send it at least")
        rpc(setup.node.url, "anvil_setBalance", "0x" + GAS.address.hex(), hex(3 * 10**16))
        findings = check(setup.settings(), dev_keys=False)
    assert passed(findings)
    assert found(findings, "gas balance").state is State.NOTE


def test_an_account_with_code(setup: Setup) -> None:
    """EIP-7702: it can have one transaction in the pool."""
    with undone(setup.node):
        rpc(setup.node.url, "anvil_setCode", "0x" + GAS.address.hex(), "0xef0100" + "11" * 20)
        findings = check(setup.settings(), dev_keys=False)
    assert passed(findings)
    assert "EIP-7702" in [finding for finding in findings if finding.check == "gas key"][-1].seen


# ------------------------------------------------------------------------------------------------ keys


def test_key_files(setup: Setup) -> None:
    """Open to others, missing, no key: each by its own name, and one hides no other."""
    opened = setup.key(1, 0o644).rename(setup.folder / "open.key")
    nonsense = setup.folder / "nonsense.key"
    nonsense.write_text("not a key")
    nonsense.chmod(0o600)
    findings = check(
        setup.settings(
            attestation_key_file=opened, gas_key_file=(setup.folder / "nowhere.key",),
            auditor_key_file=nonsense,
        ),
        dev_keys=False,
    )  # fmt: skip
    assert set(failures(findings)) == {"attestation key", "gas key", "auditor key"}
    assert "chmod 600" in failures(findings)["attestation key"].todo
    assert "nowhere.key" in failures(findings)["gas key"].todo
    assert "64 hex digits" in failures(findings)["auditor key"].todo
    assert not any(secret in str(findings) for secret in (*DEV_SECRETS, "not a key"))


def test_no_keys_named(setup: Setup) -> None:
    """A relay that cannot sign fails; one that does not send may be meant."""
    changed = {"attestation_key_file": None, "gas_key_file": (), "auditor_key_file": None}
    findings = check(setup.settings(**changed), dev_keys=False)
    expect_failure(findings, "attestation key", "FAIRSCORE_ATTESTATION_KEY_FILE")
    assert {found(findings, f"{job} key").state for job in ("gas", "auditor")} == {State.NOTE}


def test_one_key_for_two_jobs(setup: Setup) -> None:
    """Allowed, and said to be unwise."""
    findings = check(setup.settings(gas_key_file=(setup.key(1),)), dev_keys=False)
    assert passed(findings)
    assert "use two" in found(findings, "keys").todo


def test_a_remote_signer_that_is_away(setup: Setup) -> None:
    """It is named by host and port."""
    changed = {"attestation_key_file": None, "attestation_signer": "http://127.0.0.1:1#0x" + "11" * 20}
    expect_failure(check(setup.settings(**changed), dev_keys=False), "attestation key", "127.0.0.1:1")


def test_well_known_keys_on_another_chain(setup: Setup) -> None:
    """Everybody could sign as this relay."""
    with anvil("--chain-id", "5") as other:
        findings = check(setup.settings(rpc_url=other.url), dev_keys=True)
    assert "everybody knows" in failures(findings)["keys"].todo


# -------------------------------------------------------------------------------------------- database


def test_a_database_that_is_not_there_yet(setup: Setup) -> None:
    """It is not made by looking for it."""
    path = setup.folder / "nowhere" / "new.db"
    findings = check(setup.settings(database_url=f"sqlite:///{path}"), dev_keys=False)
    assert passed(findings)
    assert found(findings, "database").state is State.NOTE
    assert not path.parent.exists()


def run_sql(url: str, statement: str) -> None:
    """Change a database behind everybody's back."""
    database = open_database(url)
    with database.write() as c:
        c.execute(text(statement))
    database.close()


def test_databases_of_other_versions(setup: Setup, database_url: str) -> None:
    """Empty, too old, up to date, too new."""
    settings = setup.settings(database_url=database_url)
    database = open_database(database_url)
    with database.write() as c:
        c.execute(text("CREATE TABLE something_else (id INTEGER)"))
    assert found(check(settings, dev_keys=False), "database (relay)").state is State.NOTE
    migrate.upgrade(database, "indexer")
    config = migrate.configuration("relay")
    with database.write() as c:
        config.attributes["connection"] = c
        alembic.upgrade(config, "0001")
    database.close()
    later = len(list(ScriptDirectory.from_config(config).walk_revisions())) - 1
    words = ("is at 0001", f"{later} behind", "backup", "fairscore migrate")
    expect_failure(check(settings, dev_keys=False), "database (relay)", *words)
    setup_again = open_database(database_url)
    migrate.upgrade(setup_again, "relay")
    setup_again.close()
    assert passed(check(settings, dev_keys=False))
    run_sql(database_url, "UPDATE relay_schema_version SET version_num = 'ffff'")
    expect_failure(check(settings, dev_keys=False), "database (relay)", "newer version (ffff)", "newer program")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/x", "FAIRSCORE_DATABASE_URL"),
        ("mysql://me:hunter2@db/x", "sqlite:///file"),
        ("hunter2", "sqlite:///file"),
        ("sqlite:///{folder}/1.key", "FAIRSCORE_DATABASE_URL"),
    ],
)
def test_databases_that_cannot_be_used(setup: Setup, url: str, words: str) -> None:
    """Away, of another kind, no URL, another file: no password is shown."""
    findings = check(setup.settings(database_url=url.replace("{folder}", str(setup.folder))), dev_keys=False)
    expect_failure(findings, "database", words)
    assert "hunter2" not in str(findings)


def test_a_database_that_takes_no_changes(setup: Setup, postgres_url: str) -> None:
    """A replica, or a role that may only read."""
    settings = setup.settings(database_url=postgres_url)
    database = open_database(postgres_url)
    for package in ("relay", "indexer"):
        migrate.upgrade(database, package)
    name = database.engine.url.database
    database.close()
    run_sql(postgres_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    expect_failure(check(settings, dev_keys=False), "database", "takes no changes", "primary")


def test_a_paused_key(setup: Setup) -> None:
    """Not a failure: somebody wanted it; who, why, and how to undo it."""
    database = open_database(setup.settings().database)
    key = {"chain_id": 31337, "signer": GAS.address}
    with database.write() as c:
        c.execute(leases.insert().values(**key, holder="a", epoch=1, expires_at_ms=1))
        c.execute(sender_pauses.insert().values(**key, paused_at_ms=1, paused_by="cli:ann", reason="gas is dear"))
    database.close()
    findings = check(setup.settings(), dev_keys=False)
    assert passed(findings)
    one = [finding for finding in findings if finding.check == "gas key"][-1]
    assert "paused by cli:ann: gas is dear" in one.seen
    assert "fairscore outbox resume" in one.todo


# --------------------------------------------------------------------------------------------- command


def fairscore(home: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in an environment of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSCORE_")}
    environment = inherited | {"FAIRSCORE_HOME": str(home), "NO_COLOR": "1"} | settings
    return subprocess.run(
        [FAIRSCORE, *arguments],
        check=False,
        env=environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command(setup: Setup) -> None:
    """A table for people, a document for programs; exit code 0 when nothing failed, else 1."""
    good = {
        "FAIRSCORE_RPC_URL": setup.node.url, "FAIRSCORE_CONTRACT": setup.contract,
        "FAIRSCORE_ATTESTATION_KEY_FILE": str(setup.key(1)), "FAIRSCORE_GAS_KEY_FILE": str(setup.key(2)),
    }  # fmt: skip
    home = setup.settings().home
    ran = fairscore(home, "check", **good)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "✓  contract" in ran.stdout
    assert ran.stdout.rstrip().endswith("ready")
    bad = fairscore(home, "check", "--contract", "0x" + "42" * 20, **good)
    assert bad.returncode == 1
    assert "✗  contract" in bad.stdout
    assert "fairscore deploy" in bad.stdout
    assert bad.stdout.rstrip().endswith("not ready")
    ran = fairscore(home, "check", "--json", "--contract", "0x" + "42" * 20, **good)
    document = json.loads(ran.stdout)
    assert (ran.returncode, document["ok"]) == (1, False)
    assert {"check", "state", "seen", "todo"} == set(document["checks"][0])
    assert [one["check"] for one in document["checks"] if one["state"] == "failed"] == ["contract"]


def test_the_command_on_the_embedded_chain(tmp_path: Path) -> None:
    """With nothing set it looks at this home's running system, and says so when it does not run."""
    home = tmp_path / "home"
    with Fairscore(home) as server:
        ran = fairscore(home, "check", FAIRSCORE_PORT=str(server.port))
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "rules of streambeat" in ran.stdout
    ran = fairscore(home, "check", "--json")
    failing = [one["check"] for one in json.loads(ran.stdout)["checks"] if one["state"] == "failed"]
    assert failing == [f"rpc 127.0.0.1:{server.port}"]
