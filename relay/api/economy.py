"""The economy's operations: who may do what, with which bodies.

Touches the economy's intake.
"""

from relay.api.economy_catalog import catalog_operations
from relay.api.economy_checkpoints import checkpoint_operations
from relay.api.economy_config import config_operations
from relay.api.economy_games import economy_game_operations
from relay.api.economy_parts import EconomyParts
from relay.api.economy_players import player_operations
from relay.api.economy_proofs import proof_operations
from relay.api.economy_reads import read_operations
from relay.api.operations import Operation
from relay.economy_intake import EconomyIntake
from relay.games import Games
from relay.store.checkpoints import Where
from relay.store.engine import Database
from relay.store.writer import Writer


def economy_parts(
    database: Database, writer: Writer, games: Games, where: Where, *, open_registration: bool = False
) -> EconomyParts:
    """Return what the economy's operations work with; `writer` is its own, so that scores and it wait for nobody."""
    return EconomyParts(database, writer, games, EconomyIntake(writer, database), where, open_registration)


def economy_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations of the economy."""
    return [
        *catalog_operations(parts),
        *player_operations(parts),
        *config_operations(parts),
        *economy_game_operations(parts),
        *read_operations(parts),
        *proof_operations(parts),
        *checkpoint_operations(parts),
    ]
