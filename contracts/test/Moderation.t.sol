// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base, Vm} from "./Base.sol";
import {ILeaderboard} from "../interfaces/ILeaderboard.sol";

/// Invalidation and reinstatement: marks beside the record, chained into the head, never touching the record.
contract ModerationTest is Base {
    bytes32 internal constant REASON = keccak256("reason");

    function setUp() public override {
        super.setUp();
        submit(consecutive(250, 20));
    }

    function invalidate(uint64[] memory rounds) internal {
        vm.prank(AUDITOR);
        board.invalidateScores(GAME, rounds, REASON);
    }

    function reinstate(uint64[] memory rounds) internal {
        vm.prank(AUDITOR);
        board.reinstateScores(GAME, rounds, REASON);
    }

    function test_InvalidateAndReinstate() public {
        bytes32 head =
            keccak256(abi.encode(board.INVALIDATED_LINK(), board.head(GAME), GAME, uint64(255), AUDITOR, REASON));
        vm.expectEmit(true, true, true, true, address(board));
        emit ILeaderboard.ScoreInvalidated(GAME, 255, AUDITOR, REASON, head);
        invalidate(list(255));
        require(board.isInvalidated(GAME, 255) && board.isRecorded(GAME, 255), "marked, still recorded");
        require(!board.isInvalidated(GAME, 254) && !board.isInvalidated(GAME, 256), "no neighbour");
        require(board.head(GAME) == head, "head");

        head = keccak256(abi.encode(board.REINSTATED_LINK(), head, GAME, uint64(255), AUDITOR, REASON));
        vm.expectEmit(true, true, true, true, address(board));
        emit ILeaderboard.ScoreReinstated(GAME, 255, AUDITOR, REASON, head);
        reinstate(list(255));
        require(!board.isInvalidated(GAME, 255) && board.isRecorded(GAME, 255), "counts again");
        require(board.head(GAME) == head, "head");
    }

    /// An invalidated round stays taken: its number can not be used for a second score.
    function test_InvalidatedRoundStaysTaken() public {
        invalidate(list(251));
        bytes memory records = consecutive(251, 1);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.NothingToRecord.selector));
        board.submitScores(GAME, RULES, FAR, records, signature);
    }

    function testFuzz_NotRecorded(uint64 roundId) public {
        vm.assume(roundId < 250 || roundId >= 270);
        uint64[] memory rounds = new uint64[](2);
        (rounds[0], rounds[1]) = (250, roundId);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.NotRecorded.selector, GAME, roundId));
        invalidate(rounds);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.NotRecorded.selector, GAME, roundId));
        reinstate(list(roundId));
        require(!board.isInvalidated(GAME, 250), "nothing of a refused call stays");
    }

    function test_SkipsWhatIsSo() public {
        invalidate(list(250));
        uint64[] memory rounds = new uint64[](3);
        (rounds[0], rounds[1], rounds[2]) = (250, 251, 251);
        vm.recordLogs();
        invalidate(rounds);
        require(vm.getRecordedLogs().length == 1, "one new");
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.NothingToRecord.selector));
        invalidate(rounds);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.NothingToRecord.selector));
        reinstate(list(252));
    }

    function test_Sizes() public {
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.BadBatchSize.selector, 0));
        invalidate(new uint64[](0));
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.BadBatchSize.selector, 501));
        reinstate(new uint64[](501));
        submit(consecutive(1000, 500));
        uint64[] memory rounds = new uint64[](500);
        for (uint64 i = 0; i < 500; ++i) rounds[i] = 1000 + i;
        invalidate(rounds);
        require(board.isInvalidated(GAME, 1000) && board.isInvalidated(GAME, 1499), "500 at once");
    }

    /// Any sequence of calls: marks follow a plain model, records do not move, the head reproduces.
    function testFuzz_FollowsTheModel(uint8[12] memory rounds, uint16 kinds) public {
        bool[20] memory invalid;
        bytes32 before = board.head(GAME);
        vm.recordLogs();
        for (uint256 i = 0; i < 12; ++i) {
            uint256 place = rounds[i] % 20;
            bool want = (kinds >> i) & 1 == 1;
            if (invalid[place] == want) continue;
            if (want) invalidate(list(uint64(250 + place)));
            else reinstate(list(uint64(250 + place)));
            invalid[place] = want;
        }
        (bool sound, bytes32 head) = fold(vm.getRecordedLogs(), before);
        require(sound && head == board.head(GAME), "head reproduces");
        for (uint64 i = 0; i < 20; ++i) {
            require(board.isInvalidated(GAME, 250 + i) == invalid[i], "mark");
            require(board.isRecorded(GAME, 250 + i), "record");
        }
    }
}
