"""Moves, drafts and the told-again ledger: what they refuse, and bytes that never change."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.canonical import NotCanonicalError, canonical
from relay.economy import drafts, entries
from relay.economy.drafts import By
from relay.economy.entries import Move
from relay.economy.ledger import Balance, Book, Posted, Refusal, Transaction, touched, transaction_of
from relay.economy.players import Currency, Player, wrong_currency, wrong_player
from relay.economy.replay import Replay
from relay.keccak import keccak

BY = By("server", "key_1", 7, "well done", "order 1")
MOVE = st.builds(
    Move,
    st.sampled_from(["currency:a", "item:b"]),
    st.integers(1, entries.AMOUNT_MAX),
    st.sampled_from(["mint", "player:x"]),
    st.sampled_from(["burn", "player:y", "escrow:x"]),
)


def open_book() -> Book:
    """A book of a game with two players and one currency."""
    return Book("chess", currencies={"gold": None}, players={"ann", "bob"})


def told() -> list[bytes]:
    """The bytes of a grant, a transfer and the reversal of the transfer."""
    book = open_book()
    passed = drafts.transfer("ann", "bob", "gold", 4, By("client", "key_2", 7))
    undoing = drafts.reversal("txn_1", passed, By("admin", "key_3", 7))
    assert undoing is not None
    for n, draft in enumerate([drafts.grant("ann", "gold", 10, BY), passed, undoing]):
        assert isinstance(book.record(draft, f"txn_{n}", 1_700_000_000_000 + n), Posted)
    return [body for _, body, _ in book.added]


@given(st.lists(MOVE, max_size=6))
def test_whatever_moves_sums_to_zero_per_asset(moves: list[Move]) -> None:
    """And the reversed moves undo it exactly."""
    for asset in {move.asset for move in moves}:
        assert sum(entry.amount for entry in entries.entries(moves) if entry.asset == asset) == 0
    assert not any(entries.net([*moves, *entries.reversed_moves(moves)]).values())


@pytest.mark.parametrize("amount", [0, -1, entries.AMOUNT_MAX + 1, True])
def test_an_amount_is_an_integer_of_its_range(amount: int) -> None:
    """Everything else would not be a booking."""
    with pytest.raises(ValueError, match="from 1 to"):
        entries.moved("currency:gold", amount, "mint", "burn")


def test_nothing_moves_from_an_account_to_itself() -> None:
    """A transfer to oneself is a mistake of the caller."""
    with pytest.raises(ValueError, match="to itself"):
        drafts.transfer("ann", "ann", "gold", 1, BY)


@pytest.mark.parametrize("text", ["", " a", "a ", "a\nb", "\x00", "a" * 129, "\ud800", "\u2028", "\x85"])
def test_what_is_no_id_is_refused(text: str) -> None:
    """Two databases and JSON must all be able to hold it, and people to read it."""
    with pytest.raises(ValueError, match="printable"):
        entries.wallet(text)


def test_accounts_and_assets_are_told_apart_by_their_kind() -> None:
    """Even where a player is named as an account is."""
    assert entries.owner(entries.wallet("mint")) == "mint"
    assert entries.owner(entries.escrow("player:x")) == "player:x"
    assert entries.owner(entries.MINT) is None
    assert entries.held_for(entries.wallet("escrow:x")) == entries.escrow("escrow:x")
    assert entries.currency_of(entries.currency("item:x")) == "item:x"
    assert entries.item_of(entries.currency("item:x")) is None


@pytest.mark.parametrize(
    ("kind", "role", "source"),
    [("grant", "server", "server"), ("grant", "admin", "server"), ("spend", "client", "client"),
     ("craft", "client", "craft"), ("loot", "server", "loot"), ("expire", "server", "marketplace"),
     ("purchase", "server", "purchase"), ("opening", "server", "system"), ("reversal", "auditor", "server")],
)  # fmt: skip
def test_the_source_follows_from_role_and_path(kind: str, role: str, source: str) -> None:
    """Never from what the caller says."""
    assert drafts.source_of(kind, role) == source


def test_lines_of_one_position_are_one_change() -> None:
    """Out and in again is possible without having anything; two halves that are too much together are refused."""
    book = open_book()
    round_trip = [
        entries.moved("currency:gold", 5, entries.wallet("ann"), entries.escrow("ann")),
        entries.moved("currency:gold", 5, entries.escrow("ann"), entries.wallet("ann")),
    ]
    assert isinstance(book.record(drafts.draft("buy", BY, round_trip), "txn_1", 1), Posted)
    book.balances[entries.wallet("ann"), "currency:gold"] = Balance(5)
    halves = [entries.moved("currency:gold", 3, entries.wallet("ann"), entries.BURN)] * 2
    found = book.record(drafts.draft("purchase", BY._replace(reference=None), halves), "txn_2", 2)
    assert found == Refusal("INSUFFICIENT_BALANCE", "ann has 5 of gold, and 6 are needed.")


def test_a_reference_is_used_once_within_a_group_too() -> None:
    """The second of one group is refused before anything is stored."""
    book = open_book()
    granted = drafts.grant("ann", "gold", 1, BY)
    assert isinstance(book.record(granted, "txn_1", 1), Posted)
    refused = book.record(granted, "txn_2", 1)
    assert refused == Refusal("REFERENCE_EXISTS", "The reference order 1 is of txn_1.", "txn_1")


def test_the_supply_ends_where_numbers_stop_being_exact() -> None:
    """2^53 - 1 of a currency can be brought into being, and not one more, burnt or not."""
    book = open_book()
    by = By("server", "key_1", 0)
    assert isinstance(book.record(drafts.grant("ann", "gold", entries.AMOUNT_MAX - 1, by), "txn_0", 1), Posted)
    assert isinstance(book.record(drafts.spend("ann", "gold", 5, by), "txn_1", 2), Posted)
    assert isinstance(book.record(drafts.grant("bob", "gold", 1, by), "txn_2", 3), Posted)
    refused = book.record(drafts.grant("bob", "gold", 1, by), "txn_3", 4)
    assert isinstance(refused, Refusal)
    assert refused.code == "SUPPLY_EXCEEDED"


def test_a_correction_may_exceed_what_else_is_allowed() -> None:
    """What was taken by mistake comes back, also where the limit was lowered since; a grant of as much does not."""
    book = open_book()
    by = By("server", "key_1", 0)
    spent = drafts.spend("ann", "gold", 4, by)
    for n, one in enumerate((drafts.grant("ann", "gold", 10, by), spent)):
        assert isinstance(book.record(one, f"txn_{n}", n), Posted)
    book.currencies["gold"] = 7
    refused = book.record(drafts.grant("ann", "gold", 4, by), "txn_2", 2)
    assert isinstance(refused, Refusal)
    assert refused.code == "MAX_BALANCE_EXCEEDED"
    undoing = drafts.reversal("txn_1", spent, by)
    assert undoing is not None
    assert isinstance(book.record(undoing, "txn_3", 3), Posted)
    assert book.balances["player:ann", "currency:gold"].amount == 10


@pytest.mark.parametrize("kind", drafts.SOURCES)
def test_what_the_market_did_and_a_reversal_are_not_undone(kind: str) -> None:
    """A listing's state would no longer be that of its items."""
    done = drafts.draft(kind, By("server", "key_1", 0), [entries.moved("item:sword", 1, "player:ann", "escrow:ann")])
    kept = kind in {"list", "buy", "cancel", "expire", "reversal"}
    assert (drafts.reversal("txn_1", done, By("server", "key_1", 0)) is None) == kept


def test_a_refused_draft_leaves_no_trace() -> None:
    """Neither its reference, nor a number, nor a balance."""
    book = open_book()
    before = (book.sequence, book.head, dict(book.balances))
    assert isinstance(book.record(drafts.spend("ann", "gold", 1, BY), "txn_1", 1), Refusal)
    assert (book.sequence, book.head, book.balances, book.references, book.added) == (*before, {}, [])


@pytest.mark.parametrize("odd", [0.5, 2**53, b"", "\ud800"])
def test_a_detail_without_canonical_form_fails_before_anything_is_booked(odd: object) -> None:
    """It is a bug of ours, and the book is as before."""
    book = open_book()
    granted = drafts.grant("ann", "gold", 1, BY)
    with pytest.raises(NotCanonicalError):
        book.record(replace(granted, detail={"odd": odd}), "txn_1", 1)
    assert (book.sequence, book.balances, book.added) == (0, {}, [])
    assert isinstance(book.record(replace(granted, detail={"naïve": "ж"}), "txn_1", 1), Posted)
    assert Replay("chess").tell(book.added[0][1]) is None


def test_deciding_takes_what_is_held_beside_a_gain() -> None:
    """Because it counts for the highest balance."""
    assert touched([drafts.transfer("ann", "bob", "gold", 1, BY)]) == {
        ("player:ann", "currency:gold"), ("player:bob", "currency:gold"), ("escrow:bob", "currency:gold"),
    }  # fmt: skip


def test_the_bytes_of_a_transaction_never_change() -> None:
    """Golden: the form of the leaves of an anchored tree; change it only as a new version."""
    first = told()[0]
    assert first == (
        b'{"actor":"key_1","at":1700000000000,"balances":[{"account":"player:ann","asset":"currency:gold",'
        b'"balance":10}],"configVersion":7,"detail":{},"gameId":"chess","id":"txn_0","moves":[{"amount":10,'
        b'"asset":"currency:gold","from":"mint","to":"player:ann"}],"previous":"0x' + b"0" * 64 + b'",'
        b'"reason":"well done","reference":"order 1","reverses":null,"sequence":0,"source":"server",'
        b'"type":"grant","v":1}'
    )
    assert json.loads(told()[1])["previous"] == "0x" + keccak(first).hex()
    assert transaction_of(json.loads(first)).body == first


def test_a_true_ledger_is_told_again() -> None:
    """Nothing is wrong, and the balances follow."""
    replay = Replay("chess")
    assert [replay.tell(body) for body in told()] == [None] * 3
    assert {key: n for key, n in replay.balances.items() if n} == {
        ("mint", "currency:gold"): -10, ("player:ann", "currency:gold"): 10,
    }  # fmt: skip


def forged(index: int, **changes: Any) -> list[bytes]:
    """The true bytes, one transaction changed and all after it chained anew."""
    bodies = [json.loads(body) for body in told()]
    for name, value in changes.items():
        bodies[index][name] = value
    for before, after in pairwise(bodies):
        after["previous"] = "0x" + keccak(canonical(before)).hex()
    return [canonical(body) for body in bodies]


@pytest.mark.parametrize(
    ("index", "changes", "words"),
    [
        (0, {"gameId": "go"}, "number 0 of go"),
        (1, {"sequence": 2}, "number 2 of chess"),
        (1, {"id": "txn_0"}, "of an earlier transaction"),
        (1, {"reference": "order 1"}, "of an earlier transaction"),
        (0, {"source": "system"}, "system does not make a grant"),
        (0, {"type": "gift"}, "does not make a gift"),
        (0, {"v": 2}, "form 2"),
        (1, {"sequence": True}, "sequence is no int"),
        (1, {"extra": 1}, "not exactly"),
        (0, {"moves": []}, "others than it moves"),
        (0, {"moves": [{"amount": "1"}]}, "not a move"),
        (0, {"balances": [{"account": "player:ann", "asset": "currency:gold", "balance": 11}]}, "holds 10 of"),
        (1, {"moves": [{"amount": 11, "asset": "currency:gold", "from": "player:ann", "to": "player:bob"}]},
         "would hold -1"),
        (2, {"reverses": "txn_9"}, "txn_9 is unknown"),
        (2, {"reverses": None}, "name what they reverse"),
        (2, {"reverses": "txn_0"}, "not the opposite"),
    ],
)  # fmt: skip
def test_a_ledger_that_was_forged_with_its_chain_made_anew_is_found(
    index: int, changes: dict[str, Any], words: str
) -> None:
    """The chain alone convinces nobody: every transaction must follow from those before."""
    replay = Replay("chess")
    problems = [replay.tell(body) for body in forged(index, **changes)]
    assert problems[:index] == [None] * index
    assert words in str(problems[index])


@pytest.mark.parametrize("gone", [0, 1])
def test_a_transaction_left_out_or_written_otherwise_is_found(gone: int) -> None:
    """The next one names another before it; and other bytes of the same meaning are not the same bytes."""
    bodies = told()
    replay = Replay("chess")
    for body in bodies[:gone]:
        assert replay.tell(body) is None
    assert "number" in str(replay.tell(bodies[gone + 1]))
    assert "not canonical" in str(replay.tell(bodies[gone] + b" "))
    other = replace(transaction_of(json.loads(bodies[gone])), previous=b"\1" * 32)
    assert "it follows" in str(replay.tell(other.body))
    assert "transaction" in str(replay.tell(b"[]"))


@pytest.mark.parametrize(
    ("declared", "pointers"),
    [
        (Currency("", "Gold", "g"), ["/currencyId"]),
        (Currency("gold", "Gold", "g", -1, 19), ["/maxBalance", "/decimals"]),
        (Currency("gold", "Gold", "g", 2**53), ["/maxBalance"]),
        (Currency("gold", "Gold", "g", 5, 18), []),
    ],
)
def test_currencies_are_declared_within_bounds(declared: Currency, pointers: list[str]) -> None:
    """What the table would refuse is refused by its field before."""
    assert [error.pointer for error in wrong_currency(declared)] == pointers


@pytest.mark.parametrize(
    ("wallets", "pointers"),
    [
        ((("gold", 1), ("gold", 2)), ["/p/wallets/1/currencyId"]),
        ((("", 1), ("gold", -1)), ["/p/wallets/0/currencyId", "/p/wallets/1/balance"]),
        ((("gold", 0), ("gems", 2**53 - 1)), []),
    ],
)
def test_players_are_declared_within_bounds(wallets: tuple[tuple[str, int], ...], pointers: list[str]) -> None:
    """Each currency once, no balance below zero; whatever is wrong is named."""
    assert [error.pointer for error in wrong_player(Player("ann", wallets=wallets), "/p")] == pointers
    assert [error.pointer for error in wrong_player(Player("\n"))] == ["/externalId"]


def test_a_posted_transaction_tells_what_it_is() -> None:
    """Parsing what was written gives what was posted, caps aside: they are no part of the bytes."""
    made = transaction_of(json.loads(told()[2]))
    assert isinstance(made, Transaction)
    assert (made.draft.reverses, made.sequence, made.draft.type) == ("txn_1", 2, "reversal")
