import type { PageQuery } from '../client/escrowClient.js';
import type { PageReply } from '../api/replies.js';

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
