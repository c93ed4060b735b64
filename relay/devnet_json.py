"""JSON-RPC's shapes of blocks, transactions, receipts and logs of the embedded chain (Ethereum execution API).

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import rlp
from eth._utils.address import generate_contract_address

from relay.devnet_evm import SealedBlock, base_fee

if TYPE_CHECKING:
    from eth.abc import SignedTransactionAPI

Json = dict[str, Any]


def quantity(value: int) -> str:
    """0x hex without leading zeros."""
    return hex(value)


def data(value: bytes) -> str:
    """0x hex, two digits a byte."""
    return "0x" + value.hex()


def block_json(block: SealedBlock, *, full: bool) -> Json:
    """A block; with whole transactions or only their hashes."""
    header: Any = block.header
    return {
        "number": quantity(block.number),
        "hash": data(block.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": data(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": data(header.transaction_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipt_root),
        "miner": data(header.coinbase),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": data(header.extra_data),
        "mixHash": data(header.mix_hash),
        "size": quantity(len(rlp.encode(header)) + sum(len(item.encode()) for item in block.transactions)),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "baseFeePerGas": quantity(base_fee(header)),
        "withdrawals": [],
        "withdrawalsRoot": data(header.withdrawals_root),
        "blobGasUsed": quantity(header.blob_gas_used),
        "excessBlobGas": quantity(header.excess_blob_gas),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "requestsHash": data(header.requests_hash),
        "uncles": [],
        "transactions": [
            transaction_json(item, block, index) if full else data(item.hash)
            for index, item in enumerate(block.transactions)
        ],
    }


def transaction_json(transaction: SignedTransactionAPI, block: SealedBlock | None, index: int | None) -> Json:
    """A transaction; `block` and `index` are None while it waits in the pool."""
    item: Any = transaction
    kind = transaction_type(transaction)
    fields: Json = {
        "type": quantity(kind),
        "chainId": quantity(item.chain_id),
        "hash": data(item.hash),
        "nonce": quantity(item.nonce),
        "blockHash": None if block is None else data(block.hash),
        "blockNumber": None if block is None else quantity(block.number),
        "transactionIndex": None if index is None else quantity(index),
        "from": data(item.sender),
        "to": data(item.to) if item.to else None,
        "value": quantity(item.value),
        "gas": quantity(item.gas),
        "input": data(item.data),
        "r": quantity(item.r),
        "s": quantity(item.s),
    }
    if kind == 0:
        return {**fields, "gasPrice": quantity(item.gas_price), "v": quantity(item.v)}
    fields |= {
        "accessList": [
            {"address": data(address), "storageKeys": [data(key.to_bytes(32, "big")) for key in keys]}
            for address, keys in item.access_list
        ],
        "v": quantity(item.y_parity),
        "yParity": quantity(item.y_parity),
    }
    if kind == 1:
        return {**fields, "gasPrice": quantity(item.gas_price)}
    price = item.max_fee_per_gas if block is None else effective_gas_price(transaction, block)
    fields |= {
        "maxFeePerGas": quantity(item.max_fee_per_gas),
        "maxPriorityFeePerGas": quantity(item.max_priority_fee_per_gas),
        "gasPrice": quantity(price),
    }
    if kind == 4:
        fields["authorizationList"] = [
            {
                "chainId": quantity(grant.chain_id),
                "address": data(grant.address),
                "nonce": quantity(grant.nonce),
                "yParity": quantity(grant.y_parity),
                "r": quantity(grant.r),
                "s": quantity(grant.s),
            }
            for grant in item.authorization_list
        ]
    return fields


def transaction_type(transaction: SignedTransactionAPI) -> int:
    """EIP-2718 type; 0 for a legacy transaction."""
    return int(getattr(transaction, "type_id", None) or 0)


def effective_gas_price(transaction: SignedTransactionAPI, block: SealedBlock) -> int:
    """Wei per gas paid in that block (EIP-1559)."""
    item: Any = transaction
    return min(int(item.max_fee_per_gas), int(item.max_priority_fee_per_gas) + base_fee(block.header))


def receipt_json(block: SealedBlock, index: int) -> Json:
    """Receipt of the block's transaction number `index`."""
    transaction: Any = block.transactions[index]
    receipt: Any = block.receipts[index]
    before = block.receipts[index - 1].gas_used if index else 0
    created = None if transaction.to else data(generate_contract_address(transaction.sender, transaction.nonce))
    return {
        "type": quantity(transaction_type(transaction)),
        "status": quantity(int.from_bytes(receipt.state_root, "big")),
        "transactionHash": data(transaction.hash),
        "transactionIndex": quantity(index),
        "blockHash": data(block.hash),
        "blockNumber": quantity(block.number),
        "from": data(transaction.sender),
        "to": data(transaction.to) if transaction.to else None,
        "contractAddress": created,
        "cumulativeGasUsed": quantity(receipt.gas_used),
        "gasUsed": quantity(receipt.gas_used - before),
        "effectiveGasPrice": quantity(effective_gas_price(transaction, block)),
        "logsBloom": data(receipt.bloom.to_bytes(256, "big")),
        "logs": [log_json(block, index, position) for position in range(len(receipt.logs))],
    }


def log_json(block: SealedBlock, index: int, position: int) -> Json:
    """Log number `position` of the block's transaction number `index`."""
    log: Any = block.receipts[index].logs[position]
    return {
        "address": data(log.address),
        "topics": [data(topic.to_bytes(32, "big")) for topic in log.topics],
        "data": data(log.data),
        "blockNumber": quantity(block.number),
        "blockHash": data(block.hash),
        "blockTimestamp": quantity(block.header.timestamp),
        "transactionHash": data(block.transactions[index].hash),
        "transactionIndex": quantity(index),
        "logIndex": quantity(block.logs_before[index] + position),
        "removed": False,
    }


def matching_logs(
    block: SealedBlock, addresses: frozenset[bytes] | None, topics: list[frozenset[int] | None]
) -> Iterator[Json]:
    """Logs of the block from any of the addresses whose topics match position by position (None: any)."""
    for index, receipt in enumerate(block.receipts):
        for position, log in enumerate(receipt.logs):
            if addresses is not None and bytes(log.address) not in addresses:
                continue
            if len(log.topics) < len(topics):
                continue
            if all(wanted is None or topic in wanted for wanted, topic in zip(topics, log.topics, strict=False)):
                yield log_json(block, index, position)
