"""The sign benchmark: EIP-712 attestations per CPU second of one core, beside eth-account in the same run.

    python tests/benchmarks/sign/run.py [--smoke]

One attestation is what the relay signs for one accepted score: a `ScoreBatch` of one packed record, each different.
Prints medians of several rounds and ratios, checks that all make the same bytes, writes `.benchmarks/sign.json`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from eth_account import Account  # noqa: E402 - needs the path above
from eth_account.messages import encode_typed_data  # noqa: E402
from eth_keys.backends.native.main import NativeECCBackend  # noqa: E402
from eth_keys.datatypes import PrivateKey  # noqa: E402

from relay.attestation import (  # noqa: E402
    Domain,
    recover,
    score_batch_digest,
    score_batch_struct,
    score_batch_typed_data,
)
from relay.contract import Record, game_key, pack_record  # noqa: E402
from relay.keccak import keccak  # noqa: E402
from relay.signer import LocalSigner  # noqa: E402

GOAL = 20_000
SECRET = keccak(b"sign benchmark")
SIGNER = LocalSigner(SECRET)
NATIVE = PrivateKey(SECRET, backend=NativeECCBackend())
DOMAIN = Domain(31337, bytes(range(20)))
GAME, RULES = game_key("streambeat"), keccak(b"rules")


def fields(n: int) -> tuple[Domain, bytes, bytes, int, bytes]:
    """The n-th attestation's content."""
    return DOMAIN, GAME, RULES, 1_800_000_000 + n, pack_record(Record(bytes(20), n, n, RULES))


def ours(n: int) -> bytes:
    """Encoded by hand, past the signing policy, signed through coincurve: what the relay does."""
    domain, game, rules, deadline, records = fields(n)
    return SIGNER.attest(domain, score_batch_struct(game, rules, deadline, records))


def eth_account(n: int) -> bytes:
    """The usual way: eth-account's typed-data signing, with coincurve and safe-pysha3 installed."""
    return bytes(Account.sign_typed_data(SECRET, full_message=score_batch_typed_data(*fields(n))).signature)


def eth_account_native(n: int) -> bytes:
    """The usual way without coincurve: eth-account's encoding, eth-keys' curve in plain Python."""
    message = encode_typed_data(full_message=score_batch_typed_data(*fields(n)))
    digest = keccak(b"\x19" + message.version + message.header + message.body)
    v, r, s = NATIVE.sign_msg_hash(digest).vrs
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((27 + v,))


def digest_only(n: int) -> bytes:
    """The digest by hand, unsigned."""
    return score_batch_digest(*fields(n))


def sign_and_recover(n: int) -> bytes:
    """An attestation made and its signer recovered, as an auditor does."""
    digest = score_batch_digest(*fields(n))
    return recover(digest, SIGNER.sign(digest))


# name: (what runs, how often per round; the slow ones less)
CONTESTANTS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "by hand + coincurve (ours)": (ours, 20_000),
    "eth-account + coincurve": (eth_account, 1_500),
    "eth-account, plain Python curve": (eth_account_native, 60),
    "digest alone (ours)": (digest_only, 100_000),
    "sign and recover (ours)": (sign_and_recover, 8_000),
}


def rate(run: Callable[[int], bytes], count: int, first: int) -> float:
    """Runs per CPU second."""
    start = time.process_time()
    for n in range(first, first + count):
        run(n)
    return count / (time.process_time() - start)


def main() -> int:
    """Measure all in turn, several rounds, so that a slow moment of the machine hits every contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one short round: proves that it runs, measures nothing")
    arguments = parser.parse_args()
    rounds, share = (1, 0.02) if arguments.smoke else (5, 1.0)

    for n in range(20):
        if not ours(n) == eth_account(n) == eth_account_native(n):
            print("the contestants do not sign the same bytes")
            return 1
    rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for turn in range(rounds):
        for name, (run, count) in CONTESTANTS.items():
            rates[name].append(rate(run, max(2, int(count * share)), turn * 1_000_000))
    medians = {name: statistics.median(measured) for name, measured in rates.items()}

    base = medians["eth-account + coincurve"]
    print(f"{'per CPU second':<34}{'median':>10}{'lowest':>10}{'highest':>10}{'ratio':>9}")
    for name, median in medians.items():
        low, high = min(rates[name]), max(rates[name])
        print(f"{name:<34}{median:>10,.0f}{low:>10,.0f}{high:>10,.0f}{median / base:>8.2f}x")
    mine = medians["by hand + coincurve (ours)"]
    print(f"goal {GOAL:,}: {'met' if mine >= GOAL else 'MISSED'}; same bytes from all three: yes")

    folder = ROOT / ".benchmarks"
    folder.mkdir(exist_ok=True)
    result = {
        "benchmark": "sign",
        "smoke": arguments.smoke,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "goal": GOAL,
        "perCpuSecond": medians,
        "rounds": rates,
    }
    (folder / "sign.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
