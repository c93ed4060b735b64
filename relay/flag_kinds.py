"""Which findings open an audit flag, how severe it is, and why: one visible table.

Pure. Relay, indexer and economy open flags of these kinds only.
"""

from typing import NamedTuple


class FlagKind(NamedTuple):
    """A code's severity and the reason it deserves an auditor's look."""

    severity: str  # warning | critical
    why: str


FLAG_KINDS: dict[str, FlagKind] = {
    # Accepted, but improbable: the check said `flag`.
    "PERFECT_RATIO_HIGH": FlagKind("warning", "humans rarely stay above the limit; bots always do"),
    "SCORE_SPIKE": FlagKind("warning", "far above the player's own history: a new skill, another person, or a cheat"),
    # Refused, and no honest client sends it: somebody changed the client or the request.
    "SCORE_MISMATCH": FlagKind("warning", "the claim contradicts its own counts; the game's own client cannot send it"),
    "SCORE_OUT_OF_BOUNDS": FlagKind("warning", "beyond what the game can show"),
    "SCORE_ABOVE_MAXIMUM": FlagKind("critical", "beyond what the chart can yield"),
    "COUNT_NEGATIVE": FlagKind("warning", "no counter of a game runs below zero"),
    "COMBO_EXCEEDS_HITS": FlagKind("warning", "a combo longer than all hits cannot be played"),
    "NOTES_EXCEED_TIME": FlagKind("warning", "faster than the densest chart"),
    # Rounds: what the server's clock and the game's own server say.
    "TIMING_IMPLAUSIBLE": FlagKind("warning", "a play cannot last longer than the round it was played in"),
    "WALL_CLOCK_TOO_SHORT": FlagKind("warning", "a replay cannot last longer than the round it was played in"),
    "WALL_CLOCK_DRIFT": FlagKind("warning", "the game ran slower than the clock: paused, or slowed down"),
    "BACKEND_SCORE_MISMATCH": FlagKind("critical", "client and server of the same game saw different scores"),
    # Refused for coming too often.
    "RATE_LIMITED": FlagKind("warning", "many attempts in a minute: a retry loop, or somebody searching for a number"),
}
# Refused without a flag, on purpose: GAME_TIME_TOO_SHORT and TOO_FEW_NOTES (honest players quit early),
# PLAYER_INVALID and malformed payloads (there is no player to flag; anybody could flag anybody).

# A score of the chain that is not what its published evidence says (`indexer.doubt`). Each means that somebody signs
# who should not, or that evidence is withheld; none can be sent by a client.
DOUBT_KINDS: dict[str, FlagKind] = {
    "SIGNER_UNKNOWN": FlagKind("critical", "the contract took a batch signed by a key that no known relay has"),
    "EVIDENCE_MISSING": FlagKind("critical", "nobody can check a score without evidence: forged, or withheld"),
    "EVIDENCE_MISMATCH": FlagKind("critical", "the evidence is of another score: forged with a stolen key"),
    "EVIDENCE_REUSED": FlagKind("critical", "the evidence of one score stands behind two: replayed with a stolen key"),
    "RULES_UNKNOWN": FlagKind("critical", "the score cannot be recomputed: nobody published the rules it names"),
    "RECOMPUTATION_DIFFERS": FlagKind("critical", "the rules give something else: the relay that signed it lies"),
    "SCORE_OUT_OF_RANGE": FlagKind("critical", "no relay signs a number of 2^63 or more: it is kept, never ranked"),
}

# The chain itself did what chains promise not to do (`indexer.ancestry`); what was shown as final is shown no more.
CHAIN_KINDS: dict[str, FlagKind] = {
    "FINALITY_BROKEN": FlagKind("critical", "scores that were final may be gone; receipts of them need another look"),
    "REORG_DEEP": FlagKind("critical", "more was replaced than the indexer remembers; it read again from further back"),
}

# What a player does with rounds; none is about one score.
ROUND_KINDS: dict[str, FlagKind] = {
    "ABANDON_RATIO_HIGH": FlagKind("warning", "rounds are started and left until one suits: seeds are picked"),
}

# What the economy's guard finds. The first two are of operations it refused; those between executed and want a look;
# the last two say that what can never be has happened, and freeze the wallet.
ECONOMY_KINDS: dict[str, FlagKind] = {
    "MAX_AMOUNT_EXCEEDED": FlagKind("critical", "more than the game ever moves at once: a bug, or theft"),
    "AMOUNT_WINDOW_EXCEEDED": FlagKind("warning", "a large amount in small parts: the limit of one operation, evaded"),
    "LAUNDERING_PAIR": FlagKind("warning", "money going to and fro between two players has no reason in a game"),
    "PAIR_TRANSFER_BURST": FlagKind("warning", "many transfers to one player: a collecting account, or a script"),
    "LAUNDERING_CYCLE": FlagKind("warning", "money back at its sender through others hides where it is from"),
    "GRANT_VELOCITY": FlagKind("warning", "granted many times what the others are: an exploit, or a server's bug"),
    "NEGATIVE_BALANCE": FlagKind("critical", "the database cannot hold one: somebody changed it by other means"),
    "LEDGER_MISMATCH": FlagKind("critical", "a balance is not the sum of its entries: somebody changed one of them"),
}

# What the chain says of a ledger (`relay.economy.checkpoints`); about the game's economy, none about a player.
ANCHOR_KINDS: dict[str, FlagKind] = {
    "LEDGER_CONTRADICTED": FlagKind("critical", "the anchored ledger is another: changed here, or an old copy"),
}

# What somebody does to the relay itself; each is about an address or a key, none about a player.
OPERATION_KINDS: dict[str, FlagKind] = {
    "AUTHENTICATION_FAILED": FlagKind("warning", "somebody tries keys, or a game still sends one that is not valid"),
}

# A check switched to `flag` by the operator is shown even if the table does not name its code.
OTHER = FlagKind("warning", "the operator asked for a flag")


def kind(code: str, *, refused: bool) -> FlagKind | None:
    """Return the kind of flag that `code` opens, None if a refusal with it is no cause for suspicion."""
    return FLAG_KINDS.get(code) or (None if refused else OTHER)
