// Compiles Leaderboard.sol from scratch (no cache) into relay/contract.json, or with --check proves that the committed
// file is byte for byte what the sources compile to. Source names are relative, so every machine gets the same bytes.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { compiler } from "./compiler.js";

const require = createRequire(import.meta.url);
const solc = require("solc");
const root = new URL("../../", import.meta.url);
const target = new URL("relay/contract.json", root);
const entry = "contracts/Leaderboard.sol";

const sources = {};

function read(name) {
  const place = name.startsWith("@") ? `node_modules/${name}` : name;
  const bytes = readFileSync(new URL(place, root));
  sources[name] = createHash("sha256").update(bytes).digest("hex");
  return bytes.toString("utf8");
}

const input = {
  language: "Solidity",
  sources: { [entry]: { content: read(entry) } },
  settings: {
    ...compiler.settings,
    outputSelection: { [entry]: { Leaderboard: ["abi", "evm.bytecode.object", "evm.deployedBytecode"] } },
  },
};

const output = JSON.parse(solc.compile(JSON.stringify(input), { import: (name) => ({ contents: read(name) }) }));
const failures = (output.errors ?? []).filter(
  // Warnings in our own sources fail; OpenZeppelin's are not ours to fix.
  (e) => e.severity === "error" || !(e.sourceLocation?.file ?? "").startsWith("@"),
);
if (failures.length > 0) {
  console.error(failures.map((e) => e.formattedMessage).join("\n"));
  process.exit(1);
}

const contract = output.contracts[entry].Leaderboard;
const immutables = Object.values(contract.evm.deployedBytecode.immutableReferences)
  .flat()
  .sort((a, b) => a.start - b.start);
const artifact = {
  contractName: "Leaderboard",
  compiler: { version: solc.version(), settings: compiler.settings },
  sources: Object.fromEntries(Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1))),
  abi: contract.abi,
  bytecode: `0x${contract.evm.bytecode.object}`,
  deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
  immutables, // byte ranges of the deployed code that the constructor fills in
};
const text = `${JSON.stringify(artifact, null, 1)}\n`;

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("relay/contract.json is stale: run `npm run artifact` and commit the result");
    process.exit(1);
  }
  console.log(`relay/contract.json is what ${solc.version()} makes of ${Object.keys(sources).length} sources`);
} else {
  writeFileSync(target, text);
  console.log(`wrote ${fileURLToPath(target)}: ${artifact.deployedBytecode.length / 2 - 1} bytes of code`);
}
