"""Mutants of the contract: each breaks one promise, and the Solidity tests alone must notice every one.

    python tests/contracts/mutants.py [TEXT]     (only mutants whose name contains TEXT)

Works on a copy in a temporary folder; ten to twenty seconds per mutant.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path("contracts") / "Leaderboard.sol"

# name: (text that occurs exactly once in Leaderboard.sol, what it becomes)
MUTANTS = {
    "records while paused": ("        whenNotPaused // 1\n", ""),
    "ignores the deadline": ("        _checkDeadline(deadline); // 2\n", ""),
    "deadline off by one": ("block.timestamp > deadline", "block.timestamp >= deadline"),
    "takes unpublished rules": ("if (!isActive[gameId][rulesHash]) revert RulesNotActive(gameId, rulesHash); // 3", ""),
    "takes torn records": ("length == 0 || length % RECORD_SIZE != 0", "length == 0"),
    "takes an empty batch": ("length == 0 || length % RECORD_SIZE != 0", "length % RECORD_SIZE != 0"),
    "takes 501 records": ("length > MAX_BATCH * RECORD_SIZE", "length > (MAX_BATCH + 1) * RECORD_SIZE"),
    "takes any signer": ("if (!hasRole(SIGNER_ROLE, signer)) revert UnknownSigner(signer);", ""),
    "wrong role signs": ("hasRole(SIGNER_ROLE, signer)) revert", "hasRole(AUDITOR_ROLE, signer)) revert"),
    "records a round again": ("if (word & bit != 0) {", "if (false) {"),
    "forgets within a batch": ("                word |= bit;\n", ""),
    "forgets the last word": ("        recorded[index] = word;\n\n", ""),
    "forgets a word left": (
        "                    recorded[index] = word;\n                    index",
        "                    index",
    ),
    "keeps the old word": ("                    word = recorded[index];\n                }\n", "                }\n"),
    "shares words between neighbours": (
        "1 << (roundId & 0xff);\n                if (word",
        "1 << (roundId & 0x7f);\n                if (word",
    ),
    "all skipped is success": ("if (accepted == 0) revert NothingToRecord();", ""),
    "hash covers skipped records": ("if (!skipped) return (accepted, recordsHash);", "return (accepted, recordsHash);"),
    "hash misplaces kept records": ("accepted * RECORD_SIZE, records, offset", "offset, records, offset"),
    "score loses its top": ("uint96(playerAndScore),", "uint64(playerAndScore),"),
    "evidence off by a byte": ("_word(records, offset + 40)", "_word(records, offset + 39)"),
    "head not chained": ("abi.encode(BATCH_LINK, head[gameId], gameId", "abi.encode(BATCH_LINK, bytes32(0), gameId"),
    "head not stored": ("        head[gameId] = newHead;\n        emit BatchAccepted", "        emit BatchAccepted"),
    "anchors may overlap": ("if (firstSequence != expected)", "if (firstSequence < expected)"),
    "anchors may be repeated": ("if (firstSequence != expected)", "if (firstSequence > expected)"),
    "anchors may be empty": ("if (count == 0) revert EmptyAnchor();", ""),
    "anchors while paused": ("    ) external whenNotPaused {", "    ) external {"),
    "anchor head not chained": ("ANCHOR_LINK, economyHead[economyId]", "ANCHOR_LINK, bytes32(0)"),
    "moderates unrecorded rounds": ("if (!isRecorded(gameId, roundId)) revert NotRecorded(gameId, roundId);", ""),
    "moderation repeats itself": ("if (isInvalidated(gameId, roundId) == invalid) continue;", ""),
    "moderation erases the record": ("_invalidated[gameId][roundId >> 8] ^=", "_recorded[gameId][roundId >> 8] ^="),
    "moderation leaves the head": (
        "        if (!changed) revert NothingToRecord();\n        head[gameId] = newHead;",
        "        if (!changed) revert NothingToRecord();",
    ),
    "links are alike": (
        "invalid ? INVALIDATED_LINK : REINSTATED_LINK",
        "invalid ? INVALIDATED_LINK : INVALIDATED_LINK",
    ),
    "anyone pauses": ("function pause() external onlyRole(GUARDIAN_ROLE)", "function pause() external"),
    "guardian unpauses": (
        "unpause() external onlyRole(DEFAULT_ADMIN_ROLE)",
        "unpause() external onlyRole(GUARDIAN_ROLE)",
    ),
    "anyone revokes": (
        "revokeSigner(address signer) external onlyRole(GUARDIAN_ROLE)",
        "revokeSigner(address signer) external",
    ),
    "revoking nobody is success": (
        "if (!_revokeRole(SIGNER_ROLE, signer)) revert UnknownSigner(signer);",
        "_revokeRole(SIGNER_ROLE, signer);",
    ),
    "revoking stops at the pause": (
        "revokeSigner(address signer) external",
        "revokeSigner(address signer) external whenNotPaused",
    ),
    "types are alike": ('keccak256(\n        "EconomyAnchor(', 'keccak256(\n        "Economyanchor('),
    "batch ignores its rules": (
        "SCORE_BATCH_TYPEHASH, gameId, rulesHash, deadline",
        "SCORE_BATCH_TYPEHASH, gameId, gameId, deadline",
    ),
    "another version": ('EIP712("Leaderboard", "1")', 'EIP712("Leaderboard", "2")'),
}


def survives(folder: Path, original: str, name: str) -> bool:
    """Whether the tests pass although the contract is broken."""
    found, becomes = MUTANTS[name]
    if original.count(found) != 1:
        raise ValueError(f"mutant {name!r}: its text occurs {original.count(found)} times, not once")
    (folder / SOURCE).write_text(original.replace(found, becomes))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["npx", "--no-install", "hardhat", "test", "solidity"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    if "Running Solidity tests" not in done.stdout:
        raise ValueError(f"mutant {name!r} does not compile:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def run(only: str = "") -> list[str]:
    """Try every mutant; return the names of those that no test noticed."""
    original = (ROOT / SOURCE).read_text()
    alive = []
    with tempfile.TemporaryDirectory(prefix="fairscore-mutants-") as name:
        folder = Path(name)
        shutil.copytree(ROOT / "contracts", folder / "contracts")
        for file in ("package.json", "hardhat.config.js"):
            shutil.copy(ROOT / file, folder)
        (folder / "node_modules").symlink_to(ROOT / "node_modules")
        for mutant in MUTANTS:
            if only in mutant:
                lives = survives(folder, original, mutant)
                print(f"{'ALIVE ' if lives else 'killed'} {mutant}", flush=True)
                alive += [mutant] if lives else []
    return alive


if __name__ == "__main__":
    survivors = run(*sys.argv[1:2])
    print(f"{len(survivors)} alive")
    sys.exit(bool(survivors))
