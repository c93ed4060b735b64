"""Files that hold a secret: read only while nobody but their owner can.

Reads the file it is given.
"""

import stat
from pathlib import Path


class KeyFileError(Exception):
    """A key file cannot be used; the text says why and what to do, and nothing of what the file holds."""


def read_private(path: Path) -> str:
    """Return the text of a file that only its owner can touch.

    Raises:
        KeyFileError: it is missing, not text, or open to other users.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise KeyFileError(f"{path} is not a file")
        if mode & 0o077:
            raise KeyFileError(f"{path} is open to other users (mode {mode & 0o777:04o}): run chmod 600 {path}")
        return path.read_text("utf-8")
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} is not text") from None
