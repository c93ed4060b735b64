"""Keys are replaced under load, without a stop: nothing is lost, nothing is recorded twice, every receipt verifies."""

import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from tests.harness.nodes import DEVELOPMENT_KEYS, Node, anvil, operator
from tests.harness.plays import play, player
from tests.harness.ports import free_port
from tests.harness.process import FAIRSCORE, Fairscore
from tests.harness.rpc import rpc, scores_on_chain

NEW_SIGNER = "0x" + "5e" * 32
OLD_SIGNER = DEVELOPMENT_KEYS[1]
GAS_KEYS = DEVELOPMENT_KEYS[2:4]


def address(secret: str) -> str:
    """The account of a key."""
    return str(Account.from_key(secret).address)


def put(path: Path, secret: str) -> None:
    """A key file appears, or is replaced, at once and for its owner alone."""
    draft = path.parent / f".{path.name}"
    draft.write_text(secret + "\n")
    draft.chmod(0o600)
    draft.rename(path)


class Load:
    """Submits plays one after the other until the block ends; whatever is accepted is remembered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.accepted: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        serial = 0
        while not self._stop.wait(0.02):
            serial += 1
            body = json.dumps(play(serial, player(serial))).encode()
            headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
            try:
                asked = urllib.request.Request(f"{self.url}/api/submit-score", body, headers)
                with urllib.request.urlopen(asked, timeout=60) as answer:
                    self.accepted.append(json.load(answer))
            except urllib.error.HTTPError as error:
                self.refused.append(f"{error.code} {error.read().decode()[:200]}")

    def signers(self, since: int = 0) -> set[str]:
        """Who signed the receipts from the `since`-th on."""
        return {answer["receipt"]["signer"] for answer in self.accepted[since:]}

    def more(self, count: int) -> None:
        """Wait until so many more are accepted."""
        wanted = len(self.accepted) + count
        wait(lambda: len(self.accepted) >= wanted, lambda: self.refused[-3:])

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Load while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(60)


def wait(holds: Callable[[], bool], told: Callable[[], object], timeout_s: float = 60) -> None:
    """Poll until `holds`; what is `told` explains a failure."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


def details(server: Fairscore) -> dict[str, str]:
    """What readiness says, by check."""
    return {name: check["detail"] for name, check in server.get("/health")["checks"].items()}


def fairscore(server: Fairscore, *arguments: str) -> str:
    """Run another command with the server's settings; its output."""
    done = subprocess.run(
        [FAIRSCORE, *arguments],
        check=False,
        env=server.environment,
        cwd=server.home.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_everything_arrived(node: Node, load: Load, server: Fairscore) -> set[str]:
    """Every accepted score is on chain exactly once, under its own receipt; answers who sent the transactions."""
    rounds = [answer["receipt"]["roundId"] for answer in load.accepted]
    contract = load.accepted[0]["receipt"]["typedData"]["domain"]["verifyingContract"]
    wait(lambda: len(scores_on_chain(node.url, contract)) >= len(rounds), lambda: details(server))
    last = load.accepted[-1]["links"]["self"]
    wait(lambda: server.get(last)["status"] == "final", lambda: server.get(last))
    scores = scores_on_chain(node.url, contract)
    assert sorted(score.round_id for score in scores) == sorted(rounds)
    by_round = {score.round_id: score for score in scores}
    for answer in load.accepted:
        receipt = answer["receipt"]
        found = by_round[receipt["roundId"]]
        assert (found.player, found.score, found.evidence_hash) == (
            receipt["player"], receipt["score"], receipt["evidenceHash"]
        )  # fmt: skip
        signable = encode_typed_data(full_message=receipt["typedData"])
        assert Account.recover_message(signable, signature=receipt["signature"]) == receipt["signer"]
    hashes = {score.tx_hash for score in scores}
    transactions = [rpc(node.url, "eth_getTransactionByHash", tx_hash) for tx_hash in sorted(hashes)]
    by_sender: dict[str, list[int]] = {}
    for transaction in transactions:
        by_sender.setdefault(transaction["from"].lower(), []).append(int(transaction["nonce"], 16))
    for nonces in by_sender.values():
        assert len(nonces) == len(set(nonces)), "a nonce was used twice"
    assert not load.refused
    return set(by_sender)


@pytest.fixture
def node() -> Iterator[Node]:
    """Blocks of 1 s."""
    with anvil("--block-time", "1") as running:
        yield running


def test_gas_and_attestation_keys_are_replaced_under_load(node: Node, database_url: str, tmp_path: Path) -> None:
    """The procedure of the README, step by step, with every step's sign that it is done."""
    settings = operator(tmp_path / "keys", node.url, database_url)
    gas, attestation = tmp_path / "gas", Path(settings["FAIRSCORE_ATTESTATION_KEY_FILE"])
    gas.mkdir()
    put(gas / "first", GAS_KEYS[0])
    settings["FAIRSCORE_GAS_KEY_FILE"] = str(gas)
    old, new = address(OLD_SIGNER), address(NEW_SIGNER)
    with Fairscore(tmp_path / "home", "relay", settings=settings) as server, Load(server.url).running() as load:
        pid = server.running.pid
        load.more(20)

        put(gas / "second", GAS_KEYS[1])  # a gas key comes
        both = f"gas {address(GAS_KEYS[0])}, {address(GAS_KEYS[1])}"
        wait(lambda: details(server)["keys"] == both, lambda: details(server))
        load.more(100)
        (gas / "first").unlink()  # and one goes
        wait(lambda: f"{address(GAS_KEYS[0])} change=stop" in server.output(), server.tail)
        assert details(server)["keys"] == f"gas {address(GAS_KEYS[1])}"
        load.more(20)

        put(attestation, NEW_SIGNER)  # a new attestation key, which the contract does not know yet
        pending = (
            f"signs with {old}; {new} has not the signer role: fairscore roles grant signer {new}, then it takes over"
        )
        wait(lambda: details(server)["attestation"] == pending, lambda: details(server))
        before = len(load.accepted)
        load.more(20)
        assert load.signers(before) == {old}
        assert "now has the signer role" in fairscore(server, "roles", "grant", "signer", new)
        wait(lambda: details(server)["attestation"] == f"signs with {new}", lambda: details(server))
        load.more(2)  # one may have been under way
        before = len(load.accepted)
        load.more(60)
        assert load.signers(before) == {new}
        listed = fairscore(server, "roles", "list")
        assert new in listed
        assert old in listed
        assert server.get("/health")["status"] == "ready"
    assert server.running.pid == pid
    log = server.output()
    for secret in (OLD_SIGNER, NEW_SIGNER, *GAS_KEYS):
        assert secret[2:] not in log
    with Fairscore(tmp_path / "home", "relay", settings=settings) as server:
        senders = check_everything_arrived(node, load, server)
        assert senders == {address(secret).lower() for secret in GAS_KEYS}


def test_a_revoked_attestation_key_signs_nothing_more(node: Node, sqlite_url: str, tmp_path: Path) -> None:
    """A compromised key: revoked on the contract, accept answers 503 within seconds, until its successor is there."""
    settings = operator(tmp_path / "keys", node.url, sqlite_url)
    attestation = Path(settings["FAIRSCORE_ATTESTATION_KEY_FILE"])
    old, new = address(OLD_SIGNER), address(NEW_SIGNER)
    with Fairscore(tmp_path / "home", "relay", settings=settings) as server:
        load = Load(server.url)
        with load.running():
            load.more(5)
            fairscore(server, "roles", "revoke", "signer", old)
            wait(lambda: bool(load.refused), lambda: details(server))
            assert "SIGNER_UNAVAILABLE" in load.refused[-1]
            assert details(server)["attestation"].startswith("nothing is signed")
            fairscore(server, "roles", "grant", "signer", new)
            put(attestation, NEW_SIGNER)
            wait(lambda: details(server)["attestation"] == f"signs with {new}", lambda: details(server))
            load.more(5)
            assert load.signers(len(load.accepted) - 2) == {new}
        load.refused.clear()
        check_everything_arrived(node, load, server)


@pytest.mark.slow
def test_all_keys_at_a_remote_signer_that_comes_and_goes(node: Node, sqlite_url: str, tmp_path: Path) -> None:
    """The relay holds no key. While the signer is away nothing is accepted and nothing is lost; then all goes on."""
    settings = operator(tmp_path / "keys", node.url, sqlite_url)
    contract = next(
        line.split()[1]
        for line in subprocess.run(
            [FAIRSCORE, "deploy"],
            env={**Fairscore(tmp_path / "home", settings=settings).environment},
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout.splitlines()
        if line.startswith("contract")
    )  # fmt: skip
    port = free_port()
    holds = {name: settings.pop(name) for name in ("FAIRSCORE_ATTESTATION_KEY_FILE", "FAIRSCORE_GAS_KEY_FILE")}
    token = tmp_path / "token"
    put(token, "only-between-the-two")
    shared = {"FAIRSCORE_SIGNER_TOKEN_FILE": str(token), "FAIRSCORE_CONTRACT": contract}
    signing = holds | shared | {"FAIRSCORE_CHAIN_ID": "31337", "FAIRSCORE_SIGNER_PORT": str(port)}
    settings |= shared | {
        "FAIRSCORE_ATTESTATION_SIGNER": f"http://127.0.0.1:{port}#{address(OLD_SIGNER)}",
        "FAIRSCORE_GAS_SIGNER": f"http://127.0.0.1:{port}",
    }
    early = Fairscore(tmp_path / "home", "relay", settings=settings)
    early.launch()
    assert early.running.wait(60) == 2
    assert f"the remote signer 127.0.0.1:{port} does not answer" in early.output()
    signer = Fairscore(tmp_path / "signer", "signer", settings=signing, port=port)
    try:
        signer.start()
        with Fairscore(tmp_path / "home", "relay", settings=settings) as server:
            load = Load(server.url)
            with load.running():
                load.more(20)
                signer.kill()
                wait(lambda: len(load.refused) > 2, lambda: details(server))
                assert "SIGNER_UNAVAILABLE" in load.refused[-1]
                signer.start()
                load.more(20)
            load.refused.clear()
            senders = check_everything_arrived(node, load, server)
            assert senders == {address(GAS_KEYS[0]).lower()}
        assert "only-between-the-two" not in server.output() + signer.output()
    finally:
        signer.cleanup()
