// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {IAccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/IAccessControlDefaultAdminRules.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {ILeaderboard} from "../interfaces/ILeaderboard.sol";

/// The cheatcodes used here; the test runner answers them at a fixed address.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address sender) external;
    function warp(uint256 timestamp) external;
    function chainId(uint256 id) external;
    function assume(bool condition) external pure;
    function expectRevert(bytes calldata data) external;
    function expectEmit(bool topic1, bool topic2, bool topic3, bool data, address emitter) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function getCode(string calldata artifact) external view returns (bytes memory);
}

/// All that the deployed contract answers to. The tests know this and not the source, so that an edit of the contract
/// compiles one file and not all of them.
interface IBoard is ILeaderboard, IAccessControlDefaultAdminRules, IERC5267 {
    function SIGNER_ROLE() external view returns (bytes32);
    function GUARDIAN_ROLE() external view returns (bytes32);
    function AUDITOR_ROLE() external view returns (bytes32);
    function BATCH_LINK() external view returns (bytes32);
    function INVALIDATED_LINK() external view returns (bytes32);
    function REINSTATED_LINK() external view returns (bytes32);
    function ANCHOR_LINK() external view returns (bytes32);
}

struct Entry {
    address player;
    uint96 score;
    uint64 roundId;
    bytes32 evidenceHash;
}

/// A deployed board with one actor per role, and an independent reading of what is signed and chained.
abstract contract Base {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

    uint256 internal constant SIGNER_KEY = 0xA11CE;
    uint256 internal constant STRANGER_KEY = 0xB0B;
    address internal constant ADMIN = address(0xAD);
    address internal constant GUARDIAN = address(0x6A);
    address internal constant AUDITOR = address(0xA0D);
    bytes32 internal constant GAME = keccak256("streambeat");
    bytes internal constant DOCUMENT = '{"id":"streambeat-counts@1"}';
    bytes32 internal constant RULES = keccak256(DOCUMENT);
    uint64 internal constant FAR = type(uint64).max;

    IBoard internal board;
    address internal signer;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        signer = vm.addr(SIGNER_KEY);
        board = deploy(ADMIN, 1 days, signer, GUARDIAN, AUDITOR);
        vm.prank(ADMIN);
        board.publishRules(GAME, DOCUMENT);
    }

    /// Deploys what the compiler made; address zero where the constructor refuses.
    function deploy(address admin, uint48 delay, address signer_, address guardian, address auditor)
        internal
        returns (IBoard deployed)
    {
        bytes memory code = abi.encodePacked(
            vm.getCode("contracts/Leaderboard.sol:Leaderboard"), abi.encode(admin, delay, signer_, guardian, auditor)
        );
        assembly {
            deployed := create(0, add(code, 32), mload(code))
        }
    }

    // The pre-images are written out, not taken from the contract, so that a changed type is noticed.

    function domainSeparator(uint256 chainId, address verifier) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Leaderboard"),
                keccak256("1"),
                chainId,
                verifier
            )
        );
    }

    function digestOf(bytes32 separator, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return digestOf(domainSeparator(block.chainid, address(board)), structHash);
    }

    function batchStruct(bytes32 game, bytes32 rules, uint64 deadline, bytes memory records)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256("ScoreBatch(bytes32 gameId,bytes32 rulesHash,uint64 deadline,bytes records)"),
                game,
                rules,
                deadline,
                keccak256(records)
            )
        );
    }

    function anchorStruct(bytes32 economy, uint64 first, uint64 count, bytes32 root, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256(
                    "EconomyAnchor(bytes32 economyId,uint64 firstSequence,uint64 count,bytes32 merkleRoot,uint64 deadline)"
                ),
                economy,
                first,
                count,
                root,
                deadline
            )
        );
    }

    function submitStruct(bytes32 game, bytes32 roundRef, address player, uint256 score, bytes32 hash, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256(
                    "SubmitScore(bytes32 gameId,bytes32 roundRef,address player,uint256 score,bytes32 evidenceHash,uint64 deadline)"
                ),
                game,
                roundRef,
                player,
                score,
                hash,
                deadline
            )
        );
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function pack(Entry memory e) internal pure returns (bytes memory) {
        return abi.encodePacked(e.player, e.score, e.roundId, e.evidenceHash);
    }

    /// A record whose every field follows from the round.
    function entry(uint64 roundId) internal pure returns (Entry memory) {
        bytes32 seed = keccak256(abi.encode("entry", roundId));
        return Entry(address(uint160(uint256(seed))), uint96(uint256(seed) >> 160), roundId, keccak256(abi.encode(seed)));
    }

    /// `count` records of consecutive rounds.
    function consecutive(uint64 first, uint64 count) internal pure returns (bytes memory records) {
        for (uint64 i = 0; i < count; ++i) records = bytes.concat(records, pack(entry(first + i)));
    }

    function signBatch(uint256 key, bytes memory records) internal view returns (bytes memory) {
        return signed(key, digestOf(batchStruct(GAME, RULES, FAR, records)));
    }

    function submit(bytes memory records) internal returns (uint256) {
        return board.submitScores(GAME, RULES, FAR, records, signBatch(SIGNER_KEY, records));
    }

    function list(uint64 roundId) internal pure returns (uint64[] memory rounds) {
        rounds = new uint64[](1);
        rounds[0] = roundId;
    }

    /// Folds logs into the head of `GAME` as the interface documents it. `sound` is false where they contradict themselves.
    function fold(Vm.Log[] memory logs, bytes32 head) internal pure returns (bool sound, bytes32) {
        bytes memory packed;
        bytes32 rules;
        uint256 count;
        for (uint256 i = 0; i < logs.length; ++i) {
            bytes32[] memory topics = logs[i].topics;
            if (topics.length < 2 || topics[1] != GAME) continue;
            if (topics[0] == ILeaderboard.ScoreSubmitted.selector) {
                (uint256 score, bytes32 hash, bytes32 named) = abi.decode(logs[i].data, (uint256, bytes32, bytes32));
                packed = abi.encodePacked(
                    packed, address(uint160(uint256(topics[2]))), uint96(score), uint64(uint256(topics[3])), hash
                );
                if (count > 0 && named != rules) return (false, head);
                rules = named;
                ++count;
            } else if (topics[0] == ILeaderboard.BatchAccepted.selector) {
                (bytes32 hash, bytes32 next, uint256 accepted) = abi.decode(logs[i].data, (bytes32, bytes32, uint256));
                if (accepted != count || hash != keccak256(packed)) return (false, head);
                address by = address(uint160(uint256(topics[2])));
                head = keccak256(
                    abi.encode(keccak256("Leaderboard.BatchAccepted"), head, GAME, rules, hash, by, accepted)
                );
                if (head != next) return (false, head);
                packed = "";
                count = 0;
            } else if (
                topics[0] == ILeaderboard.ScoreInvalidated.selector
                    || topics[0] == ILeaderboard.ScoreReinstated.selector
            ) {
                if (count > 0) return (false, head);
                (bytes32 reason, bytes32 next) = abi.decode(logs[i].data, (bytes32, bytes32));
                bytes32 link = topics[0] == ILeaderboard.ScoreInvalidated.selector
                    ? keccak256("Leaderboard.ScoreInvalidated")
                    : keccak256("Leaderboard.ScoreReinstated");
                head = keccak256(abi.encode(link, head, GAME, topics[2], topics[3], reason));
                if (head != next) return (false, head);
            }
        }
        return (count == 0, head);
    }
}
