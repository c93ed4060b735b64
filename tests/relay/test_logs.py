"""Log lines show what they were given."""

import logging

from relay.logs import FORMAT, Lines


def line(**extra: object) -> str:
    """One formatted line."""
    record = logging.makeLogRecord(
        {"name": "relay.x", "levelname": "ERROR", "msg": "it %s", "args": ("broke",), **extra}
    )
    return Lines(FORMAT).format(record)


def test_extra_values_are_shown() -> None:
    """Names and values behind the text; what would break the line is quoted; an ordinary line stays as it is."""
    assert line(request_id="req_1", nonce=7).endswith("ERROR relay.x: it broke request_id=req_1 nonce=7")
    assert line(reason="no gas\nleft").endswith("it broke reason='no gas\\nleft'")
    assert line().endswith("ERROR relay.x: it broke")
