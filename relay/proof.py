"""Who played, and by whose word: what a player signs, who signed it, and the lines about it in a verdict.

Pure. `relay.players` asks the database and the chain; what follows from their answers is decided here.
Sources: EIP-712 (typed data), EIP-2 (low s), EIP-2098 (compact signatures), ERC-1271 (contract wallets).
"""

from typing import Literal, NamedTuple

from relay.attestation import Domain, SignatureError, recover, submit_score_digest
from relay.contract_records import game_key
from relay.keccak import keccak
from relay.rules.verdict import Finding, Mode, Row

Method = Literal["none", "token", "signature", "session_key", "contract_wallet"]

SIGNED: frozenset[Method] = frozenset({"signature", "session_key", "contract_wallet"})
NO_ROUND = bytes(32)
REPLAYED_LEVEL, SIGNED_LEVEL = 3, 4  # a replayed score that its player signed is one level higher
_LOW_BITS = (1 << 255) - 1


class Signing(NamedTuple):
    """What a claim says of its `SubmitScore`, with the signature as it came; `deadline` in unix seconds."""

    signature: bytes
    deadline: int | None
    score: int
    evidence_hash: bytes  # keccak-256 of the canonical JSON (RFC 8785) of scoreData
    round_ref: bytes  # keccak-256 of the round's id, or zero


class Proof(NamedTuple):
    """How a submission shows who played. Nothing in it is the client's word: it was recomputed or looked up.

    `signer` is the player, or the session key that signed; `delegation` the evidence hash of what made it one.
    `digest` is what was signed, to be used once. `findings` are lines for the verdict.
    """

    method: Method = "none"
    signer: bytes | None = None
    digest: bytes | None = None
    delegation: bytes | None = None
    findings: tuple[tuple[Row, Finding], ...] = ()

    @property
    def refused(self) -> bool:
        """Whether it shows that this is not, or not provably, the player."""
        return any(finding[0] for _, finding in self.findings)

    def level(self, level: int) -> int:
        """Return the evidence level of a score whose evidence alone deserves `level`."""
        return level_of(level, signed=self.method in SIGNED)

    def document(self) -> dict[str, str] | None:
        """Return what stands in the evidence, so that anybody can check signatures again; None without proof."""
        if self.method == "none" or self.signer is None:
            return None
        shown = {"method": self.method, "signer": "0x" + self.signer.hex()}
        return shown if self.delegation is None else {**shown, "delegation": "0x" + self.delegation.hex()}


NOBODY = Proof()

_INVALID = Row("SIGNATURE_INVALID", 1, Mode.ENFORCE, lambda _: None)
_EXPIRED = Row("SIGNATURE_EXPIRED", 1, Mode.ENFORCE, lambda _: None)
_SCOPE = Row("SESSION_KEY_SCOPE", 1, Mode.ENFORCE, lambda _: None)
_REQUIRED = Row("SIGNATURE_REQUIRED", 1, Mode.ENFORCE, lambda _: None)


def level_of(level: int, *, signed: bool) -> int:
    """Return the evidence level of a score that deserves `level` by itself, and that its player signed or not."""
    return SIGNED_LEVEL if signed and level == REPLAYED_LEVEL else level


# ------------------------------------------------------------- what is signed


def digest_of(domain: Domain, game_id: str, player: bytes, signing: Signing) -> bytes | None:
    """Return the EIP-712 digest of the `SubmitScore`; None where it has none (no deadline, a negative score)."""
    if signing.deadline is None:
        return None
    try:
        return submit_score_digest(
            domain, game_key(game_id), signing.round_ref, player, signing.score, signing.evidence_hash, signing.deadline
        )
    except ValueError:
        return None


def round_ref(round_id: str | None) -> bytes:
    """Return how `SubmitScore` names a round."""
    return keccak(round_id.encode()) if round_id else NO_ROUND


def signed_text_digest(message: str) -> bytes:
    """Return what a wallet signs of a text (EIP-191, version 0x45: `personal_sign`)."""
    data = message.encode()
    return keccak(b"\x19Ethereum Signed Message:\n%d" % len(data) + data)


def signer_of(digest: bytes, signature: bytes) -> bytes | None:
    """Return the address whose key signed `digest`; None where no key did, or not in the one form that is taken.

    Wallets write the parity bit as 27/28 or as 0/1, or within s (EIP-2098); these are read as the same signature. The
    twin with s in the upper half, which anybody can make of a signature, is refused (EIP-2).
    """
    form = _plain(signature)
    if form is None:
        return None
    try:
        return recover(digest, form)
    except SignatureError:
        return None


def _plain(signature: bytes) -> bytes | None:
    """Return r ‖ s ‖ v with v 27 or 28; None for anything else."""
    if len(signature) == 64:
        word = int.from_bytes(signature[32:], "big")
        return signature[:32] + (word & _LOW_BITS).to_bytes(32, "big") + bytes((27 + (word >> 255),))
    if len(signature) != 65:
        return None
    return signature[:64] + bytes((signature[64] + 27,)) if signature[64] in (0, 1) else signature


# ------------------------------------------------------------------- verdicts


def by_token(player: bytes) -> Proof:
    """The caller holds a session of the player."""
    return Proof("token", player)


def signed(method: Method, signer: bytes, digest: bytes, deadline: int) -> Proof:
    """The player's wallet signed this score."""
    return Proof(method, signer, digest, None, (*_valid(deadline),))


def delegated(signer: bytes, digest: bytes, deadline: int, delegation: bytes, until_s: int, now_s: int) -> Proof:
    """A key that the player delegated to until `until_s` signed this score: refused from then on."""
    if until_s <= now_s:
        reason = "The session key that signed may not sign for the player any more."
        return _refused(_SCOPE, {"until": until_s, "now": now_s}, reason)
    scope: tuple[Row, Finding] = (_SCOPE, (False, {"until": until_s}, ""))
    return Proof("session_key", signer, digest, delegation, (*_valid(deadline), scope))


def missing() -> Proof:
    """The game asks for proof and none came."""
    return _refused(_REQUIRED, {}, "This game takes scores from signed-in players, or signed by the player.")


def undated() -> Proof:
    """There is a signature, and nothing that it could be of."""
    return _refused(_INVALID, {}, "A signed score names its deadline, and is no negative number.")


def invalid() -> Proof:
    """Neither the player nor a key of the player's signed this."""
    return _refused(_INVALID, {}, "The signature is not the player's, for this score on this contract.")


def expired(deadline: int, now_s: int) -> Proof:
    """It was to be used earlier."""
    return _refused(_EXPIRED, {"deadline": deadline, "now": now_s}, "The signature's deadline has passed.")


def _valid(deadline: int) -> tuple[tuple[Row, Finding], ...]:
    return (_INVALID, (False, {}, "")), (_EXPIRED, (False, {"deadline": deadline}, ""))


def _refused(row: Row, numbers: dict[str, int], reason: str) -> Proof:
    return Proof(findings=((row, (True, numbers, reason)),))
