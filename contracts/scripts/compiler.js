// The one place that names compiler settings: Hardhat (tests) and artifact.js (what is shipped) both read it.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const compiler = {
  version: require("solc/package.json").version,
  path: require.resolve("solc/soljson.js"), // the compiler as WebAssembly, from the npm package: no download
  settings: {
    optimizer: { enabled: true, runs: 200 },
    viaIR: true,
    evmVersion: "paris", // runs everywhere (py-evm, anvil, Somnia); newer rules would save 0.1 % of the gas
    metadata: { bytecodeHash: "ipfs" }, // the code carries the hash of the sources it was compiled from
  },
};
