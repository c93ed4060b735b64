// The same contract on the same chain as ours; everything not named is Ponder's default.
import { createConfig } from "ponder";
import { parseAbi } from "viem";

const event =
  "event ScoreSubmitted(bytes32 indexed gameId, address indexed player, uint64 indexed roundId, " +
  "uint256 score, bytes32 evidenceHash, bytes32 rulesHash)";

export default createConfig({
  database: { kind: "postgres", connectionString: process.env.DATABASE_URL },
  chains: {
    anvil: { id: 31337, rpc: process.env.RPC_URL, ws: process.env.WS_URL || undefined },
  },
  contracts: {
    Leaderboard: {
      abi: parseAbi([event]),
      chain: "anvil",
      address: process.env.CONTRACT as `0x${string}`,
      startBlock: 0,
    },
  },
});
