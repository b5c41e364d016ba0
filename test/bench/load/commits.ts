import { createInterface } from 'node:readline';
import { createHistogram } from 'node:perf_hooks';
import { Client } from 'pg';
import type { ConnectionSettings } from '../../../src/privatePostgres/lock.js';

/** How long two commits of one row each take, one after the other. */
export interface CommitTimes {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/*
 * Two durable commits of one row each are the least that an attempt and an outcome can cost, one after the other, on this
 * server. Each line that comes is for how many seconds that is measured; the table is removed at the end.
 */
const client = new Client({ ...(JSON.parse(process.argv[2] ?? '') as ConnectionSettings), ssl: false });
await client.connect();
await client.query(
  'create schema if not exists bench; create table if not exists bench.commits (row bytea not null)',
);
const insert = {
  name: 'insert',
  text: 'insert into bench.commits (row) values ($1)',
  values: [Buffer.alloc(600, 1)],
};
say('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const seconds = Number(JSON.parse(line));
  await measure(seconds / 4);
  say(await measure(seconds));
}
await client.query('drop schema bench cascade');
await client.end();

async function measure(seconds: number): Promise<CommitTimes> {
  const histogram = createHistogram();
  const over = performance.now() + seconds * 1000;
  while (performance.now() < over) {
    const begunAt = performance.now();
    await client.query(insert);
    await client.query(insert);
    histogram.record(Math.round((performance.now() - begunAt) * 1e6));
  }
  return { p50Ms: histogram.percentile(50) / 1e6, p99Ms: histogram.percentile(99) / 1e6 };
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
