"""The answer to an accepted submission, written from a template.

Pure. The template is made from the real document of one made-up submission, so the two cannot drift apart; filling it
in costs a fifth of building and encoding the document each time (a property test compares their bytes).
"""

from functools import lru_cache

import msgspec

from relay.attestation import Domain, receipt
from relay.contract import Record, pack_record
from relay.keccak import checksum_address
from relay.store.intake_rows import FirstAnswer

IN_BLOCK = frozenset({"included", "final"})
MESSAGES = {
    "accepted": "Score validated and accepted; its transaction will be sent shortly.",
    "queued": "Score validated and accepted; its transaction is being prepared.",
    "sent": "Score validated and sent to the chain.",
    "included": "Score validated and recorded on the chain.",
    "final": "Score validated and final on the chain.",
    "held": "Score validated; it counts as soon as the game's server confirms it.",
    "revoked": "Score was accepted and later revoked.",
}

_encoder = msgspec.json.Encoder()

# Values that occur nowhere else in the document, so that each can be found and replaced.
_SAMPLE = FirstAnswer(
    id="sub_sample",
    game_id="",
    player=b"\xa1" * 20,
    score=7_770_000_000_001,
    round_id=7_770_000_000_002,
    evidence_hash=b"\xe1" * 32,
    evidence_level=1,
    rules_hash=b"",
    receipt_deadline=7_770_000_000_003,
    receipt_signer=b"",
    receipt_signature=b"\x51" * 65,
    code=None,
    request_id="",
    answering_until_ms=None,
    answered_status="status_sample",
    answered_tx=b"\x7e" * 32,
)


def accepted(first: FirstAnswer, domain: Domain) -> tuple[int, bytes]:
    """Return HTTP status and body: 200 when the score was in a block as this was first said, else 202."""
    status = first.answered_status or "accepted"
    if first.round_id is None:  # held: nothing is signed yet
        return 202, _encoder.encode(document(first, domain))
    player, score, round_id, evidence_hash = first.player, first.score or 0, first.round_id or 0, first.evidence_hash
    filled = _template(domain, first.game_id, first.rules_hash, first.receipt_signer or b"", first.evidence_level) % {
        "id": first.id,
        "status": status,
        "message": MESSAGES.get(status, MESSAGES["accepted"]),
        "tx": f'"0x{first.answered_tx.hex()}"' if first.answered_tx else "null",
        "score": score,
        "round": round_id,
        "deadline": first.receipt_deadline,
        "player": checksum_address(player),
        "records": pack_record(Record(player, score, round_id, evidence_hash)).hex(),
        "evidence": evidence_hash.hex(),
        "signature": (first.receipt_signature or b"").hex(),
    }
    return (200 if status in IN_BLOCK else 202), filled.encode()


def document(first: FirstAnswer, domain: Domain) -> dict[str, object]:
    """Return the same answer as a value: what the template is made of."""
    status = first.answered_status or "accepted"
    evidence = "0x" + first.evidence_hash.hex()
    return {
        "success": True,
        "validated": True,
        "score": first.score,
        "txHash": "0x" + first.answered_tx.hex() if first.answered_tx else None,
        "message": MESSAGES.get(status, MESSAGES["accepted"]),
        "submissionId": first.id,
        "status": status,
        "evidenceLevel": first.evidence_level,
        "receipt": receipt_of(first, domain),
        "evidenceHash": evidence,
        "links": {"self": f"/api/submissions/{first.id}", "evidence": f"/api/evidence/{evidence}"},
    }


def receipt_of(first: FirstAnswer, domain: Domain) -> dict[str, object] | None:
    """Return the receipt of an accepted submission, None for a refused one."""
    if first.round_id is None or first.receipt_deadline is None or first.score is None:
        return None
    record = Record(first.player, first.score, first.round_id, first.evidence_hash)
    signer, signature = first.receipt_signer or b"", first.receipt_signature or b""
    return receipt(domain, first.game_id, first.rules_hash, first.receipt_deadline, record, signer, signature)


@lru_cache(maxsize=256)
def _template(domain: Domain, game_id: str, rules_hash: bytes, signer: bytes, level: int) -> str:
    sample = _SAMPLE._replace(game_id=game_id, rules_hash=rules_hash, receipt_signer=signer, evidence_level=level)
    text = _encoder.encode(document(sample, domain)).decode().replace("%", "%%")
    record = Record(sample.player, sample.score or 0, sample.round_id or 0, sample.evidence_hash)
    for found, name in (
        (pack_record(record).hex(), "%(records)s"),
        (sample.evidence_hash.hex(), "%(evidence)s"),
        ((sample.receipt_signature or b"").hex(), "%(signature)s"),
        (checksum_address(sample.player), "%(player)s"),
        (f'"0x{(sample.answered_tx or b"").hex()}"', "%(tx)s"),
        (str(sample.score), "%(score)d"),
        (str(sample.round_id), "%(round)d"),
        (str(sample.receipt_deadline), "%(deadline)d"),
        (MESSAGES["accepted"], "%(message)s"),
        (str(sample.answered_status), "%(status)s"),
        (sample.id, "%(id)s"),
    ):
        if found not in text:
            raise ValueError(f"the answer's template has no place for {name}")
        text = text.replace(found, name)
    return text
