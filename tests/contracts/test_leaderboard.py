"""The deployed contract against the Python that speaks to it, on eth-tester and on anvil."""

from dataclasses import replace

import pytest
from eth_account import Account

from relay.attestation import (
    Domain,
    economy_anchor_digest,
    receipt,
    score_batch_digest,
    score_batch_typed_data,
    submit_score_digest,
)
from relay.contract import (
    ADMIN_ROLE,
    AUDITOR_ROLE,
    GENESIS_HEAD,
    GUARDIAN_ROLE,
    MAX_BATCH,
    SIGNER_ROLE,
    BatchAccepted,
    EconomyAnchored,
    HeadChain,
    HeadMismatchError,
    Paused,
    Record,
    RoleGranted,
    RoleRevoked,
    RulesPublished,
    RulesRetired,
    ScoreInvalidated,
    ScoreReinstated,
    ScoreSubmitted,
    Unpaused,
    anchored_head,
    code_matches,
    decode_submit_scores,
    encode_call,
    encode_submit_scores,
    game_key,
    moderated_head,
    next_head,
    pack_record,
    unpack_records,
)
from relay.keccak import checksum_address, keccak
from tests.harness.chains import FAR, Board, actor, some_records

REASON = keccak(b"reason")


def packed(records: list[Record]) -> bytes:
    return b"".join(map(pack_record, records))


# -------------------------------------------------------------- deployment


def test_deployment(board: Board) -> None:
    code = bytes(board.chain.web3.eth.get_code(checksum_address(board.address)))  # type: ignore[arg-type]
    assert code_matches(code)
    assert not code_matches(code[:-1] + bytes((code[-1] ^ 1,)))
    assert not code_matches(code[:-1])
    assert not code_matches(b"")
    held = {(event.role, event.account) for event in board.events(board.deployed_in) if isinstance(event, RoleGranted)}
    assert held == {
        (ADMIN_ROLE, board.admin.address),
        (SIGNER_ROLE, board.signer.address),
        (GUARDIAN_ROLE, board.guardian.address),
        (AUDITOR_ROLE, board.auditor.address),
    }
    assert all(board.ask("hasRole", role, account) for role, account in held)
    assert board.ask("defaultAdmin") == board.admin.address
    assert board.ask("defaultAdminDelay") == 3600


def test_published_constants(board: Board) -> None:
    assert board.ask("SIGNER_ROLE") == SIGNER_ROLE
    assert board.ask("GUARDIAN_ROLE") == GUARDIAN_ROLE
    assert board.ask("AUDITOR_ROLE") == AUDITOR_ROLE
    assert board.ask("MAX_BATCH") == MAX_BATCH
    _, name, version, chain_id, verifier, _, _ = board.ask("eip712Domain")
    assert (name, version, chain_id, verifier) == ("Leaderboard", "1", board.chain.chain_id, board.address)


# --------------------------------------------------------------- recording


def test_a_batch_becomes_its_events(board: Board) -> None:
    records = some_records(3)
    events = board.events(board.submit(records))
    head = next_head(GENESIS_HEAD, board.game, board.rules, keccak(packed(records)), board.signer.address, 3)
    assert events == [
        *(ScoreSubmitted(board.game, r.player, r.round_id, r.score, r.evidence_hash, board.rules) for r in records),
        BatchAccepted(board.game, board.signer.address, keccak(packed(records)), head, 3),
    ]
    assert board.ask("head", board.game) == head
    assert [board.ask("isRecorded", board.game, n) for n in range(5)] == [False, True, True, True, False]


def test_extreme_records_survive(board: Board) -> None:
    records = [
        Record(b"\xff" * 20, 2**96 - 1, 2**64 - 1, b"\xff" * 32),
        Record(bytes(20), 0, 0, bytes(32)),
        Record(b"\x01" * 20, 2**63, 2**63, b"\x80" + bytes(31)),
    ]
    mined = board.submit(records)
    scores = [event for event in board.events(mined) if isinstance(event, ScoreSubmitted)]
    assert [Record(s.player, s.score, s.round_id, s.evidence_hash) for s in scores] == records
    sent = board.chain.web3.eth.get_transaction(mined["transactionHash"])
    assert unpack_records(decode_submit_scores(bytes(sent["input"])).records) == records


def test_a_receipt_can_be_carried_by_its_player_and_is_skipped_in_the_batch(board: Board) -> None:
    records = some_records(3)
    one = packed(records[1:2])
    signature = board.signer.sign(score_batch_digest(board.domain, board.game, board.rules, FAR, one))
    answer = receipt(board.domain, "streambeat", board.rules, FAR, records[1], board.signer.address, signature)
    message = answer["typedData"]["message"]
    game, rules, packed_one = (bytes.fromhex(message[name][2:]) for name in ("gameId", "rulesHash", "records"))
    signed = bytes.fromhex(answer["signature"][2:])
    carried = encode_submit_scores(game, rules, message["deadline"], packed_one, signed)
    board.transact(actor("some player"), carried)

    taken = board.events(board.submit(records))
    assert [event.round_id for event in taken if isinstance(event, ScoreSubmitted)] == [1, 3]
    batch = taken[-1]
    assert isinstance(batch, BatchAccepted)
    assert (batch.accepted, batch.records_hash) == (2, keccak(packed([records[0], records[2]])))
    assert board.failure(board.carrier, board.batch(records)) == "NothingToRecord"


def test_eth_account_signs_what_the_contract_takes(board: Board) -> None:
    records = packed(some_records(2))
    key = keccak(b"signer")
    typed = score_batch_typed_data(board.domain, board.game, board.rules, FAR, records)
    signature = bytes(Account.sign_typed_data(key, full_message=typed).signature)
    data = encode_submit_scores(board.game, board.rules, FAR, records, signature)
    assert board.transact(board.carrier, data)["status"] == 1


def test_digests_are_the_contracts(board: Board) -> None:
    records = packed(some_records(2))
    ours = score_batch_digest(board.domain, board.game, board.rules, 7, records)
    assert board.ask("batchDigest", board.game, board.rules, 7, records) == ours
    anchor = (game_key("economy"), 5, 6, REASON, 8)
    assert board.ask("anchorDigest", *anchor) == economy_anchor_digest(board.domain, *anchor)


def test_refusals_by_name(board: Board) -> None:
    records = packed(some_records(1))

    def refused(records: bytes, signature: bytes | None = None, rules: bytes = board.rules) -> str:
        signature = signature or board.signer.sign(score_batch_digest(board.domain, board.game, rules, FAR, records))
        data = encode_submit_scores(board.game, rules, FAR, records, signature)
        name = board.failure(board.carrier, data)
        assert board.chain.send(board.carrier, data, board.address)["status"] == 0
        return name

    assert refused(b"") == "MalformedRecords"
    assert refused(records[:-1]) == "MalformedRecords"
    assert refused(packed(some_records(501))) == "BadBatchSize"
    assert refused(records, rules=keccak(b"other")) == "RulesNotActive"
    assert refused(records, b"\x01" * 64) == "ECDSAInvalidSignatureLength"
    assert refused(records, bytes(65)) == "ECDSAInvalidSignature"
    assert refused(records, b"\xff" * 65) == "ECDSAInvalidSignatureS"
    stranger = actor("stranger").sign(score_batch_digest(board.domain, board.game, board.rules, FAR, records))
    assert refused(records, stranger) == "UnknownSigner"
    assert board.ask("head", board.game) == GENESIS_HEAD
    assert not board.ask("isRecorded", board.game, 1)


def test_the_deadline_is_the_last_second(board: Board) -> None:
    deadline = board.chain.now_s() + 1_000
    late, in_time = board.batch(some_records(1), deadline=deadline - 1), board.batch(some_records(1), deadline=deadline)
    board.chain.next_block_at(deadline)
    assert board.chain.send(board.carrier, late, board.address)["status"] == 0
    board.chain.next_block_at(deadline + 10)
    assert board.chain.send(board.carrier, in_time, board.address)["status"] == 0
    assert board.failure(board.carrier, in_time) == "DeadlinePassed"
    later = board.chain.now_s() + 1_000
    exact = board.batch(some_records(1), deadline=later)
    board.chain.next_block_at(later)
    assert board.chain.send(board.carrier, exact, board.address)["status"] == 1


@pytest.mark.parametrize("meant_for", ["another chain", "another contract"])
def test_signatures_stay_at_home(board: Board, meant_for: str) -> None:
    domain = (
        Domain(board.chain.chain_id + 1, board.address)
        if meant_for == "another chain"
        else Domain(board.chain.chain_id, bytes(19) + b"\x01")
    )
    assert board.failure(board.carrier, board.batch(some_records(1), domain=domain)) == "UnknownSigner"


def test_no_type_reads_as_another(board: Board) -> None:
    record = some_records(1)[0]
    economy = board.game
    digests = {
        "anchor": economy_anchor_digest(board.domain, economy, 0, 1, board.rules, FAR),
        "submission": submit_score_digest(
            board.domain, board.game, board.rules, record.player, record.score, record.evidence_hash, FAR
        ),
        "batch": score_batch_digest(board.domain, board.game, board.rules, FAR, pack_record(record)),
    }
    for made, digest in digests.items():
        signature = board.signer.sign(digest)
        batch = encode_submit_scores(board.game, board.rules, FAR, pack_record(record), signature)
        anchor = encode_call("anchorEconomy", economy, 0, 1, board.rules, FAR, signature)
        assert board.failure(board.carrier, batch) == ("" if made == "batch" else "UnknownSigner")
        assert board.failure(board.carrier, anchor) == ("" if made == "anchor" else "UnknownSigner")


# -------------------------------------------------------------- hash chain


def test_head_reproduces_and_every_removed_log_is_detected(board: Board) -> None:
    board.submit(some_records(3))
    board.submit(some_records(4, 2))
    board.do(board.auditor, "invalidateScores", board.game, [2, 4], REASON)
    board.submit(some_records(2, 300))
    board.do(board.auditor, "reinstateScores", board.game, [4], REASON)
    events = board.events()
    final = board.ask("head", board.game)
    covered = (ScoreSubmitted, BatchAccepted, ScoreInvalidated, ScoreReinstated)

    def reproduces(candidate: list[object]) -> bool:
        fold = HeadChain(board.game)
        try:
            for event in candidate:
                fold.feed(event)  # type: ignore[arg-type]
        except HeadMismatchError:
            return False
        return fold.settled and fold.head == final

    assert reproduces(list(events))
    places = [at for at, event in enumerate(events) if isinstance(event, covered)]
    assert len(places) == 13
    for at in places:
        assert not reproduces([*events[:at], *events[at + 1 :]]), f"log {at} removed"
        assert not reproduces([*events[: at + 1], *events[at:]]), f"log {at} repeated"
    for at, event in enumerate(events):
        if isinstance(event, ScoreSubmitted):
            for other in (
                replace(event, score=event.score + 1),
                replace(event, player=b"\x01" * 20),
                replace(event, round_id=event.round_id + 1),
                replace(event, evidence_hash=REASON),
                replace(event, rules_hash=REASON),
                replace(event, game=REASON),
            ):
                assert not reproduces([*events[:at], other, *events[at + 1 :]])


def test_a_chain_can_be_resumed_from_a_known_head(board: Board) -> None:
    board.submit(some_records(2))
    known = board.ask("head", board.game)
    later = board.events(board.submit(some_records(2, 3)))
    fold = HeadChain(board.game, known)
    for event in later:
        fold.feed(event)
    assert fold.head == board.ask("head", board.game)


# ------------------------------------------- moderation, economy, administration


def test_moderation_never_touches_the_record(board: Board) -> None:
    board.submit(some_records(3))
    before = board.ask("head", board.game)
    (gone,) = board.events(board.do(board.auditor, "invalidateScores", board.game, [2], REASON))
    assert isinstance(gone, ScoreInvalidated)
    assert (gone.game, gone.round_id, gone.auditor, gone.reason_hash) == (board.game, 2, board.auditor.address, REASON)
    assert gone.head == moderated_head(before, gone) == board.ask("head", board.game)
    assert [board.ask("isInvalidated", board.game, n) for n in (1, 2, 3)] == [False, True, False]
    assert board.ask("isRecorded", board.game, 2)
    (back,) = board.events(board.do(board.auditor, "reinstateScores", board.game, [2], REASON))
    assert isinstance(back, ScoreReinstated)
    assert back.head == moderated_head(gone.head, back) == board.ask("head", board.game)
    assert not board.ask("isInvalidated", board.game, 2)
    again = encode_call("invalidateScores", board.game, [9], REASON)
    assert board.failure(board.auditor, again) == "NotRecorded"
    assert board.failure(board.signer, again) == "AccessControlUnauthorizedAccount"


def test_economy_anchors_chain(board: Board) -> None:
    economy = game_key("economy")

    def anchor(first: int, count: int) -> bytes:
        signature = board.signer.sign(economy_anchor_digest(board.domain, economy, first, count, REASON, FAR))
        return encode_call("anchorEconomy", economy, first, count, REASON, FAR, signature)

    head = GENESIS_HEAD
    for first, count in ((0, 10), (10, 1), (11, 2**40)):
        (event,) = board.events(board.transact(board.carrier, anchor(first, count)))
        assert isinstance(event, EconomyAnchored)
        head = anchored_head(head, event)
        assert event == EconomyAnchored(economy, board.signer.address, first, count, REASON, head)
        assert board.ask("economyHead", economy) == head
        assert board.ask("nextSequence", economy) == first + count
    assert board.failure(board.carrier, anchor(11, 1)) == "WrongSequence"
    assert board.failure(board.carrier, anchor(13 + 2**40, 1)) == "WrongSequence"
    assert board.failure(board.carrier, anchor(11 + 2**40, 0)) == "EmptyAnchor"


def test_rules_are_published_whole(board: Board) -> None:
    document = b'{"id":"streambeat-counts@1","parameters":{}}' * 7
    (event,) = board.events(board.do(board.admin, "publishRules", board.game, document))
    assert event == RulesPublished(board.game, keccak(document), document)
    assert board.ask("isActive", board.game, keccak(document))
    (event,) = board.events(board.do(board.admin, "retireRules", board.game, keccak(document)))
    assert event == RulesRetired(board.game, keccak(document))
    assert not board.ask("isActive", board.game, keccak(document))


def test_pause_and_revocation(board: Board) -> None:
    assert board.events(board.do(board.guardian, "pause")) == [Paused(board.guardian.address)]
    assert board.failure(board.carrier, board.batch(some_records(1))) == "EnforcedPause"
    (revoked,) = board.events(board.do(board.guardian, "revokeSigner", board.signer.address))
    assert revoked == RoleRevoked(SIGNER_ROLE, board.signer.address, board.guardian.address)
    assert board.failure(board.guardian, encode_call("unpause")) == "AccessControlUnauthorizedAccount"
    assert board.events(board.do(board.admin, "unpause")) == [Unpaused(board.admin.address)]
    assert board.failure(board.carrier, board.batch(some_records(1))) == "UnknownSigner"
    second = actor("second signer")
    board.do(board.admin, "grantRole", SIGNER_ROLE, second.address)
    assert board.submit(some_records(1), second)["status"] == 1
