import type { EscrowClient, PageQuery } from '../client/escrowClient.js';
import type { PageReply } from '../api/replies.js';
import { table } from './columns.js';
import type { Result } from './command.js';
import type { CommandArguments } from './commandArguments.js';
import type { Session } from './session.js';

/** The server gives at most so many at once. */
const LARGEST_PAGE = 200;

/** The first `limit` items of a list that fulfil `wanted`, over as many pages as it takes. */
export async function collect<T>(
  page: (query: PageQuery) => Promise<PageReply<T>>,
  limit: number,
  wanted: (item: T) => boolean = () => true,
): Promise<{ readonly items: readonly T[]; readonly hasMore: boolean }> {
  const items: T[] = [];
  let after: string | undefined;
  for (;;) {
    const query = {
      limit: Math.min(LARGEST_PAGE, Math.max(limit, 1)),
      ...(after === undefined ? {} : { after }),
    };
    const { items: some, next } = await page(query);
    for (const item of some) {
      if (!wanted(item)) continue;
      if (items.length === limit) return { items, hasMore: true };
      items.push(item);
    }
    if (next === undefined) return { items, hasMore: false };
    if (items.length >= limit) return { items, hasMore: true };
    after = next;
  }
}

/** What a list of the server's is to show. */
export interface List<T> {
  readonly busy: string;
  /** False where a client certificate will do. */
  readonly signsAll?: false;
  readonly page: (client: EscrowClient, query: PageQuery) => Promise<PageReply<T>>;
  readonly wanted?: (item: T) => boolean;
  /** Said when there is nothing. */
  readonly none: string;
  readonly columns: readonly (readonly [heading: string, cell: (item: T) => string])[];
  /** Said when no more than this is there. */
  readonly next?: (items: readonly T[]) => string | undefined;
}

/** A command that shows `--limit` items of a list as a table, and says when there are more. */
export async function listed<T>(session: Session, given: CommandArguments, list: List<T>): Promise<Result> {
  const limit = given.count('limit');
  const { client } = await session.connect(list.signsAll === undefined ? {} : { signsAll: list.signsAll });
  const { items, hasMore } = await session.busy(list.busy, () =>
    collect((query) => list.page(client, query), limit, list.wanted),
  );
  const headings = list.columns.map(([heading]) => heading);
  const rows = items.map((item) => list.columns.map(([, cell]) => cell(item)));
  return {
    json: { items, hasMore },
    lines: items.length === 0 ? [list.none] : table(headings, rows, session.terminal.columns),
    next: hasMore ? `there are more: --limit ${limit * 2}` : list.next?.(items),
  };
}
