// One insert and one best-score upsert for each event, as in Ponder's own examples.
import { ponder } from "ponder:registry";
import { best, score } from "ponder:schema";

ponder.on("Leaderboard:ScoreSubmitted", async ({ event, context }) => {
  const { gameId, player, roundId, score: points, evidenceHash, rulesHash } = event.args;
  await context.db.insert(score).values({
    id: event.id,
    game: gameId,
    round: roundId,
    player,
    score: points,
    evidence: evidenceHash,
    rules: rulesHash,
    transaction: event.transaction.hash,
    block: event.block.number,
    time: event.block.timestamp,
  });
  await context.db
    .insert(best)
    .values({ player, score: points, time: event.block.timestamp })
    .onConflictDoUpdate((row) => (points > row.score ? { score: points, time: event.block.timestamp } : {}));
});
