"""Positions in the chain, and the widths of the one ordering key (see `indexer.boards.BoardConfig.key`).

Pure.
"""

SCORE_MAX = 2**63 - 1
VALUE_MAX = SCORE_MAX  # of a standing
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
