"""A closed-loop HTTP load generator that costs little: pre-encoded requests over keep-alive sockets and one epoll.

Touches the network only; run as its own process (``python load.py``, job on standard input) so that its CPU is its own.
"""

import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What one run measured; times in seconds of the monotonic clock, latencies in nanoseconds."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies_ns: list[int] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)


class Connection:
    """One keep-alive socket with at most one request under way."""

    __slots__ = ("buffer", "expected", "sent_at", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.expected = -1
        self.sent_at = 0

    def send(self, request: bytes) -> None:
        """Write a whole request (they fit the socket's buffer) and start its clock."""
        self.sent_at = time.perf_counter_ns()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The complete answer, or None while more of it is to come."""
        chunk = self.socket.recv(262_144)
        if not chunk:
            raise ConnectionError("the server closed a keep-alive connection")
        self.buffer = self.buffer + chunk if self.buffer else chunk
        if self.expected < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.expected = end + 4 + content_length(self.buffer[:end])
        if len(self.buffer) < self.expected:
            return None
        answer, self.buffer, self.expected = self.buffer, b"", -1
        return answer


def content_length(head: bytes) -> int:
    """The Content-Length of an answer's head; every answer measured here has one."""
    lowered = head.lower()
    start = lowered.index(b"content-length:") + 15
    end = lowered.find(b"\r\n", start)
    return int(lowered[start:] if end < 0 else lowered[start:end])


def drive(requests: Sequence[bytes], addresses: Sequence[tuple[str, int]], connections: int) -> Outcome:
    """Send every request once, ``connections`` at a time, spread evenly over the addresses."""
    outcome = Outcome()
    pool = [Connection(addresses[index % len(addresses)]) for index in range(connections)]
    by_descriptor = {connection.socket.fileno(): connection for connection in pool}
    poller = select.epoll()
    cpu_before, started = time.process_time(), time.perf_counter()
    waiting = iter(requests)
    under_way = 0
    for descriptor, connection in by_descriptor.items():
        poller.register(descriptor, select.EPOLLIN)
        request = next(waiting, None)
        if request is not None:
            connection.send(request)
            under_way += 1
    while under_way:
        for descriptor, _ in poller.poll(30):
            connection = by_descriptor[descriptor]
            answer = connection.receive()
            if answer is None:
                continue
            outcome.latencies_ns.append(time.perf_counter_ns() - connection.sent_at)
            outcome.answers.append(answer)
            request = next(waiting, None)
            if request is None:
                under_way -= 1
            else:
                connection.send(request)
    outcome.seconds = time.perf_counter() - started
    outcome.cpu_seconds = time.process_time() - cpu_before
    poller.close()
    for connection in pool:
        connection.socket.close()
    return outcome


def quantile_ms(latencies_ns: Sequence[int], fraction: float) -> float:
    """The latency below which ``fraction`` of the sorted sample lies, in milliseconds."""
    ordered = sorted(latencies_ns)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] / 1e6


def statuses(answers: Sequence[bytes]) -> dict[str, int]:
    """How often each HTTP status was answered."""
    counted: dict[str, int] = {}
    for answer in answers:
        status = answer[9:12].decode()
        counted[status] = counted.get(status, 0) + 1
    return counted


def main() -> None:
    """Read a job {requests: path, ports, connections, answers: path}; print the measurement as one JSON line."""
    job = json.load(sys.stdin)
    blob = Path(job["requests"]).read_bytes()
    requests = [line for line in blob.split(b"\0") if line]
    outcome = drive(requests, [("127.0.0.1", port) for port in job["ports"]], job["connections"])
    Path(job["answers"]).write_bytes(b"\0".join(outcome.answers))
    measured = {
        "requests": len(outcome.answers),
        "seconds": outcome.seconds,
        "per_second": len(outcome.answers) / outcome.seconds,
        "p50_ms": quantile_ms(outcome.latencies_ns, 0.50),
        "p99_ms": quantile_ms(outcome.latencies_ns, 0.99),
        "max_ms": max(outcome.latencies_ns) / 1e6,
        "statuses": statuses(outcome.answers),
        "client_cpu_us_per_request": outcome.cpu_seconds / len(outcome.answers) * 1e6,
        "client_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "client_pid": os.getpid(),
    }
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
