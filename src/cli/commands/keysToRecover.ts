import { printable } from '../../escrow/records/freeText.js';
import type { EscrowClient } from '../../client/escrowClient.js';
import { mechanismsFor } from '../../escrow/records/mechanisms.js';
import { MAX_RECOVERY_KEYS } from '../../escrow/records/recovery.js';
import type { Purpose } from '../../escrow/records/policy.js';
import type { RecoveryOrder } from '../../api/orders.js';
import type { KeyReply } from '../../api/replies.js';
import { cellOf, table } from '../columns.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { collect } from '../pages.js';
import type { Session } from '../session.js';
import { isKnown } from '../../api/reading.js';
import { KEY_SPEC_NAMES, KEY_USES } from '../../escrow/records/keySpecs.js';

type Terms<Order> = Order extends { readonly purpose: Purpose } ? Omit<Order, 'keys'> : never;
/** What a request to bring keys back asks, whatever its keys. */
export type OrderTerms = Terms<RecoveryOrder>;

/** Keys are looked for among so many of an owner. */
const MOST_KEYS = 10_000;

/**
 * The keys that a request is to be for: those that were named, or with `--all-of` those of an owner that can be asked for on
 * these terms, when the person has seen them and agrees.
 *
 * @throws UsageError
 */
export async function keysOf(
  session: Session,
  given: CommandArguments,
  client: Pick<EscrowClient, 'keys'>,
  terms: OrderTerms,
): Promise<readonly string[]> {
  const owner = given.find('allOf');
  const named = given.all;
  if (owner === undefined) {
    if (named.length === 0) throw new UsageError('which keys?', 'name them, or add --all-of OWNER');
    if (new Set(named).size < named.length) throw new UsageError('a key is named twice');
    if (named.length > MAX_RECOVERY_KEYS) throw tooMany(named.length);
    return named;
  }
  if (named.length > 0) throw new UsageError('name keys, or --all-of an owner, not both');
  const { items } = await session.busy('looking for the keys', () =>
    collect(
      (query) => client.keys(query),
      MOST_KEYS,
      (key) => key.owner === owner,
    ),
  );
  const wanted = items.filter((key) => obstacleOf(key, terms) === undefined);
  if (wanted.length === 0) {
    throw new UsageError(`there is no key of ${owner} that you may see and that can be asked for so`);
  }
  if (wanted.length > MAX_RECOVERY_KEYS) throw tooMany(wanted.length);
  const isAgreed = given.flag('yes');
  if (!isAgreed && !session.terminal.isInteractive) {
    throw new UsageError('nobody is there to be asked', 'add --yes, after reading: escrowctl key list');
  }
  // also where nobody is asked: what is left out is not to be missed
  show(session, owner, items, terms);
  if (!isAgreed) await confirm(session, wanted.length);
  return wanted.map(({ key }) => key);
}

/** Why a key cannot be asked for on these terms, as far as it shows from here; the server looks at all of it. */
function obstacleOf(key: KeyReply, terms: OrderTerms): string | undefined {
  if (!key.purposes.some(({ purpose }) => purpose === terms.purpose)) {
    return terms.purpose === 'release' ? 'its rule allows no release' : 'its rule allows no use on behalf';
  }
  if (!isConceivable(key, terms.purpose)) return 'nobody can bring it back any more';
  if (terms.purpose === 'release') return undefined;
  const { spec, use } = key;
  if (!isKnown(KEY_SPEC_NAMES, spec) || !isKnown(KEY_USES, use)) return `unknown here: ${spec} to ${use}`;
  const fitting = mechanismsFor(spec, use);
  const stray = terms.scope.mechanisms.find((mechanism) => !fitting.includes(mechanism));
  return stray === undefined ? undefined : `it is no key for ${stray}`;
}

/** Whether the server would take what enough depositaries say; it tells why not, of one who cannot agree. */
function isConceivable({ purposes, coverage }: KeyReply, purpose: Purpose): boolean {
  const of = coverage?.purposes.find((each) => each.purpose === purpose);
  const quorums = purposes.find((each) => each.purpose === purpose)?.quorums ?? [];
  if (of === undefined) return true;
  const gone = of.unable.filter(({ because }) => because !== 'other-key' && because !== 'not-enrolled');
  return quorums.some((members) => !gone.some(({ depositary }) => members.includes(depositary)));
}

function show({ terminal }: Session, owner: string, items: readonly KeyReply[], terms: OrderTerms): void {
  const rows = items.map((key) => ({ key, obstacle: obstacleOf(key, terms) }));
  const wanted = rows.filter(({ obstacle }) => obstacle === undefined);
  const others = rows.filter(({ obstacle }) => obstacle !== undefined);
  const lines = [
    `Keys of ${owner} to ask for:`,
    '',
    ...table(
      ['KEY', 'KIND', 'USE', 'LABEL'],
      wanted.map(({ key }) => [key.key, key.spec, key.use, cellOf(key.label)]),
      terminal.columns,
    ),
    '',
    ...(others.length === 0
      ? []
      : [
          'Left out:',
          '',
          ...table(
            ['KEY', 'KIND', 'WHY', 'LABEL'],
            others.map(({ key, obstacle }) => [key.key, key.spec, obstacle ?? '', cellOf(key.label)]),
            terminal.columns,
          ),
          '',
        ]),
  ];
  terminal.writeError(`${lines.map(printable).join('\n')}\n`);
}

async function confirm({ terminal }: Session, count: number): Promise<void> {
  const many = count === 1 ? 'this key' : `these ${count} keys`;
  const answer = await terminal.ask(`Ask for ${many}? Type yes: `);
  if (answer.trim().toLowerCase() !== 'yes') throw new UsageError('not asked for; nothing was sent');
}

function tooMany(count: number): UsageError {
  return new UsageError(
    `one request is for at most ${MAX_RECOVERY_KEYS} keys, and these are ${count}`,
    'file several requests, each naming some: escrowctl recovery request KEY KEY ...',
  );
}
