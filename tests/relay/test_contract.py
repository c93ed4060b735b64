"""The contract as bytes: every hand-made encoding against a general one, over all values."""

import json
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import event_signature_to_log_topic, function_signature_to_4byte_selector
from eth_utils.crypto import keccak as oracle_keccak
from hypothesis import given
from hypothesis import strategies as st

from relay import contract
from relay.chain_types import ChainAnswerError
from relay.contract import (
    TOPICS,
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
    artifact,
    decode_log,
    decode_result,
    decode_submit_scores,
    encode_call,
    encode_submit_scores,
    game_key,
    init_code,
    pack_record,
    revert_name,
    revert_reason,
    unpack_records,
)
from relay.keccak import checksum_address, keccak

word = st.binary(min_size=32, max_size=32)
address = st.binary(min_size=20, max_size=20)
uint64 = st.integers(0, 2**64 - 1)
records = st.builds(Record, address, st.integers(0, 2**96 - 1), uint64, word)


@given(st.binary(max_size=300))
def test_keccak(data: bytes) -> None:
    assert keccak(data) == oracle_keccak(data)


@pytest.mark.parametrize(
    "text",
    [  # the examples of EIP-55
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_checksum_address(text: str) -> None:
    assert checksum_address(bytes.fromhex(text[2:])) == text
    with pytest.raises(ValueError, match="20 bytes"):
        checksum_address(bytes(19))


# ------------------------------------------------------------------ records


@given(st.lists(records, min_size=1, max_size=5))
def test_records_survive_packing(batch: list[Record]) -> None:
    packed = b"".join(map(pack_record, batch))
    assert len(packed) == 72 * len(batch)
    assert unpack_records(packed) == batch


def test_a_record_is_laid_out_as_the_interface_says() -> None:
    packed = pack_record(Record(b"\x11" * 20, 2652, 1, b"\x22" * 32))
    assert packed.hex() == "11" * 20 + "000000000000000000000a5c" + "0000000000000001" + "22" * 32


@pytest.mark.parametrize(
    "record",
    [
        Record(bytes(19), 0, 0, bytes(32)),
        Record(bytes(21), 0, 0, bytes(32)),
        Record(bytes(20), 0, 0, bytes(31)),
        Record(bytes(20), 2**96, 0, bytes(32)),
        Record(bytes(20), -1, 0, bytes(32)),
        Record(bytes(20), 0, 2**64, bytes(32)),
        Record(bytes(20), 0, -1, bytes(32)),
    ],
)
def test_records_that_do_not_fit(record: Record) -> None:
    with pytest.raises(ValueError, match="record"):
        pack_record(record)


@pytest.mark.parametrize("length", [0, 1, 71, 73, 143])
def test_torn_records(length: int) -> None:
    with pytest.raises(ValueError, match="whole number"):
        unpack_records(bytes(length))


# -------------------------------------------------------------------- calls


@given(word, word, uint64, st.binary(max_size=400), st.binary(max_size=100))
def test_submit_scores_is_encoded_as_the_abi_says(
    game: bytes, rules: bytes, deadline: int, packed: bytes, signature: bytes
) -> None:
    data = encode_submit_scores(game, rules, deadline, packed, signature)
    types = ["bytes32", "bytes32", "uint64", "bytes", "bytes"]
    selector = function_signature_to_4byte_selector("submitScores(bytes32,bytes32,uint64,bytes,bytes)")
    assert data == selector + encode(types, [game, rules, deadline, packed, signature])
    assert data == encode_call("submitScores", game, rules, deadline, packed, signature)
    assert decode_submit_scores(data) == (game, rules, deadline, packed, signature)


@given(st.binary(max_size=400))
def test_foreign_calldata_is_refused_and_nothing_else(data: bytes) -> None:
    for candidate in (data, contract.SUBMIT_SCORES + data):
        try:
            decoded = decode_submit_scores(candidate)
        except ValueError:
            continue
        assert len(decoded.game) == 32


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encode_submit_scores(bytes(31), bytes(32), 0, b"", b"")
    with pytest.raises(ValueError, match="below"):
        encode_submit_scores(bytes(32), bytes(32), 2**64, b"", b"")
    with pytest.raises(ValueError, match="address takes 20 bytes"):
        encode_call("revokeSigner", "0x00")
    with pytest.raises(ValueError, match="bytes32 takes 32 bytes"):
        encode_call("head", b"short")
    with pytest.raises(ValueError, match="argument"):
        encode_call("head")
    with pytest.raises(ValueError, match="no function"):
        encode_call("steal")


def test_cold_calls_and_answers() -> None:
    assert encode_call("grantRole", bytes(32), b"\x01" * 20).hex() == "2f2ff15d" + "00" * 44 + "01" * 20
    assert decode_result("defaultAdmin", bytes(12) + b"\x01" * 20) == b"\x01" * 20
    assert decode_result("pendingDefaultAdmin", bytes(12) + b"\x01" * 20 + bytes(31) + b"\x07") == (b"\x01" * 20, 7)
    assert decode_result("isRecorded", bytes(31) + b"\x01") is True
    with pytest.raises(ChainAnswerError, match="no contract of ours answers isRecorded: 0 bytes are not"):
        decode_result("isRecorded", b"")


def test_init_code() -> None:
    people = [bytes((n,)) * 20 for n in range(1, 5)]
    code = init_code(people[0], 60, *people[1:])
    assert code.startswith(artifact().bytecode)
    arguments = code[len(artifact().bytecode) :]
    assert arguments == b"".join(bytes(12) + p for p in people[:1]) + (60).to_bytes(32, "big") + b"".join(
        bytes(12) + p for p in people[1:]
    )


# ------------------------------------------------------------------- events

EVENTS = {
    "ScoreSubmitted": st.builds(ScoreSubmitted, word, address, uint64, st.integers(0, 2**256 - 1), word, word),
    "BatchAccepted": st.builds(BatchAccepted, word, address, word, word, st.integers(0, 2**256 - 1)),
    "ScoreInvalidated": st.builds(ScoreInvalidated, word, uint64, address, word, word),
    "ScoreReinstated": st.builds(ScoreReinstated, word, uint64, address, word, word),
    "EconomyAnchored": st.builds(EconomyAnchored, word, address, uint64, uint64, word, word),
    "RulesPublished": st.builds(RulesPublished, word, word, st.binary(max_size=100)),
    "RulesRetired": st.builds(RulesRetired, word, word),
    "RoleGranted": st.builds(RoleGranted, word, address, address),
    "RoleRevoked": st.builds(RoleRevoked, word, address, address),
    "Paused": st.builds(Paused, address),
    "Unpaused": st.builds(Unpaused, address),
}


def log_of(event: Any) -> tuple[list[bytes], bytes]:
    """The topics and data that the compiled ABI gives an event whose fields stand in the ABI's order."""
    name = type(event).__name__
    (entry,) = (e for e in artifact().abi if e["type"] == "event" and e["name"] == name)
    values = [getattr(event, field) for field in type(event).__slots__]
    if name == "ScoreSubmitted":  # the one event whose fields are ordered otherwise: round before score, as indexed
        assert [i["name"] for i in entry["inputs"]][2:4] == ["roundId", "score"]
    topics = [event_signature_to_log_topic(f"{name}({','.join(i['type'] for i in entry['inputs'])})")]
    plain_types, plain_values = [], []
    for given_, value in zip(entry["inputs"], values, strict=True):
        if given_["indexed"]:
            topics.append(encode([given_["type"]], [value]))
        else:
            plain_types.append(given_["type"])
            plain_values.append(value)
    return topics, encode(plain_types, plain_values)


@pytest.mark.parametrize("name", EVENTS)
def test_logs_are_decoded_as_the_abi_says(name: str) -> None:
    @given(EVENTS[name])
    def check(event: Any) -> None:
        topics, data = log_of(event)
        assert topics[0] == TOPICS[name]
        assert decode_log(topics, data) == event

    check()


@pytest.mark.parametrize("name", EVENTS)
def test_malformed_logs_are_refused(name: str) -> None:
    topic = TOPICS[name]
    with pytest.raises(ValueError, match="malformed log"):
        decode_log([topic], b"")
    with pytest.raises(ValueError, match="malformed log"):
        decode_log([topic] + [bytes(32)] * 4, bytes(128))


def test_a_document_that_is_cut_off() -> None:
    topics, data = log_of(RulesPublished(bytes(32), bytes(32), b"x" * 40))
    with pytest.raises(ValueError, match="cut off"):
        decode_log(topics, data[:-32])


def test_logs_of_other_kinds_are_nothing() -> None:
    assert decode_log([], b"") is None
    assert decode_log([keccak(b"Transfer(address,address,uint256)")], bytes(32)) is None


def test_every_event_of_our_own_is_known() -> None:
    ours = {e["name"] for e in artifact().abi if e["type"] == "event"}
    foreign = {e for e in ours if e.startswith("DefaultAdmin")} | {"EIP712DomainChanged", "RoleAdminChanged"}
    assert set(TOPICS) == ours - foreign


def test_a_score_without_its_batch_is_not_settled() -> None:
    game = game_key("streambeat")
    fold = HeadChain(game)
    fold.feed(ScoreSubmitted(game, bytes(20), 1, 1, bytes(32), bytes(32)))
    assert not fold.settled
    with pytest.raises(HeadMismatchError, match="without their batch"):
        fold.feed(ScoreInvalidated(game, 1, bytes(20), bytes(32), bytes(32)))
    fold = HeadChain(game)
    with pytest.raises(HeadMismatchError, match="came with 0"):
        fold.feed(BatchAccepted(game, bytes(20), bytes(32), bytes(32), 1))
    fold.feed(ScoreSubmitted(keccak(b"other"), bytes(20), 1, 1, bytes(32), bytes(32)))
    fold.feed(RulesRetired(game, bytes(32)))
    assert fold.settled
    assert fold.head == bytes(32)


def test_an_impossible_score_is_a_mismatch_not_a_crash() -> None:
    game = game_key("streambeat")
    fold = HeadChain(game)
    fold.feed(ScoreSubmitted(game, bytes(20), 1, 2**96, bytes(32), bytes(32)))
    with pytest.raises(HeadMismatchError):
        fold.feed(BatchAccepted(game, bytes(20), bytes(32), bytes(32), 1))


# ------------------------------------------------------------------- errors


def test_every_error_has_its_name() -> None:
    for entry in artifact().abi:
        if entry["type"] != "error":
            continue
        types = [i["type"] for i in entry["inputs"]]
        data = function_signature_to_4byte_selector(f"{entry['name']}({','.join(types)})")
        data += encode(
            types, [{"bytes32": bytes(32), "address": "0x" + "00" * 20, "string": "x"}.get(t, 7) for t in types]
        )
        assert revert_name(data) == entry["name"]
        assert revert_reason(data).startswith(entry["name"] + "(")


def test_reasons_are_readable() -> None:
    late = function_signature_to_4byte_selector("DeadlinePassed(uint64)") + (1_700_000_000).to_bytes(32, "big")
    assert revert_reason(late) == "DeadlinePassed(deadline=1700000000)"
    assert revert_reason(late[:-1]) == "DeadlinePassed(malformed)"
    assert revert_reason(bytes.fromhex("08c379a0") + encode(["string"], ["no"])) == "Error(message=no)"
    assert revert_reason(bytes.fromhex("4e487b71") + encode(["uint256"], [17])) == "Panic(code=17)"
    assert revert_reason(b"") == "unknown(0x)"
    assert revert_name(b"\x01\x02") == "unknown"
    unknown = function_signature_to_4byte_selector("UnknownSigner(address)") + bytes(31) + b"\x01"
    assert revert_reason(unknown) == "UnknownSigner(signer=0x" + "00" * 19 + "01)"


@given(st.binary(max_size=100))
def test_revert_data_never_raises(data: bytes) -> None:
    assert revert_reason(data)
    for selector in ("08c379a0", "4e487b71"):
        assert revert_reason(bytes.fromhex(selector) + data)


def test_the_abi_is_plain_json() -> None:
    assert json.loads(json.dumps(artifact().abi)) == artifact().abi
