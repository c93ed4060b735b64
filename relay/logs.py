"""How log lines look: time, level, module, text, and then everything the line was given beside its text.

Touches the logging of this process.
"""

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
TALKATIVE = ("apscheduler", "alembic", "uvicorn", "asyncio", "urllib3", "web3")
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    """Shows `extra` as `name=value`: a request id or a reason that is not shown helps nobody."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the standard library's
        """Return the line without a traceback; a value with spaces or line breaks is quoted."""
        line = super().formatMessage(record)
        given = {name: value for name, value in vars(record).items() if name not in _ORDINARY}
        return " ".join([line, *(f"{name}={_shown(value)}" for name, value in given.items())])


def configure(level: str) -> None:
    """Log to standard error from `level` on; libraries from WARNING on, the scheduler from ERROR on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A job that takes longer than its interval is not started twice: that is meant, and would be a warning each time.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
