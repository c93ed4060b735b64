// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base, IBoard} from "./Base.sol";
import {ILeaderboard} from "../interfaces/ILeaderboard.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IAccessControlDefaultAdminRules} from
    "@openzeppelin/contracts/access/extensions/IAccessControlDefaultAdminRules.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// Roles, rules and the pause: who may do what, and that nobody else may.
contract AdministrationTest is Base {
    bytes32 internal constant NO_ROLE = bytes32(0);

    function denied(address account, bytes32 role) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, account, role);
    }

    function test_Roles() public view {
        require(board.defaultAdmin() == ADMIN && board.defaultAdminDelay() == 1 days, "admin");
        require(board.hasRole(board.SIGNER_ROLE(), signer), "signer");
        require(board.hasRole(board.GUARDIAN_ROLE(), GUARDIAN), "guardian");
        require(board.hasRole(board.AUDITOR_ROLE(), AUDITOR), "auditor");
        require(!board.hasRole(board.SIGNER_ROLE(), ADMIN), "the admin signs nothing");
    }

    function test_ZeroMeansNobody() public {
        IBoard bare = deploy(ADMIN, 0, address(0), address(0), address(0));
        require(!bare.hasRole(bare.SIGNER_ROLE(), address(0)), "no signer");
        require(!bare.hasRole(bare.GUARDIAN_ROLE(), address(0)), "no guardian");
        require(!bare.hasRole(bare.AUDITOR_ROLE(), address(0)), "no auditor");
        IBoard none = deploy(address(0), 0, signer, GUARDIAN, AUDITOR);
        require(address(none) == address(0), "but never without an admin");
    }

    /// Every guarded function, by everyone who does not hold its role.
    function testFuzz_NobodyElse(uint8 function_, address sender) public {
        bytes32[7] memory roles = [
            NO_ROLE, NO_ROLE, NO_ROLE, board.GUARDIAN_ROLE(), board.GUARDIAN_ROLE(), board.AUDITOR_ROLE(), board.AUDITOR_ROLE()
        ];
        bytes[7] memory calls = [
            abi.encodeCall(ILeaderboard.publishRules, (GAME, "new")),
            abi.encodeCall(ILeaderboard.retireRules, (GAME, RULES)),
            abi.encodeCall(ILeaderboard.unpause, ()),
            abi.encodeCall(ILeaderboard.pause, ()),
            abi.encodeCall(ILeaderboard.revokeSigner, (signer)),
            abi.encodeCall(ILeaderboard.invalidateScores, (GAME, list(1), "why")),
            abi.encodeCall(ILeaderboard.reinstateScores, (GAME, list(1), "why"))
        ];
        address[5] memory people = [ADMIN, GUARDIAN, AUDITOR, signer, sender];
        uint256 chosen = function_ % 7;
        for (uint256 i = 0; i < 5; ++i) {
            if (board.hasRole(roles[chosen], people[i])) continue;
            vm.prank(people[i]);
            (bool done, bytes memory answer) = address(board).call(calls[chosen]);
            require(!done && keccak256(answer) == keccak256(denied(people[i], roles[chosen])), "someone else could");
        }
    }

    /// Only the admin grants roles; the guardian takes only the signer's.
    function test_GuardianOnlyStops() public {
        bytes32 role = board.SIGNER_ROLE();
        bytes32 auditorRole = board.AUDITOR_ROLE();
        vm.expectRevert(denied(GUARDIAN, NO_ROLE));
        vm.prank(GUARDIAN);
        board.grantRole(role, GUARDIAN);
        vm.expectRevert(denied(GUARDIAN, NO_ROLE));
        vm.prank(GUARDIAN);
        board.revokeRole(auditorRole, AUDITOR);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.UnknownSigner.selector, AUDITOR));
        vm.prank(GUARDIAN);
        board.revokeSigner(AUDITOR);
    }

    function test_RevokedSignerIsOutAtOnceAlsoWhilePaused() public {
        bytes memory records = consecutive(1, 1);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        vm.prank(GUARDIAN);
        board.pause();
        vm.prank(GUARDIAN);
        board.revokeSigner(signer);
        vm.prank(ADMIN);
        board.unpause();
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.UnknownSigner.selector, signer));
        board.submitScores(GAME, RULES, FAR, records, signature);
    }

    /// The admin role moves in two steps and not before its delay.
    function test_AdminMovesWithDelay() public {
        address next = address(0xADAD);
        vm.prank(ADMIN);
        board.beginDefaultAdminTransfer(next);
        (, uint48 schedule) = board.pendingDefaultAdmin();
        require(schedule == block.timestamp + 1 days, "schedule");
        vm.warp(schedule);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAccessControlDefaultAdminRules.AccessControlEnforcedDefaultAdminDelay.selector, schedule
            )
        );
        vm.prank(next);
        board.acceptDefaultAdminTransfer();
        vm.warp(schedule + 1);
        vm.prank(next);
        board.acceptDefaultAdminTransfer();
        require(board.defaultAdmin() == next && !board.hasRole(NO_ROLE, ADMIN), "moved");
    }

    function test_PauseStopsEverything() public {
        submit(consecutive(1, 2));
        vm.prank(AUDITOR);
        board.invalidateScores(GAME, list(1), "why");
        vm.prank(GUARDIAN);
        board.pause();
        bytes memory records = consecutive(3, 1);
        bytes[6] memory calls = [
            abi.encodeCall(ILeaderboard.submitScores, (GAME, RULES, FAR, records, signBatch(SIGNER_KEY, records))),
            abi.encodeCall(
                ILeaderboard.anchorEconomy,
                (GAME, 0, 1, RULES, FAR, signed(SIGNER_KEY, digestOf(anchorStruct(GAME, 0, 1, RULES, FAR))))
            ),
            abi.encodeCall(ILeaderboard.invalidateScores, (GAME, list(2), "why")),
            abi.encodeCall(ILeaderboard.reinstateScores, (GAME, list(1), "why")),
            abi.encodeCall(ILeaderboard.publishRules, (GAME, "new")),
            abi.encodeCall(ILeaderboard.retireRules, (GAME, RULES))
        ];
        address[6] memory senders = [address(this), address(this), AUDITOR, AUDITOR, ADMIN, ADMIN];
        bytes32 stopped = keccak256(abi.encodeWithSelector(Pausable.EnforcedPause.selector));
        for (uint256 i = 0; i < 6; ++i) {
            vm.prank(senders[i]);
            (bool done, bytes memory answer) = address(board).call(calls[i]);
            require(!done && keccak256(answer) == stopped, "ran while paused");
        }
        vm.prank(ADMIN);
        board.unpause();
        for (uint256 i = 0; i < 6; ++i) {
            vm.prank(senders[i]);
            (bool done,) = address(board).call(calls[i]);
            require(done, "runs again");
        }
    }

    function testFuzz_PublishAndRetire(bytes32 game, bytes memory document) public {
        vm.assume(document.length > 0 && (game != GAME || keccak256(document) != RULES));
        bytes32 hash = keccak256(document);
        vm.expectEmit(true, true, true, true, address(board));
        emit ILeaderboard.RulesPublished(game, hash, document);
        vm.prank(ADMIN);
        require(board.publishRules(game, document) == hash && board.isActive(game, hash), "active");

        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.RulesAlreadyActive.selector, game, hash));
        vm.prank(ADMIN);
        board.publishRules(game, document);

        vm.expectEmit(true, true, true, true, address(board));
        emit ILeaderboard.RulesRetired(game, hash);
        vm.prank(ADMIN);
        board.retireRules(game, hash);
        require(!board.isActive(game, hash) && board.isActive(GAME, RULES), "retired, and no other");

        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.RulesNotActive.selector, game, hash));
        vm.prank(ADMIN);
        board.retireRules(game, hash);
        vm.prank(ADMIN);
        board.publishRules(game, document);
        require(board.isActive(game, hash), "active again");
    }

    function test_EmptyRules() public {
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.EmptyRules.selector));
        vm.prank(ADMIN);
        board.publishRules(GAME, "");
    }

    function test_RetiredRulesRecordNothing() public {
        submit(consecutive(1, 1));
        vm.prank(ADMIN);
        board.retireRules(GAME, RULES);
        bytes memory records = consecutive(2, 1);
        bytes memory signature = signBatch(SIGNER_KEY, records);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.RulesNotActive.selector, GAME, RULES));
        board.submitScores(GAME, RULES, FAR, records, signature);
        require(board.isRecorded(GAME, 1), "what is recorded stays");
    }

    /// It holds no funds: a plain transfer and a call with value are refused.
    function test_TakesNoFunds() public {
        (bool sent,) = address(board).call{value: 1}("");
        require(!sent, "took a transfer");
        (sent,) = address(board).call{value: 1}(abi.encodeCall(ILeaderboard.head, (GAME)));
        require(!sent, "took value with a call");
    }
}
