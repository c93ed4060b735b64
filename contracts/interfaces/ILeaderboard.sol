// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @title Leaderboard: scores that a validation relay recomputed and signed
/// @notice Records game scores as events, each at most once, on the strength of an EIP-712 signature by an account that
/// holds `SIGNER_ROLE`. It checks the signature, never the sender: the relay normally pays the gas, but anyone, the
/// player too, may carry a signed batch here.
/// @dev What holds at all times, each proved by tests under `contracts/test`:
///  1. A (game, round) pair is recorded at most once, across batches, rule sets and signers.
///  2. Nothing is recorded without a signature by a current signer over exactly these records, this chain, this contract.
///  3. `head(gameId)` is reproduced by folding the game's events in order, and by no other events: one log removed,
///     added, altered or moved is noticed.
///  4. While paused nothing is recorded, moderated, anchored, published or retired.
///  5. Moderation marks a round; it never alters what was recorded, and a moderated round can not be recorded again.
///  6. The contract holds no funds, calls no other contract (except the ecrecover precompile) and can not be upgraded.
interface ILeaderboard {
    // ---------------------------------------------------------------- events

    /// @notice A score was recorded.
    /// @param gameId keccak-256 of the game's id string
    /// @param player the account that the score belongs to
    /// @param roundId the number that the relay gave this accepted submission, once per game
    /// @param score the recomputed score, below 2^96
    /// @param evidenceHash keccak-256 of the canonical (RFC 8785) evidence document
    /// @param rulesHash keccak-256 of the canonical rules document that the score was judged by
    event ScoreSubmitted(
        bytes32 indexed gameId,
        address indexed player,
        uint64 indexed roundId,
        uint256 score,
        bytes32 evidenceHash,
        bytes32 rulesHash
    );

    /// @notice A batch was recorded. Follows its `ScoreSubmitted` events directly.
    /// @param gameId keccak-256 of the game's id string
    /// @param signer the account whose signature the batch carried
    /// @param recordsHash keccak-256 of the packed records that were accepted, in order, skipped ones left out
    /// @param head the new `head(gameId)`
    /// @param accepted how many `ScoreSubmitted` events the batch emitted
    event BatchAccepted(
        bytes32 indexed gameId, address indexed signer, bytes32 recordsHash, bytes32 head, uint256 accepted
    );

    /// @notice An auditor withdrew a recorded score: it no longer counts.
    /// @param reasonHash keccak-256 of the document that says why
    /// @param head the new `head(gameId)`
    event ScoreInvalidated(
        bytes32 indexed gameId, uint64 indexed roundId, address indexed auditor, bytes32 reasonHash, bytes32 head
    );

    /// @notice An auditor took an invalidation back: the recorded score counts again.
    /// @param reasonHash keccak-256 of the document that says why
    /// @param head the new `head(gameId)`
    event ScoreReinstated(
        bytes32 indexed gameId, uint64 indexed roundId, address indexed auditor, bytes32 reasonHash, bytes32 head
    );

    /// @notice A stretch of an economy's ledger was anchored.
    /// @param economyId keccak-256 of the economy's id string
    /// @param signer the account whose signature the anchor carried
    /// @param firstSequence sequence number of the first entry covered
    /// @param count how many entries are covered
    /// @param merkleRoot RFC 6962 root over the ledger's entries
    /// @param head the new `economyHead(economyId)`
    event EconomyAnchored(
        bytes32 indexed economyId,
        address indexed signer,
        uint64 firstSequence,
        uint64 count,
        bytes32 merkleRoot,
        bytes32 head
    );

    /// @notice Scores of a game may from now on be judged by these rules.
    /// @param rulesHash keccak-256 of `document`
    /// @param document the canonical (RFC 8785) rules document itself, so that an auditor needs nothing but the chain
    event RulesPublished(bytes32 indexed gameId, bytes32 indexed rulesHash, bytes document);

    /// @notice Batches judged by these rules are from now on refused. What is recorded stays.
    event RulesRetired(bytes32 indexed gameId, bytes32 indexed rulesHash);

    // ---------------------------------------------------------------- errors

    /// @notice The signed deadline (unix seconds) lies before this block's timestamp.
    error DeadlinePassed(uint64 deadline);

    /// @notice These rules were never published for the game, or were retired.
    error RulesNotActive(bytes32 gameId, bytes32 rulesHash);

    /// @notice These rules are active already.
    error RulesAlreadyActive(bytes32 gameId, bytes32 rulesHash);

    /// @notice A rules document must not be empty.
    error EmptyRules();

    /// @notice The packed records are empty or not a whole number of `RECORD_SIZE` bytes.
    error MalformedRecords(uint256 length);

    /// @notice More than `MAX_BATCH` records or rounds in one call, or none.
    error BadBatchSize(uint256 count);

    /// @notice The signature is sound but this account, which made it (over exactly this content), is not a signer.
    error UnknownSigner(address signer);

    /// @notice Every record of the batch is already on the contract, or every round already has the asked status.
    error NothingToRecord();

    /// @notice A round that was never recorded can not be invalidated or reinstated.
    error NotRecorded(bytes32 gameId, uint64 roundId);

    /// @notice An anchor must begin exactly where the previous one ended.
    error WrongSequence(bytes32 economyId, uint64 expected, uint64 firstSequence);

    /// @notice An anchor must cover at least one entry.
    error EmptyAnchor();

    // ------------------------------------------------------------- recording

    /// @notice Record a signed batch of scores. Anyone may call it.
    /// @dev Checks, in this order: (1) not paused, (2) deadline not passed, (3) rules active, (4) records well formed,
    /// (5) the EIP-712 signature over `ScoreBatch(bytes32 gameId,bytes32 rulesHash,uint64 deadline,bytes records)` comes
    /// from a current signer. A record whose round is already recorded is skipped, not refused, so that a player who
    /// carried a receipt here cannot block the relay's batch; (6) all skipped reverts with `NothingToRecord`.
    /// @param gameId keccak-256 of the game's id string
    /// @param rulesHash keccak-256 of the published rules document
    /// @param deadline unix seconds; the last block timestamp at which the batch is taken
    /// @param records 1 to `MAX_BATCH` packed records of `RECORD_SIZE` bytes:
    /// player (20) then score (12) then roundId (8) then evidenceHash (32), integers big-endian
    /// @param signature 65 bytes r, s, v (v is 27 or 28, s in the lower half)
    /// @return accepted how many records were new
    function submitScores(
        bytes32 gameId,
        bytes32 rulesHash,
        uint64 deadline,
        bytes calldata records,
        bytes calldata signature
    ) external returns (uint256 accepted);

    /// @notice Anchor the next stretch of an economy's ledger. Anyone may carry the signed anchor.
    /// @dev `firstSequence` must equal `nextSequence(economyId)` (0 at the start, as RFC 6962 counts leaves), so anchors
    /// neither overlap nor leave a gap and a signature works once. The EIP-712 type is
    /// `EconomyAnchor(bytes32 economyId,uint64 firstSequence,uint64 count,bytes32 merkleRoot,uint64 deadline)`.
    function anchorEconomy(
        bytes32 economyId,
        uint64 firstSequence,
        uint64 count,
        bytes32 merkleRoot,
        uint64 deadline,
        bytes calldata signature
    ) external;

    // ------------------------------------------------------------ moderation

    /// @notice Withdraw recorded scores (`AUDITOR_ROLE`). Rounds already invalid are skipped; all skipped reverts.
    /// @param roundIds 1 to `MAX_BATCH` recorded rounds
    /// @param reasonHash keccak-256 of the document that says why
    function invalidateScores(bytes32 gameId, uint64[] calldata roundIds, bytes32 reasonHash) external;

    /// @notice Take invalidations back (`AUDITOR_ROLE`). Rounds that are valid are skipped; all skipped reverts.
    /// @param roundIds 1 to `MAX_BATCH` recorded rounds
    /// @param reasonHash keccak-256 of the document that says why
    function reinstateScores(bytes32 gameId, uint64[] calldata roundIds, bytes32 reasonHash) external;

    // -------------------------------------------------------- administration

    /// @notice Publish a rules document for a game and make it active (admin).
    /// @param document canonical (RFC 8785) bytes; emitted in full, stored as its hash only
    /// @return rulesHash keccak-256 of `document`
    function publishRules(bytes32 gameId, bytes calldata document) external returns (bytes32 rulesHash);

    /// @notice Refuse further batches judged by these rules (admin). Publishing again makes them active again.
    function retireRules(bytes32 gameId, bytes32 rulesHash) external;

    /// @notice Stop recording, moderation, anchors and rules at once (`GUARDIAN_ROLE`).
    function pause() external;

    /// @notice Resume (admin).
    function unpause() external;

    /// @notice Take `SIGNER_ROLE` from an account at once, also while paused (`GUARDIAN_ROLE`).
    /// Every signature it made, and that is not on the contract yet, is worthless from now on.
    function revokeSigner(address signer) external;

    // ----------------------------------------------------------------- views

    /// @notice Whether the round's score was recorded. Never goes back to false.
    function isRecorded(bytes32 gameId, uint64 roundId) external view returns (bool);

    /// @notice Whether the round's score is at present invalidated.
    function isInvalidated(bytes32 gameId, uint64 roundId) external view returns (bool);

    /// @notice Whether batches judged by these rules are taken.
    function isActive(bytes32 gameId, bytes32 rulesHash) external view returns (bool);

    /// @notice Hash chain over everything that changed the game's standings, zero at the start.
    /// @dev Per batch: keccak256(abi.encode(BATCH_LINK, head, gameId, rulesHash, recordsHash, signer, accepted));
    /// per moderated round: keccak256(abi.encode(link, head, gameId, roundId, auditor, reasonHash)) with link
    /// `INVALIDATED_LINK` or `REINSTATED_LINK`. All of it is in the events.
    function head(bytes32 gameId) external view returns (bytes32);

    /// @notice Hash chain over an economy's anchors, zero at the start.
    /// @dev keccak256(abi.encode(ANCHOR_LINK, head, economyId, firstSequence, count, merkleRoot, signer)).
    function economyHead(bytes32 economyId) external view returns (bytes32);

    /// @notice The `firstSequence` that the next anchor must have.
    function nextSequence(bytes32 economyId) external view returns (uint64);

    /// @notice What a signer signs for `submitScores`.
    function batchDigest(bytes32 gameId, bytes32 rulesHash, uint64 deadline, bytes calldata records)
        external
        view
        returns (bytes32);

    /// @notice What a signer signs for `anchorEconomy`.
    function anchorDigest(bytes32 economyId, uint64 firstSequence, uint64 count, bytes32 merkleRoot, uint64 deadline)
        external
        view
        returns (bytes32);
}
