"""How a webhook is signed: Standard Webhooks, HMAC-SHA-256 with every secret that is in use.

Reads the hook's secret file. While a secret is being changed the file holds the new one and the old one, a line each,
and every message carries a signature of each, so that the receiver can change over whenever it likes.
"""

import base64
import binascii
import logging
from datetime import UTC, datetime
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from relay.errors import StartupError
from relay.private_file import KeyFileError, read_private

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)  # the specification's bounds
SECRETS_MAX = 4

log = logging.getLogger(__name__)


class SecretFile:
    """The secrets of one hook. What they are never appears in text."""

    def __init__(self, path: Path) -> None:
        """Read the secrets.

        Raises:
            StartupError: the file is missing, open to other users, or holds something else.
        """
        self._path = path
        self._seen = self._stamp()
        self._keys = self._read()

    def refresh(self) -> None:
        """Take the file's new content, if it changed; one that cannot be used is reported and changes nothing."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keys = self._read()
        except StartupError as wrong:
            log.error("a webhook's new secrets are not used, the former ones are: %s", wrong)  # noqa: TRY400 - no trace
        else:
            log.info("webhook secrets read again", extra={"file": self._path, "secrets": len(self._keys)})

    def headers(self, message_id: str, at_s: float, body: bytes) -> dict[str, str]:
        """Return the headers that identify and sign `body`, sent at `at_s` (unix time)."""
        text, at = body.decode(), datetime.fromtimestamp(int(at_s), UTC)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at_s)),
            "webhook-signature": " ".join(key.sign(message_id, at, text) for key in self._keys),
        }

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> list[Webhook]:
        try:
            lines = [line.strip() for line in read_private(self._path).splitlines()]
        except KeyFileError as wrong:
            raise StartupError(str(wrong)) from None
        secrets = [line for line in lines if line and not line.startswith("#")]
        if not 1 <= len(secrets) <= SECRETS_MAX or not all(_usable(secret) for secret in secrets):
            raise StartupError(
                f"{self._path} holds no webhook secrets: expected 1 to {SECRETS_MAX} lines, each {PREFIX} and the "
                "base64 of 24 to 64 random bytes, the newest first"
            )
        return [Webhook(secret) for secret in secrets]


def _usable(secret: str) -> bool:
    try:
        return secret.startswith(PREFIX) and len(base64.b64decode(secret[len(PREFIX) :], validate=True)) in SECRET_BYTES
    except (binascii.Error, ValueError):
        return False
