"""Signatures: against the specification's own library, against HMAC by hand, and while a secret is changed."""

import base64
import hashlib
import hmac
import json
import logging
import time
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from relay.errors import StartupError
from relay.webhooks.messages import Event, body, message_id
from relay.webhooks.signing import SecretFile
from tests.harness.receiver import new_secret, secret_file

EVENT = Event(7, "sub_1", "included", 1_764_000_000_123, None, "streambeat", bytes.fromhex("52908400098527886e0f7030069857d2e4169ee7"), 2652, 3, "r-1", b"\x11" * 32, 99)  # fmt: skip  # noqa: E501


def test_the_public_library_verifies_what_we_send(tmp_path: Path) -> None:
    secret = new_secret()
    content = body(EVENT, "2025-11-24T16:00:00.123Z")
    headers = SecretFile(secret_file(tmp_path, secret)).headers(message_id(EVENT), time.time(), content)
    document = Webhook(secret).verify(content, headers)
    assert document["data"]["sequence"] == 7
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(content.replace(b"2652", b"2653"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(content, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(content, headers | {"webhook-id": "evt_8_1"})


def test_the_signature_is_the_specifications_hmac(tmp_path: Path) -> None:
    """Base64 of HMAC-SHA-256 over `id.timestamp.body`, keyed with the decoded secret."""
    secret = new_secret()
    headers = SecretFile(secret_file(tmp_path, secret)).headers("evt_1_2", 1_614_265_330.9, b'{"test": 2432232314}')
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = hmac.new(key, b'evt_1_2.1614265330.{"test": 2432232314}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "evt_1_2",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1," + base64.b64encode(expected).decode(),
    }


def test_a_message_says_what_history_says() -> None:
    document = json.loads(body(EVENT, "2025-11-24T16:00:00.123Z"))
    assert document == {
        "type": "submission.included",
        "timestamp": "2025-11-24T16:00:00.123Z",
        "data": {
            "submissionId": "sub_1",
            "gameId": "streambeat",
            "player": "0x52908400098527886E0F7030069857D2E4169EE7",
            "roundId": 3,
            "externalRoundId": "r-1",
            "score": 2652,
            "status": "included",
            "detail": None,
            "txHash": "0x" + "11" * 32,
            "blockNumber": 99,
            "sequence": 7,
            "at": "2025-11-24T16:00:00.123Z",
        },
    }
    big = EVENT._replace(score=2**60, tx_hash=None)
    assert json.loads(body(big, ""))["data"]["score"] == str(2**60)


def test_while_a_secret_is_changed_both_verify(tmp_path: Path) -> None:
    """Old, then new and old, then new: at no moment does a receiver that has one of the two refuse."""
    old, new = new_secret(), new_secret()
    path = secret_file(tmp_path, old)
    keys = SecretFile(path)
    path.write_text(f"# the new one first\n{new}\n\n{old}\n")
    keys.refresh()
    headers = keys.headers("evt_1_2", time.time(), b"{}")
    assert headers["webhook-signature"].count("v1,") == 2
    assert Webhook(old).verify(b"{}", headers) == Webhook(new).verify(b"{}", headers) == {}
    path.write_text(f"{new}\n")
    keys.refresh()
    headers = keys.headers("evt_1_2", time.time(), b"{}")
    assert Webhook(new).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(b"{}", headers)


def test_a_change_that_cannot_be_used_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = new_secret()
    path = secret_file(tmp_path, secret)
    keys = SecretFile(path)
    for damage in ("", "whsec_AAAA\n", "nonsense\n"):
        path.write_text(damage)
        with caplog.at_level(logging.ERROR):
            keys.refresh()
        assert Webhook(secret).verify(b"{}", keys.headers("evt_1_2", time.time(), b"{}")) == {}
    path.unlink()
    keys.refresh()
    assert len(caplog.records) == 4
    assert secret not in caplog.text


@pytest.mark.parametrize("text", ["", "# nothing\n", "abc\n", "whsec_\n", "whsec_!!!!\n", "whsec_" + "A" * 28 + "\n"])
def test_a_file_without_usable_secrets_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    path = secret_file(tmp_path, "")
    path.write_text(text)
    with pytest.raises(StartupError, match="24 to 64 random bytes") as refusal:
        SecretFile(path)
    assert "AAAA" not in str(refusal.value)


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path, new_secret())
    path.chmod(0o644)
    with pytest.raises(StartupError, match="chmod 600"):
        SecretFile(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        SecretFile(tmp_path / "missing")
