"""TCP ports of loopback for servers that tests start.

Touches sockets.
"""

import random
import socket

# Below what Linux (32768) and macOS (49152) give to outgoing connections: none of those takes one before its server.
PORTS = range(15_000, 32_000)
_dice = random.SystemRandom()


def free_port() -> int:
    """Return a port that nothing listens on now."""
    while True:
        port = _dice.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
