"""Seeds of rounds: drawn from a secret that is committed to before and revealed after, so that anybody can check them.

Pure. HMAC-SHA-256 (RFC 2104); the commitment is the secret's SHA-256. A tournament that ends has a secret of its own,
revealed when it is over; all other rounds of a game share one for each day (UTC), revealed when the day is over.
"""

import hashlib
import hmac
from datetime import UTC, date, datetime, timedelta

SECRET_BYTES = 32


def commitment(secret: bytes) -> bytes:
    """Return what is published before: the SHA-256 of the secret."""
    return hashlib.sha256(secret).digest()


def seed(secret: bytes, round_id: str, player: bytes, chart_hash: bytes) -> bytes:
    """Return the 32 bytes of a round's seed: HMAC-SHA-256(secret, round id (12) ‖ player (20) ‖ chart hash (32))."""
    return hmac.digest(secret, bytes.fromhex(round_id) + player + chart_hash, "sha256")


def day_of(at_ms: int) -> date:
    """Return the day (UTC) of an epoch time."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).date()


def of_day(game_id: str, day: date) -> str:
    """Return the name of the secret of a game's day."""
    return f"day:{day.isoformat()}:{game_id}"


def of_tournament(tournament_id: str) -> str:
    """Return the name of the secret of a tournament."""
    return f"tournament:{tournament_id}"


def day_over(day: date, now_ms: int) -> bool:
    """Whether no round of that day can start any more."""
    return day_of(now_ms) > day


def ends_ms(day: date) -> int:
    """Return the end of a day (UTC) in epoch ms: when its secret is revealed."""
    following = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
    return int(following.timestamp()) * 1000
