"""Keys that change while the relay runs: the sources are looked at again, and what changed is put to use.

Touches the chain (who has which role), the fleet and the intake it is handed. Nothing is restarted: a gas key is
started or drained, an attestation key is replaced once the contract accepts it, and until then the old one signs on.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import Enum

from relay.chain_types import ChainError
from relay.contract import AUDITOR_ROLE, SIGNER_ROLE
from relay.deployment import ViewChain, has_role
from relay.errors import SignerError, StartupError
from relay.fleet import Fleet, jobs
from relay.health import Check
from relay.keccak import checksum_address
from relay.keyring import Keyring, ReadKeys, Signer
from relay.private_file import KeyFileError
from relay.store.engine import StoreUnavailableError

EVERY_S = 5

log = logging.getLogger(__name__)


class Verdict(Enum):
    """What becomes of the attestation key."""

    KEEP = "keep"
    REPLACE = "replace"
    SUSPEND = "suspend"  # the contract takes nothing signed by it: signing on would promise what cannot be kept


def judge(*, held: bool, offered: bool | None) -> Verdict:
    """Decide on the attestation key: `held`: the contract accepts the one in use; `offered`: and another, if any."""
    if offered:
        return Verdict.REPLACE
    return Verdict.KEEP if held else Verdict.SUSPEND


class Rotation:
    """Looks at the keys again and again; `look` is a job of the clock."""

    def __init__(
        self,
        read: ReadKeys,
        keys: Keyring,
        chain: ViewChain,
        contract: bytes,
        fleet: Fleet,
        attest_with: Callable[[Signer | None], None],
    ) -> None:
        """`attest_with` is told which key signs from now on, None: none may."""
        self._read, self._keys, self._chain, self._contract = read, keys, chain, contract
        self._fleet, self._attest_with = fleet, attest_with
        self._signing = keys.attestation is not None
        self._checks: dict[str, Check] = {}
        self._source = Check(True, _summary(keys))
        self._lost: Sequence[bytes] = ()
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Start an outbox for each key; raises ChainMismatchError, ChainError."""
        await self._fleet.adjust(jobs(self._keys))
        await self._roles(self._keys)

    async def look(self) -> None:
        """Put to use what changed. What cannot be read or asked changes nothing, and is told by `ready`."""
        async with self._lock:
            keys = await self._sources()
            try:
                await self._roles(keys)
                await self._fleet.adjust(jobs(self._keys))
                self._abandoned(await self._fleet.abandoned())
            except (ChainError, StoreUnavailableError) as error:
                log.info("keys could not be looked at", extra={"reason": str(error)})

    async def _sources(self) -> Keyring:
        try:
            found = await asyncio.to_thread(self._read)
        except (KeyFileError, SignerError, StartupError) as error:
            told = f"{_summary(self._keys)}; kept as they were, because {error}"
            if self._source.detail != told:
                log.warning("keys could not be read again", extra={"reason": str(error)})
            self._source = Check(True, told)
            return self._keys
        self._source = Check(True, _summary(found))
        return found

    async def _roles(self, keys: Keyring) -> None:
        """Take over `keys`; the attestation key only as far as the contract accepts it."""
        now, offered = self._keys.attestation, keys.attestation
        if now is not None:
            now = await self._attestation(now, offered if offered is not None else now)
        self._keys = Keyring(keys.admin, now, keys.gas, keys.auditor, keys.guardian)
        # Asked first, then put down: `ready` may be called while the chain is asked. Told, and fails nothing: scores
        # are taken and sent all the same, and revocations wait.
        lacking = keys.auditor is not None and not await self._has(AUDITOR_ROLE, keys.auditor)
        self._checks.pop("auditor", None)
        if lacking and keys.auditor is not None:
            self._checks["auditor"] = Check(True, f"revocations wait: {_grant('auditor', keys.auditor)}")

    async def _attestation(self, now: Signer, offered: Signer) -> Signer:
        other = offered.address != now.address
        accepted = await self._has(SIGNER_ROLE, offered) if other else None
        held = await self._has(SIGNER_ROLE, now)
        verdict = judge(held=held, offered=accepted)
        if verdict is Verdict.REPLACE or (not other and offered is not now):
            log.warning("attestation key", extra={"was": _shown(now), "now": _shown(offered)})
            now = offered
            self._attest_with(now)
        elif self._signing != held:
            log.warning("attestation key", extra={"address": _shown(now), "accepted by the contract": held})
            self._attest_with(now if held else None)
        self._signing = verdict is not Verdict.SUSPEND
        detail = f"signs with {_shown(now)}"
        if not self._signing:
            detail = "nothing is signed: " + _grant("signer", offered)
        elif other and not accepted:
            detail += f"; {_grant('signer', offered)}, then it takes over"
        self._checks["attestation"] = Check(self._signing, detail)
        return now

    def _abandoned(self, accounts: Sequence[bytes]) -> None:
        """Report transactions that nobody finishes; the first look may see those of a process that just ended."""
        named = ", ".join(checksum_address(account) for account in accounts)
        self._checks.pop("abandoned", None)
        if named and accounts == self._lost:
            why = (
                f"transactions of {named} are under way and no process holds the key: put it back until they are final"
            )
            self._checks["abandoned"] = Check(False, why)
        self._lost = accounts

    async def _has(self, role: bytes, signer: Signer) -> bool:
        return await has_role(self._chain, self._contract, role, signer.address)

    def ready(self) -> dict[str, Check]:
        """Return what there is to say of the keys, by name."""
        return {"keys": self._source, **self._checks}


def _grant(role: str, signer: Signer) -> str:
    return f"{_shown(signer)} has not the {role} role: fairscore roles grant {role} {_shown(signer)}"


def _summary(keys: Keyring) -> str:
    gas = ", ".join(_shown(signer) for signer in keys.gas) or "none"
    return f"gas {gas}" + (f"; auditor {_shown(keys.auditor)}" if keys.auditor else "")


def _shown(signer: Signer) -> str:
    return checksum_address(signer.address)
