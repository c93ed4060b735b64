// Compiles and tests the contract with what `npm ci` installed: nothing is downloaded at run time.
import { defineConfig } from "hardhat/config";
import { compiler } from "./contracts/scripts/compiler.js";

export default defineConfig({
  solidity: compiler,
  paths: { sources: "./contracts", tests: { solidity: "./contracts/test" } },
  test: { solidity: { fuzz: { runs: 256 }, invariant: { runs: 64, depth: 64 } } },
});
