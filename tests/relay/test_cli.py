"""The command line: what an operator types, what it answers, how it refuses."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account

from relay.keccak import keccak
from relay.keyring import DEV_SECRETS
from tests.harness.nodes import Node, anvil
from tests.harness.process import FAIRSCORE, Fairscore
from tests.harness.rpc import rpc


def fairscore(home: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in an environment of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAIRSCORE_")}
    environment = inherited | {"FAIRSCORE_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "160"} | settings
    command = [str(FAIRSCORE), *arguments]
    return subprocess.run(
        command, check=False, env=environment, cwd=home.parent, capture_output=True, text=True, timeout=60
    )


def key_file(folder: Path, secret: str, mode: int = 0o600) -> str:
    """Write a key file; returns its path."""
    path = folder / f"{secret[:6]}.key"
    path.write_text(secret)
    path.chmod(mode)
    return str(path)


def test_deploy_prints_the_roles_it_set_and_remembers_the_contract(tmp_path: Path) -> None:
    """One command on any RPC; code and roles are checked on chain; `relay` then finds the contract in home."""
    admin, attestation, *_ = DEV_SECRETS
    guardian = Account.create().address
    with anvil() as node:
        ran = fairscore(
            tmp_path / "home", "deploy", "--rpc-url", node.url,
            "--admin-key-file", key_file(tmp_path, admin), "--attestation-key-file", key_file(tmp_path, attestation),
            "--guardian", guardian,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        contract = re.search(r"contract +(0x[0-9a-fA-F]{40})", ran.stdout)
        assert contract
        assert len(rpc(node.url, "eth_getCode", contract[1], "latest")) > 1000
        lines = dict(line.split(maxsplit=1) for line in ran.stdout.splitlines() if re.match(r"[a-z]+ +0x", line))
        assert lines["admin"] == Account.from_key(admin).address
        assert lines["signer"] == Account.from_key(attestation).address
        assert lines["guardian"] == guardian
        assert lines["auditor"] == Account.from_key(admin).address
        assert "checked" in ran.stdout
        remembered = json.loads((tmp_path / "home" / "contracts.json").read_text())
        assert [entry["contract"] for entry in remembered.values()] == [contract[1].lower()]
    assert admin not in ran.stdout + ran.stderr


@pytest.mark.parametrize(("chain_id", "delay_s"), [("31337", 0), ("50312", 172_800)])
def test_a_change_of_admin_waits_two_days_except_on_test_chains(tmp_path: Path, chain_id: str, delay_s: int) -> None:
    """The contract's own word for it (`defaultAdminDelay`)."""
    admin, attestation, *_ = DEV_SECRETS
    with anvil("--chain-id", chain_id) as node:
        ran = fairscore(
            tmp_path / "home", "deploy", "--rpc-url", node.url,
            "--admin-key-file", key_file(tmp_path, admin), "--attestation-key-file", key_file(tmp_path, attestation),
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        contract = ran.stdout.split()[1]
        call = {"to": contract, "data": "0x" + keccak(b"defaultAdminDelay()")[:4].hex()}
        assert int(rpc(node.url, "eth_call", call, "latest"), 16) == delay_s


def test_keys_are_shown_once_listed_by_prefix_and_revoked(tmp_path: Path) -> None:
    """Create, list, revoke; the database holds no key."""
    home = tmp_path / "home"
    made = fairscore(home, "keys", "create", "--role", "server", "--name", "arena", "--expires-days", "30")
    secret = made.stdout.strip()
    assert secret.startswith("fs_live_sk_")
    listed = fairscore(home, "keys", "list").stdout
    assert secret[:15] in listed
    assert re.search(rf"key_[0-9a-z]{{26}} +{secret[:15]}", fairscore(home, "keys", "list", COLUMNS="80").stdout)
    assert secret not in listed
    assert "arena" in listed
    assert secret.encode() not in (home / "fairscore.db").read_bytes()
    assert fairscore(home, "keys", "revoke", secret[:15]).returncode == 0
    assert "revoked" in fairscore(home, "keys", "list").stdout
    again = fairscore(home, "keys", "revoke", secret[:15])
    assert again.returncode == 2
    assert "fairscore keys list" in again.stderr


def test_migrate_says_where_it_got(tmp_path: Path) -> None:
    """Running it twice is harmless."""
    first, second = (fairscore(tmp_path / "home", "migrate") for _ in range(2))
    assert first.stdout == second.stdout
    assert re.search(r"relay: revision \d+\nindexer: revision \d+", first.stdout)


def test_openapi_is_the_served_document(tmp_path: Path) -> None:
    """The command needs no running system and no state."""
    ran = fairscore(tmp_path / "home", "openapi")
    document = json.loads(ran.stdout)
    assert document["openapi"].startswith("3.1")
    for path in ("/api/submit-score", "/api/leaderboards/{gameId}/{board}/stream", "/devnet/rpc"):
        assert path in document["paths"]
    assert not (tmp_path / "home").exists()


REFUSED = {
    "relay without a chain": (("relay",), {}, "--rpc-url"),
    "indexer without a chain": (("indexer",), {}, "--rpc-url"),
    "deploy without a chain": (("deploy",), {}, "--rpc-url"),
    "database of another kind": (("run",), {"FAIRSCORE_DATABASE_URL": "mysql://me:hunter2@db/x"}, "sqlite:///file"),
    "database in memory": (("run",), {"FAIRSCORE_DATABASE_URL": "sqlite://"}, "sqlite:///file"),
    "database that is no URL": (("keys", "list"), {"FAIRSCORE_DATABASE_URL": "hunter2"}, "sqlite:///file"),
    "database that does not answer": (
        ("run",), {"FAIRSCORE_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/x"}, "FAIRSCORE_DATABASE_URL",
    ),
    "database that is another file": (
        ("keys", "list"), {"FAIRSCORE_DATABASE_URL": "sqlite:///games.toml"}, "FAIRSCORE_DATABASE_URL",
    ),
    "home that is a file": (("run",), {"FAIRSCORE_HOME": "games.toml"}, "FAIRSCORE_HOME"),
    "home nobody can make": (("run",), {"FAIRSCORE_HOME": "/proc/nowhere"}, "FAIRSCORE_HOME"),
    "chain's address that is none": (("relay",), {"FAIRSCORE_RPC_URL": "hunter2"}, "FAIRSCORE_RPC_URL"),
    "settings file that is no TOML": (("run",), {"FAIRSCORE_CONFIG": "open.key"}, "not TOML"),
    "key for longer than a life": (("keys", "create", "--role", "admin", "--expires-days", "99999999"), {}, "36500"),
    "port that is none": (("run",), {"FAIRSCORE_PORT": "http"}, "FAIRSCORE_PORT"),
    "game with an unknown ruleset": (("run",), {"FAIRSCORE_CONFIG": "games.toml"}, "no-such-rules"),
    "settings file that is not there": (("run",), {"FAIRSCORE_CONFIG": "nowhere.toml"}, "nowhere.toml"),
    "role that is none": (("keys", "create", "--role", "god"), {}, "server, client, auditor, admin"),
    "key file that is not there": (
        ("deploy", "--rpc-url", "{node}"), {"FAIRSCORE_ADMIN_KEY_FILE": "nowhere.key"}, "nowhere.key",
    ),
    "key file open to others": (
        ("deploy", "--rpc-url", "{node}"), {"FAIRSCORE_ADMIN_KEY_FILE": "open.key"}, "chmod 600",
    ),
    "deploy without keys": (("deploy", "--rpc-url", "{node}"), {}, "admin"),
    "address that is none": (
        ("deploy", "--rpc-url", "{node}", "--dev-keys", "--guardian", "0x12"), {}, "--guardian",
    ),
}  # fmt: skip


def test_a_second_process_on_one_home_is_refused(tmp_path: Path) -> None:
    """It says so in one line: the chain's own process ends in silence."""
    with Fairscore(tmp_path / "home"):
        ran = fairscore(tmp_path / "home", "run", "--port", "0")
    assert ran.returncode == 2
    assert "another FAIRSCORE_HOME" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1, ran.stderr


@pytest.mark.parametrize("name", ["contracts.json", "devnet.json", "devnet-keys.json"])
def test_a_damaged_file_in_home_is_named(tmp_path: Path, name: str) -> None:
    """Nothing is overwritten that could be restored."""
    home = tmp_path / "home"
    with Fairscore(home):
        pass
    (home / name).write_bytes(b'{"\xff')
    ran = fairscore(home, "run", "--port", "0")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert name in ran.stderr
    assert "Traceback" not in ran.stderr
    assert (home / name).read_bytes() == b'{"\xff'


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """One chain for every refusal: none of them changes it."""
    with anvil() as running:
        yield running


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_a_sentence_with_exit_code_2(tmp_path: Path, node: Node, name: str) -> None:
    """No traceback, no secret, and the text names what to change."""
    arguments, settings, expected = REFUSED[name]
    (tmp_path / "games.toml").write_text("[games.x]\nruleset = 'no-such-rules@9'\n")
    key_file(tmp_path, DEV_SECRETS[0], 0o644)
    (tmp_path / f"{DEV_SECRETS[0][:6]}.key").rename(tmp_path / "open.key")
    given = [argument.replace("{node}", node.url) for argument in arguments]
    ran = fairscore(tmp_path / "home", *given, **{"FAIRSCORE_PORT": "0", **settings})
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert expected in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "hunter2" not in ran.stderr


def test_help_answers_at_once(tmp_path: Path) -> None:
    """`--help` imports nothing heavy."""
    ran = fairscore(tmp_path / "home", "--help", PYTHONPROFILEIMPORTTIME="1")
    assert "Game results that anyone can trust" in ran.stdout
    assert "typer" in ran.stderr
    for heavy in ("web3", "sqlalchemy", "eth_account"):
        assert not re.search(rf"\| +{heavy}$", ran.stderr, re.MULTILINE)
