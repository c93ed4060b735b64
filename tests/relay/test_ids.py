"""Identifiers: unlike each other, of one moment, in the order of moments."""

from relay.ids import BATCH, id_maker, new_id, new_ids

NOW = 1_700_000_000_000


def test_identifiers_of_one_moment_differ() -> None:
    """Also across the batches that their randomness is taken by; each is a prefix and 26 characters."""
    make = id_maker(NOW)
    made = [make("txn_") for _ in range(3 * BATCH + 1)] + new_ids("txn_", NOW, 100) + [new_id("txn_", NOW)]
    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {30}
    assert {one[:14] for one in made} == {made[0][:14]}
    assert {one.removeprefix("txn_").isalnum() for one in made} == {True}


def test_identifiers_sort_by_time() -> None:
    """Whatever their randomness is; those made together come in order."""
    early, late = [[new_id("lst_", at_ms), *new_ids("lst_", at_ms, 20)] for at_ms in (NOW, NOW + 1)]
    assert max(early) < min(late)
    together = new_ids("lst_", NOW, 50)
    assert together == sorted(together)
