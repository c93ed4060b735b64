"""`fairscore roles`: who may do what on a contract on anvil; every change is on chain when the command returns."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account

from relay.contract import SIGNER_ROLE, encode_call
from relay.keccak import checksum_address
from tests.harness.nodes import DEVELOPMENT_KEYS, Node, anvil
from tests.harness.process import FAIRSCORE, Fairscore
from tests.harness.rpc import rpc

ADMIN, SIGNER = (str(Account.from_key(secret).address) for secret in DEVELOPMENT_KEYS[:2])
NEWCOMER = checksum_address(b"\x5a" * 20)


@pytest.fixture
def node() -> Iterator[Node]:
    """A block per transaction."""
    with anvil() as running:
        yield running


class Operator:
    """Types commands against one contract."""

    def __init__(self, home: Path, node: Node) -> None:
        self.node = node
        self.environment = Fairscore(home, settings={"FAIRSCORE_RPC_URL": node.url}).environment
        self.contract = self("deploy", "--dev-keys").split()[1]

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run; output, or the complaint of a refused command."""
        done = subprocess.run(
            [FAIRSCORE, *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout

    def signs(self, account: str) -> bool:
        """Whether the contract itself says that the account has the signer role."""
        data = "0x" + encode_call("hasRole", SIGNER_ROLE, bytes.fromhex(account[2:])).hex()
        return int(rpc(self.node.url, "eth_call", {"to": self.contract, "data": data}, "latest"), 16) == 1


def test_roles(node: Node, tmp_path: Path) -> None:
    fairscore = Operator(tmp_path / "home", node)
    listed = [line.split() for line in fairscore("roles", "list", "--dev-keys").splitlines()[1:]]
    assert ["admin", ADMIN, "admin"] in listed
    assert ["signer", SIGNER, "attestation"] in listed
    assert {row[0] for row in listed} == {"admin", "signer", "guardian", "auditor"}
    assert not fairscore.signs(NEWCOMER)
    granted = fairscore("roles", "grant", "signer", NEWCOMER, "--dev-keys")
    assert granted.strip() == f"{NEWCOMER} now has the signer role"
    assert fairscore.signs(NEWCOMER)
    assert "already had" in fairscore("roles", "grant", "signer", NEWCOMER, "--dev-keys")
    assert any(line.split()[1] == NEWCOMER for line in fairscore("roles", "list").splitlines() if NEWCOMER in line)
    assert "no longer has" in fairscore("roles", "revoke", "signer", NEWCOMER, "--dev-keys")
    assert not fairscore.signs(NEWCOMER)
    assert fairscore.signs(SIGNER)
    assert "has not" in fairscore("roles", "revoke", "signer", NEWCOMER, "--dev-keys")
    assert NEWCOMER not in fairscore("roles", "list", "--dev-keys")
    for arguments, sentence in (
        (("roles", "grant", "pilot", NEWCOMER), "is no role: expected signer, guardian, auditor"),
        (("roles", "grant", "signer", "0x12"), "not an address"),
        (("roles", "grant", "signer", NEWCOMER.swapcase().replace("0X", "0x")), "capital letters do not fit"),
        (("roles", "grant", "signer", NEWCOMER), "FAIRSCORE_ADMIN_KEY_FILE"),
    ):
        assert sentence in " ".join(fairscore(*arguments, code=2).split())
    not_admin = tmp_path / "key"
    not_admin.write_text(DEVELOPMENT_KEYS[2])
    not_admin.chmod(0o600)
    refused = fairscore("roles", "grant", "signer", NEWCOMER, "--admin-key-file", str(not_admin), code=2)
    assert "AccessControlUnauthorizedAccount" in refused
    embedded = {name: value for name, value in fairscore.environment.items() if name != "FAIRSCORE_RPC_URL"}
    done = subprocess.run([FAIRSCORE, "roles", "list"], env=embedded, capture_output=True, text=True, check=False)
    assert (done.returncode, "name the chain with --rpc-url" in done.stderr) == (2, True)
