"""What the cargo of moderation believes of the contract, held against the contract itself on both chains."""

from collections.abc import Iterator

import pytest

from relay.chain_types import Log
from relay.contract import game_key, revert_name
from relay.contract_moderation import decode_moderation, encode_moderation, marks, unrecorded_round
from relay.keccak import keccak
from relay.outbox.revocations import GAS
from relay.revocation import Action
from tests.harness.chains import Board, RevertedError, open_chain, some_records

GAME = game_key("streambeat")
REVOKE, REINSTATE = Action.REVOKE, Action.REINSTATE
REASON = keccak(b"why")


@pytest.fixture(params=["eth-tester", "anvil"])
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """The contract on a chain of its own."""
    with open_chain(request.param) as chain:
        yield Board(chain, GAME)


def refused(board: Board, data: bytes, sender: bytes) -> bytes:
    """The revert data of a call."""
    with pytest.raises(RevertedError) as caught:
        board.chain.call(board.address, data, sender)
    return caught.value.data


def test_calls_logs_and_refusals(board: Board) -> None:
    board.submit(some_records(3))
    auditor = board.auditor.address
    call = encode_moderation(REVOKE, GAME, [1, 3], REASON)
    assert decode_moderation(call) == (GAME, (1, 3), REASON)
    assert unrecorded_round(refused(board, encode_moderation(REVOKE, GAME, [2, 9], REASON), auditor)) == 9
    assert unrecorded_round(refused(board, encode_moderation(REINSTATE, GAME, [2], REASON), auditor)) is None
    assert revert_name(refused(board, call, board.carrier.address)) == "AccessControlUnauthorizedAccount"
    receipts = [board.transact(board.auditor, call)]
    assert revert_name(refused(board, call, auditor)) == "NothingToRecord"
    receipts.append(board.transact(board.auditor, encode_moderation(REVOKE, GAME, [1, 2, 3], REASON)))
    receipts.append(board.transact(board.auditor, encode_moderation(REINSTATE, GAME, [3], REASON)))
    board.do(board.guardian, "pause")
    assert revert_name(refused(board, encode_moderation(REINSTATE, GAME, [1], REASON), auditor)) == "EnforcedPause"
    logs = [
        Log(
            bytes.fromhex(raw["address"][2:]),
            tuple(bytes(topic) for topic in raw["topics"]),
            bytes(raw["data"]),
            raw["blockNumber"],
            bytes(raw["blockHash"]),
            bytes(raw["transactionHash"]),
            raw["logIndex"],
        )
        for receipt in reversed(receipts)
        for raw in receipt["logs"]
    ]
    found = marks(GAME, board.address, logs)
    assert {round_id: [mark.action for mark in made] for round_id, made in found.items()} == {
        1: [REVOKE],
        2: [REVOKE],
        3: [REVOKE, REINSTATE],
    }
    assert found[2][0].tx_hash == bytes(receipts[1]["transactionHash"])
    assert all(log.data[:32] == REASON for log in logs)
    assert marks(game_key("other"), board.address, logs) == {}
    assert marks(GAME, bytes(20), logs) == {}


@pytest.mark.parametrize("size", [1, 10, 100])
def test_the_gas_bound_holds_where_every_round_has_words_of_its_own(board: Board, size: int) -> None:
    records = [record._replace(round_id=number * 256 + 5) for number, record in enumerate(some_records(size), 1)]
    board.submit(records)
    call = encode_moderation(REVOKE, GAME, [record.round_id for record in records], REASON)
    used = board.transact(board.auditor, call)["gasUsed"]
    assert used < GAS.limit(size)
    assert GAS.limit(size) < 2 * used + 80_000  # and is not reserved for nothing
    back = encode_moderation(REINSTATE, GAME, [record.round_id for record in records], REASON)
    assert board.transact(board.auditor, back)["gasUsed"] < GAS.limit(size)


def test_calldata_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="malformed"):
        decode_moderation(b"\x00" * 40)
