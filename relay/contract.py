"""The Leaderboard contract as bytes: calls, answers, errors and the compiled artifact.

Pure (reads only `contract.json`, a part of this package). Calls of the hot path are encoded by hand, the cold ones by
eth-abi from the artifact's ABI. Records and events live beside it and are offered from here, so that `relay.contract`
is all that others import. Addresses are 20 bytes, hashes 32, times unix seconds. What each call, event and error means:
`contracts/interfaces/ILeaderboard.sol`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from relay.chain_types import ChainAnswerError
from relay.contract_events import (
    ANCHOR_LINK,
    BATCH_LINK,
    GENESIS_HEAD,
    INVALIDATED_LINK,
    REINSTATED_LINK,
    TOPICS,
    BatchAccepted,
    EconomyAnchored,
    Event,
    HeadChain,
    HeadMismatchError,
    Moderation,
    Paused,
    RoleGranted,
    RoleRevoked,
    RulesPublished,
    RulesRetired,
    ScoreInvalidated,
    ScoreReinstated,
    ScoreSubmitted,
    Unpaused,
    anchored_head,
    decode_log,
    moderated_head,
    next_head,
)
from relay.contract_records import MAX_BATCH, RECORD_SIZE, Record, game_key, pack_record, unpack_records
from relay.keccak import keccak

__all__ = [
    "ADMIN_ROLE",
    "ANCHOR_LINK",
    "AUDITOR_ROLE",
    "BATCH_LINK",
    "GENESIS_HEAD",
    "GUARDIAN_ROLE",
    "INVALIDATED_LINK",
    "MAX_BATCH",
    "RECORD_SIZE",
    "REINSTATED_LINK",
    "SIGNER_ROLE",
    "SUBMIT_SCORES",
    "TOPICS",
    "Artifact",
    "BatchAccepted",
    "EconomyAnchored",
    "Event",
    "HeadChain",
    "HeadMismatchError",
    "Moderation",
    "Paused",
    "Record",
    "RoleGranted",
    "RoleRevoked",
    "RulesPublished",
    "RulesRetired",
    "ScoreInvalidated",
    "ScoreReinstated",
    "ScoreSubmitted",
    "SubmitScores",
    "Unpaused",
    "anchored_head",
    "artifact",
    "code_matches",
    "decode_log",
    "decode_result",
    "decode_submit_scores",
    "encode_call",
    "encode_submit_scores",
    "game_key",
    "init_code",
    "moderated_head",
    "next_head",
    "pack_record",
    "revert_name",
    "revert_reason",
    "selector",
    "unpack_records",
]

ADMIN_ROLE = bytes(32)
SIGNER_ROLE = keccak(b"SIGNER_ROLE")
GUARDIAN_ROLE = keccak(b"GUARDIAN_ROLE")
AUDITOR_ROLE = keccak(b"AUDITOR_ROLE")

# -------------------------------------------------------------------- calls

SUBMIT_SCORES = keccak(b"submitScores(bytes32,bytes32,uint64,bytes,bytes)")[:4]
_SUBMIT_SCORES_TYPES = ("bytes32", "bytes32", "uint64", "bytes", "bytes")


class SubmitScores(NamedTuple):
    """The arguments of a `submitScores` call."""

    game: bytes
    rules_hash: bytes
    deadline: int
    records: bytes
    signature: bytes


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _tail(data: bytes) -> bytes:
    return _word(len(data)) + data + bytes(-len(data) % 32)


def encode_submit_scores(game: bytes, rules_hash: bytes, deadline: int, records: bytes, signature: bytes) -> bytes:
    """Return the calldata of `submitScores`, the same bytes as a general ABI encoder's."""
    if len(game) != 32 or len(rules_hash) != 32 or not 0 <= deadline < 1 << 64:
        raise ValueError("game and rules hash have 32 bytes, a deadline is below 2^64")
    tail = _tail(records)
    heads = (SUBMIT_SCORES, game, rules_hash, _word(deadline), _word(160), _word(160 + len(tail)))
    return b"".join((*heads, tail, _tail(signature)))


def decode_submit_scores(calldata: bytes) -> SubmitScores:
    """Return the arguments of `submitScores` calldata by anyone's encoder; ValueError where it is something else."""
    if calldata[:4] != SUBMIT_SCORES:
        raise ValueError("not a call of submitScores")
    try:
        return SubmitScores(*decode(_SUBMIT_SCORES_TYPES, calldata[4:], strict=False))
    except (DecodingError, OverflowError) as error:
        raise ValueError("malformed call of submitScores") from error


def selector(name: str) -> bytes:
    """Return the four bytes that calls of a function begin with."""
    return keccak(f"{name}({','.join(_types(_entry('function', name)['inputs']))})".encode())[:4]


def encode_call(name: str, *args: object) -> bytes:
    """Return the calldata of any function. ValueError where an address has not 20 bytes or a bytes32 not 32."""
    return selector(name) + _encode(_types(_entry("function", name)["inputs"]), args)


def decode_result(name: str, data: bytes) -> Any:
    """Return what a function answered: one value itself, several as a tuple, addresses as 20 bytes.

    Raises:
        ChainAnswerError: it is no answer of this function: the endpoint has not our contract there (any more).
    """
    try:
        values = _decode(_types(_entry("function", name)["outputs"]), data)
    except ValueError as error:
        raise ChainAnswerError(0, f"no contract of ours answers {name}: {error}", None) from None
    return values[0] if len(values) == 1 else values


def init_code(admin: bytes, delay_s: int, signer: bytes, guardian: bytes, auditor: bytes) -> bytes:
    """Return what a deployment carries; a role (but not admin) given as 20 zero bytes is granted to nobody."""
    types = ("address", "uint48", "address", "address", "address")
    return artifact().bytecode + _encode(types, (admin, delay_s, signer, guardian, auditor))


def _encode(types: Sequence[str], args: Sequence[object]) -> bytes:
    for kind, value in zip(types, args, strict=True):
        size = {"address": 20, "bytes32": 32}.get(kind)
        if size is not None and not (isinstance(value, bytes) and len(value) == size):
            raise ValueError(f"{kind} takes {size} bytes, not {value!r}")
    return encode(types, args)


def _decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    try:
        values = decode(types, data)
    except (DecodingError, OverflowError) as error:
        raise ValueError(f"{len(data)} bytes are not ({','.join(types)})") from error
    return tuple(bytes.fromhex(v[2:]) if t == "address" else v for t, v in zip(types, values, strict=True))


# ------------------------------------------------------------------- errors


def revert_name(data: bytes) -> str:
    """Return the name of the error in revert data: a custom error's, `Error`, `Panic`, or `unknown`; never raises."""
    return _errors().get(data[:4], ("unknown", ()))[0]


def revert_reason(data: bytes) -> str:
    """Return revert data as text with its arguments, such as `DeadlinePassed(deadline=1700000000)`; never raises."""
    name, inputs = _errors().get(data[:4], ("unknown", ()))
    try:
        values = _decode(_types(inputs), data[4:])
    except ValueError:
        return f"{name}(malformed)"
    if name == "unknown":
        return f"unknown(0x{data[:64].hex()})"
    shown = [f"0x{v.hex()}" if isinstance(v, bytes) else str(v) for v in values]
    arguments = ", ".join(f"{i['name']}={v}" for i, v in zip(inputs, shown, strict=True))
    return f"{name}({arguments})"


@cache
def _errors() -> dict[bytes, tuple[str, Sequence[Mapping[str, str]]]]:
    declared = [(e["name"], e["inputs"]) for e in artifact().abi if e["type"] == "error"]
    # The two that the compiler itself raises: require with a text, and arithmetic or array faults.
    declared.append(("Error", [{"name": "message", "type": "string"}]))
    declared.append(("Panic", [{"name": "code", "type": "uint256"}]))
    return {keccak(f"{name}({','.join(_types(inputs))})".encode())[:4]: (name, inputs) for name, inputs in declared}


# ----------------------------------------------------------------- artifact


@dataclass(frozen=True, slots=True)
class Artifact:
    """What the compiler made; `sources`: sha256 of every .sol by name; `immutables`: byte ranges (start, length)."""

    abi: list[dict[str, Any]]
    bytecode: bytes
    deployed_bytecode: bytes
    immutables: tuple[tuple[int, int], ...]
    compiler: dict[str, Any]
    sources: dict[str, str]


@cache
def artifact() -> Artifact:
    """Return the committed artifact; `contracts/scripts/artifact.js --check` proves it is what the sources make."""
    document = json.loads(resources.files("relay").joinpath("contract.json").read_text("utf-8"))
    return Artifact(
        abi=document["abi"],
        bytecode=bytes.fromhex(document["bytecode"][2:]),
        deployed_bytecode=bytes.fromhex(document["deployedBytecode"][2:]),
        immutables=tuple((i["start"], i["length"]) for i in document["immutables"]),
        compiler=document["compiler"],
        sources=document["sources"],
    )


def code_matches(code: bytes) -> bool:
    """Return whether `code`, read from a chain, is this contract's; what the constructor filled in may differ."""
    expected = artifact().deployed_bytecode
    if len(code) != len(expected):
        return False
    masked = bytearray(code)
    for start, length in artifact().immutables:
        masked[start : start + length] = expected[start : start + length]
    return bytes(masked) == expected


@cache
def _entry(kind: str, name: str) -> dict[str, Any]:
    for entry in artifact().abi:
        if entry["type"] == kind and entry["name"] == name:
            return entry
    raise ValueError(f"the contract has no {kind} {name}")


def _types(parameters: Sequence[Mapping[str, str]]) -> list[str]:
    return [p["type"] for p in parameters]
