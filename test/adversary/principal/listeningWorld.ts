import { writeFileSync } from 'node:fs';

import { OwnerChains } from '../../../src/escrow/logged/ownerChains.js';
import type { StoredPolicy } from '../../../src/escrow/ports/store.ts';
import { parsePolicy } from '../../../src/http/policyDocument.js';
import { verifyExport } from '../../../src/audit/verifyExport.js';
import type { Json } from '../../../src/log/entry/canonical.js';
import type { Entry } from '../../../src/log/entry/entry.js';
import { encodeEntry } from '../../../src/log/entry/entry.js';
import { documentHash } from '../../../src/log/export/format.js';
import { ORIGIN, signedRequest, statement } from '../../http/identities.js';
import { PEOPLE, policy, policyDocument } from '../../http/people.js';
import type { Answer, Outgoing } from '../../http/apiClient.js';
import { ApiClient } from '../../http/apiClient.js';
import { startServer, tls } from '../../http/runningServer.js';
import { KEY, newWorld, RECOVERY, type World } from '../../http/world.js';
import { bytesOf, exportLinesOf } from '../../log/exportText.js';
import { testKey } from '../../log/noteKeys.js';
import { memoryLog } from '../../support/memoryLog.js';
import { POLICY_SIGNATURE_TYPE } from '../../../src/escrow/records/statementTypes.js';

const { ann, bob } = PEOPLE;
const logKey = testKey(ORIGIN);

/** What happens beside the requests. */
export interface Hooks {
  /** Done when the next attempt is about to be recorded. */
  meanwhile: (() => void) | undefined;
  /** Whether the journal holds an attempt against the policy that it claims. */
  claimsHold: boolean;
}

/** A server whose whole log can be verified: the policies are in it, and an open request of dana's. */
export interface ListeningWorld {
  readonly world: World;
  readonly send: (outgoing: Outgoing) => Promise<Answer>;
  readonly stop: () => Promise<void>;
  readonly entries: Entry[];
  readonly hooks: Hooks;
  /** Puts the next policy in force, without these people, and writes it down. */
  readonly apply: (without: readonly string[]) => void;
  /** Verifies an export of the whole log, which is written to this file. */
  readonly verify: (path: string) => ReturnType<typeof verifyExport>;
}

export async function listeningWorld(): Promise<ListeningWorld> {
  const base = newWorld();
  const log = memoryLog(ORIGIN, logKey, () => base.journal.entries);
  const escrow = { ...base.escrow, log: { ...base.escrow.log, ...log }, owners: new OwnerChains(log) };
  const world: World = Object.assign(base, { escrow });
  // no grant is in this log: whatever is asked under one is refused
  base.store.findGrant = () => Promise.resolve(undefined);
  const documents: Json[] = [];
  const stored: StoredPolicy[] = [];
  const hooks: Hooks = { meanwhile: undefined, claimsHold: true };

  const note = (...entries: readonly Entry[]): void => {
    for (const entry of entries) {
      base.journal.follow(encodeEntry(entry));
      base.journal.entries.push(entry);
    }
  };
  const apply = (without: readonly string[]): void => {
    const { principals, ...rest } = policyDocument();
    const version = stored.length + 1;
    // each has a name of its own, so that no two policies are the same
    const document = {
      ...rest,
      principals: principals
        .filter(({ id }) => !without.includes(String(id)))
        .map((one) => (one['id'] === 'ann' ? { ...one, name: `Ann, of ${version}` } : one)),
    } as unknown as Json;
    const text = JSON.stringify(document);
    const before = stored.at(-1) ?? policy(0);
    const { hash } = parsePolicy(text, version);
    const said = { aud: ORIGIN, hash, base: version - 1, replaces: before.hash };
    const signatures = ['ann', 'bob'].map((iss) => JSON.stringify({ iss, ...said, exp: 0 }));
    stored.push({ version, hash, document: text, signatures, appliedAt: base.now });
    documents.push(document);
    base.journal.policyVersion = version;
    const iat = Math.floor(base.now.getTime() / 1000);
    const common = {
      v: 1,
      time: base.now.toISOString(),
      act: 'policy.apply',
      id: `act_policy_${version}`,
      actor: 'ann',
    } as const;
    const facts = { version, policyHash: documentHash(document) };
    const target = { method: 'POST', target: '/v1/policy' };
    note(
      {
        ...common,
        phase: 'attempted',
        subject: {},
        request: signedRequest(ann, target, { claims: { iat, exp: iat + 60 } }),
        detail: {
          ...facts,
          signatures: [ann, bob].map((by) => statement(by, POLICY_SIGNATURE_TYPE, { iss: by.id, ...said })),
        },
      },
      { ...common, phase: 'done', subject: {}, detail: facts, digest: 'ab'.repeat(32) },
    );
  };
  base.store.policies = (after) => Promise.resolve(stored.filter(({ version }) => version > after));
  base.journal.before = ({ role }) => {
    if (role === 'opens') {
      const happens = hooks.meanwhile;
      hooks.meanwhile = undefined;
      happens?.();
    }
  };
  base.journal.forge = (locked, { claims }) => {
    if (hooks.claimsHold) return;
    for (const claim of claims) if (claim.claim === 'policy-in-force') locked.policyVersion = claim.version;
  };
  apply([]);
  note(...filing(base));
  const running = await startServer({ perCaller: { perSecond: 1e6, burst: 1e6, atOnce: 64 } }, world);
  const verify = (path: string): ReturnType<typeof verifyExport> => {
    const lines = base.journal.entries.map((entry) => Buffer.from(encodeEntry(entry)).toString());
    writeFileSync(path, bytesOf(exportLinesOf({ origin: ORIGIN, logKey, documents, lines })));
    return verifyExport({ path, logKey: logKey.vkey });
  };
  // one connection: the handshakes would be most of what the tests do
  const client = new ApiClient(running.port, tls.cert, true);
  const stop = async (): Promise<void> => {
    client.close();
    await running.stop();
  };
  return {
    world,
    send: (outgoing) => client.send(outgoing),
    stop,
    entries: base.journal.entries,
    hooks,
    apply,
    verify,
  };
}

/** The request that is open, as it was filed. */
function filing({ now }: World): readonly Entry[] {
  const asked = {
    purpose: 'release',
    recipient: 'dana',
    reason: 'r',
    expiresAt: new Date(now.getTime() + 3_600_000).toISOString(),
    approvalsHoldMs: 1000,
  };
  const keys = [KEY];
  const requestHash = documentHash({ ...asked, version: 3, recovery: RECOVERY, keys, requester: 'dana' });
  const common = {
    v: 1,
    time: now.toISOString(),
    act: 'recovery.request',
    id: 'act_filing',
    actor: 'dana',
    subject: { keys, owner: 'olga', recovery: RECOVERY },
  } as const;
  const request = signedRequest(PEOPLE.dana, { method: 'POST', target: '/v1/recoveries' });
  return [
    { ...common, phase: 'attempted', request, detail: { ...asked, requestHash } },
    { ...common, phase: 'done', detail: { requestHash }, digest: 'ab'.repeat(32) },
  ];
}
