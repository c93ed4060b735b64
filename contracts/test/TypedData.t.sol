// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Base, IBoard} from "./Base.sol";

/// No signature means anything but what its signer was shown: every pair of types, other chains, other contracts.
contract TypedDataTest is Base {
    bytes32 internal constant ECONOMY = GAME; // the same word on purpose: only the type keeps them apart

    function records() internal pure returns (bytes memory) {
        return consecutive(1, 1);
    }

    /// The struct hash of each type over words that are as equal as the types allow: 0 batch, 1 anchor, 2 submission.
    function structOf(uint256 kind) internal pure returns (bytes32) {
        if (kind == 0) return batchStruct(GAME, RULES, FAR, records());
        if (kind == 1) return anchorStruct(ECONOMY, 0, 1, RULES, FAR);
        return submitStruct(GAME, RULES, entry(1).player, entry(1).score, entry(1).evidenceHash, FAR);
    }

    /// Whether a batch, or an anchor, of exactly those words is taken with this signature.
    function taken(uint256 kind, bytes memory signature) internal returns (bool) {
        if (kind == 0) {
            try board.submitScores(GAME, RULES, FAR, records(), signature) returns (uint256) {
                return true;
            } catch {
                return false;
            }
        }
        try board.anchorEconomy(ECONOMY, 0, 1, RULES, FAR, signature) {
            return true;
        } catch {
            return false;
        }
    }

    function test_EveryPairOfTypes() public {
        for (uint256 made = 0; made < 3; ++made) {
            bytes memory signature = signed(SIGNER_KEY, digestOf(structOf(made)));
            for (uint256 read = 0; read < 2; ++read) {
                if (made != read) require(!taken(read, signature), "a type was read as another");
            }
        }
        for (uint256 kind = 0; kind < 2; ++kind) {
            require(taken(kind, signed(SIGNER_KEY, digestOf(structOf(kind)))), "and its own type is taken");
        }
    }

    /// A batch's struct has the words of an anchor with the same positions: records hashed into a word of the signer's choice.
    function testFuzz_ChosenWordsDoNotCross(uint64 first, uint64 count, uint64 deadline, bytes32 root) public {
        vm.assume(count > 0);
        bytes memory anchor = signed(SIGNER_KEY, digestOf(anchorStruct(GAME, first, count, root, deadline)));
        try board.submitScores(GAME, RULES, deadline, abi.encode(first, count, root), anchor) {
            revert("an anchor recorded scores");
        } catch {}
        require(board.head(GAME) == bytes32(0), "head unmoved");
    }

    function testFuzz_OtherChain(uint64 chain) public {
        vm.assume(chain != block.chainid && chain != 0);
        bytes32 separator = domainSeparator(chain, address(board));
        for (uint256 kind = 0; kind < 2; ++kind) {
            require(!taken(kind, signed(SIGNER_KEY, digestOf(separator, structOf(kind)))), "another chain's signature");
        }
    }

    /// After a fork of the chain old signatures stay on the old side: the separator follows `block.chainid`.
    function test_ForkedChain() public {
        bytes memory before = signed(SIGNER_KEY, digestOf(structOf(0)));
        vm.chainId(424_242);
        require(!taken(0, before), "the old chain's signature");
        require(taken(0, signed(SIGNER_KEY, digestOf(structOf(0)))), "the new chain's signature");
    }

    function testFuzz_OtherContract(address other) public {
        vm.assume(other != address(board));
        bytes32 separator = domainSeparator(block.chainid, other);
        for (uint256 kind = 0; kind < 2; ++kind) {
            require(!taken(kind, signed(SIGNER_KEY, digestOf(separator, structOf(kind)))), "another contract's signature");
        }
    }

    function test_SecondDeployment() public {
        bytes memory signature = signed(SIGNER_KEY, digestOf(structOf(0)));
        IBoard first = board;
        setUp();
        require(address(first) != address(board), "another address");
        require(!taken(0, signature), "the first deployment's signature");
    }

    /// Any other name or version of the domain, and a bare or personal-message digest, are refused.
    function test_OtherDomainsAndPrefixes() public {
        bytes32 typeHash = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32[4] memory digests;
        digests[0] = digestOf(
            keccak256(abi.encode(typeHash, keccak256("Leaderboards"), keccak256("1"), block.chainid, address(board))),
            structOf(0)
        );
        digests[1] = digestOf(
            keccak256(abi.encode(typeHash, keccak256("Leaderboard"), keccak256("2"), block.chainid, address(board))),
            structOf(0)
        );
        digests[2] = structOf(0);
        digests[3] = keccak256(abi.encodePacked("\x19Ethereum Signed Message:\n32", digestOf(structOf(0))));
        for (uint256 i = 0; i < 4; ++i) require(!taken(0, signed(SIGNER_KEY, digests[i])), "a foreign digest");
    }

    function test_DomainIsPublished() public view {
        (, string memory name, string memory version, uint256 chainId, address verifier,,) = board.eip712Domain();
        require(keccak256(bytes(name)) == keccak256("Leaderboard") && keccak256(bytes(version)) == keccak256("1"));
        require(chainId == block.chainid && verifier == address(board), "EIP-5267");
    }
}
