"""Which provider of several is asked, which is believed, which is refused, and what they all said to a send.

Pure. A provider is one RPC endpoint; its standing is what it has shown so far. Only silence (no usable answer: timeout,
429, 5xx, garbage) counts against its health; an error it answers with never does.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar
from urllib.parse import urlsplit

from relay.chain_types import Block, Look, SendAnswer
from relay.outbox.send_errors import SendClass, classify

T = TypeVar("T", bound=Hashable)

REST_S = 2.0  # after a first failure; doubled by each further one
REST_S_MAX = 60.0
REFUSED_REST_S = 30.0  # a provider on another chain is looked at again so seldom
FORGIVEN_S = 120.0  # after so long without a fault, the next one counts as the first
LAG_BLOCKS_MAX = 3  # behind the best head by more than this
LAG_S_MAX = 5  # and, by the chain's own time, more than this: fast chains make three blocks between two answers
PROVED_S = 2.0  # silent for longer than this, it is looked at before it is asked again
SHOWN_MAX = 128  # heads remembered, to tell a reorg from a head that goes back


class Fault(Enum):
    """Why a provider is not asked first."""

    UNSEEN = "unseen"  # was never looked at
    SILENT = "silent"  # gives no usable answer
    BEHIND = "behind"  # its head lags behind the others'
    WENT_BACK = "went_back"  # its head went back and nothing shows a reorg
    LIED = "lied"  # what it gave contradicts what the contract proves
    WRONG_CHAIN = "wrong_chain"  # another chain id
    OTHER_FORK = "other_fork"  # another block where one is known for good


DEMOTED = frozenset({Fault.BEHIND, Fault.WENT_BACK})  # asked when nobody better is left
REFUSED = frozenset({Fault.WRONG_CHAIN, Fault.OTHER_FORK})  # never asked, never sent to


@dataclass(frozen=True, slots=True)
class Standing:
    """What a provider has shown so far. Times are of one clock that only rises, in seconds."""

    fault: Fault | None = Fault.UNSEEN
    reason: str = "not asked yet"  # empty without a fault
    since_s: float = 0.0  # when this fault, or its absence, began
    strikes: int = 0  # faults in a row, none of them forgiven
    rest_until_s: float = 0.0  # before that it is not looked at again
    head: Block | None = None
    head_at_s: float = 0.0  # when it was shown
    shown: tuple[tuple[int, bytes], ...] = ()  # heads it showed and did not take back, heights ascending
    lag_blocks: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """The chain all providers must be on: its id, and blocks that are known for good, by height."""

    chain_id: int
    known: Mapping[int, bytes]


def names(urls: Sequence[str]) -> list[str]:
    """`host:port` of each URL, which is all that may be shown of it; `#2` and so on where that repeats."""
    found: list[str] = []
    seen: Counter[str] = Counter()
    for url in urls:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "?"
        name = f"{host}:{parts.port or (443 if parts.scheme.lower() in {'https', 'wss'} else 80)}"
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


# ------------------------------------------------------------------------------ who is asked


def order(standings: Sequence[Standing]) -> list[int]:
    """Return who is asked, first to last: healthy, demoted, liars, silent; never the refused.

    Among equals in the order given, but liars take turns: whoever lied least, or longest ago, may tell the truth now.
    """

    def rank(index: int) -> tuple[int, float]:
        one = standings[index]
        if one.fault is Fault.LIED:
            return 2, one.rest_until_s
        return 0 if one.fault is None else 1 if one.fault in DEMOTED else 3, 0.0

    usable = [index for index, standing in enumerate(standings) if standing.fault not in REFUSED]
    return sorted(usable, key=rank)


def healthy(standings: Sequence[Standing]) -> list[int]:
    """Who is without fault: they are sent to, all of them."""
    return [index for index, standing in enumerate(standings) if standing.fault is None]


def due(standings: Sequence[Standing], now_s: float) -> list[int]:
    """Who is looked at in a round: everyone but those at rest."""
    return [index for index, standing in enumerate(standings) if standing.rest_until_s <= now_s]


def unproved(standing: Standing, now_s: float) -> bool:
    """Whether it must be looked at before it is asked: behind the same address may be another chain by now."""
    long = now_s - standing.since_s >= PROVED_S
    return standing.fault is Fault.UNSEEN or (standing.fault is Fault.SILENT and long)


# ------------------------------------------------------------------------- what is made of it


def answered(standing: Standing, now_s: float) -> Standing:
    """It gave a usable answer: it is not silent any more. Whatever else is held against it stays."""
    if standing.fault is not Fault.SILENT:
        return standing
    return replace(standing, fault=None, reason="", since_s=now_s, rest_until_s=now_s)


def silent(standing: Standing, why: str, now_s: float, retry_after_s: float | None = None) -> Standing:
    """No usable answer came. It rests, longer each time, and as long as it asked for; the refused stay refused."""
    if standing.fault in REFUSED:
        return replace(standing, rest_until_s=max(standing.rest_until_s, now_s + REFUSED_REST_S))
    rest_until_s = now_s + (retry_after_s or 0.0)
    if standing.fault is Fault.SILENT and now_s < standing.rest_until_s:  # requests under way when it fell silent
        return replace(standing, reason=why, rest_until_s=max(standing.rest_until_s, rest_until_s))
    faulty = _faulty(standing, Fault.SILENT, why, now_s)
    return replace(faulty, rest_until_s=max(faulty.rest_until_s, rest_until_s))


def lied(standing: Standing, why: str, now_s: float) -> Standing:
    """What it gave contradicts what is proved. It rests, longer each time; the refused stay refused."""
    return standing if standing.fault in REFUSED else _faulty(standing, Fault.LIED, why, now_s)


def showed(standing: Standing, head: Block, asked_s: float, now_s: float) -> Standing:
    """It showed this head. One below its last, at a height where it shows no other block than before, went back.

    `asked_s`: what was asked before it showed its last head may be older than that, and is no news.
    """
    last = standing.head
    if last is not None and head.number < last.number:
        if asked_s < standing.head_at_s:
            return standing
        if not _reorged(dict(standing.shown), head):
            why = f"its head went back from block {last.number} to {head.number} without a reorg"
            return replace(_faulty(standing, Fault.WENT_BACK, why, now_s), head=head, head_at_s=now_s)
    kept = [pair for pair in standing.shown if pair[0] < head.number][1 - SHOWN_MAX :]
    return replace(standing, head=head, head_at_s=now_s, shown=(*kept, (head.number, head.hash)))


def _reorged(shown: Mapping[int, bytes], head: Block) -> bool:
    """Whether what it shows now contradicts what it showed: the block itself, or the one below it, is another."""
    here, below = shown.get(head.number), shown.get(head.number - 1)
    if here is not None:
        return here != head.hash
    return below is not None and below != head.parent_hash


def judged(standing: Standing, look: Look, identity: Identity, asked_s: float, now_s: float) -> Standing:
    """What a look at it changes, begun at `asked_s`.

    (1) Another chain id, or (2) another block than one known for good: refused, until a later look is right. (3) A head
    that went back, or a lie: held against it while it rests. (4) Else its faults are over, less a lag, which only a
    comparison with the others ends.
    """
    if look.chain_id != identity.chain_id:  # (1)
        why = f"it is on chain {look.chain_id}, not {identity.chain_id}"
        return _refused(standing, Fault.WRONG_CHAIN, why, look, now_s)
    for height, known in sorted(identity.known.items()):  # (2)
        found = look.hashes.get(height, known)
        if found != known:
            why = (
                f"its block {height} is 0x{found.hex()[:8]}…, not 0x{known.hex()[:8]}…: another chain, or another fork"
            )
            return _refused(standing, Fault.OTHER_FORK, why, look, now_s)
    if standing.fault in REFUSED:  # what it showed until now was of another chain
        standing = replace(standing, head=None, shown=())
    seen = showed(standing, look.head, asked_s, now_s)
    if seen.fault in (Fault.WENT_BACK, Fault.LIED) and now_s < seen.rest_until_s:  # (3)
        return seen
    if seen.fault is None or seen.fault is Fault.BEHIND:  # (4)
        return seen
    return replace(seen, fault=None, reason="", since_s=now_s, rest_until_s=now_s)


def compared(standing: Standing, best: Block, now_s: float) -> Standing:
    """Its head beside the best one of the same round: too far behind is demoted, caught up is healthy again."""
    if standing.head is None or standing.fault not in (None, Fault.BEHIND):
        return replace(standing, lag_blocks=None)
    lag = max(0, best.number - standing.head.number)
    far = lag > LAG_BLOCKS_MAX and best.timestamp - standing.head.timestamp > LAG_S_MAX
    since_s = standing.since_s if far is (standing.fault is Fault.BEHIND) else now_s
    reason = f"its head is {lag} blocks behind" if far else ""
    return replace(standing, fault=Fault.BEHIND if far else None, reason=reason, since_s=since_s, lag_blocks=lag)


def best_head(heads: Iterable[Block]) -> Block | None:
    """Return the head others are compared with: the highest, of three and more the second, so that no one can lie."""
    found = sorted(heads, key=lambda head: head.number, reverse=True)
    return found[min(1, len(found) - 1) if len(found) > 2 else 0] if found else None


def _faulty(standing: Standing, fault: Fault, why: str, now_s: float) -> Standing:
    forgiven = standing.fault is None and now_s - standing.since_s >= FORGIVEN_S
    strikes = 1 if forgiven else standing.strikes + 1
    rest_s = min(REST_S_MAX, REST_S * 2 ** min(strikes - 1, 16))
    since_s = standing.since_s if standing.fault is fault else now_s
    return replace(
        standing,
        fault=fault,
        reason=why,
        since_s=since_s,
        strikes=strikes,
        rest_until_s=now_s + rest_s,
        lag_blocks=None,
    )


def _refused(standing: Standing, fault: Fault, why: str, look: Look, now_s: float) -> Standing:
    since_s = standing.since_s if standing.fault is fault else now_s
    return Standing(fault, why, since_s, standing.strikes + 1, now_s + REFUSED_REST_S, look.head, now_s)


# --------------------------------------------------------------------------- what is believed


def agreed(known: T | None, told: Sequence[T]) -> T | None:
    """Return what is taken for true, given what was and what providers tell now, in their order.

    What is known stays, unless at least two tell the same other thing and more do than confirm it. Where nothing is
    known the majority decides, and the first of those that have equally many.
    """
    if not told:
        return known
    votes = Counter(told)
    winner = max(votes, key=lambda one: votes[one])
    outvoted = known is None or (votes[winner] >= 2 and votes[winner] > votes[known])
    return winner if outvoted else known


def identified(looks: Sequence[Look]) -> Identity | None:
    """Which chain this is, by the first looks at the providers; None while there are none."""
    chain_id = agreed(None, [look.chain_id for look in looks])
    return None if chain_id is None else settled(Identity(chain_id, {}), looks, [0])


def settled(identity: Identity, looks: Sequence[Look], heights: Sequence[int]) -> Identity:
    """The chain's identity after a round that asked for these final heights: the two newest known blocks are kept."""
    believed = [look for look in looks if look.chain_id == identity.chain_id]
    known: dict[int, bytes] = {}
    for height in sorted({*identity.known, *heights}):
        told = [look.hashes[height] for look in believed if height in look.hashes]
        block = agreed(identity.known.get(height), told)
        if block is not None:
            known[height] = block
            believed = [look for look in believed if look.hashes.get(height, block) == block]
    return Identity(identity.chain_id, dict(sorted(known.items())[-2:]))


def confirmed(opinions: Sequence[bool | None], configured: int) -> bool:
    """Whether bad news is believed: nobody contradicts it, and two providers (all, where there is one) tell it.

    `opinions`: True where a provider tells the same, False where it tells otherwise, None where it tells nothing.
    """
    return False not in opinions and opinions.count(True) >= min(2, configured)


# ------------------------------------------------------------------------------- what was said

BEST_FIRST = (
    SendClass.ACCEPTED,
    SendClass.ALREADY_KNOWN,
    SendClass.NONCE_TOO_LOW,
    SendClass.NONCE_TOO_HIGH,
    SendClass.POOL_FULL,
    SendClass.UNDERPRICED,
    SendClass.AMBIGUOUS,
    SendClass.INSUFFICIENT_FUNDS,
    SendClass.NEVER_VALID,
)
"""Answers to a send, from those after which it is surely under way to those after which it surely is not."""


def taken(answer: SendAnswer) -> bool:
    """Whether the transaction is in that provider's hands."""
    return classify(answer) in (SendClass.ACCEPTED, SendClass.ALREADY_KNOWN)


def best_answer(answers: Sequence[tuple[str, SendAnswer]]) -> SendAnswer:
    """Return what all providers together said: the best answer, any answer before none; `by` holds each of them."""

    def rank(answer: SendAnswer) -> int:
        silence = not answer.accepted and answer.code is None
        return len(BEST_FIRST) if silence else BEST_FIRST.index(classify(answer))

    best = min((answer for _, answer in answers), key=rank)
    return replace(best, by=tuple(answers))
