// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base} from "./Base.sol";
import {ILeaderboard} from "../interfaces/ILeaderboard.sol";

/// Anchors: no gap, no overlap, each signature once, chained.
contract EconomyTest is Base {
    bytes32 internal constant ECONOMY = keccak256("economy");

    function anchor(uint64 first, uint64 count, bytes32 root) internal {
        board.anchorEconomy(ECONOMY, first, count, root, FAR, signAnchor(SIGNER_KEY, first, count, root));
    }

    function signAnchor(uint256 key, uint64 first, uint64 count, bytes32 root) internal view returns (bytes memory) {
        return signed(key, digestOf(anchorStruct(ECONOMY, first, count, root, FAR)));
    }

    function test_Anchor() public {
        bytes32 root = keccak256("root");
        bytes32 head =
            keccak256(abi.encode(board.ANCHOR_LINK(), bytes32(0), ECONOMY, uint64(0), uint64(3), root, signer));
        bytes memory signature = signAnchor(SIGNER_KEY, 0, 3, root);
        vm.expectEmit(true, true, true, true, address(board));
        emit ILeaderboard.EconomyAnchored(ECONOMY, signer, 0, 3, root, head);
        board.anchorEconomy(ECONOMY, 0, 3, root, FAR, signature);
        require(board.nextSequence(ECONOMY) == 3 && board.economyHead(ECONOMY) == head, "state");
        require(board.nextSequence(GAME) == 0, "other economies untouched");

        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.WrongSequence.selector, ECONOMY, 3, 0));
        board.anchorEconomy(ECONOMY, 0, 3, root, FAR, signature);
    }

    function testFuzz_Chain(uint32[5] memory counts, bytes32 root) public {
        bytes32 head;
        uint64 next;
        for (uint256 i = 0; i < 5; ++i) {
            uint64 count = uint64(counts[i]) + 1;
            anchor(next, count, root);
            head = keccak256(abi.encode(board.ANCHOR_LINK(), head, ECONOMY, next, count, root, signer));
            next += count;
            require(board.nextSequence(ECONOMY) == next && board.economyHead(ECONOMY) == head, "state");
        }
    }

    function testFuzz_WrongSequence(uint64 first, uint32 before) public {
        uint64 expected = uint64(before) + 1;
        vm.assume(first != expected);
        anchor(0, expected, "root");
        bytes memory signature = signAnchor(SIGNER_KEY, first, 1, "root");
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.WrongSequence.selector, ECONOMY, expected, first));
        board.anchorEconomy(ECONOMY, first, 1, "root", FAR, signature);
    }

    function test_LastSequence() public {
        anchor(0, type(uint64).max, "root");
        bytes memory signature = signAnchor(SIGNER_KEY, type(uint64).max, 1, "root");
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        board.anchorEconomy(ECONOMY, type(uint64).max, 1, "root", FAR, signature);
    }

    function test_EmptyAnchor() public {
        bytes memory signature = signAnchor(SIGNER_KEY, 0, 0, "root");
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.EmptyAnchor.selector));
        board.anchorEconomy(ECONOMY, 0, 0, "root", FAR, signature);
    }

    function test_OtherKey() public {
        bytes memory signature = signAnchor(STRANGER_KEY, 0, 1, "root");
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.UnknownSigner.selector, vm.addr(STRANGER_KEY)));
        board.anchorEconomy(ECONOMY, 0, 1, "root", FAR, signature);
    }

    function test_Deadline() public {
        uint64 last = uint64(block.timestamp);
        bytes memory signature = signed(SIGNER_KEY, digestOf(anchorStruct(ECONOMY, 0, 1, "root", last)));
        vm.warp(last + 1);
        vm.expectRevert(abi.encodeWithSelector(ILeaderboard.DeadlinePassed.selector, last));
        board.anchorEconomy(ECONOMY, 0, 1, "root", last, signature);
        vm.warp(last);
        board.anchorEconomy(ECONOMY, 0, 1, "root", last, signature);
    }

    function testFuzz_AnchorDigest(bytes32 economy, uint64 first, uint64 count, bytes32 root, uint64 deadline)
        public
        view
    {
        bytes32 expected = digestOf(anchorStruct(economy, first, count, root, deadline));
        require(board.anchorDigest(economy, first, count, root, deadline) == expected, "digest");
    }
}
