// Makes package-lock.json portable, after `npm install --package-lock-only` (see "lock" in package.json):
//  - no `resolved` URLs: the lock names packages and hashes, never a host, so any registry or mirror serves;
//  - an entry for every platform's binary, also where the registry in use lacks it: without them `npm ci` refuses the
//    lock as out of sync (those entries carry no hash, because nobody here could fetch what they name).
import { readFileSync, writeFileSync } from "node:fs";

const file = new URL("../../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));
const cpus = { amd64: "x64", x64: "x64", arm64: "arm64" };

function platformEntry(name, version) {
  const parts = name.split("-");
  const libc = parts.includes("gnu") ? "glibc" : parts.includes("musl") ? "musl" : undefined;
  return {
    version,
    cpu: [cpus[parts.find((part) => part in cpus)]],
    dev: true,
    ...(libc && { libc: [libc] }),
    optional: true,
    os: [parts.find((part) => ["darwin", "linux", "win32"].includes(part))],
  };
}

for (const [path, entry] of Object.entries(lock.packages)) {
  delete entry.resolved;
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const known = lock.packages[`node_modules/${name}`] ?? lock.packages[`${path}/node_modules/${name}`];
    if (!known) lock.packages[`node_modules/${name}`] = platformEntry(name, version);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, "en")));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
