// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base, Entry, Vm} from "./Base.sol";
import {ILeaderboard} from "../interfaces/ILeaderboard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// Recording: what is taken, what is skipped, what is refused, and what the logs say.
contract SubmitScoresTest is Base {
    function test_OneScore() public {
        Entry memory e = Entry(address(0xBEEF), 2652, 7, keccak256("evidence"));
        bytes memory records = pack(e);
        bytes32 head =
            keccak256(abi.encode(board.BATCH_LINK(), bytes32(0), GAME, RULES, keccak256(records), signer, uint256(1)));
        bytes memory signature = signBatch(SIGNER_KEY, records);

        vm.expectEmit(true, true, true, true, address(board));
        emit ILeaderboard.ScoreSubmitted(GAME, address(0xBEEF), 7, 2652, keccak256("evidence"), RULES);
        vm.expectEmit(true, true, true, true, address(board));
        emit ILeaderboard.BatchAccepted(GAME, signer, keccak256(records), head, 1);
        uint256 accepted = board.submitScores(GAME, RULES, FAR, records, signature);

        require(accepted == 1, "accepted");
        require(board.isRecorded(GAME, 7), "recorded");
        require(!board.isRecorded(GAME, 6) && !board.isRecorded(GAME, 8), "neighbours untouched");
        require(!board.isRecorded(keccak256("other game"), 7), "other game untouched");
        require(board.head(GAME) == head, "head");
    }

    /// Any field values survive the way from packed record to log, in any position of the batch.
    function testFuzz_FieldsSurvive(Entry memory e, uint8 before, uint8 afterwards) public {
        uint64 lead = uint64(before % 4);
        uint64 tail = uint64(afterwards % 4);
        vm.assume(e.roundId >= 8);
        bytes memory records = bytes.concat(consecutive(0, lead), pack(e), consecutive(4, tail));
        vm.recordLogs();
        require(submit(records) == 1 + lead + tail, "accepted");
        Vm.Log memory log = vm.getRecordedLogs()[lead];
        require(log.topics[1] == GAME, "game");
        require(log.topics[2] == bytes32(uint256(uint160(e.player))), "player");
        require(log.topics[3] == bytes32(uint256(e.roundId)), "round");
        require(keccak256(log.data) == keccak256(abi.encode(uint256(e.score), e.evidenceHash, RULES)), "data");
        require(board.isRecorded(GAME, e.roundId), "recorded");
    }

    /// Any batch, with repeats inside and against what is recorded: each round once, in order, and the head follows.
    function testFuzz_EachRoundOnce(uint16[24] memory rounds, uint8 split) public {
        uint256 cut = split % 25;
        bytes memory first;
        bytes memory second;
        for (uint256 i = 0; i < 24; ++i) {
            // Few enough rounds that repeats are common, far enough apart that three words are in play.
            bytes memory one = pack(entry(uint64(rounds[i] % 40) * 19));
            if (i < cut) first = bytes.concat(first, one);
            else second = bytes.concat(second, one);
        }
        vm.recordLogs();
        if (first.length > 0) submit(first);
        if (second.length > 0) {
            try board.submitScores(GAME, RULES, FAR, second, signBatch(SIGNER_KEY, second)) {} catch {}
        }
        Vm.Log[] memory logs = vm.getRecordedLogs();
        (bool sound, bytes32 head) = fold(logs, bytes32(0));
        require(sound && head == board.head(GAME), "head reproduces");

        bool[760] memory seen;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != ILeaderboard.ScoreSubmitted.selector) continue;
            uint256 round = uint256(logs[i].topics[3]);
            require(!seen[round], "a round was logged twice");
            seen[round] = true;
            require(address(uint160(uint256(logs[i].topics[2]))) == entry(uint64(round)).player, "its own record");
        }
        for (uint256 i = 0; i < 24; ++i) require(seen[uint256(rounds[i] % 40) * 19], "a round is missing");
        for (uint64 r = 0; r < 760; ++r) require(board.isRecorded(GAME, r) == seen[r], "bitmap");
    }

    /// Drop, swap or alter any one log: the head can no longer be reproduced.
    function testFuzz_TamperedLogsAreNoticed(uint8 which, uint8 how, uint8 bit) public {
        vm.recordLogs();
        submit(consecutive(1, 3));
        submit(consecutive(2, 4)); // two of them are skipped
        vm.prank(AUDITOR);
        board.invalidateScores(GAME, list(2), keccak256("why"));
        vm.prank(AUDITOR);
        board.reinstateScores(GAME, list(2), keccak256("because"));
        submit(consecutive(250, 12));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        (bool sound, bytes32 head) = fold(logs, bytes32(0));
        require(sound && head == board.head(GAME), "untouched logs reproduce the head");

        uint256 index = which % logs.length;
        if (how % 3 == 0) {
            Vm.Log[] memory fewer = new Vm.Log[](logs.length - 1);
            for (uint256 i = 0; i < fewer.length; ++i) fewer[i] = logs[i < index ? i : i + 1];
            logs = fewer;
        } else if (how % 3 == 1) {
            uint256 other = (index + 1 + bit) % logs.length;
            vm.assume(other != index);
            (logs[index], logs[other]) = (logs[other], logs[index]);
        } else {
            uint256 place = uint256(bit) % logs[index].data.length;
            logs[index].data[place] ^= 0x01;
            // A score's upper 20 bytes are no part of a record: the contract always logs them as zero.
            vm.assume(logs[index].topics[0] != ILeaderboard.ScoreSubmitted.selector || place >= 20);
        }
        (sound, head) = fold(logs, bytes32(0));
        require(!sound || head != board.head(GAME), "tampering went unnoticed");
    }

    function test_SkipsWhatIsRecorded() public {
        submit(consecutive(5, 1)); // a player carried a receipt here
        vm.recordLogs();
        require(submit(consecutive(4, 3)) == 2, "the rest is taken");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        require(logs.length == 3, "two scores and a batch");
        (bytes32 recordsHash,, uint256 accepted) = abi.decode(logs[2].data, (bytes32, bytes32, uint256));
        require(accepted == 2, "count");
        require(recordsHash == keccak256(bytes.concat(pack(entry(4)), pack(entry(6)))), "hash of the taken ones alone");
    }

    function test_RefusesWhatIsRecordedAltogether() public {
        bytes memory records = consecutive(1, 2);
        submit(records);
        bytes32 head = board.head(GAME);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.NothingToRecord.selector));
        board.submitScores(GAME, RULES, FAR, records, signature);
        require(board.head(GAME) == head, "head unmoved");
    }

    function test_WordBoundaries() public {
        require(submit(bytes.concat(pack(entry(255)), pack(entry(256)), pack(entry(type(uint64).max)), pack(entry(0)))) == 4);
        require(board.isRecorded(GAME, 255) && board.isRecorded(GAME, 256), "both sides");
        require(board.isRecorded(GAME, 0) && board.isRecorded(GAME, type(uint64).max), "both ends");
        require(!board.isRecorded(GAME, 254) && !board.isRecorded(GAME, 257), "no more");
    }

    function test_AlternatingWords() public {
        // Leaves and returns to each word: what was marked before must still be there.
        bytes memory records;
        for (uint64 i = 0; i < 8; ++i) records = bytes.concat(records, pack(entry((i % 2) * 256 + i / 2)));
        records = bytes.concat(records, pack(entry(0)), pack(entry(256)));
        require(submit(records) == 8, "two repeats are skipped");
    }

    function test_MostRecords() public {
        require(submit(consecutive(1, 500)) == 500, "500 are taken");
        bytes memory records = consecutive(501, 501);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.BadBatchSize.selector, 501));
        board.submitScores(GAME, RULES, FAR, records, signature);
    }

    function testFuzz_RefusesTornRecords(uint16 length) public {
        bytes memory records = new bytes(length % 1000);
        vm.assume(records.length == 0 || records.length % 72 != 0);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.MalformedRecords.selector, records.length));
        board.submitScores(GAME, RULES, FAR, records, signature);
    }

    function testFuzz_Deadline(uint32 deadline, uint32 now_) public {
        bytes memory records = consecutive(1, 1);
        bytes memory signature = signed(SIGNER_KEY, digestOf(batchStruct(GAME, RULES, deadline, records)));
        vm.warp(now_);
        if (now_ > deadline) vm.expectRevert(abi.encodeWithSelector(ILeaderboard.DeadlinePassed.selector, deadline));
        board.submitScores(GAME, RULES, deadline, records, signature);
    }

    function test_DeadlineIsTheLastSecond() public {
        bytes memory records = consecutive(1, 1);
        bytes memory signature = signed(SIGNER_KEY, digestOf(batchStruct(GAME, RULES, 2_000_000_000, records)));
        vm.warp(2_000_000_001);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.DeadlinePassed.selector, 2_000_000_000));
        board.submitScores(GAME, RULES, 2_000_000_000, records, signature);
        vm.warp(2_000_000_000);
        require(board.submitScores(GAME, RULES, 2_000_000_000, records, signature) == 1, "the deadline itself is in time");
    }

    function testFuzz_RefusesUnpublishedRules(bytes32 game, bytes32 rules) public {
        vm.assume(game != GAME || rules != RULES);
        bytes memory records = consecutive(1, 1);
        bytes memory signature = signed(SIGNER_KEY, digestOf(batchStruct(game, rules, FAR, records)));
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.RulesNotActive.selector, game, rules));
        board.submitScores(game, rules, FAR, records, signature);
    }

    function test_RulesAreActivePerGame() public {
        bytes32 other = keccak256("other game");
        bytes memory records = consecutive(1, 1);
        bytes memory signature = signed(SIGNER_KEY, digestOf(batchStruct(other, RULES, FAR, records)));
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.RulesNotActive.selector, other, RULES));
        board.submitScores(other, RULES, FAR, records, signature);
    }

    /// Only a signer's key records, whoever sends.
    function testFuzz_RefusesOtherKeys(uint256 key, address sender) public {
        key = (key % 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364140) + 1;
        vm.assume(key != SIGNER_KEY);
        bytes memory records = consecutive(1, 1);
        bytes memory signature = signBatch(key, records);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.UnknownSigner.selector, vm.addr(key)));
        vm.prank(sender);
        board.submitScores(GAME, RULES, FAR, records, signature);
    }

    function testFuzz_AnyoneMayCarry(address sender) public {
        bytes memory records = consecutive(1, 1);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        vm.prank(sender);
        require(board.submitScores(GAME, RULES, FAR, records, signature) == 1, "carried");
    }

    /// One changed bit anywhere in what was signed, or in the signature: nothing is recorded.
    function testFuzz_RefusesAChangedBit(uint16 place, uint8 bit, bool inSignature) public {
        bytes memory records = consecutive(1, 3);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        if (inSignature) signature[place % 65] ^= bytes1(uint8(1) << (bit % 8));
        else records[place % records.length] ^= bytes1(uint8(1) << (bit % 8));
        try board.submitScores(GAME, RULES, FAR, records, signature) {
            revert("recorded");
        } catch {}
        require(board.head(GAME) == bytes32(0), "head unmoved");
    }

    function test_RefusesTheSignaturesTwin() public {
        bytes memory records = consecutive(1, 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(SIGNER_KEY, digestOf(batchStruct(GAME, RULES, FAR, records)));
        bytes32 twin = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, twin));
        board.submitScores(GAME, RULES, FAR, records, abi.encodePacked(r, twin, uint8(55 - v)));
    }

    function testFuzz_RefusesOtherSignatureLengths(uint8 length) public {
        vm.assume(length != 65);
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, uint256(length)));
        board.submitScores(GAME, RULES, FAR, consecutive(1, 1), new bytes(length));
    }

    /// A batch signed by another signer later may not repeat a round of the first.
    function test_RotationKeepsRoundsSingle() public {
        bytes32 role = board.SIGNER_ROLE();
        address second = vm.addr(STRANGER_KEY);
        vm.prank(ADMIN);
        board.grantRole(role, second);
        submit(consecutive(1, 2));
        vm.prank(GUARDIAN);
        board.revokeSigner(signer);
        bytes memory records = consecutive(2, 2);
        bytes memory signature = signBatch(STRANGER_KEY, records);
        require(board.submitScores(GAME, RULES, FAR, records, signature) == 1, "only the new round");
    }

    function testFuzz_BatchDigest(bytes32 game, bytes32 rules, uint64 deadline, bytes memory records) public view {
        require(
            board.batchDigest(game, rules, deadline, records) == digestOf(batchStruct(game, rules, deadline, records))
        );
    }
}
