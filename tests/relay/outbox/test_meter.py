"""What an outbox counts, and how observations fall into buckets."""

from relay.outbox.meter import Histogram, Meter


def test_a_bucket_counts_what_is_at_most_its_bound() -> None:
    """Bounds belong to their own bucket, as Prometheus defines `le`; the last bucket holds everything."""
    histogram = Histogram((1, 2, 5))
    for value in (0, 1, 2, 3, 5, 6):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2), ("2.0", 3), ("5.0", 5), ("+Inf", 6)]
    assert histogram.total == 17


def test_sends_are_counted_by_provider_and_class() -> None:
    """Two providers that answer one broadcast differently are two counts."""
    meter = Meter()
    meter.sent("a:1", "accepted")
    meter.sent("a:1", "accepted")
    meter.sent("b:1", "underpriced")
    assert meter.sends == {("a:1", "accepted"): 2, ("b:1", "underpriced"): 1}


def test_gas_per_score_is_the_ratio_of_each_transaction() -> None:
    """A void or a batch of which nothing was recorded costs gas and pays for no score."""
    meter = Meter()
    meter.gas(458_400, 100)
    meter.gas(21_000, 0)
    assert (meter.gas_used, meter.scores_paid) == (479_400, 100)
    assert meter.gas_per_score.total == 4584
    assert meter.gas_per_score.cumulative()[-1] == ("+Inf", 1)


def test_a_reorg_has_a_depth_of_at_least_one() -> None:
    """The head may have fallen below the block that left: that is a reorg of one block, not of none."""
    meter = Meter()
    for depth in (-2, 1, 40):
        meter.reorged(depth)
    assert meter.reorgs.total == 42
    assert meter.reorgs.cumulative()[0] == ("1.0", 2)


def test_the_plain_counters() -> None:
    """Each call counts one thing."""
    meter = Meter()
    for call in (meter.attempt, meter.bumped, meter.voided, meter.fee_capped, meter.foreign, meter.failed):
        call()
    meter.batch(100)
    meter.funds(10, 3)
    counted = (meter.attempts, meter.bumps, meter.voids, meter.fee_caps, meter.foreign_nonces, meter.failures)
    assert counted == (1, 1, 1, 1, 1, 1)
    assert (meter.batch_sizes.total, meter.balance_wei, meter.reserved_wei) == (100, 10, 3)
