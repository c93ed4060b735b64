import { onchainTable } from "ponder";

export const score = onchainTable("score", (t) => ({
  id: t.text().primaryKey(),
  game: t.hex().notNull(),
  round: t.bigint().notNull(),
  player: t.hex().notNull(),
  score: t.bigint().notNull(),
  evidence: t.hex().notNull(),
  rules: t.hex().notNull(),
  transaction: t.hex().notNull(),
  block: t.bigint().notNull(),
  time: t.bigint().notNull(),
}));

export const best = onchainTable("best", (t) => ({
  player: t.hex().primaryKey(),
  score: t.bigint().notNull(),
  time: t.bigint().notNull(),
}));
