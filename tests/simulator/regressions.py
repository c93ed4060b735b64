"""Lives that once broke a promise, cut down to what they needed: they are run for good.

Pure: scripts are data, so that a change of how lives are drawn changes none of them.
"""

from tests.simulator.script import Script, Trouble

REGRESSIONS = {
    "a first nonce that one lie made too high is never mined": Script(
        seed=191, confirmations=3, resend_blocks=1, work=((6.4, 1),), calm_at=13.0,
        troubles=(Trouble(4.39, "lie:nonce too high", 2.5, (1.0,)),),
    ),
    "a first nonce counted from a block that leaves the chain is never mined": Script(
        seed=350, confirmations=4, work=((8.34, 1),), calm_at=12.0,
        troubles=(Trouble(6.04, "foreign"), Trouble(7.29, "blind", 1.8, (3, (False,), 1))),
    ),
    "receipts withheld past finality do not make our own nonce foreign": Script(
        seed=117, dedupe=True, confirmations=3, resend_blocks=1, bump_blocks=1, work=((0.8, 1), (2.2, 1)), calm_at=8.0,
        troubles=(Trouble(0.05, "lie:no receipt", 4.4, (1.0,)),),
    ),
    "two processes do not take the lease from each other while a big batch is looked up": Script(
        seed=25, confirmations=6, processes=2, batch_size=200, in_flight=16, bump_blocks=4, latency_s=0.1,
        work=((3.0, 10), (4.5, 200)), poison=(209,), calm_at=6.0,
    ),
    "a score that another key seals meanwhile is not announced as parked": Script(
        seed=39, dedupe=True, confirmations=3, keys=2, latency_s=0.1, work=((6.2, 5),), poison=(3,), calm_at=12.0,
        troubles=(
            Trouble(0.09, "slow", 2.8, (0.5,)), Trouble(2.94, "foreign"), Trouble(7.42, "poor", 5.2),
            Trouble(7.81, "carry", 5.8, (1,)), Trouble(9.54, "down", 3.3),
        ),
    ),
    "nonces are not written off because one of two providers serves another chain": Script(
        seed=4098, confirmations=6, block_s=0.25, providers=2, batch_size=4, resend_blocks=1,
        work=((2.06, 1), (5.24, 1)), calm_at=7.0, troubles=(Trouble(4.68, "lie:stranger", 4.6, (0.5,)),),
    ),
}  # fmt: skip
