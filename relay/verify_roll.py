"""`fairscore verify-roll`: the outcome of a craft or of a loot roll, computed again from what was published.

Touches the file it is given and nothing else: no relay, no chain. What is checked is in `relay.economy.rolls`.
"""

from pathlib import Path

import msgspec

from relay.economy.rolls import verify_roll
from relay.errors import PayloadError
from relay.findings import Finding, failed
from relay.strict_json import refuse_duplicates
from relay.verify_file import read_document


def verify_file(file: Path, commitment: str | None) -> list[Finding]:
    """Return the lines about the roll in a file; `commitment`: 0x and 64 hex digits, as seen before the roll.

    Raises StartupError where the file cannot be read.
    """
    body = read_document(file)
    try:
        document = msgspec.json.decode(body)
        refuse_duplicates(body)
    except (msgspec.MsgspecError, PayloadError, RecursionError, UnicodeError) as error:
        return [failed("document", f"it is not JSON, or not only once: {error}", "give it as the relay answered it")]
    return verify_roll(document, commitment)
