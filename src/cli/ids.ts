import type { EscrowClient } from '../client/escrowClient.js';
import { quoted } from '../escrow/records/freeText.js';
import { UsageError } from './failures.js';
import { collect } from './pages.js';
import type { Session } from './session.js';

/** Something with an id, and what else people know it by. */
interface Listed {
  readonly id: string;
  readonly about: string;
}

/** What has ids, and how all of it that the caller may see is found. */
const KINDS = {
  key: async (client: EscrowClient): Promise<readonly Listed[]> =>
    (await collect((query) => client.keys(query), Infinity)).items.map(({ key, label, owner }) => ({
      id: key,
      about: `${label === '' ? '' : `${quoted(label)} `}of ${owner}`,
    })),
  rec: async (client: EscrowClient): Promise<readonly Listed[]> =>
    (await collect((query) => client.recoveries(query), Infinity)).items.map((one) => ({
      id: one.recovery,
      about: `${one.status}, keys of ${one.owner}`,
    })),
  grant: async (client: EscrowClient): Promise<readonly Listed[]> =>
    (await collect((query) => client.grants(query), Infinity)).items.map(({ grant, status, scope }) => ({
      id: grant,
      about: `${status}, of ${scope.app}`,
    })),
} as const;

const WHAT = { key: 'key', rec: 'request', grant: 'grant' } as const;
const SHOWN = 10;

/**
 * The id that begins so, of what the caller may see: the beginning of one is as good as the whole, while no other begins alike. A whole
 * id is taken as it is, and nothing is asked.
 * @throws UsageError with those that there are, when more than one begins so, and when none does
 */
export async function idOf(
  session: Session,
  client: EscrowClient,
  kind: keyof typeof KINDS,
  begin: string,
): Promise<string> {
  // what is no beginning of an id is refused by the server, as before
  const digits = new RegExp(`^(?:${kind}_)?([0-9a-f]{4,31})$`).exec(begin)?.[1];
  if (digits === undefined) return begin;
  const wanted = `${kind}_${digits}`;
  const all = await session.busy(`looking for the ${WHAT[kind]}`, () => KINDS[kind](client));
  const found = all.filter(({ id }) => id.startsWith(wanted));
  const [only] = found;
  if (only === undefined)
    throw new UsageError(`you see no ${WHAT[kind]} whose id begins with ${begin}`, `escrowctl ${LIST[kind]}`);
  if (found.length === 1) return only.id;
  const list = found.slice(0, SHOWN).map(({ id, about }) => `${id} (${about})`);
  const more = found.length > SHOWN ? [`${found.length - SHOWN} more`] : [];
  throw new UsageError(
    `${found.length} ids begin with ${begin}: ${[...list, ...more].join(', ')}`,
    'give more of it',
  );
}

const LIST = { key: 'key list', rec: 'recovery list', grant: 'grant list' } as const;
