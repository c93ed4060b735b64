"""Seeds of rounds: drawn from a secret that is committed to before and revealed after, so that anybody can check them.

Pure. HMAC-SHA-256 (RFC 2104); the commitment is the secret's SHA-256. A tournament that ends has a secret of its own,
revealed when it is over; all other rounds of a game share one for each day (UTC), revealed when the day is over.
"""

import hashlib
import hmac

SECRET_BYTES = 32
DAY_MS = 86_400_000


def commitment(secret: bytes) -> bytes:
    """Return what is published before: the SHA-256 of the secret."""
    return hashlib.sha256(secret).digest()


def seed(secret: bytes, round_id: str, player: bytes, chart_hash: bytes) -> bytes:
    """Return the 32 bytes of a round's seed: HMAC-SHA-256(secret, round id (12) ‖ player (20) ‖ chart hash (32))."""
    return hmac.digest(secret, bytes.fromhex(round_id) + player + chart_hash, "sha256")


def day_of(at_ms: int) -> int:
    """Return the day (UTC) of an epoch time, counted from 1970-01-01."""
    return at_ms // DAY_MS


def of_day(game_id: str, day: int) -> str:
    """Return the name of the secret of a game's day."""
    return f"day:{day}:{game_id}"


def of_tournament(tournament_id: str) -> str:
    """Return the name of the secret of a tournament."""
    return f"tournament:{tournament_id}"


def ends_ms(day: int) -> int:
    """Return the end of a day (UTC) in epoch ms: no round of it can start from then on, and its secret is revealed."""
    return (day + 1) * DAY_MS
