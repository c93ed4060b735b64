// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {AccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ILeaderboard} from "./interfaces/ILeaderboard.sol";

/// @title Leaderboard
/// @notice See `ILeaderboard` for what it promises.
/// @dev Roles: the default admin (two-step transfer with a delay) grants and revokes roles, publishes and retires rules
/// and resumes; `SIGNER_ROLE` signs off chain and needs no gas; `GUARDIAN_ROLE` can only stop things; `AUDITOR_ROLE`
/// moderates. A round costs one bit of storage, so 256 neighbouring rounds share one word.
contract Leaderboard is ILeaderboard, AccessControlDefaultAdminRules, Pausable, EIP712 {
    /// @notice May sign batches and anchors.
    bytes32 public constant SIGNER_ROLE = keccak256("SIGNER_ROLE");
    /// @notice May pause, and revoke signers.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    /// @notice May invalidate and reinstate.
    bytes32 public constant AUDITOR_ROLE = keccak256("AUDITOR_ROLE");

    /// @notice EIP-712 type hash of a batch.
    bytes32 public constant SCORE_BATCH_TYPEHASH =
        keccak256("ScoreBatch(bytes32 gameId,bytes32 rulesHash,uint64 deadline,bytes records)");
    /// @notice EIP-712 type hash of an anchor.
    bytes32 public constant ECONOMY_ANCHOR_TYPEHASH = keccak256(
        "EconomyAnchor(bytes32 economyId,uint64 firstSequence,uint64 count,bytes32 merkleRoot,uint64 deadline)"
    );

    /// @notice First word of every batch link of `head`, so that no link can be read as another kind.
    bytes32 public constant BATCH_LINK = keccak256("Leaderboard.BatchAccepted");
    /// @notice First word of every invalidation link of `head`.
    bytes32 public constant INVALIDATED_LINK = keccak256("Leaderboard.ScoreInvalidated");
    /// @notice First word of every reinstatement link of `head`.
    bytes32 public constant REINSTATED_LINK = keccak256("Leaderboard.ScoreReinstated");
    /// @notice First word of every link of `economyHead`.
    bytes32 public constant ANCHOR_LINK = keccak256("Leaderboard.EconomyAnchored");

    /// @notice Bytes of one packed record: player (20), score (12), roundId (8), evidenceHash (32).
    uint256 public constant RECORD_SIZE = 72;
    /// @notice The most records, or rounds, of one call: keeps a call below 2.5 million gas.
    uint256 public constant MAX_BATCH = 500;

    /// @inheritdoc ILeaderboard
    mapping(bytes32 gameId => bytes32 head) public head;
    /// @inheritdoc ILeaderboard
    mapping(bytes32 economyId => bytes32 head) public economyHead;
    /// @inheritdoc ILeaderboard
    mapping(bytes32 economyId => uint64 sequence) public nextSequence;
    /// @inheritdoc ILeaderboard
    mapping(bytes32 gameId => mapping(bytes32 rulesHash => bool active)) public isActive;

    /// One bit per round: `roundId >> 8` names the word, `roundId & 0xff` the bit.
    mapping(bytes32 gameId => mapping(uint256 index => uint256 word)) private _recorded;
    mapping(bytes32 gameId => mapping(uint256 index => uint256 word)) private _invalidated;

    /// @param admin the default admin; must not be zero
    /// @param adminDelay seconds between offering the admin role and its acceptance
    /// @param signer first holder of `SIGNER_ROLE`; zero grants it to nobody, and so below
    /// @param guardian first holder of `GUARDIAN_ROLE`
    /// @param auditor first holder of `AUDITOR_ROLE`
    constructor(address admin, uint48 adminDelay, address signer, address guardian, address auditor)
        AccessControlDefaultAdminRules(adminDelay, admin)
        EIP712("Leaderboard", "1")
    {
        if (signer != address(0)) _grantRole(SIGNER_ROLE, signer);
        if (guardian != address(0)) _grantRole(GUARDIAN_ROLE, guardian);
        if (auditor != address(0)) _grantRole(AUDITOR_ROLE, auditor);
    }

    // ------------------------------------------------------------- recording

    /// @inheritdoc ILeaderboard
    function submitScores(
        bytes32 gameId,
        bytes32 rulesHash,
        uint64 deadline,
        bytes calldata records,
        bytes calldata signature
    )
        external
        whenNotPaused // 1
        returns (uint256 accepted)
    {
        _checkDeadline(deadline); // 2
        if (!isActive[gameId][rulesHash]) revert RulesNotActive(gameId, rulesHash); // 3
        _checkRecords(records.length); // 4

        bytes32 recordsHash = keccak256(records);
        address signer = _checkSigner(_batchDigest(gameId, rulesHash, deadline, recordsHash), signature); // 5

        bytes32 acceptedHash;
        (accepted, acceptedHash) = _record(gameId, rulesHash, records, recordsHash); // 6
        bytes32 newHead =
            keccak256(abi.encode(BATCH_LINK, head[gameId], gameId, rulesHash, acceptedHash, signer, accepted));
        head[gameId] = newHead;
        emit BatchAccepted(gameId, signer, acceptedHash, newHead, accepted);
    }

    /// @inheritdoc ILeaderboard
    function anchorEconomy(
        bytes32 economyId,
        uint64 firstSequence,
        uint64 count,
        bytes32 merkleRoot,
        uint64 deadline,
        bytes calldata signature
    ) external whenNotPaused {
        _checkDeadline(deadline);
        if (count == 0) revert EmptyAnchor();
        uint64 expected = nextSequence[economyId];
        if (firstSequence != expected) revert WrongSequence(economyId, expected, firstSequence);

        bytes32 digest = _anchorDigest(economyId, firstSequence, count, merkleRoot, deadline);
        address signer = _checkSigner(digest, signature);

        nextSequence[economyId] = expected + count; // checked: an overflow reverts
        bytes32 newHead = keccak256(
            abi.encode(ANCHOR_LINK, economyHead[economyId], economyId, firstSequence, count, merkleRoot, signer)
        );
        economyHead[economyId] = newHead;
        emit EconomyAnchored(economyId, signer, firstSequence, count, merkleRoot, newHead);
    }

    /// @dev Marks and emits every record whose round is new; skips the rest.
    /// @return accepted how many were new, at least one
    /// @return acceptedHash keccak-256 of the new ones alone; `recordsHash` itself when none was skipped
    function _record(bytes32 gameId, bytes32 rulesHash, bytes calldata records, bytes32 recordsHash)
        private
        returns (uint256 accepted, bytes32 acceptedHash)
    {
        mapping(uint256 index => uint256 word) storage recorded = _recorded[gameId];
        bytes memory kept; // allocated at the first skip
        bool skipped;
        // Rounds are handed out in order, so a batch touches one or two words: one is held here between records.
        uint256 index = uint256(_word(records, 32) >> 192) >> 8;
        uint256 word = recorded[index];

        uint256 length = records.length;
        // unchecked: `offset` ends at records.length, `accepted` at MAX_BATCH.
        unchecked {
            for (uint256 offset = 0; offset < length; offset += RECORD_SIZE) {
                uint64 roundId = uint64(uint256(_word(records, offset + 32)) >> 192);
                if (roundId >> 8 != index) {
                    recorded[index] = word;
                    index = roundId >> 8;
                    word = recorded[index];
                }
                uint256 bit = 1 << (roundId & 0xff);
                if (word & bit != 0) {
                    if (!skipped) {
                        skipped = true;
                        kept = records;
                    }
                    continue;
                }
                word |= bit;
                if (skipped) _copyRecord(kept, accepted * RECORD_SIZE, records, offset);
                ++accepted;

                uint256 playerAndScore = uint256(_word(records, offset));
                emit ScoreSubmitted(
                    gameId,
                    address(uint160(playerAndScore >> 96)),
                    roundId,
                    uint96(playerAndScore),
                    _word(records, offset + 40),
                    rulesHash
                );
            }
        }
        if (accepted == 0) revert NothingToRecord();
        recorded[index] = word;

        if (!skipped) return (accepted, recordsHash);
        assembly ("memory-safe") {
            // `kept` now begins with the accepted records: hash those only.
            acceptedHash := keccak256(add(kept, 32), mul(accepted, RECORD_SIZE))
        }
    }

    // ------------------------------------------------------------ moderation

    /// @inheritdoc ILeaderboard
    function invalidateScores(bytes32 gameId, uint64[] calldata roundIds, bytes32 reasonHash)
        external
        onlyRole(AUDITOR_ROLE)
        whenNotPaused
    {
        _moderate(gameId, roundIds, reasonHash, true);
    }

    /// @inheritdoc ILeaderboard
    function reinstateScores(bytes32 gameId, uint64[] calldata roundIds, bytes32 reasonHash)
        external
        onlyRole(AUDITOR_ROLE)
        whenNotPaused
    {
        _moderate(gameId, roundIds, reasonHash, false);
    }

    /// @dev Sets the invalid mark of every round to `invalid`, skipping those that have it so already.
    function _moderate(bytes32 gameId, uint64[] calldata roundIds, bytes32 reasonHash, bool invalid) private {
        if (roundIds.length == 0 || roundIds.length > MAX_BATCH) revert BadBatchSize(roundIds.length);
        bytes32 newHead = head[gameId];
        bool changed;
        for (uint256 i = 0; i < roundIds.length; ++i) {
            uint64 roundId = roundIds[i];
            if (!isRecorded(gameId, roundId)) revert NotRecorded(gameId, roundId);
            if (isInvalidated(gameId, roundId) == invalid) continue;
            changed = true;
            _invalidated[gameId][roundId >> 8] ^= 1 << (roundId & 0xff);
            bytes32 link = invalid ? INVALIDATED_LINK : REINSTATED_LINK;
            newHead = keccak256(abi.encode(link, newHead, gameId, roundId, msg.sender, reasonHash));
            if (invalid) emit ScoreInvalidated(gameId, roundId, msg.sender, reasonHash, newHead);
            else emit ScoreReinstated(gameId, roundId, msg.sender, reasonHash, newHead);
        }
        if (!changed) revert NothingToRecord();
        head[gameId] = newHead;
    }

    // -------------------------------------------------------- administration

    /// @inheritdoc ILeaderboard
    function publishRules(bytes32 gameId, bytes calldata document)
        external
        onlyRole(DEFAULT_ADMIN_ROLE)
        whenNotPaused
        returns (bytes32 rulesHash)
    {
        if (document.length == 0) revert EmptyRules();
        rulesHash = keccak256(document);
        if (isActive[gameId][rulesHash]) revert RulesAlreadyActive(gameId, rulesHash);
        isActive[gameId][rulesHash] = true;
        emit RulesPublished(gameId, rulesHash, document);
    }

    /// @inheritdoc ILeaderboard
    function retireRules(bytes32 gameId, bytes32 rulesHash) external onlyRole(DEFAULT_ADMIN_ROLE) whenNotPaused {
        if (!isActive[gameId][rulesHash]) revert RulesNotActive(gameId, rulesHash);
        isActive[gameId][rulesHash] = false;
        emit RulesRetired(gameId, rulesHash);
    }

    /// @inheritdoc ILeaderboard
    function pause() external onlyRole(GUARDIAN_ROLE) {
        _pause();
    }

    /// @inheritdoc ILeaderboard
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        _unpause();
    }

    /// @inheritdoc ILeaderboard
    function revokeSigner(address signer) external onlyRole(GUARDIAN_ROLE) {
        // A mistyped address in an emergency must not look like success.
        if (!_revokeRole(SIGNER_ROLE, signer)) revert UnknownSigner(signer);
    }

    // ----------------------------------------------------------------- views

    /// @inheritdoc ILeaderboard
    function isRecorded(bytes32 gameId, uint64 roundId) public view returns (bool) {
        return (_recorded[gameId][roundId >> 8] >> (roundId & 0xff)) & 1 != 0;
    }

    /// @inheritdoc ILeaderboard
    function isInvalidated(bytes32 gameId, uint64 roundId) public view returns (bool) {
        return (_invalidated[gameId][roundId >> 8] >> (roundId & 0xff)) & 1 != 0;
    }

    /// @inheritdoc ILeaderboard
    function batchDigest(bytes32 gameId, bytes32 rulesHash, uint64 deadline, bytes calldata records)
        external
        view
        returns (bytes32)
    {
        return _batchDigest(gameId, rulesHash, deadline, keccak256(records));
    }

    /// @inheritdoc ILeaderboard
    function anchorDigest(bytes32 economyId, uint64 firstSequence, uint64 count, bytes32 merkleRoot, uint64 deadline)
        external
        view
        returns (bytes32)
    {
        return _anchorDigest(economyId, firstSequence, count, merkleRoot, deadline);
    }

    // --------------------------------------------------------------- private

    function _checkDeadline(uint64 deadline) private view {
        if (block.timestamp > deadline) revert DeadlinePassed(deadline);
    }

    function _checkRecords(uint256 length) private pure {
        if (length == 0 || length % RECORD_SIZE != 0) revert MalformedRecords(length);
        if (length > MAX_BATCH * RECORD_SIZE) revert BadBatchSize(length / RECORD_SIZE);
    }

    /// @dev Recovers strictly (65 bytes, low s, never the zero address) and demands the role.
    function _checkSigner(bytes32 digest, bytes calldata signature) private view returns (address signer) {
        signer = ECDSA.recover(digest, signature);
        if (!hasRole(SIGNER_ROLE, signer)) revert UnknownSigner(signer);
    }

    function _batchDigest(bytes32 gameId, bytes32 rulesHash, uint64 deadline, bytes32 recordsHash)
        private
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(SCORE_BATCH_TYPEHASH, gameId, rulesHash, deadline, recordsHash)));
    }

    function _anchorDigest(bytes32 economyId, uint64 firstSequence, uint64 count, bytes32 merkleRoot, uint64 deadline)
        private
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(ECONOMY_ANCHOR_TYPEHASH, economyId, firstSequence, count, merkleRoot, deadline))
        );
    }

    /// @dev The 32 bytes at `offset`. Callers stay within a record that `_checkRecords` proved to be there.
    function _word(bytes calldata data, uint256 offset) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(data.offset, offset))
        }
    }

    /// @dev Copies one record from calldata to `target`, which is at least as long as `records`, and `to <= from`.
    function _copyRecord(bytes memory target, uint256 to, bytes calldata records, uint256 from) private pure {
        assembly ("memory-safe") {
            calldatacopy(add(add(target, 32), to), add(records.offset, from), RECORD_SIZE)
        }
    }
}
