import type { KeyObject } from 'node:crypto';

import type { HistoryFilter } from '../../src/escrow/records/ownerHistory.js';
import { HistoryList, isInHistory } from '../../src/escrow/records/ownerHistory.js';
import { decodeEntry, type Entry } from '../../src/log/entry/entry.js';
import type { FakeServer, Incoming } from './fakeServer.js';
import { es256, ORIGIN } from './fakeServer.js';

/** How a server lies about a history; without any of it, it is honest. */
export interface HistoryLies {
  /** Entries that are not shown, neither in the pages nor, unless `isStatementTrue`, in the statement. */
  readonly hidden?: readonly number[];
  /** Entries that are shown although they do not belong there. */
  readonly added?: readonly number[];
  /** Changes the text of an entry as it is shown. */
  readonly altered?: (entry: string, index: number) => string;
  /** The statement is about the true list. */
  readonly isStatementTrue?: true;
  /** The size of the tree that is shown, when it is an old one. */
  readonly size?: number;
  readonly statementKey?: KeyObject;
  readonly statementType?: string;
  /** Replaces what the statement says. */
  readonly said?: Readonly<Record<string, unknown>>;
}

/** So many entries a page. */
const PAGE = 3;

/** Entries about two owners and nobody, in turn; every second one of `dana` is about another key. */
export function fillHistory(server: FakeServer, count: number): void {
  for (let made = 0; made < count; made += 1) {
    const owner = ['dana', 'olga', undefined][made % 3];
    const entry: Entry = {
      v: 1,
      time: `2026-03-01T12:00:${String(made % 60).padStart(2, '0')}.000Z`,
      act: made % 2 === 0 ? 'grant.sign' : 'key.read',
      id: `act_${server.log.entries.length}`,
      phase: 'attempted',
      actor: 'mailer',
      subject:
        owner === undefined ? {} : { owner, key: `key_${String((made % 2) + 1).repeat(32)}`, grant: 'g' },
      detail: { note: 'über \u2028' },
    };
    server.log.append(entry);
  }
}

/** Lets a server answer `GET /v1/history` and `POST /v1/history/statement` for this owner. */
export function serveHistory(server: FakeServer, owner: string, now: Date, lies: HistoryLies = {}): void {
  const { log } = server;
  const sizeNow = (): number => lies.size ?? log.entries.length;
  const listed = (filter: HistoryFilter, size: number, isTrue: boolean): readonly number[] =>
    log.entries
      .slice(0, size)
      .flatMap((text, index) => {
        const belongs = isInHistory(decodeEntry(Buffer.from(text)), owner, filter);
        const isShown =
          lies.added?.includes(index) === true || (belongs && lies.hidden?.includes(index) !== true);
        return (isTrue ? belongs : isShown) ? [index] : [];
      })
      .reverse();

  server.routes.set('GET /v1/history', async ({ target }: Incoming) => {
    const {
      after = 'Infinity',
      limit = '50',
      upTo,
      ...filter
    } = Object.fromEntries(new URL(target, 'https://x').searchParams);
    const size = lies.size ?? Number(upTo ?? sizeNow());
    const rest = listed(filter, size, false).filter((index) => index < Number(after));
    const shown = rest.slice(0, Math.min(PAGE, Number(limit)));
    const items = await Promise.all(
      shown.map(async (index) => ({
        index,
        entry: lies.altered?.(log.entries[index] ?? '', index) ?? log.entries[index],
        proof: await log.inclusion(index, size),
      })),
    );
    const next = rest.length > shown.length ? { next: String(shown.at(-1)) } : {};
    return { json: { items, ...next, checkpoint: log.checkpoint(size) } };
  });

  server.routes.set('POST /v1/history/statement', ({ body }: Incoming) => {
    const filter = JSON.parse(body.toString()) as HistoryFilter;
    const size = sizeNow();
    const list = new HistoryList();
    for (const index of listed(filter, size, lies.isStatementTrue === true)) {
      list.add(index, Buffer.from(log.entries[index] ?? ''));
    }
    const checkpoint = log.checkpoint(size);
    const payload = {
      iss: ORIGIN,
      sub: owner,
      iat: Math.floor(now.getTime() / 1000),
      filter,
      checkpoint: { size, root: checkpoint.split('\n')[2] },
      count: list.count,
      list: list.digest(),
      ...lies.said,
    };
    const header = { alg: 'ES256', typ: lies.statementType ?? 'escrowd-history+jwt' };
    const statement = es256(lies.statementKey ?? server.identity.privateKey, header, payload);
    return { json: { result: { statement, checkpoint }, entry: log.entries.length } };
  });
}
