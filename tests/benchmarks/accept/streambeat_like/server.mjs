// The baseline of the accept benchmark: a score server as StreamBeat-like systems build it with Express and ethers.
// It recomputes the published formula in JavaScript numbers and, unless `--no-chain` is given, sends every score as a
// transaction of its own and answers after its receipt. It keeps nothing: no database, no signature, no limits.
//
//   node server.mjs PORT RPC_URL   |   node server.mjs PORT --no-chain
//
// Kinder to the baseline than its usual form: a nonce manager (without one, most concurrent sends collide), a fixed gas
// limit and fee (no estimate per score), receipts asked every 50 ms instead of every 4 s, and no second transaction.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { ContractFactory, JsonRpcProvider, NonceManager, Wallet, isAddress } from "ethers";
import express from "express";

const [port, chain] = process.argv.slice(2);
// Anvil's first published development key.
const DEVELOPMENT_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

function compile() {
  const solc = createRequire(import.meta.url)("solc");
  const content = readFileSync(new URL("StreamBeatLike.sol", import.meta.url), "utf8");
  const input = {
    language: "Solidity",
    sources: { "StreamBeatLike.sol": { content } },
    settings: {
      optimizer: { enabled: true, runs: 200 },
      evmVersion: "paris",
      outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const errors = (output.errors ?? []).filter((error) => error.severity === "error");
  if (errors.length) throw new Error(errors[0].formattedMessage);
  return output.contracts["StreamBeatLike.sol"].StreamBeatLike;
}

async function deploy(url) {
  const provider = new JsonRpcProvider(url, undefined, { staticNetwork: true, pollingInterval: 50 });
  const signer = new NonceManager(new Wallet(DEVELOPMENT_KEY, provider));
  const { abi, evm } = compile();
  const contract = await new ContractFactory(abi, evm.bytecode.object, signer).deploy();
  await contract.waitForDeployment();
  return contract;
}

// The checks StreamBeat lists, in the order it lists them; null when the play is honest.
function refusal({ score, perfect, good, miss, combo, gameTime }) {
  for (const value of [score, perfect, good, miss, combo, gameTime])
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return "Invalid score data";
  if (score > 1_000_000) return "Score out of bounds";
  if (gameTime < 10_000) return "Game too short";
  const notes = perfect + good + miss;
  if (notes < 10) return "Too few notes";
  const multiplier = Math.min(1 + combo * 0.1, 50);
  const expected = Math.floor((perfect * 10 + good * 5) * multiplier);
  if (Math.abs(score - expected) > 1) return `Score mismatch. Claimed: ${score}, Expected: ${expected}`;
  if (perfect / notes > 0.985 && notes >= 100) return "Suspicious perfect ratio";
  return null;
}

const contract = chain === "--no-chain" ? null : await deploy(chain);
const overrides = { gasLimit: 200_000, maxFeePerGas: 20_000_000_000n, maxPriorityFeePerGas: 1_000_000_000n };
const app = express();
app.disable("x-powered-by");
app.disable("etag");
app.use(express.json());
app.post("/api/submit-score", async (request, response) => {
  const { playerAddress, scoreData } = request.body ?? {};
  if (!isAddress(playerAddress)) return response.status(400).json({ success: false, error: "Invalid player" });
  const reason = refusal(scoreData ?? {});
  if (reason) return response.status(400).json({ success: false, error: "Score validation failed", reason });
  if (!contract) return response.json({ success: true, validated: true, score: scoreData.score });
  try {
    const transaction = await contract.submitScore(playerAddress, scoreData.score, overrides);
    await transaction.wait();
    response.json({ success: true, validated: true, score: scoreData.score, txHash: transaction.hash });
  } catch (error) {
    response.status(502).json({ success: false, error: String(error.shortMessage ?? error) });
  }
});
app.listen(Number(port), "127.0.0.1", () => console.log(`listening ${port}`));
