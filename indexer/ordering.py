"""The one ordering key: every rank, page, cursor and stream message compares scores by it.

Pure.
"""

SCORE_MAX = 2**63 - 1
LOG_INDEX_BITS = 20
LOG_INDEX_MASK: int = 2**LOG_INDEX_BITS - 1
POSITION_BITS = 63
POSITION_MAX: int = 2**POSITION_BITS - 1


def position(block_number: int, log_index: int) -> int:
    """Return the place of a log in its chain as one integer that sorts like (block number, log index).

    It fits a BIGINT: 43 bits of block number, 20 bits of log index (a block of 2^20 logs would need 400 M gas).

    Raises:
        ValueError: either number is outside its bits.
    """
    if not 0 <= log_index < 1 << LOG_INDEX_BITS or not 0 <= block_number < 1 << (POSITION_BITS - LOG_INDEX_BITS):
        raise ValueError(f"no such place in a chain: block {block_number}, log {log_index}")
    return block_number << LOG_INDEX_BITS | log_index


def block_of(place: int) -> int:
    """Return the block number of a position."""
    return place >> LOG_INDEX_BITS


def log_index_of(place: int) -> int:
    """Return the log index of a position."""
    return place & LOG_INDEX_MASK


def order_key(score: int, place: int) -> int:
    """Return the key by which a board ranks: best score first, the earlier first on a tie.

    Smaller is better. Two entries never share a key, because no two scores share a position.
    """
    return (SCORE_MAX - score) << POSITION_BITS | place


def score_of(key: int) -> int:
    """Return the score in an ordering key."""
    return SCORE_MAX - (key >> POSITION_BITS)


def place_of(key: int) -> int:
    """Return the position in an ordering key."""
    return key & POSITION_MAX
