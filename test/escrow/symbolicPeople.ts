import type { Call } from '../../src/escrow/escrow.js';
import { approveRecovery } from '../../src/escrow/acts/approveRecovery.js';
import { denyRecovery } from '../../src/escrow/acts/denyRecovery.ts';
import { askedAsJson, repliesDigest, sha256Hex } from '../../src/escrow/records/digests.js';
import { generateKey } from '../../src/escrow/acts/generateKey.js';
import { intendRecovery } from '../../src/escrow/acts/intendRecovery.js';
import type { KeyId, PrincipalId } from '../../src/escrow/records/ids.js';
import type { Policy } from '../../src/escrow/records/policy.js';
import { usualRequestTerms } from '../../src/escrow/records/policy.js';
import type { Principal } from '../../src/escrow/records/principals.js';
import type { Rate } from '../../src/escrow/records/rate.js';
import type { Recovery } from '../../src/escrow/records/recovery.js';
import { requestRecovery } from '../../src/escrow/acts/requestRecovery.js';
import { sealed } from '../../src/escrow/records/sealing/sealed.js';
import { callBy } from '../support/calls.js';
import type { SymbolicWorld } from './symbolicWorld.js';
import { ORIGIN, reencrypted, ROOT, symbolicWorld } from './symbolicWorld.js';

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
const ROLES: Readonly<Record<string, readonly string[]>> = {
  ann: ['admin'],
  bob: ['admin'],
  dana: ['depositary'],
  dave: ['depositary'],
  dora: ['depositary'],
  olga: ['owner'],
  mailer: ['app'],
};

function person(id: string): Principal {
  const depositaryKey = ROLES[id]?.includes('depositary') === true ? sha256Hex(id) : undefined;
  const names = { id: id as PrincipalId, kind: id === 'mailer' ? 'app' : 'person', name: id, depositaryKey };
  const keys = [{ jwk: {}, alg: 'ES256', thumbprint: id }];
  const rest = { roles: ROLES[id] ?? [], attributes: {}, keys, certificates: [], retired: false };
  return { ...names, ...rest, deliveryKey: undefined, returns: undefined } as Principal;
}

export function callOf(id: string): Call {
  return callBy(person(id), policyOf({}));
}

/** A call by the policy that this world has now. */
export function callIn({ policy }: Pick<SymbolicWorld, 'policy'>, id: string): Call {
  return callBy(person(id), policy);
}

/** What is special about the rule of a time. */
export interface Time {
  readonly use?: 'sign' | 'decrypt';
  readonly label?: string;
  readonly people?: readonly string[];
  /** So many of them; all, when it is not said. */
  readonly atLeast?: number;
  /** In place of both, as a rule has it. */
  readonly depositaries?: object;
  readonly requests?: object;
  readonly operate?: object;
}

export function policyOf({
  people = ['dana', 'dave'],
  atLeast = people.length,
  depositaries = { atLeast, of: people.map((id) => ({ person: id })) },
  requests = {},
  operate = {},
}: Time): Policy {
  const terms = {
    operations: ['sign', 'decrypt'],
    maxUses: 9,
    maxDurationMs: HOUR_MS,
    rate: undefined,
    input: 'digest',
  };
  const rule = {
    name: 'all',
    when: { owner: {}, use: undefined, spec: undefined },
    depositaries,
    requesters: ['depositary', 'admin'],
    deliver: false,
    requests: { ...usualRequestTerms(0), ...requests },
    operate: { ...terms, mechanisms: undefined, delayMs: 0, ownerMayVeto: false, ...operate },
    release: undefined,
  };
  const principals = new Map(Object.keys(ROLES).map((id) => [id as PrincipalId, person(id)]));
  return { version: 1, hash: '00'.repeat(32), principals, rules: [rule] } as unknown as Policy;
}

/** A world with a key of olga for each of these times. */
export async function worldOf(...times: readonly Time[]): Promise<{ world: SymbolicWorld; keys: KeyId[] }> {
  const world = symbolicWorld(policyOf({}), ['dana', 'dave', 'dora']);
  const keys: KeyId[] = [];
  for (const time of times) {
    world.policy = policyOf(time);
    const order = {
      owner: 'olga' as PrincipalId,
      spec: 'rsa-2048',
      use: time.use ?? 'sign',
      label: time.label ?? '',
      deliver: false,
    } as const;
    keys.push((await generateKey(world.escrow, callIn(world, 'ann'), order)).answer.key);
  }
  return { world, keys };
}

const SCOPE = {
  app: 'mailer' as PrincipalId,
  input: 'message',
  maxUses: 1,
  rate: undefined as Rate | undefined,
  durationMs: MINUTE_MS,
  notBefore: undefined,
  notAfter: undefined,
} as const;

export async function ask(
  { world, keys }: { readonly world: SymbolicWorld; readonly keys: readonly KeyId[] },
  order: {
    readonly rate?: Rate;
    readonly validForMs?: number;
    readonly who?: string;
    readonly use?: 'sign' | 'decrypt';
    readonly maxUses?: number;
    readonly durationMs?: number;
  } = {},
): Promise<Recovery> {
  const { rate, validForMs = MINUTE_MS, who = 'ann', use = 'sign', maxUses = 1 } = order;
  const { durationMs } = { durationMs: SCOPE.durationMs, ...order };
  const operations = [use];
  const mechanisms = [use === 'sign' ? ('RS256' as const) : ('RSA-OAEP' as const)];
  const scope = { ...SCOPE, operations, mechanisms, rate, maxUses, durationMs };
  const asked = { purpose: 'operate', scope } as const;
  return (await requestRecovery(world.escrow, callOf(who), { keys, reason: 'left', validForMs, asked }))
    .answer;
}

/** The tree that the next statements name. */
export const seen = { size: 1, root: ROOT };

export function statement(
  { now }: SymbolicWorld,
  by: string,
  recovery: Recovery,
  decision: object,
  typ = 'escrowd-approval+jwt',
): string {
  const iat = now.getTime() / 1000;
  const payload = {
    ...{
      iss: by,
      aud: ORIGIN,
      iat,
      exp: iat + 3600,
      recovery: recovery.id,
      requestHash: recovery.requestHash,
    },
    ...{ keys: recovery.keys, ...askedAsJson(recovery.asked), transport: sha256Hex(recovery.transportKey) },
    ...{ ...decision, checkpoint: { ...seen } },
  };
  return JSON.stringify({ typ, by, payload });
}

/** An administrator's statement that a request is to end. */
export function stop({ now }: SymbolicWorld, by: string, recovery: Recovery): string {
  const iat = now.getTime() / 1000;
  const about = { recovery: recovery.id, requestHash: recovery.requestHash, reason: 'because' };
  return JSON.stringify({
    typ: 'escrowd-stop+jwt',
    by,
    payload: { iss: by, aud: ORIGIN, iat, exp: iat + 60, ...about },
  });
}

export async function approve(
  world: SymbolicWorld,
  by: string,
  recovery: Recovery,
  holdsMs = HOUR_MS,
): Promise<Recovery> {
  const replies = recovery.keys.flatMap((key) => {
    const [operate] = world.deposits.get(key)?.purposes ?? [];
    const share = operate?.shares.find(({ depositary }) => depositary === by)?.share;
    return share === undefined
      ? []
      : [{ key, reply: sealed('transport', reencrypted(share, by, recovery.id)) }];
  });
  const exp = (world.now.getTime() + holdsMs) / 1000;
  const said = statement(world, by, recovery, { decision: 'approve', exp, replies: repliesDigest(replies) });
  const order = { recovery: recovery.id, statement: said, replies };
  return (await approveRecovery(world.escrow, callOf(by), order)).answer;
}

/** Says that they intend to approve, for so long. */
export async function intend(
  world: SymbolicWorld,
  by: string,
  recovery: Recovery,
  holdsMs = 24 * HOUR_MS,
): Promise<Recovery> {
  const exp = (world.now.getTime() + holdsMs) / 1000;
  const said = statement(world, by, recovery, { decision: 'intend', exp }, 'escrowd-intent+jwt');
  return (await intendRecovery(world.escrow, callOf(by), { recovery: recovery.id, statement: said })).answer;
}

export async function deny(world: SymbolicWorld, by: string, recovery: Recovery): Promise<Recovery> {
  const said = statement(world, by, recovery, { decision: 'deny', reason: 'no' });
  return (await denyRecovery(world.escrow, callOf(by), { recovery: recovery.id, statement: said })).answer;
}
