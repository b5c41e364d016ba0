import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

import { type OwnEntry, ownEntries } from '../../../client/history/ownHistory.js';
import { sha256Hex } from '../../../escrow/records/digests.js';
import { DIGEST_BYTES } from '../../../escrow/records/mechanisms.js';
import type { Entry } from '../../../log/entry/entry.js';
import type { CommandRow, Result } from '../../command.js';
import type { CommandArguments } from '../../commandArguments.js';
import type { Session } from '../../session.js';
import { FILTERS, filterOf, listed } from './history.js';

/** Which use of the caller's keys signed a file. */
export const historyFindCommand: CommandRow = {
  usage: 'find <file>',
  summary: 'finds the uses of your keys that signed this file, or that decrypted it',
  about:
    'FILE is what was signed, byte for byte, whether an app sent it whole or its digest; or a ciphertext that was decrypted (- for\n' +
    'standard input). Each entry shown is proven to be in the log; that none was left out is what history export proves.',
  options: [FILTERS.key, FILTERS.since, FILTERS.until],
  examples: ['history find letter.pdf --as ~/.escrowd', 'history find letter.pdf --since 30d --json'],
  run: find,
};

const USES = ['grant.sign', 'grant.decrypt'];

async function find(session: Session, given: CommandArguments): Promise<Result> {
  const filter = filterOf(session, given);
  const file = given.argument(0);
  const looked = await session.busy(`reading ${file}`, () => namesOf(session, file));
  const { identity, client, log } = await session.connect();
  const owner = identity.signer.id;
  const found = await session.busy('reading the history', async (progress) => {
    const uses: OwnEntry[] = [];
    const outcomes = new Map<string, OwnEntry>();
    let read = 0;
    for await (const item of ownEntries({ client, log, owner }, filter)) {
      read += 1;
      if (read % 1000 === 0) progress(`reading the history: ${read} entries`);
      const { entry } = item;
      if (!USES.includes(entry.act)) continue;
      if (entry.phase !== 'attempted') outcomes.set(entry.id, item);
      else {
        // newest first: the outcome of an attempt was read before it
        const outcome = outcomes.get(entry.id);
        outcomes.delete(entry.id);
        if (isOf(entry, looked)) uses.push(outcome ?? item);
      }
    }
    return uses;
  });
  const json = { file, sha256: looked[0], items: found };
  if (found.length === 0)
    return {
      json,
      lines: [`Nothing in your history is about ${file}: no use of a key of yours had it as its input.`],
      next: 'one that was encrypted, or signed in another form (a container, a mail), has other bytes: find what the app sent',
    };
  return {
    json,
    lines: listed(session, found),
    next: 'escrowctl history export FILE proves that none is left out',
  };
}

/** The names under which entries have a file: the SHA-256 of it, and of each digest of it that an app may have sent in its place. */
async function namesOf(session: Session, file: string): Promise<readonly string[]> {
  const hashes = (Object.keys(DIGEST_BYTES) as (keyof typeof DIGEST_BYTES)[]).map((name) => createHash(name));
  if (file === '-') {
    const bytes = await session.terminal.readInput();
    for (const hash of hashes) hash.update(bytes);
  } else {
    session.noteInput(file);
    for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>)
      for (const hash of hashes) hash.update(chunk);
  }
  const digests = hashes.map((hash) => hash.digest());
  const [whole] = digests;
  return [...(whole === undefined ? [] : [whole.toString('hex')]), ...digests.map(sha256Hex)];
}

function isOf({ detail: { inputs } }: Entry, names: readonly string[]): boolean {
  return Array.isArray(inputs) && inputs.some((input) => typeof input === 'string' && names.includes(input));
}
