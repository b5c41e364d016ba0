import { attestationPayload } from '../../../src/escrow/rules/attestation.js';
import type { Call, Escrow } from '../../../src/escrow/escrow.js';
import { approveRecovery } from '../../../src/escrow/acts/approveRecovery.js';
import { askedAsJson, repliesDigest, sha256Hex } from '../../../src/escrow/records/digests.js';
import { EscrowError } from '../../../src/escrow/records/errors.js';
import { generateKey } from '../../../src/escrow/acts/generateKey.js';
import { isOpen } from '../../../src/escrow/checks/openInLog.js';
import { generationOf } from '../../../src/escrow/records/deposit.js';
import type { JobId, KeyId, PrincipalId } from '../../../src/escrow/records/ids.js';
import type { LogFacts, RequestFacts } from '../../../src/escrow/logged/logFacts.js';
import type { Policy } from '../../../src/escrow/records/policy.js';
import { usualRequestTerms } from '../../../src/escrow/records/policy.js';
import type { Principal } from '../../../src/escrow/records/principals.js';
import type { AskedPurpose, Recovery, Reply } from '../../../src/escrow/records/recovery.js';
import type { Scope } from '../../../src/escrow/records/scope.ts';
import { requestRecovery } from '../../../src/escrow/acts/requestRecovery.js';
import { sealed } from '../../../src/escrow/records/sealing/sealed.js';
import { callBy } from '../../support/calls.js';
import type { SymbolicWorld } from '../../escrow/symbolicWorld.js';
import { ORIGIN, reencrypted, ROOT, symbolicWorld } from '../../escrow/symbolicWorld.js';

export const MINUTE_MS = 60_000;
const ROLES: Readonly<Record<string, readonly string[]>> = {
  ann: ['admin'],
  bob: ['admin'],
  dana: ['depositary'],
  dave: ['depositary'],
  dora: ['depositary'],
  olga: ['owner'],
  mailer: ['app'],
  printer: ['app'],
};

export function person(id: string, key = id): Principal {
  const depositaryKey = ROLES[id]?.includes('depositary') === true ? sha256Hex(id) : undefined;
  const kind = ROLES[id]?.includes('app') === true ? 'app' : 'person';
  const names = { id: id as PrincipalId, kind, name: id, depositaryKey } as const;
  const keys = [{ jwk: {}, alg: 'ES256', thumbprint: key }] as const;
  const rest = { roles: ROLES[id] ?? [], attributes: {}, keys, certificates: [], retired: false };
  return { ...names, ...rest, deliveryKey: undefined, returns: undefined };
}

const brakes = { delayMs: 10 * MINUTE_MS, ownerMayVeto: true };

/** Two of dana, dave and dora bring a key back, ten minutes after they have agreed, unless olga vetoes it. */
export const POLICY: Policy = {
  version: 1,
  hash: '00'.repeat(32),
  administration: { quorum: 2, floor: 2, minimumQuorum: 1 },
  principals: new Map(Object.keys(ROLES).map((id) => [id as PrincipalId, person(id)])),
  rules: [
    {
      name: 'all',
      when: { owner: {}, use: undefined, spec: undefined },
      depositaries: { atLeast: 2, of: ['dana', 'dave', 'dora'].map((id) => ({ person: id as PrincipalId })) },
      requesters: ['depositary', 'admin'],
      deliver: false,
      requests: { ...usualRequestTerms(0), approvalsHoldMs: 120 * MINUTE_MS },
      operate: {
        operations: ['sign'],
        maxUses: 3,
        maxDurationMs: 60 * MINUTE_MS,
        rate: undefined,
        mechanisms: undefined,
        input: 'message',
        ...brakes,
      },
      release: brakes,
    },
  ],
};

/** The directory without these, or with these in place of those of the same id. */
export function policyWith(
  { removed = [], changed = [] }: { removed?: readonly string[]; changed?: readonly Principal[] },
  version = POLICY.version + 1,
): Policy {
  const principals = new Map(POLICY.principals);
  for (const id of removed) principals.delete(id as PrincipalId);
  for (const one of changed) principals.set(one.id, one);
  return { ...POLICY, version, hash: sha256Hex(`policy ${version}`), principals };
}

export function callOf(id: string): Call {
  return callBy(person(id), POLICY);
}

/** A world with a key of olga, and one of hers that was made by the same rule. */
export async function newScene(): Promise<{ world: SymbolicWorld; key: KeyId; other: KeyId }> {
  const world = symbolicWorld(POLICY, ['dana', 'dave', 'dora']);
  const make = async (): Promise<KeyId> => {
    const kind = { spec: 'rsa-2048', use: 'sign', label: 'mail', deliver: false } as const;
    const made = await generateKey(world.escrow, callOf('ann'), { owner: 'olga' as PrincipalId, ...kind });
    return made.answer.key;
  };
  return { world, key: await make(), other: await make() };
}

export const SCOPE: Scope = {
  app: 'mailer' as PrincipalId,
  operations: ['sign'],
  mechanisms: ['RS256'],
  input: 'message',
  maxUses: 2,
  rate: undefined,
  durationMs: 30 * MINUTE_MS,
  notBefore: undefined,
  notAfter: undefined,
};

/** A job by which keys are sealed anew. */
const JOB = `job_${'1'.repeat(32)}` as JobId;
const ASKED = {
  operate: { purpose: 'operate', scope: SCOPE },
  release: { purpose: 'release', recipient: undefined },
  reseal: { purpose: 'reseal', job: JOB, leaving: undefined },
} as const;

/** dana asks for a key: for its release to her, for its use by an app, or that it is sealed anew. */
export async function ask(world: SymbolicWorld, key: KeyId, purpose: AskedPurpose): Promise<Recovery> {
  const asked = ASKED[purpose];
  const order = { keys: [key], reason: 'olga is ill', validForMs: 60 * MINUTE_MS, asked };
  const call = callBy(person('dana'), world.policy);
  return (await requestRecovery(world.escrow, call, order)).answer;
}

/** What a depositary signs about a request, with a key of theirs. */
export function statementOf(
  { now }: Pick<SymbolicWorld, 'now'>,
  by: string,
  recovery: Recovery,
  decision: object,
  key = by,
): string {
  const iat = now.getTime() / 1000;
  const payload = {
    iss: by,
    aud: ORIGIN,
    iat,
    exp: iat + 3600,
    recovery: recovery.id,
    requestHash: recovery.requestHash,
    keys: recovery.keys,
    ...askedAsJson(recovery.asked),
    transport: sha256Hex(recovery.transportKey),
    ...decision,
    checkpoint: { size: 1, root: ROOT },
  };
  return JSON.stringify({ typ: 'escrowd-approval+jwt', by: key, payload });
}

/** How a statement to end a request differs from a good one. */
export interface Said {
  readonly typ?: string;
  /** With a key of their own, when it is not said. */
  readonly key?: string;
  /** Members in place of those that are right. */
  readonly claims?: object;
}

/** What an administrator signs to end a request. */
export function stopOf(world: SymbolicWorld, by: string, recovery: Recovery, said: Said = {}): string {
  const { typ = 'escrowd-stop+jwt', key = by, claims = {} } = said;
  const iat = world.now.getTime() / 1000;
  const about = { recovery: recovery.id, requestHash: recovery.requestHash, reason: 'dana has left' };
  const payload = { iss: by, aud: ORIGIN, iat, exp: iat + 3600, ...about, ...claims };
  return JSON.stringify({ typ, by: key, payload });
}

export function repliesOf(world: SymbolicWorld, { id, keys, asked }: Recovery, by: string): readonly Reply[] {
  return keys.flatMap((key) => {
    const isReseal = asked.purpose === 'reseal';
    const purposes = world.deposits.get(key)?.purposes ?? [];
    return purposes.flatMap(({ purpose, shares }): readonly Reply[] => {
      const share = shares.find(({ depositary }) => depositary === by)?.share;
      if (share === undefined || (!isReseal && purpose !== asked.purpose)) return [];
      const reply = sealed('transport', reencrypted(share, by, id));
      return [{ key, ...(isReseal ? { purpose } : {}), reply }];
    });
  });
}

export async function approve(
  world: SymbolicWorld,
  by: string,
  recovery: Recovery,
  key = by,
): Promise<Recovery> {
  const replies = repliesOf(world, recovery, by);
  const decision = { decision: 'approve', replies: repliesDigest(replies) };
  const statement = statementOf(world, by, recovery, decision, key);
  const order = { recovery: recovery.id, statement, replies };
  const call = callBy(person(by, key), world.policy);
  return (await approveRecovery(world.escrow, call, order)).answer;
}

/** A request that dana and dave have approved, with the delay over. */
export async function due(world: SymbolicWorld, key: KeyId, purpose: AskedPurpose): Promise<Recovery> {
  const recovery = await ask(world, key, purpose);
  await approve(world, 'dana', recovery);
  const approved = await approve(world, 'dave', recovery);
  pass(world, 10);
  return approved;
}

export function pass(world: SymbolicWorld, minutes: number): void {
  world.now = new Date(world.now.getTime() + minutes * MINUTE_MS);
}

/** How an act ended: `done`, or the code that it was refused with. */
export async function outcomeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act;
    return 'done';
  } catch (error) {
    if (error instanceof EscrowError) return error.code;
    throw error;
  }
}

/**
 * The same daemon without what it checks records against: every attestation and every statement says what the record says.
 */
export function believing(world: SymbolicWorld): Escrow {
  world.facts = recordsAsFacts(world);
  return believingStatements(world);
}

/** What the log would say if it said what the records say. */
export function recordsAsFacts({ facts: logged, recoveries, deposits, policy }: SymbolicWorld): LogFacts {
  let asked: RequestFacts | undefined;
  return {
    policy,
    request: (id) => {
      const recovery = recoveries.get(id);
      asked = recovery && isOpen(recovery.state.status) ? asFacts(recovery) : undefined;
      return asked;
    },
    openRequestIds: () => [...recoveries.keys()],
    keptRelease: (id) => logged.keptRelease(id),
    due: logged.due,
    grantsNamed: (app, name) => logged.grantsNamed(app, name),
    runningGrantIds: () => logged.runningGrantIds(),
    importPair: (id) => logged.importPair(id),
    importPairIds: () => logged.importPairIds(),
    openAttempts: () => logged.openAttempts(),
    grant: (id) => logged.grant(id),
    deposit: (key) => {
      const row = deposits.get(key);
      return row && { digest: row.digest, generation: generationOf(row), index: 0 };
    },
    lastUsedMs: (key) => logged.lastUsedMs(key),
    drill: (...of) => logged.drill(...of),
    heldBy: (...of) => logged.heldBy(...of),
    depositGroups: () => logged.depositGroups(),
    depositsBeingMade: () => logged.depositsBeingMade(),
    asOf: () => ({
      policyVersion: policy.version,
      request: asked,
      isContended: false,
      useRefused: undefined,
      usesLeft: undefined,
      isRepeated: false,
      isKeyTaken: false,
      isPolicyUnderWay: false,
      isResealUnderWay: false,
    }),
    secondary: () => undefined,
    openAttempt: (act) => logged.openAttempt(act),
    creation: () => undefined,
  };
}

function asFacts({
  requestHash,
  keys,
  owner,
  attestation,
  intents,
  approvals,
  denials,
  expiresAt,
  state,
}: Recovery): RequestFacts {
  return {
    requestHash,
    keys,
    owner,
    attestation: sha256Hex(attestation),
    intents: new Map(
      intents.map(({ depositary, statement, at }) => [
        depositary,
        { statement: sha256Hex(statement), atMs: at.getTime() },
      ]),
    ),
    approvals: new Map(
      approvals.map(({ depositary, statement, replies }) => [
        depositary,
        { statement: sha256Hex(statement), replies: repliesDigest(replies) },
      ]),
    ),
    reminded: new Set(),
    denials: new Set(denials.map(({ depositary }) => depositary)),
    expiresAtMs: expiresAt.getTime(),
    holdsUntilMs: state.status === 'approved' ? state.holdsUntil.getTime() : undefined,
    releasableAtMs: state.status === 'approved' ? state.releasableAt.getTime() : undefined,
    scope: undefined,
    reseal: undefined,
    isSuperseded: false,
    specs: new Map(),
    labels: new Map(),
  };
}

/** The same, where the log is asked. */
export function believingStatements({ escrow, recoveries, deposits }: SymbolicWorld): Escrow {
  const recordOf = (jws: string): Recovery => {
    for (const recovery of recoveries.values())
      if (recovery.attestation === jws || recovery.approvals.some(({ statement }) => statement === jws))
        return recovery;
    throw new Error('of no record');
  };
  return {
    ...escrow,
    identity: {
      verify: (jws) => {
        const recovery = recordOf(jws);
        const asked = recovery.keys.flatMap((key) => deposits.get(key) ?? []);
        const transport = sha256Hex(recovery.transportKey);
        return Promise.resolve(attestationPayload(ORIGIN, recovery, asked, transport));
      },
    },
    statements: {
      ...escrow.statements,
      verify: (jws) => {
        const said = JSON.parse(jws) as { payload: Readonly<Record<string, unknown>> };
        const { id, requestHash, keys, asked, transportKey, approvals } = recordOf(jws);
        const approval = approvals.find(({ statement }) => statement === jws);
        const record = { recovery: id, requestHash, keys, ...askedAsJson(asked) };
        const about = { transport: sha256Hex(transportKey), replies: repliesDigest(approval?.replies ?? []) };
        const exp = (approval?.expiresAt.getTime() ?? 0) / 1000;
        const payload = { ...said.payload, ...record, ...about, iss: approval?.depositary, exp };
        return Promise.resolve({ jws, payload });
      },
    },
  };
}
