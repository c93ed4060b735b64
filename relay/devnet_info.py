"""`devnet.json`: what scripts need to use this home's embedded chain, API keys included.

Touches the home folder and the key table. On the embedded chain only: elsewhere keys are made by the operator.
"""

import os.path
from pathlib import Path
from typing import Any

from relay.devnet import CHAIN_ID
from relay.home import DEVNET_NAME, read_devnet, write_devnet
from relay.keccak import checksum_address
from relay.startup import Footing
from relay.store.keys import KeyStore

ROLES = ("admin", "server", "client", "auditor")
SECRET_NAME = "devnet game server"  # noqa: S105 - the name of a key, not a key


def write_info(home: Path, url: str, footing: Footing, game_id: str, keys: KeyStore) -> str:
    """Write the file with today's URL; returns its path from here.

    Keys made at the first start are kept, as long as the database knows them.
    """
    before = read_devnet(home)
    known = keys.valid_secrets([*before.get("keys", {}).values(), before.get("gameServerSecret", "")])
    document: dict[str, Any] = {
        "url": url,
        "rpcUrl": f"{url}/devnet/rpc",
        "chainId": CHAIN_ID,
        "contract": checksum_address(footing.contract),
        "gameId": game_id,
        "keys": {role: _kept(before.get("keys", {}).get(role), known) or _made(keys, role) for role in ROLES},
        "gameServerSecret": _kept(before.get("gameServerSecret"), known)
        or keys.create("server", game_id=game_id, name=SECRET_NAME).secret,
    }
    write_devnet(home, document)
    return os.path.relpath(home / DEVNET_NAME)


def _kept(secret: str | None, known: set[str]) -> str | None:
    return secret if secret in known else None


def _made(keys: KeyStore, role: str) -> str:
    return keys.create(role, name=f"devnet {role}").secret
