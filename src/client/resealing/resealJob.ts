import type { KeyReply, RecoveryReply } from '../../api/replies.js';
import { newId } from '../../escrow/records/ids.js';
import { MAX_RECOVERY_KEYS } from '../../escrow/records/recovery.js';
import { ServerProblem } from '../errors.js';
import type { EscrowClient, PageQuery } from '../escrowClient.js';

/** Which keys are to be sealed anew. */
export type WhichKeys =
  | { readonly leaving: string }
  /** Those with a share that went to another key of this depositary than counts now. */
  | { readonly otherKey: string }
  | { readonly rule: string }
  /** Those under key-encryption keys that can be rotated to newer ones. */
  | { readonly olderKeks: true }
  | { readonly keys: readonly string[] };

/** What a job asks of each of its keys. */
export interface ResealTerms {
  readonly job: string;
  readonly reason: string;
  /** ISO 8601. */
  readonly validFor: string;
}

/** A name for requests that belong together, made by whoever files them. */
export function newJob(random: (length: number) => Uint8Array): string {
  return newId('JobId', random);
}

/** The server gives at most so many at once. */
const PAGE = 200;

/** All requests of a job that the caller may see, newest first. */
export async function requestsOf(
  client: Pick<EscrowClient, 'recoveriesOf'>,
  job: string,
): Promise<readonly RecoveryReply[]> {
  return all((query) => client.recoveriesOf(job, query));
}

/** What a job has left to ask for. */
export interface Left {
  readonly keys: readonly KeyReply[];
  /** Those that were named and that the caller sees no key of. */
  readonly unknown: readonly string[];
  /** Those of which the server does not say whether they are meant, as while the token is out: nobody knows whether any is left. */
  readonly unsaid: number;
  /** Those under older key-encryption keys that nothing rotates, where such are asked for: they stay, and so must these. */
  readonly stuck: number;
  /** Those of `keys` that a request of the job failed by: each is asked for alone, so that the others do not fail with it again. */
  readonly apart: ReadonlySet<string>;
}

/**
 * The keys that are to be sealed anew and are not yet: of those that the caller may see, and that no request of the job names which is
 * done, or is open and was planned by the policy in force.
 */
export async function keysLeft(
  client: Pick<EscrowClient, 'keys'>,
  which: WhichKeys,
  requests: readonly RecoveryReply[],
): Promise<Left> {
  const keys = await all((query) => client.keys(query));
  const inForce = Math.max(0, ...keys.map(({ coverage }) => coverage?.policyVersion ?? 0));
  const asked = new Set(
    requests
      .filter(({ status, reseal }) => {
        const isOpen = status === 'pending' || status === 'approved';
        // of one that was planned by another policy nothing comes any more
        return status === 'resealed' || (isOpen && (reseal?.policyVersion ?? 0) >= inForce);
      })
      .flatMap((request) => request.keys.map(({ key }) => key)),
  );
  const seen = new Set(keys.map(({ key }) => key));
  const left = keys.filter((key) => isMeant(key, which) && !asked.has(key.key));
  const failures = requests.flatMap(({ status, ended }) =>
    status === 'failed' && ended?.reason !== undefined ? [ended.reason] : [],
  );
  return {
    keys: left,
    unknown: 'keys' in which ? which.keys.filter((key) => !seen.has(key)) : [],
    unsaid: keys.filter((key) => !asked.has(key.key) && !isSaid(key, which)).length,
    stuck: 'olderKeks' in which ? keys.filter(isStuck).length : 0,
    apart: new Set(left.flatMap(({ key }) => (failures.some((reason) => reason.includes(key)) ? [key] : []))),
  };
}

/** Whether the server says what decides that this key is meant. */
function isSaid({ coverage }: KeyReply, which: WhichKeys): boolean {
  if ('otherKey' in which) return coverage !== undefined;
  if (!('olderKeks' in which)) return true;
  return coverage?.purposes.every(({ kekState }) => kekState !== undefined) === true;
}

function isStuck({ coverage }: KeyReply): boolean {
  return coverage?.purposes.some(({ kekState }) => kekState === 'not-rotatable') === true;
}

function isMeant({ key, rule, purposes, coverage }: KeyReply, which: WhichKeys): boolean {
  if ('keys' in which) return which.keys.includes(key);
  if ('rule' in which) return rule.name === which.rule;
  if ('olderKeks' in which)
    return (coverage?.purposes ?? []).some(({ kekState }) => kekState === 'rotatable');
  if ('otherKey' in which) {
    const purposesNow = coverage?.purposes ?? [];
    return purposesNow.some(({ unable }) =>
      unable.some(({ depositary, because }) => depositary === which.otherKey && because === 'other-key'),
    );
  }
  return purposes.some(({ recipients }) => recipients.some(({ depositary }) => depositary === which.leaving));
}

/** What came of filing. */
export interface Filed {
  readonly requests: readonly RecoveryReply[];
  /** Keys for which no request could be filed, with what the server said. */
  readonly refused: readonly { readonly keys: readonly string[]; readonly problem: ServerProblem }[];
}

/**
 * Files a request for as many keys at a time as it takes: those of one owner, kind and use, which one rule is for. What is refused for
 * some of them stops none of the others; when the caller may have no more open requests, the rest waits. To be asked again with the
 * same job goes on where it ended.
 *
 * @param progress is told how many keys are filed, or refused
 * @param apart keys that are asked for alone
 * @throws ServerUnreachable, and ServerProblem for what says nothing about the keys
 */
export async function fileReseals(
  client: Pick<EscrowClient, 'requestRecovery'>,
  keys: readonly KeyReply[],
  { leaving, ...terms }: ResealTerms & { readonly leaving: string | undefined },
  progress: (keys: number) => void,
  apart: ReadonlySet<string> = new Set(),
): Promise<Filed> {
  const requests: RecoveryReply[] = [];
  const refused: { keys: readonly string[]; problem: ServerProblem }[] = [];
  const left = groupsOf(keys, apart);
  let done = 0;
  for (let group = left.shift(); group !== undefined; group = left.shift()) {
    const ids = group.map(({ key }) => key);
    const order = {
      ...terms,
      purpose: 'reseal',
      keys: ids,
      ...(leaving === undefined ? {} : { leaving }),
    } as const;
    try {
      requests.push((await client.requestRecovery(order)).result);
    } catch (error) {
      if (!(error instanceof ServerProblem) || !ABOUT_KEYS.has(error.code)) throw error;
      if (error.code === 'recoveries-too-many') {
        refused.push({ keys: [ids, ...left.map((one) => one.map(({ key }) => key))].flat(), problem: error });
        break;
      }
      if (group.length > 1) {
        // one of them may be what is refused, or they are too many for one entry of the log
        const half = Math.ceil(group.length / 2);
        left.unshift(group.slice(0, half), group.slice(half));
        continue;
      }
      refused.push({ keys: ids, problem: error });
    }
    done += group.length;
    progress(done);
  }
  return { requests, refused };
}

/** What the server refuses because of a key, and not because of who asks. */
const ABOUT_KEYS: ReadonlySet<string> = new Set([
  'request-malformed',
  'key-unknown',
  'record-mismatch',
  'owner-unknown',
  'rule-missing',
  'depositary-unknown',
  'depositary-retired',
  'depositary-not-enrolled',
  'quorum-impossible',
  'kek-missing',
  'quorum-too-large',
  'scope-not-allowed',
  'reseal-open',
  'recoveries-too-many',
]);

function groupsOf(keys: readonly KeyReply[], apart: ReadonlySet<string>): (readonly KeyReply[])[] {
  const alike = new Map<string, KeyReply[]>();
  for (const key of keys) {
    const name = apart.has(key.key) ? key.key : JSON.stringify([key.owner, key.spec, key.use]);
    alike.set(name, [...(alike.get(name) ?? []), key]);
  }
  return [...alike.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / MAX_RECOVERY_KEYS) }, (_, at) =>
      group.slice(at * MAX_RECOVERY_KEYS, (at + 1) * MAX_RECOVERY_KEYS),
    ),
  );
}

async function all<T>(
  page: (query: PageQuery) => Promise<{ readonly items: readonly T[]; readonly next?: string | undefined }>,
): Promise<readonly T[]> {
  const items: T[] = [];
  for (let after: string | undefined; ;) {
    const { items: some, next } = await page({ limit: PAGE, ...(after === undefined ? {} : { after }) });
    items.push(...some);
    if (next === undefined) return items;
    after = next;
  }
}
