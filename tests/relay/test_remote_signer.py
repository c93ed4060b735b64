"""Keys elsewhere: the client against the real `fairscore signer`, and against signers that answer wrongly."""

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import urllib3
from eth_account import Account

from relay import remote_signer, signer_server, transactions
from relay.attestation import Domain, recover, score_batch_struct, typed_digest
from relay.config import settings
from relay.contract import selector
from relay.errors import SignerError, StartupError
from relay.keccak import checksum_address, keccak
from relay.keyring import KeySources
from relay.remote_signer import RemoteSigner, SignerService
from relay.signer import LocalSigner
from relay.signer_server import Vault
from relay.signing_policy import PolicyError
from relay.transactions import Transaction
from tests.harness.odd_signer import OddSigner, odd_signer
from tests.harness.ports import free_port
from tests.harness.process import FAIRSCORE, Fairscore

CHAIN = 31337
CONTRACT = b"\xcc" * 20
DOMAIN = Domain(CHAIN, CONTRACT)
SECRETS = {
    "ATTESTATION": keccak(b"remote attestation"),
    "GAS": keccak(b"remote gas"),
    "AUDITOR": keccak(b"remote audit"),
}
KEYS = {job: LocalSigner(secret) for job, secret in SECRETS.items()}
TOKEN = "a-token-that-is-in-no-log-4711"
STRUCT = score_batch_struct(bytes(32), b"\x07" * 32, 1_900_000_000, b"r" * 72)
FIELDS: dict[str, Any] = {
    "chainId": CHAIN, "nonce": 3, "gas": 300_000, "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 1, "value": 0,
    "to": CONTRACT, "data": selector("submitScores") + bytes(32),
}  # fmt: skip


def private(path: Path, text: str) -> str:
    """A file that only its owner can read."""
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fairscore]:
    """The real command, with three keys and a token."""
    folder = tmp_path_factory.mktemp("signer")
    port = free_port()
    settings = {f"FAIRSCORE_{job}_KEY_FILE": private(folder / job, secret.hex()) for job, secret in SECRETS.items()}
    settings |= {
        "FAIRSCORE_SIGNER_TOKEN_FILE": private(folder / "token", TOKEN + "\n"),
        "FAIRSCORE_SIGNER_PORT": str(port),
        "FAIRSCORE_CHAIN_ID": str(CHAIN),
        "FAIRSCORE_CONTRACT": checksum_address(CONTRACT),
        "FAIRSCORE_LOG_LEVEL": "DEBUG",
    }
    with Fairscore(folder / "home", "signer", settings=settings, port=port) as running:
        yield running
        log = running.output()
        for secret in (*SECRETS.values(), TOKEN.encode()):
            assert secret.hex() not in log
            assert secret.decode("latin-1") not in log


@pytest.fixture
def service(server: Fairscore, tmp_path: Path) -> Iterator[SignerService]:
    """A client with the token."""
    found = SignerService(server.url, Path(private(tmp_path / "token", TOKEN)))
    yield found
    found.close()


def key(service: SignerService, job: str) -> RemoteSigner:
    """The remote key of a job."""
    return service.signers(checksum_address(KEYS[job].address))[0]


def test_it_holds_the_keys_and_signs_the_same_bytes(service: SignerService) -> None:
    assert {signer.address for signer in service.signers()} == {signer.address for signer in KEYS.values()}
    attestation, gas = key(service, "ATTESTATION"), key(service, "GAS")
    assert attestation.attest(DOMAIN, STRUCT) == KEYS["ATTESTATION"].attest(DOMAIN, STRUCT)
    many = [STRUCT[:-32] + keccak(bytes((n,))) for n in range(40)]
    assert attestation.attest_all(DOMAIN, many) == KEYS["ATTESTATION"].attest_all(DOMAIN, many)
    legacy = {k: v for k, v in FIELDS.items() if not k.startswith("max")} | {"gasPrice": 5}
    void = FIELDS | {"to": gas.address, "data": b"", "gas": 21_000}
    for fields in (FIELDS, legacy, void):
        raw, tx_hash = gas.sign_transaction(fields)
        assert (raw, tx_hash) == KEYS["GAS"].sign_transaction(fields)
        assert Account.recover_transaction(raw) == checksum_address(gas.address)
    moderation = FIELDS | {"data": selector("invalidateScores") + bytes(96)}
    assert key(service, "AUDITOR").sign_transaction(moderation) == KEYS["AUDITOR"].sign_transaction(moderation)


@pytest.mark.parametrize(
    ("job", "change", "rule"),
    [
        ("GAS", {"chainId": 1}, "OTHER_CHAIN"),
        ("GAS", {"value": 1}, "VALUE"),
        ("GAS", {"to": b"\xdd" * 20}, "OTHER_CONTRACT"),
        ("GAS", {"to": None}, "OTHER_CONTRACT"),
        ("GAS", {"data": selector("invalidateScores")}, "OTHER_FUNCTION"),
        ("GAS", {"maxFeePerGas": 501 * 10**9}, "FEE_ABOVE_CAP"),
        ("GAS", {"gas": 2**24 + 1}, "GAS_ABOVE_LIMIT"),
        ("GAS", {"to": KEYS["GAS"].address}, "VOID_WITH_DATA"),
        ("AUDITOR", {}, "OTHER_FUNCTION"),
        ("ATTESTATION", {}, "OTHER_JOB"),
    ],
)
def test_the_signer_refuses_on_its_own_side(
    service: SignerService, job: str, change: dict[str, Any], rule: str
) -> None:
    with pytest.raises(SignerError, match=rf"HTTP 403: not signed \({rule}\)"):
        key(service, job).sign_transaction(FIELDS | change)


def test_it_attests_for_its_own_contract_only(service: SignerService) -> None:
    attestation = key(service, "ATTESTATION")
    for domain in (Domain(1, CONTRACT), Domain(CHAIN, b"\xdd" * 20)):
        with pytest.raises(SignerError, match=r"HTTP 403: not signed \(OTHER_DOMAIN\)"):
            attestation.attest(domain, STRUCT)
    with pytest.raises(SignerError, match="OTHER_JOB"):
        key(service, "GAS").attest(DOMAIN, STRUCT)
    with pytest.raises(PolicyError, match="OTHER_TYPE"):
        attestation.attest(DOMAIN, b"\0" * 160)


def ask(url: str, body: object = None, token: str | None = TOKEN) -> tuple[int, str]:
    """A plain request, as any web3signer client makes it."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_speaks_web3signers_interface(server: Fairscore) -> None:
    """upcheck, publicKeys, sign: text signatures, public keys with and without 0x, refusals that say why."""
    api = f"{server.url}/api/v1/eth1"
    assert ask(f"{server.url}/upcheck", token=None) == (200, "OK")
    status, listed = ask(f"{api}/publicKeys")
    assert status == 200
    assert set(json.loads(listed)) == {"0x" + signer.public_key.hex() for signer in KEYS.values()}
    payload = transactions.encode(Transaction(CHAIN, 1, 2, 1, 90_000, CONTRACT, 0, selector("submitScores")))
    public = KEYS["GAS"].public_key.hex()
    for identifier in (public, "0x" + public, "0x04" + public):
        status, text = ask(f"{api}/sign/{identifier}", {"data": "0x" + payload.hex()})
        assert status == 200
        assert recover(keccak(payload), bytes.fromhex(text[2:])) == KEYS["GAS"].address
    blind = DOMAIN.prefix + keccak(STRUCT)
    attests = KEYS["ATTESTATION"].public_key.hex()
    refusals = [
        (ask(f"{api}/sign/{attests}", {"data": "0x" + blind.hex()}), 403, "TYPE_HIDDEN"),
        (ask(f"{api}/sign/{'11' * 64}", {"data": "0x12"}), 404, "KEY_UNKNOWN"),
        (ask(f"{api}/sign/hello", {"data": "0x12"}), 404, "KEY_UNKNOWN"),
        (ask(f"{api}/sign/{public}", {"data": "0xzz"}), 400, "PAYLOAD_MALFORMED"),
        (ask(f"{api}/sign/{public}", {"dat": "0x12"}), 400, "PAYLOAD_MALFORMED"),
        (ask(f"{api}/sign/{public}", {"data": "0x12"}), 403, "NOT_A_TRANSACTION"),
        (ask(f"{api}/sign/{public}", {"data": "0x12"}, token=None), 401, "NOT_AUTHENTICATED"),
        (ask(f"{api}/sign/{public}", {"data": "0x12"}, token="wrong"), 401, "NOT_AUTHENTICATED"),
        (ask(f"{api}/publicKeys", token=None), 401, "NOT_AUTHENTICATED"),
    ]
    for (status, text), expected, code in refusals:
        assert status == expected
        assert code in text


def test_a_wrong_token_is_told_and_not_shown(server: Fairscore, tmp_path: Path) -> None:
    wrong = SignerService(server.url, Path(private(tmp_path / "wrong", "another-token")))
    with pytest.raises(SignerError, match="HTTP 401") as caught:
        wrong.signers()
    assert "another-token" not in f"{caught.value}{wrong!r}"
    opened = tmp_path / "open"
    opened.write_text(TOKEN)
    opened.chmod(0o644)
    with pytest.raises(Exception, match="open to other users"):
        SignerService(server.url, opened).signers()


def test_the_signer_starts_only_as_it_should(tmp_path: Path) -> None:
    """Every refusal is a sentence with exit code 2."""
    gas = {"FAIRSCORE_GAS_KEY_FILE": private(tmp_path / "g", SECRETS["GAS"].hex())}
    chain = {"FAIRSCORE_CHAIN_ID": "1", "FAIRSCORE_CONTRACT": checksum_address(CONTRACT)}
    (tmp_path / "open").write_text(SECRETS["GAS"].hex())
    (tmp_path / "open").chmod(0o640)
    for given, sentence in (
        (gas, "set FAIRSCORE_CHAIN_ID and FAIRSCORE_CONTRACT"),
        (chain, "there is no key to sign with"),
        (gas | chain | {"FAIRSCORE_HOST": "0.0.0.0"}, "FAIRSCORE_SIGNER_TOKEN_FILE"),
        (chain | {"FAIRSCORE_GAS_KEY_FILE": str(tmp_path / "open")}, "run chmod 600"),
        (gas | chain | {"FAIRSCORE_ATTESTATION_KEY_FILE": gas["FAIRSCORE_GAS_KEY_FILE"]}, "one key both attests and"),
        (gas | chain | {"FAIRSCORE_ATTESTATION_SIGNER": "http://h"}, "a signer holds its keys in files"),
    ):
        refused = Fairscore(tmp_path / "home", "signer", settings=given | {"FAIRSCORE_SIGNER_PORT": "0"})
        refused.launch()
        assert refused.running.wait(60) == 2, refused.tail()
        assert sentence in refused.output(), refused.tail()
        assert SECRETS["GAS"].hex() not in refused.output()
    assert FAIRSCORE.exists()


def test_the_signers_own_keys_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at again; one that cannot be read changes nothing; a key whose file is gone signs no more."""
    monkeypatch.setattr(signer_server, "FRESH_S", -1.0)
    gas = tmp_path / "gas"
    gas.mkdir()
    first = Path(private(gas / "first", SECRETS["GAS"].hex()))
    vault = Vault(KeySources(settings(gas_key_file=gas)).read, DOMAIN, 10**12)

    def held() -> set[bytes]:
        return set(asyncio.run(vault.keys()))

    assert held() == {KEYS["GAS"].public_key}
    second = Path(private(gas / "second", SECRETS["AUDITOR"].hex()))
    assert held() == {KEYS["GAS"].public_key, KEYS["AUDITOR"].public_key}
    second.write_text("not a key")
    assert held() == {KEYS["GAS"].public_key, KEYS["AUDITOR"].public_key}
    second.unlink()
    first.unlink()
    assert held() == set()
    second.write_text("not a key")
    assert held() == set(), "nor is that an error that a relay would see as one of ours"


@pytest.mark.parametrize(
    ("host", "token", "status"),
    [
        ("127.0.0.1:9000", None, 200),
        ("localhost", None, 200),
        ("[::1]:9000", None, 200),
        ("rebound.example:9000", None, 401),
        ("", None, 401),
        ("[::1", None, 401),
        ("rebound.example", TOKEN, 200),
    ],
)
def test_without_a_token_no_web_page_has_anything_signed(
    tmp_path: Path, host: str, token: str | None, status: int
) -> None:
    """A page can have its own name point at this machine (DNS rebinding), but not call it by another."""
    sources = KeySources(settings(gas_key_file=Path(private(tmp_path / "gas", SECRETS["GAS"].hex()))))
    signer = signer_server.application(Vault(sources.read, DOMAIN, 10**12), token)
    headers = {"host": host} | ({"authorization": f"Bearer {token}"} if token else {})
    payload = transactions.encode(Transaction(CHAIN, 1, 2, 1, 90_000, CONTRACT, 0, selector("submitScores")))
    path = f"/api/v1/eth1/sign/{KEYS['GAS'].public_key.hex()}"

    async def ask_both() -> tuple[int, int]:
        transport = httpx2.ASGITransport(app=signer)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            listed = await client.get("/api/v1/eth1/publicKeys", headers=headers)
            signed = await client.post(path, json={"data": "0x" + payload.hex()}, headers=headers)
        return listed.status_code, signed.status_code

    assert asyncio.run(ask_both()) == (status, status)


# ------------------------------------------------------------ signers that answer wrongly


@pytest.fixture
def odd() -> Iterator[OddSigner]:
    """A signer with moods."""
    with odd_signer(SECRETS["GAS"]) as running:
        yield running


@pytest.mark.parametrize("mood", ["honest", "parity", "json"])
def test_right_signatures_are_taken_however_they_are_written(odd: OddSigner, mood: str) -> None:
    (signer,) = SignerService(odd.url).signers()
    odd.mood = mood
    assert signer.sign_transaction(FIELDS) == KEYS["GAS"].sign_transaction(FIELDS)
    assert recover(typed_digest(DOMAIN, STRUCT), signer.attest(DOMAIN, STRUCT)) == KEYS["GAS"].address


@pytest.mark.parametrize(
    ("mood", "text"),
    [
        *((mood, "not this key's") for mood in
          ("other data", "other key", "high s", "short", "zeros", "text", "empty", "huge")),
        ("deep", "HTTP 500"), ("not found", "HTTP 404"), ("500", "HTTP 500"),
        ("503", "HTTP 503"), ("redirect", "HTTP 302"),
        ("refused", "HTTP 403: not signed"), ("closes", "does not answer"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_no_signature(odd: OddSigner, mood: str, text: str) -> None:
    (signer,) = SignerService(odd.url).signers()
    odd.mood = mood
    with pytest.raises(SignerError, match=text) as caught:
        signer.sign_transaction(FIELDS)
    assert caught.value.status == 503
    with pytest.raises(SignerError):
        signer.attest_all(DOMAIN, [STRUCT] * 3)


def test_who_does_not_answer_is_not_asked_at_once_again(odd: OddSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging signer costs its time limit once a while, not once per question."""
    monkeypatch.setattr(remote_signer, "TIMEOUT", urllib3.Timeout(connect=60, read=2))
    monkeypatch.setattr(remote_signer, "REST_S", 2.0)
    (signer,) = SignerService(odd.url).signers()
    odd.mood = "hangs"
    with pytest.raises(SignerError, match="does not answer"):
        signer.sign_transaction(FIELDS)
    asked = len(odd.asked)
    with pytest.raises(SignerError, match="a moment ago"):
        signer.sign_transaction(FIELDS)
    assert len(odd.asked) == asked
    odd.mood = "honest"
    time.sleep(remote_signer.REST_S)
    assert signer.sign_transaction(FIELDS) == KEYS["GAS"].sign_transaction(FIELDS)


def test_a_group_that_takes_too_long_is_given_up(odd: OddSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its database transaction is open meanwhile."""
    monkeypatch.setattr(remote_signer, "ALL_S", 0.3)
    (signer,) = SignerService(odd.url).signers()
    odd.mood = "slow"
    with pytest.raises(SignerError, match="is too slow: 1000 signatures"):
        signer.attest_all(DOMAIN, [STRUCT] * 1000)
    assert len(odd.asked) < 500


def test_who_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    absent = SignerService(f"http://127.0.0.1:{free_port()}/", Path(private(tmp_path / "token", TOKEN)))
    with pytest.raises(SignerError, match="does not answer") as caught:
        absent.signers()
    assert TOKEN not in caplog.text + str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://host", "begins with http"),
        ("host:9000", "begins with http"),
        ("", "begins with http"),
        ("https://user:hush-hush@host", "holds no password"),
        ("https://host?token=hush-hush", "holds no password"),
    ],
)
def test_addresses_that_cannot_be_a_signers(url: str, text: str) -> None:
    with pytest.raises(StartupError, match=text) as caught:
        SignerService(url)
    assert "hush" not in str(caught.value)


def test_a_key_it_does_not_hold(odd: OddSigner) -> None:
    service = SignerService(odd.url)
    with pytest.raises(SignerError, match="does not hold the key of 0x1111"):
        service.signers("0x" + "11" * 20)
    with pytest.raises(StartupError, match="40 hex digits"):
        service.signers("0x12")
    (signer,) = service.signers(checksum_address(KEYS["GAS"].address))
    assert repr(signer) == f"RemoteSigner({checksum_address(signer.address)} at {odd.url[7:]})"
