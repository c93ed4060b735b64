"""The gas benchmark: what every function costs on a real node, beside the goals and what others published.

    python tests/benchmarks/gas/measure.py [--update]

Node: anvil with Prague rules, steady state (the game has scores, the words of the bitmap are in use), keys and records
fixed, so that the numbers are exact and repeatable. `--update` writes `contracts/gas.json`, the committed snapshot that
`tests/contracts/test_contract_gas.py` compares; without it the table shows both.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from relay.attestation import economy_anchor_digest  # noqa: E402 - needs the path above
from relay.contract import SIGNER_ROLE, game_key  # noqa: E402
from tests.harness.chains import FAR, Board, Chain, actor, open_chain, some_records  # noqa: E402

SNAPSHOT = ROOT / "contracts" / "gas.json"
SIZES = (1, 10, 50, 100, 200)
GOALS = {1: 55_000, 100: 4_600}  # gas per score at most

# Per score at N = 1, 10, 50, 100, 200, as measured once for the design on the same node and rules; not run here.
QUOTED = {
    "StreamBeat's contract, board full (quoted)": (5_415_604, None, None, None, None),
    "RocketCandle, also pays tokens (quoted)": (231_882, None, None, None, None),
    "EAS multiAttest, stores every field (quoted)": (298_876, 259_682, 256_376, 256_159, 256_393),
    "naive push + best + event (quoted)": (109_393, None, None, None, None),
    "structs, EIP-712, bitmap (quoted)": (41_703, 8_854, 5_936, 5_573, 5_415),
    "lower limit: 21000/N + calldata + LOG4 (quoted)": (26_012, 5_954, 4_187, 3_965, 3_855),
}


def measure(chain: Chain) -> dict[str, int]:
    """Gas used by one transaction of every kind, by a name such as `submitScores(100)`."""
    board = Board(chain, game_key("streambeat"))
    used = {"deploy": int(board.deployed_in["gasUsed"])}
    following = 1

    def submit(count: int) -> int:
        nonlocal following
        records = some_records(count, following)
        following += count
        return int(board.submit(records)["gasUsed"])

    submit(1)
    used |= {f"submitScores({count})": submit(count) for count in (*SIZES, 500)}

    def cost(name: str, *args: object, by: str = "admin") -> int:
        return int(board.do(getattr(board, by), name, *args)["gasUsed"])

    def anchor(first: int) -> int:
        economy, root = game_key("economy"), bytes(range(32))
        signature = board.signer.sign(economy_anchor_digest(board.domain, economy, first, 1000, root, FAR))
        return cost("anchorEconomy", economy, first, 1000, root, FAR, signature, by="carrier")

    used["anchorEconomy, first"] = anchor(0)
    used["anchorEconomy, next"] = anchor(1000)
    reason = bytes(range(32))
    cost("invalidateScores", board.game, [1], reason, by="auditor")
    for count in (1, 10, 100):
        rounds = list(range(2, 2 + count))
        used[f"invalidateScores({count})"] = cost("invalidateScores", board.game, rounds, reason, by="auditor")
        used[f"reinstateScores({count})"] = cost("reinstateScores", board.game, rounds, reason, by="auditor")
    document = b"x" * 512
    used["publishRules, 512 bytes"] = cost("publishRules", board.game, document)
    used["retireRules"] = cost("retireRules", board.game, board.rules)
    used["pause"] = cost("pause", by="guardian")
    used["unpause"] = cost("unpause")
    used["grantRole"] = cost("grantRole", SIGNER_ROLE, actor("second signer").address)
    used["revokeSigner"] = cost("revokeSigner", board.signer.address, by="guardian")
    return used


def table(used: dict[str, int], snapshot: dict[str, int]) -> str:
    """The table of the design with our row in it, and every function beside the snapshot."""
    width = max(map(len, QUOTED))
    lines = ["gas per score".ljust(width) + "".join(f"{f'N={count}':>11}" for count in SIZES)]
    rows = {name: [str(n) if n is None else f"{n:,}" for n in row] for name, row in QUOTED.items()}
    ours = "Leaderboard (measured now)"
    rows[ours] = [f"{used[f'submitScores({count})'] / count:,.0f}" for count in SIZES]
    rows["goal, at most"] = [f"{GOALS[count]:,}" if count in GOALS else "" for count in SIZES]
    for name, row in rows.items():
        lines.append(name.ljust(width) + "".join(f"{cell.replace('None', ''):>11}" for cell in row))
    lines += ["", "gas per call".ljust(width) + f"{'now':>11}{'snapshot':>11}"]
    for name, gas in used.items():
        known = snapshot.get(name)
        lines.append(name.ljust(width) + f"{gas:>11,}" + (f"{known:>11,}" if known is not None else ""))
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and say by the exit status whether the goals hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the snapshot")
    arguments = parser.parse_args()
    with open_chain("anvil") as chain:
        node = str(chain.web3.client_version)
        used = measure(chain)
    snapshot = json.loads(SNAPSHOT.read_text())["gas"] if SNAPSHOT.exists() else {}
    print(table(used, snapshot))
    print(f"\nmeasured on {node}, Prague rules, steady state")
    if arguments.update:
        SNAPSHOT.write_text(json.dumps({"node": node, "rules": "prague", "gas": used}, indent=1) + "\n")
    met = all(used[f"submitScores({count})"] <= goal * count for count, goal in GOALS.items())
    print("goals met" if met else "GOALS MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
