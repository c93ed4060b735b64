"""The stable codes of what the economy refuses, each with its status and the text of its page.

Pure. Part of the table that `relay.errors` raises from.
"""

from relay.error_codes import Problem

ECONOMY_PROBLEMS: dict[str, Problem] = {
    # --- ledger
    "CURRENCY_UNKNOWN": Problem(
        404, "Currency unknown", "The game has no such currency: `POST /api/economy/currencies`."
    ),
    "PLAYER_UNKNOWN": Problem(404, "Player unknown", "The game has no such player: `POST /api/economy/players`."),
    "TRANSACTION_UNKNOWN": Problem(404, "Transaction unknown", "The game has no transaction with this id."),
    "INSUFFICIENT_BALANCE": Problem(
        409,
        "Insufficient balance",
        "The account holds less of the currency than the operation takes from it. Nothing was booked.",
    ),
    "INSUFFICIENT_ITEMS": Problem(
        409, "Not enough items", "The player owns fewer of the item than the operation takes. Nothing was booked."
    ),
    "MAX_BALANCE_EXCEEDED": Problem(
        409,
        "Highest balance exceeded",
        "Afterwards the player would own more than the currency's `maxBalance`, or the item's `maxOwned`, allows; what "
        "is held in escrow counts. Nothing was booked.",
    ),
    "TRANSFER_TO_SELF": Problem(422, "Transfer to oneself", "A transfer has two players: nothing was booked."),
    "SUPPLY_EXCEEDED": Problem(
        409,
        "Supply exceeded",
        "Of one currency or item a game can bring at most 2^53-1 into being, so that every sum is exact for every "
        "reader of JSON. Nothing was booked.",
    ),
    "WALLET_FROZEN": Problem(
        409, "Wallet frozen", "The wallet is frozen until an auditor has looked at its flag. Nothing was booked."
    ),
    "REFERENCE_EXISTS": Problem(
        409,
        "Reference exists",
        "The first operation with this `reference` is named by `transactionId`, or by `rollId` if it was a roll that "
        "nothing came out of. References are never forgotten; nothing was booked.",
    ),
    "NOT_REVERSIBLE": Problem(
        409,
        "Not reversible",
        "Reversals, and what the marketplace did, cannot be reversed: make the operation anew, or cancel the listing.",
    ),
    # --- guard
    "AMOUNT_INVALID": Problem(
        422,
        "Amount invalid",
        "An amount is an integer from 1 to 2^53-1; the lines of one request are added up before they are looked at.",
    ),
    "MAX_AMOUNT_EXCEEDED": Problem(
        422,
        "Transaction amount exceeded",
        "One operation moves at most the game's `maxTransactionAmount` of a currency; exactly that much is allowed. "
        "`PATCH /api/economy/config` changes it. Nothing was booked.",
    ),
    "AMOUNT_WINDOW_EXCEEDED": Problem(
        429,
        "Amount limit exceeded",
        "The player would move more of the currency within 60 seconds than the game's `amountPerWindow` allows for "
        "this action. What was refused does not count. Nothing was booked.",
    ),
    "CONFIG_CHANGED": Problem(
        409,
        "Configuration changed",
        "The settings are not the version any more that `configVersion` names: somebody changed them. Read them again.",
    ),
    # --- catalog, crafting, loot, marketplace
    "ITEM_UNKNOWN": Problem(404, "Item unknown", "The game has no such item: `POST /api/economy/items`."),
    "RECIPE_UNKNOWN": Problem(404, "Recipe unknown", "The game has no such recipe: `POST /api/economy/recipes`."),
    "LOOT_TABLE_UNKNOWN": Problem(
        404, "Loot table unknown", "The game has no such loot table: `POST /api/economy/loot-tables`."
    ),
    "LOOT_TABLE_UNUSABLE": Problem(
        409,
        "Loot table unusable",
        "A loot table that contains itself, nests deeper than 8 tables, could take more than 1,000 draws or yield more "
        "than 2^53-1 cannot be rolled. Nothing was drawn.",
    ),
    "ITEM_NOT_FOR_SALE": Problem(
        409, "Item not for sale", "The item has no price in this currency. Declare one in its `prices`."
    ),
    "ITEM_SOULBOUND": Problem(409, "Item soulbound", "The item is bound to its owner and cannot be sold to others."),
    "CRAFT_COOLDOWN": Problem(
        429, "Cooling down", "The player crafted by this recipe a moment ago; `Retry-After` says when he may again."
    ),
    "CLIENT_SEED_INVALID": Problem(
        422, "Client seed invalid", "`clientSeed` is empty or 1 to 128 printable characters without spaces at its ends."
    ),
    "ROLL_UNKNOWN": Problem(404, "Roll unknown", "The game has no roll with this id."),
    "NOT_ANCHORED_YET": Problem(
        409,
        "Not anchored yet",
        "No final checkpoint covers the transaction yet. Checkpoints are made every few minutes and are final once the "
        "chain is sure of them: ask again. `GET /api/audit/checkpoints` shows how far they are.",
    ),
    "FLAG_NOT_REPAIRABLE": Problem(
        409,
        "Nothing to repair",
        "Only flags about a balance that differs from its entries (`LEDGER_MISMATCH`, `NEGATIVE_BALANCE`) name one to "
        "set right. Decide about others by `PATCH /api/audit-flags/{id}`.",
    ),
    "CHECKPOINT_UNKNOWN": Problem(404, "Checkpoint unknown", "There is no checkpoint with this id."),
    "CHECKPOINT_NOT_FINAL": Problem(
        409,
        "Checkpoint not final",
        "Only final checkpoints of one game are proved to be of one ledger. `GET /api/audit/checkpoints` shows states.",
    ),
    "LEDGER_CONTRADICTED": Problem(
        503,
        "Ledger contradicted",
        "What is in the database is not what was anchored on the chain: somebody changed it, or it is an old copy. "
        "There is nothing to prove until the operator has restored the right one; an audit flag tells so.",
    ),
    "LISTING_UNKNOWN": Problem(404, "Listing unknown", "The marketplace has no listing with this id."),
    "LISTING_CLOSED": Problem(
        409, "Listing closed", "The listing was sold, cancelled or has expired already. Nothing was booked."
    ),
    "LISTING_EXPIRED": Problem(
        409, "Listing expired", "The listing's time is over: its items go back to the seller. Nothing was booked."
    ),
    "NOT_THE_SELLER": Problem(403, "Not the seller", "Only the player who listed the items may take them back."),
    "SELF_PURCHASE": Problem(409, "Own listing", "Nobody buys from himself: cancel the listing instead."),
}
