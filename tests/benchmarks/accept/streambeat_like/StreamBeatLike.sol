// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A leaderboard as such systems write it: one transaction per score, pushed, best kept, announced.
contract StreamBeatLike {
    struct Entry {
        address player;
        uint256 score;
        uint256 timestamp;
    }

    event ScoreSubmitted(address indexed player, uint256 score, uint256 timestamp);

    Entry[] public entries;
    mapping(address player => uint256 score) public best;

    function submitScore(address player, uint256 score) external {
        entries.push(Entry(player, score, block.timestamp));
        if (score > best[player]) best[player] = score;
        emit ScoreSubmitted(player, score, block.timestamp);
    }
}
