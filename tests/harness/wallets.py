"""What a player's wallet does, by eth-account: signs texts (EIP-191) and typed data (EIP-712).

Pure. None of our own code makes or hashes what is signed here, so that agreeing with it means something.
"""

from typing import Any

import rfc8785
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils.crypto import keccak

from relay.attestation import Domain
from relay.keccak import checksum_address

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SUBMIT_SCORE = {
    "SubmitScore": [
        {"name": "gameId", "type": "bytes32"},
        {"name": "roundRef", "type": "bytes32"},
        {"name": "player", "type": "address"},
        {"name": "score", "type": "uint256"},
        {"name": "evidenceHash", "type": "bytes32"},
        {"name": "deadline", "type": "uint64"},
    ]
}
SESSION_KEY = {
    "SessionKey": [
        {"name": "player", "type": "address"},
        {"name": "key", "type": "address"},
        {"name": "scope", "type": "string"},
        {"name": "expiresAt", "type": "uint64"},
    ]
}


class Wallet:
    """A key and what it signs. Two wallets of one name are the same."""

    def __init__(self, name: str) -> None:
        self.secret = keccak(text=f"wallet of {name}")
        self.account = Account.from_key(self.secret)
        self.address: str = self.account.address
        self.raw = bytes.fromhex(self.address[2:])

    def sign_text(self, text: str) -> str:
        """`personal_sign`."""
        return "0x" + bytes(self.account.sign_message(encode_defunct(text=text)).signature).hex()

    def sign_typed(self, domain: Domain, types: dict[str, Any], message: dict[str, Any]) -> str:
        """`eth_signTypedData_v4`."""
        fields = {
            "name": "Leaderboard",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": checksum_address(domain.contract),
        }
        signable = encode_typed_data(fields, types, message)
        return "0x" + bytes(self.account.sign_message(signable).signature).hex()

    def sign_score(self, domain: Domain, body: dict[str, Any], game_id: str = "streambeat") -> str:
        """Sign a submission (the JSON of POST /api/submit-score, its deadline included) as its player's."""
        round_id = body.get("roundId")
        message = {
            "gameId": keccak(text=game_id),
            "roundRef": keccak(text=round_id) if round_id else bytes(32),
            "player": body["playerAddress"],
            "score": body["scoreData"]["score"],
            "evidenceHash": keccak(rfc8785.dumps(body["scoreData"])),
            "deadline": body["deadline"],
        }
        return self.sign_typed(domain, SUBMIT_SCORE, message)

    def delegate(self, domain: Domain, key: str, expires_at: int, player: str | None = None) -> dict[str, Any]:
        """Return the body of POST /api/sessions/keys; `player` where this key signs for a contract wallet."""
        player = player or self.address
        message = {"player": player, "key": key, "scope": "submit", "expiresAt": expires_at}
        signature = self.sign_typed(domain, SESSION_KEY, message)
        return {"player": player, "address": key, "expiresAt": expires_at, "scope": "submit", "signature": signature}


def sign_in_text(address: str, nonce: str, **changes: Any) -> str:
    """Return a sign-in message as wallets' libraries write it (ERC-4361)."""
    said: dict[str, Any] = {
        "domain": "game.example",
        "uri": "https://game.example",
        "chain_id": 31337,
        "issued_at": "2026-01-01T00:00:00.000Z",
        "statement": "Sign in to play.",
    } | changes
    head = f"{said['domain']} wants you to sign in with your Ethereum account:\n{address}\n\n"
    statement = f"{said['statement']}\n" if said["statement"] is not None else ""
    lines = [f"URI: {said['uri']}", "Version: 1", f"Chain ID: {said['chain_id']}", f"Nonce: {nonce}"]
    lines.append(f"Issued At: {said['issued_at']}")
    names = {"expires_at": "Expiration Time", "not_before": "Not Before", "request_id": "Request ID"}
    lines += [f"{title}: {said[name]}" for name, title in names.items() if name in said]
    if "resources" in said:
        lines += ["Resources:", *(f"- {resource}" for resource in said["resources"])]
    return f"{head}{statement}\n" + "\n".join(lines)


def other_forms(signature: str) -> dict[str, str]:
    """Return the same signature as wallets also write it: v as 0/1, and compact (EIP-2098)."""
    raw = bytes.fromhex(signature[2:])
    parity = raw[64] - 27
    s = int.from_bytes(raw[32:64], "big") | (parity << 255)
    return {
        "v 0/1": "0x" + (raw[:64] + bytes((parity,))).hex(),
        "EIP-2098": "0x" + (raw[:32] + s.to_bytes(32, "big")).hex(),
    }


def twin(signature: str) -> str:
    """Return the other signature of the same digest by the same key: s mirrored, v flipped (EIP-2)."""
    raw = bytes.fromhex(signature[2:])
    s = ORDER - int.from_bytes(raw[32:64], "big")
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes((55 - raw[64],))).hex()
