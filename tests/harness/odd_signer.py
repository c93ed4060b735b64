"""A remote signer that answers as told: right, wrong in every way, late, or not at all. A real HTTP server.

Touches a thread and one loopback port.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from relay.keccak import keccak
from relay.signer import LocalSigner

LATE_S = {"slow": 0.1, "hangs": 60.0}


class OddSigner:
    """Holds one key; `mood` says what it does to the next requests."""

    def __init__(self, secret: bytes) -> None:
        self.signer = LocalSigner(secret)
        self.mood = "honest"
        self.asked: list[tuple[str, dict[str, str], str]] = []  # path, headers, body
        self.url = ""

    def answer(self, path: str, body: bytes) -> tuple[int, str]:
        """Status and text."""
        if path.endswith("/publicKeys"):
            return 200, json.dumps(["0x" + self.signer.public_key.hex()])
        digest = keccak(bytes.fromhex(json.loads(body)["data"][2:]))
        right = self.signer.sign(digest)
        high_s = (
            0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - int.from_bytes(right[32:64])
        ).to_bytes(32)
        return {
            "slow": (200, "0x" + right.hex()),
            "honest": (200, "0x" + right.hex()),
            "parity": (200, "0x" + (right[:64] + bytes((right[64] - 27,))).hex()),
            "json": (200, json.dumps("0x" + right.hex())),
            "other data": (200, "0x" + self.signer.sign(keccak(digest)).hex()),
            "other key": (200, "0x" + LocalSigner(b"\x05" * 32).sign(digest).hex()),
            "high s": (200, "0x" + (right[:32] + high_s + bytes((55 - right[64],))).hex()),
            "short": (200, "0x" + right[:64].hex()),
            "zeros": (200, "0x" + bytes(65).hex()),
            "text": (200, "<html>sorry</html>"),
            "empty": (200, ""),
            "huge": (200, "0x" + "11" * 1_000_000),
            "not found": (404, ""),
            "refused": (403, json.dumps({"detail": "not signed (OTHER_CHAIN): it is for chain 1"})),
            "500": (500, "boom"),
            "deep": (500, "[" * 60_000),
            "503": (503, ""),
            "redirect": (302, ""),
        }[self.mood]


@contextmanager
def odd_signer(secret: bytes) -> Iterator[OddSigner]:
    """Run one until the block ends."""
    odd = OddSigner(secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.respond()

        def do_POST(self) -> None:
            self.respond()

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            odd.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body.decode()))
            if odd.mood in LATE_S:
                time.sleep(LATE_S[odd.mood])
            if odd.mood in {"hangs", "closes"}:
                self.close_connection = True
                return
            status, text = odd.answer(self.path, body)
            self.send_response(status)
            if status == 302:
                self.send_header("location", odd.url + "/elsewhere")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        request_queue_size = 128  # all of a client's connections at once; beyond five, SYNs would wait for a second

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that lost their patience: that is what they are here for."""

    server = Quiet(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    odd.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield odd
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
