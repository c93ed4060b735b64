"""What happens in one life, drawn from its seed: the kind of chain, the senders, the work, every trouble in its time.

Pure. A script is data, so that a failing one can be cut down to what matters (`shrink`).
"""

import random
from dataclasses import dataclass

from tests.simulator.endpoint import GRAVE_LIES, LIES, SEND_LIES

Value = bool | int | float | str | tuple[bool, ...]


@dataclass(frozen=True)
class Trouble:
    """Something that begins `at` and ends `blocks` later (both in blocks, with fractions)."""

    at: float
    kind: str
    blocks: float = 0.0
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Script:
    """A life. `calm_at`: when all trouble ends, in blocks."""

    seed: int
    dedupe: bool = False
    legacy: bool = False
    confirmations: int = 4
    tag: bool = False  # the outbox asks for the `finalized` tag instead of counting
    block_s: float = 1.0
    processes: int = 1
    keys: int = 1
    providers: int = 1
    delegated: bool = False
    estimate: bool = False
    batch_size: int = 4
    in_flight: int = 4
    resend_blocks: int = 2
    bump_blocks: int = 3
    latency_s: float = 0.0
    steal: bool = False
    work: tuple[tuple[float, int], ...] = ((0.1, 8),)  # (when, how many scores)
    games: int = 1
    poison: tuple[int, ...] = ()
    calm_at: float = 20.0
    troubles: tuple[Trouble, ...] = ()
    kills: tuple[int, ...] = ()  # die at the n-th commit or send, counted over the whole life
    stops: tuple[int, ...] = ()  # be stopped there for longer than a lease lasts, and then go on

    @property
    def moderated(self) -> bool:
        """Whether any score is revoked: else the senders need not look for that."""
        return any(trouble.kind == "revoke" for trouble in self.troubles)

    @property
    def scores(self) -> int:
        """How many are accepted."""
        return sum(count for _, count in self.work)


KINDS = (
    "reorg", "reorg", "reorg", "drop", "spike", "spike", "down", "flaky", "lag", "blind", "crash", "crash", "crash",
    "freeze", "freeze", "restart", "full", "lost commit", "poor", "foreign", "failing", "paused", "carry", "slow",
    "restore", "void", "void", "pause", "revoke", "revoke",
    *(f"lie:{name}" for name in LIES), *(f"send:{name}" for name in SEND_LIES),
)  # fmt: skip
# What somebody else sends to a contract that takes it twice is not the outbox's doing: a player, or what we were before
# the disk was lost.
NEED_DEDUPE = frozenset({"carry", "restore"})
GRAVE_KINDS = tuple(f"lie:{name}" for name in GRAVE_LIES)


def draw(seed: int, *, size: int = 1) -> Script:
    """A random life. `size` multiplies the work, not the trouble."""
    chance = random.Random(seed)
    confirmations = chance.choice((2, 2, 3, 3, 4, 6))
    dedupe = chance.random() < 0.4
    processes = 1 if chance.random() < 0.6 else 2
    providers = chance.choice((1, 1, 1, 2, 3))
    calm_at = float(chance.randint(4, 12))
    bursts = chance.randint(1, 3)
    work = tuple(sorted((chance.uniform(0, calm_at * 0.8), size * chance.randint(1, 6)) for _ in range(bursts)))
    count = chance.choice((0, 1, 2, 3, 4, 6, 9))
    troubles = tuple(_trouble(chance, calm_at, confirmations, providers) for _ in range(count))
    if not dedupe:
        troubles = tuple(one for one in troubles if one.kind not in NEED_DEDUPE)
    scores = sum(count for _, count in work)
    return Script(
        seed=seed,
        dedupe=dedupe,
        legacy=chance.random() < 0.2,
        confirmations=confirmations,
        tag=chance.random() < 0.3,
        block_s=chance.choice((1.0, 1.0, 12.0, 0.25)),
        processes=processes,
        keys=chance.choice((1, 1, 1, 2)),
        providers=providers,
        delegated=chance.random() < 0.1,
        estimate=chance.random() < 0.2,
        batch_size=size * chance.randint(1, 6),
        in_flight=chance.choice((1, 2, 4, 16)),
        resend_blocks=chance.randint(1, 3),
        bump_blocks=chance.randint(1, 4),
        latency_s=chance.choice((0.0, 0.0, 0.01, 0.1)),
        steal=processes == 1 and chance.random() < 0.5,
        work=work,
        games=chance.choice((1, 1, 2)),
        poison=(chance.randint(1, scores),) if chance.random() < 0.1 else (),
        calm_at=calm_at,
        troubles=tuple(sorted(troubles, key=lambda one: one.at)),
    )


def _trouble(chance: random.Random, calm_at: float, confirmations: int, providers: int) -> Trouble:
    kind = chance.choice(KINDS if providers == 1 else (*KINDS, *GRAVE_KINDS))
    at = chance.uniform(0.0, calm_at - 1)
    blocks = chance.uniform(0.5, 6.0)
    values: tuple[Value, ...] = ()
    if kind in {"reorg", "blind"}:
        back = chance.choice(((True,), (False,), (True, False), (False, True, True)))
        values = (chance.randint(1, confirmations), back, chance.randint(0, 2))
    elif kind == "spike":
        values = (chance.choice((2, 5, 50)),)
    elif kind == "lag":
        values = (chance.randint(1, max(1, confirmations - 1)),)
    elif kind in {"flaky", "slow"} or ":" in kind:
        values = (chance.choice((0.1, 0.5, 1.0)),)
    elif kind in {"crash", "lost commit", "failing"}:
        values = (chance.randint(1, 6),)
    elif kind == "revoke":
        values = (chance.random() < 0.4,)
    elif kind == "drop":
        values = (chance.choice((0.5, 1.0)),)
    elif kind == "carry":
        values = (chance.randint(1, 6),)
    return Trouble(at, kind, blocks, values)
