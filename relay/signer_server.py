"""`fairscore signer`: holds keys for relays elsewhere, and signs for them only what the policy allows.

Touches the key files it is given and one HTTP port; knows neither chain nor database. It speaks web3signer's interface
for secp256k1, so either can stand in for the other, but looks at what it signs: see `relay.signing_policy`.
"""

import asyncio
import hmac
import ipaddress
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvloop

from relay import logs
from relay.api.application import VERSION
from relay.api.asgi import Api
from relay.api.health import HealthEndpoints
from relay.api.operations import Answer, Call, Credential, Operation, answer
from relay.attestation import Domain
from relay.config import Settings
from relay.errors import CallerError, PayloadError, SignerError, StartupError
from relay.health import Check
from relay.keccak import checksum_address, keccak
from relay.keyring import Keyring, KeySources, ReadKeys, senders
from relay.private_file import KeyFileError, read_private
from relay.server import PortInUseError, Server, listen
from relay.signer import LocalSigner
from relay.signing_policy import KeyPolicy, PolicyError, TransactionPolicy, allowed
from relay.startup import address
from relay.strict_json import Request

TEXT = b"text/plain; charset=utf-8"
FRESH_S = 1.0  # how long keys are used before their files are looked at again
BODY_MAX = 1024 * 1024
ROLE = "relay"

log = logging.getLogger(__name__)


class SignRequest(Request, frozen=True):
    """What is to be hashed (keccak-256) and signed; an attestation shows its encoded struct too. 0x and hex digits."""

    data: str
    struct: str | None = None


@dataclass(frozen=True)
class Held:
    """One key, and what it may sign."""

    signer: LocalSigner
    policy: KeyPolicy


class Vault:
    """The keys of this process by public key; files are looked at again, so keys come and go without a stop."""

    def __init__(self, read: ReadKeys, domain: Domain, fee_wei_cap: int) -> None:
        self._read, self._domain, self._fee_wei_cap = read, domain, fee_wei_cap
        self._held: dict[bytes, Held] = {}
        self._looked_at = float("-inf")
        self._lock = asyncio.Lock()

    async def keys(self) -> dict[bytes, Held]:
        """Return what is held now; a key file that cannot be read leaves all as it was."""
        async with self._lock:
            if time.monotonic() - self._looked_at > FRESH_S:
                try:
                    self._held = self._policies(await asyncio.to_thread(self._read))
                except (KeyFileError, SignerError, StartupError) as error:
                    if self._looked_at == float("-inf"):  # the first look: a mistake in what was set
                        raise
                    log.warning("keys are kept as they were", extra={"reason": str(error)})
                self._looked_at = time.monotonic()
            return self._held

    def _policies(self, keys: Keyring) -> dict[bytes, Held]:
        found: dict[bytes, Held] = {}
        if isinstance(keys.attestation, LocalSigner):
            found[keys.attestation.public_key] = Held(keys.attestation, KeyPolicy(self._domain, None))
        chain_id, contract = self._domain.chain_id, self._domain.contract
        for signer, kinds in senders(keys).values():
            if isinstance(signer, LocalSigner):
                sends = TransactionPolicy(chain_id, contract, allowed(kinds), self._fee_wei_cap)
                if signer.public_key in found:
                    raise StartupError("one key both attests and sends: use two, so that neither's thief can do both")
                found[signer.public_key] = Held(signer, KeyPolicy(None, sends))
        return found


class SignerEndpoints:
    """web3signer's interface for secp256k1 keys."""

    def __init__(self, vault: Vault, *, alone: bool) -> None:
        """`alone`: no token is asked for, so only what calls this machine by its own name is answered."""
        self._vault, self._alone = vault, alone

    async def upcheck(self, call: Call) -> Answer:  # noqa: ARG002 - every endpoint takes the call
        """Say that the process answers."""
        return Answer(200, b"OK", TEXT)

    async def public_keys(self, call: Call) -> Answer:
        """Return the public keys held, each 0x and 128 hex digits."""
        self._check_host(call)
        return answer(["0x" + key.hex() for key in await self._vault.keys()])

    async def sign(self, call: Call) -> Answer:
        """Return r ‖ s ‖ v as text, or refuse."""
        self._check_host(call)
        body: SignRequest = call.body
        data = _hex(body.data, "data")
        struct = None if body.struct is None else _hex(body.struct, "struct")
        held = (await self._vault.keys()).get(_key(call.path["identifier"]))
        if held is None:
            raise CallerError("KEY_UNKNOWN", "This signer does not hold the key.")
        told = {"key": checksum_address(held.signer.address), "request_id": call.request_id}
        try:
            what = held.policy.check(held.signer.address, data, struct)
        except PolicyError as refusal:
            log.warning("refused", extra={**told, "rule": refusal.rule})
            raise CallerError("SIGNING_REFUSED", refusal.detail, extra={"rule": refusal.rule}) from None
        log.log(logging.DEBUG if what == "attestation" else logging.INFO, "signed", extra={**told, "what": what})
        return Answer(200, b"0x" + held.signer.sign(keccak(data)).hex().encode(), TEXT)

    def _check_host(self, call: Call) -> None:
        """A page in a browser here can have its own name point at us (DNS rebinding), but not call us by another.

        Raises:
            CallerError: NOT_AUTHENTICATED.
        """
        if self._alone and not _is_local(call.headers.get(b"host", b"").decode("latin-1")):
            detail = "Without a token only this machine is answered, by its own name: set FAIRSCORE_SIGNER_TOKEN_FILE."
            raise CallerError("NOT_AUTHENTICATED", detail)


def _told(held: Mapping[bytes, Held]) -> str:
    """Return which keys there are and what for."""
    does = ((checksum_address(one.signer.address), one.policy.sends is None) for one in held.values())
    return ", ".join(f"{account} {'attests' if attests else 'sends'}" for account, attests in does)


def application(vault: Vault, secret: str | None) -> Api:
    """Return the ASGI application; with a `secret` everything but its health needs it as bearer token."""
    endpoints = SignerEndpoints(vault, alone=not secret)
    roles = frozenset({ROLE}) if secret else None

    async def authenticate(token: str) -> Credential | None:
        known = secret is None or hmac.compare_digest(token.encode(), secret.encode())
        return Credential("signer", ROLE, None) if known else None

    async def ready() -> Mapping[str, Check]:
        held = await vault.keys()
        return {"keys": Check(bool(held), _told(held) or "none: every key file is gone")}

    health = HealthEndpoints(ready, VERSION)
    prefix = "/api/v1/eth1"
    return Api(
        [
            Operation("GET", "/upcheck", "The process answers", endpoints.upcheck),
            Operation("GET", "/health/live", "The process answers", health.live),
            Operation("GET", "/health/ready", "Every check holds", health.ready),
            Operation("GET", f"{prefix}/publicKeys", "Public keys held", endpoints.public_keys, roles=roles),
            Operation(
                "POST", f"{prefix}/sign/{{identifier}}", "Sign", endpoints.sign,
                roles=roles, request=SignRequest, body_max=BODY_MAX,
            ),
        ],
        authenticate,
    )  # fmt: skip


def serve_signer(settings: Settings) -> None:
    """Run until a signal.

    Raises:
        StartupError: something is not as it must be; the message says what to change.
    """
    logs.configure(settings.log_level)
    try:
        uvloop.run(_serve(settings))
    except (KeyFileError, PortInUseError, SignerError) as refusal:
        raise StartupError(str(refusal)) from None


async def _serve(settings: Settings) -> None:
    if not settings.chain_id or not settings.contract:
        raise StartupError(
            "a signer signs for one contract on one chain: set FAIRSCORE_CHAIN_ID and FAIRSCORE_CONTRACT"
        )
    if settings.attestation_signer or settings.gas_signer or settings.auditor_signer:
        raise StartupError("a signer holds its keys in files: set FAIRSCORE_*_KEY_FILE, not FAIRSCORE_*_SIGNER")
    token = None if settings.signer_token_file is None else read_private(settings.signer_token_file).strip()
    if not token and not _loopback(settings.host):
        raise StartupError(
            f"anybody who reaches {settings.host} could have things signed: put a secret into a file and name it in "
            "FAIRSCORE_SIGNER_TOKEN_FILE"
        )
    domain = Domain(settings.chain_id, address(settings.contract, "FAIRSCORE_CONTRACT"))
    vault = Vault(KeySources(settings).read, domain, settings.fee_cap_gwei * 10**9)
    held = await vault.keys()
    if not held:
        raise StartupError("there is no key to sign with: set FAIRSCORE_ATTESTATION_KEY_FILE or FAIRSCORE_GAS_KEY_FILE")
    listener = listen(settings.host, settings.signer_port)
    server = Server(application(vault, token or None), lambda: None)
    server.stop_on_signals()
    where = {"port": listener.getsockname()[1], "chain": domain.chain_id, "contract": settings.contract}
    log.info("listening", extra={**where, "keys": _told(held)})
    try:
        await server.serve(sockets=[listener])
    finally:
        listener.close()


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    """Whether a Host field (RFC 9110, section 7.2) names this machine."""
    try:
        return _loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _key(identifier: str) -> bytes:
    """Return the 64 bytes of a public key however it is written; what is none is a key nobody holds."""
    try:
        found = bytes.fromhex(identifier.removeprefix("0x"))
    except ValueError:
        return b""
    return found[1:] if len(found) == 65 and found[0] == 4 else found


def _hex(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise PayloadError(f"`{name}` is not 0x and hexadecimal digits") from None
