"""Keys that another process holds: a client of web3signer's HTTP interface for secp256k1 (`fairscore signer`, too).

Touches HTTP. `GET /api/v1/eth1/publicKeys` lists the keys, `POST /api/v1/eth1/sign/{public key}` signs the keccak-256
of `data`. Every signature is checked before it is used, so a signer that answers wrongly delays and changes nothing.
"""

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError

from relay import transactions
from relay.attestation import Domain, SignatureError, recover
from relay.errors import SignerError, StartupError
from relay.keccak import checksum_address, keccak
from relay.private_file import read_private
from relay.signing_policy import check_attestation

TIMEOUT = urllib3.Timeout(connect=1.0, read=3.0)
REST_S = 1.0  # after no answer: nothing is asked for so long, for each question holds a database transaction open
ALL_S = 4.0  # for all signatures of one group of submissions, whose transaction is open so long
CONNECTIONS = 16
ANSWER_MAX = 64 * 1024


class SignerService:
    """One remote signer, with a pool of connections that threads share. Its token never appears in text."""

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        """Raise StartupError where `url` cannot be one."""
        try:
            parsed = urllib3.util.parse_url(url)
        except LocationParseError:
            parsed = urllib3.util.Url()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise StartupError(
                "a remote signer's address begins with http:// or https://, as in https://host#0xaddress"
            )
        if parsed.auth or parsed.query:
            raise StartupError("a remote signer's address holds no password: name FAIRSCORE_SIGNER_TOKEN_FILE instead")
        self.name = parsed.netloc or ""
        self._base = url.rstrip("/")
        self._token_file = token_file
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, block=True, retries=False, timeout=TIMEOUT)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fairscore-signer")
        self._known: dict[bytes, RemoteSigner] = {}
        self._listed: list[RemoteSigner] = []
        self._rest_until = 0.0

    def signers(self, account: str = "") -> "list[RemoteSigner]":
        """Return the key with this address (0x and 40 hex digits), or without one every key the signer holds.

        One that does not answer now holds what it held.

        Raises:
            SignerError: it never answered, or does not hold the key.
        """
        wanted = _address(account) if account else None
        if wanted is not None and wanted in self._known:
            return [self._known[wanted]]
        try:
            self._listed = self._list()
        except SignerError:
            if wanted is not None or not self._listed:
                raise
        if wanted is None:
            return self._listed
        chosen = [signer for signer in self._listed if signer.address == wanted]
        if not chosen:
            raise SignerError(f"the remote signer {self.name} does not hold the key of {checksum_address(wanted)}")
        return chosen

    def _list(self) -> "list[RemoteSigner]":
        listed = self.ask("GET", "/api/v1/eth1/publicKeys")
        try:
            keys = [bytes.fromhex(text.removeprefix("0x"))[-64:] for text in json.loads(listed)]
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise SignerError(f"the remote signer {self.name} does not list public keys") from None
        found = [RemoteSigner(self, key) for key in keys if len(key) == 64]
        return [self._known.setdefault(signer.address, signer) for signer in found]

    def ask(self, method: str, path: str, document: Mapping[str, str] | None = None) -> str:
        """Return the text of a 200 answer; SignerError otherwise."""
        if time.monotonic() < self._rest_until:
            raise SignerError(f"the remote signer {self.name} did not answer a moment ago")
        headers = {"content-type": "application/json", "accept": "*/*"}
        if self._token_file is not None:
            headers["authorization"] = f"Bearer {read_private(self._token_file).strip()}"
        body = None if document is None else json.dumps(document).encode()
        try:
            answer = self._pool.request(
                method, self._base + path, body=body, headers=headers, redirect=False, preload_content=False
            )
            try:
                text = answer.read(ANSWER_MAX, decode_content=True).decode("utf-8", "replace")
                if len(text) >= ANSWER_MAX:  # nothing that is awaited is so long: do not wait for its end
                    answer.close()
            finally:
                answer.release_conn()
        except (HTTPError, OSError) as error:
            self._rest_until = time.monotonic() + REST_S
            raise SignerError(f"the remote signer {self.name} does not answer ({type(error).__name__})") from None
        if answer.status != 200:
            raise SignerError(f"the remote signer {self.name} answers HTTP {answer.status}{_reason(text)}")
        return text

    def each(self, signer: "RemoteSigner", domain: Domain, structs: Sequence[bytes]) -> list[bytes]:
        """Sign several structs, as many at a time as there are connections."""
        try:
            return list(self._threads.map(lambda struct: signer.attest(domain, struct), structs, timeout=ALL_S))
        except TimeoutError:
            raise SignerError(
                f"the remote signer {self.name} is too slow: {len(structs)} signatures in {ALL_S} s"
            ) from None

    def close(self) -> None:
        """Let go of the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.clear()

    def __repr__(self) -> str:
        return f"SignerService({self.name})"


class RemoteSigner:
    """One key at a remote signer, good for what a LocalSigner is good for: attestations and transactions."""

    __slots__ = ("_public_key", "_service", "address")

    def __init__(self, service: SignerService, public_key: bytes) -> None:
        """`public_key` has 64 bytes: x ‖ y."""
        self._service, self._public_key = service, public_key
        self.address = keccak(public_key)[12:]

    def attest(self, domain: Domain, struct: bytes) -> bytes:
        """Have an encoded EIP-712 struct signed for one contract.

        Raises:
            PolicyError: it is not one that an attestation key signs.
            SignerError: the signer is away, refuses, or answers with another signature.
        """
        check_attestation(struct)
        # `struct` shows a `fairscore signer` what is signed; others read `data` only.
        return self._sign(domain.prefix + keccak(struct), {"struct": "0x" + struct.hex()})

    def attest_all(self, domain: Domain, structs: Sequence[bytes]) -> list[bytes]:
        """Have several structs signed; raises as `attest`."""
        return self._service.each(self, domain, structs)

    def sign_transaction(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw transaction, its hash) for JSON-RPC fields; raises as `LocalSigner` and `attest`."""
        transaction = transactions.from_fields(fields)
        raw = transactions.signed(transaction, self._sign(transactions.encode(transaction), {}))
        return raw, keccak(raw)

    def _sign(self, data: bytes, more: dict[str, str]) -> bytes:
        path = f"/api/v1/eth1/sign/0x{self._public_key.hex()}"
        text = self._service.ask("POST", path, {"data": "0x" + data.hex(), **more})
        try:
            signature = bytes.fromhex(text.strip().strip('"').removeprefix("0x"))
            if len(signature) == 65 and signature[64] < 27:  # some key vaults answer the bare parity
                signature = signature[:64] + bytes((signature[64] + 27,))
            if recover(keccak(data), signature) == self.address:
                return signature
        except (ValueError, SignatureError):
            pass
        raise SignerError(f"the remote signer {self._service.name} answers with a signature that is not this key's")

    def __repr__(self) -> str:
        return f"RemoteSigner({checksum_address(self.address)} at {self._service.name})"


def _address(text: str) -> bytes:
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 20:
        raise StartupError("after # a remote signer's address names an account: 0x and 40 hex digits")
    return found


def _reason(text: str) -> str:
    """Return what a problem document says, as ': …'; nothing of other answers, which may be anything."""
    try:
        detail = json.loads(text).get("detail")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f": {detail[:300]}" if isinstance(detail, str) else ""
