// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base, Vm} from "./Base.sol";
import {ILeaderboard} from "../interfaces/ILeaderboard.sol";

/// Does anything anyone could do, in any order, and keeps a plain model of what must be true afterwards.
contract Actions is Base {
    // Few rounds, so that repeats are common; far apart, so that they lie in four words of the bitmap.
    uint64 internal constant ROUNDS = 40;
    uint64 internal constant APART = 23;

    mapping(uint64 roundId => uint256 times) public logged;
    mapping(uint64 roundId => bool invalid) public invalid;
    mapping(uint256 key => bool held) internal _isSigner;
    bytes32 public folded;
    bool public broken;
    bool public paused;

    constructor() {
        Base.setUp();
        _isSigner[SIGNER_KEY] = true;
    }

    /// A batch of up to eight records from `start` on with a stride, signed by one of two keys, right or spoilt.
    function submitBatch(uint16 start, uint8 count, uint8 stride, bool otherKey, uint8 spoil) external {
        uint256 key = otherKey ? STRANGER_KEY : SIGNER_KEY;
        bytes memory records;
        bool fresh;
        for (uint64 i = 0; i < uint64(count % 8) + 1; ++i) {
            uint64 roundId = ((uint64(start) + i * uint64(stride)) % ROUNDS) * APART;
            records = bytes.concat(records, pack(entry(roundId)));
            fresh = fresh || logged[roundId] == 0;
        }
        bytes memory signature = signBatch(key, records);
        bool spoilt = spoil % 4 == 0;
        if (spoilt) records[spoil % records.length] ^= 0x01;
        bool may = fresh && !spoilt && !paused && _isSigner[key] && board.isActive(GAME, RULES);

        vm.recordLogs();
        try board.submitScores(GAME, RULES, FAR, records, signature) {
            if (!may) broken = true;
        } catch {
            if (may) broken = true;
        }
        _take(vm.getRecordedLogs());
    }

    function moderate(uint16 round, bool invalidate) external {
        uint64 roundId = (uint64(round) % ROUNDS) * APART;
        bool may = !paused && logged[roundId] != 0 && invalid[roundId] != invalidate;
        vm.recordLogs();
        vm.prank(AUDITOR);
        (bool done,) = address(board).call(
            invalidate
                ? abi.encodeCall(ILeaderboard.invalidateScores, (GAME, list(roundId), "why"))
                : abi.encodeCall(ILeaderboard.reinstateScores, (GAME, list(roundId), "why"))
        );
        if (done != may) broken = true;
        if (done) invalid[roundId] = invalidate;
        _take(vm.getRecordedLogs());
    }

    function togglePause(uint8 chance) external {
        if (!paused && chance % 4 != 0) return; // mostly running
        vm.prank(paused ? ADMIN : GUARDIAN);
        if (paused) board.unpause();
        else board.pause();
        paused = !paused;
    }

    function toggleSigner(bool otherKey) external {
        uint256 key = otherKey ? STRANGER_KEY : SIGNER_KEY;
        bytes32 role = board.SIGNER_ROLE();
        vm.prank(_isSigner[key] ? GUARDIAN : ADMIN);
        if (_isSigner[key]) board.revokeSigner(vm.addr(key));
        else board.grantRole(role, vm.addr(key));
        _isSigner[key] = !_isSigner[key];
    }

    function toggleRules(uint8 chance) external {
        bool active = board.isActive(GAME, RULES);
        if (paused || (active && chance % 4 != 0)) return;
        vm.prank(ADMIN);
        if (active) board.retireRules(GAME, RULES);
        else board.publishRules(GAME, DOCUMENT);
    }

    /// Adds what was logged to the model.
    function _take(Vm.Log[] memory logs) private {
        bool sound;
        (sound, folded) = fold(logs, folded);
        if (!sound || (paused && logs.length > 0)) broken = true;
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == ILeaderboard.ScoreSubmitted.selector) ++logged[uint64(uint256(logs[i].topics[3]))];
        }
    }

    function check() external view {
        require(!broken, "something was taken, or refused, against the rules");
        require(board.head(GAME) == folded, "the head does not follow from the logs");
        for (uint64 r = 0; r < ROUNDS * APART; r += APART) {
            require(logged[r] <= 1, "a round was recorded twice");
            require(board.isRecorded(GAME, r) == (logged[r] == 1), "a record came or went without its log");
            require(board.isInvalidated(GAME, r) == invalid[r], "a mark differs");
        }
        require(address(board).balance == 0, "it holds funds");
    }
}

/// The promises of `ILeaderboard`, after any sequence of actions.
contract InvariantsTest {
    Actions internal actions;

    struct Selectors {
        address addr;
        bytes4[] selectors;
    }

    function setUp() public {
        actions = new Actions();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actions);
    }

    function targetSelectors() public view returns (Selectors[] memory targets) {
        bytes4[] memory chosen = new bytes4[](5);
        chosen[0] = Actions.submitBatch.selector;
        chosen[1] = Actions.moderate.selector;
        chosen[2] = Actions.togglePause.selector;
        chosen[3] = Actions.toggleSigner.selector;
        chosen[4] = Actions.toggleRules.selector;
        targets = new Selectors[](1);
        targets[0] = Selectors(address(actions), chosen);
    }

    function invariant_PromisesHold() public view {
        actions.check();
    }
}
