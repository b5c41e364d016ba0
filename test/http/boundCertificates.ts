import type { StoredPolicy } from '../../src/escrow/ports/store.ts';
import { parsePolicy } from '../../src/http/policyDocument.js';
import { policyApplied } from '../escrow/loggedEntries.js';
import { NOW, ORIGIN } from './identities.js';
import { policy, policyDocument } from './people.js';
import type { World } from './world.js';

const policies = new WeakMap<World, StoredPolicy[]>();

/**
 * Puts the next version of the policy in force, in which these apps have these client certificates (`x5t#S256`). There is a
 * second app in it, without a grant: `printer`.
 */
export function bindCertificates(
  world: World,
  bound: Readonly<Partial<Record<'mailer' | 'printer', readonly string[]>>>,
): void {
  const known = policies.get(world) ?? [];
  policies.set(world, known);
  const before = known.at(-1) ?? policy(0);
  const { principals, ...rest } = policyDocument();
  const printer = { id: 'printer', kind: 'app', name: 'PRINTER', roles: ['app'], keys: [] };
  const document = JSON.stringify({
    ...rest,
    principals: [...principals, printer].map((one) =>
      one.id === 'mailer' || one.id === 'printer' ? { ...one, certificates: bound[one.id] ?? [] } : one,
    ),
  });
  const { version, hash } = parsePolicy(document, before.version + 1);
  const signatures = ['ann', 'bob'].map((iss) =>
    JSON.stringify({ iss, aud: ORIGIN, hash, base: before.version, replaces: before.hash, exp: 0 }),
  );
  known.push({ version, hash, document, signatures, appliedAt: NOW });
  policyApplied({ version, hash }).forEach((entry) => {
    world.journal.follow(entry);
  });
  world.journal.policyVersion = version;
  world.store.policies = (after) => Promise.resolve(known.filter((one) => one.version > after));
}

/** Has another daemon put the next version of the policy in force, in which somebody has no key any more: it is the second. */
export function removeKeys(world: World, id: string): void {
  const first = policy();
  const { principals, ...rest } = policyDocument();
  const without = principals.map((one) => (one['id'] === id ? { ...one, keys: [] } : one));
  const document = JSON.stringify({ ...rest, principals: without });
  const { version, hash } = parsePolicy(document, first.version + 1);
  const signatures = ['ann', 'bob'].map((iss) =>
    JSON.stringify({ iss, aud: ORIGIN, hash, base: first.version, replaces: first.hash, exp: 0 }),
  );
  const { policies: before } = world.store;
  const next = { version, hash, document, signatures, appliedAt: NOW };
  world.journal.policyVersion = version;
  world.store.policyVersion = () => Promise.resolve(version);
  world.store.policies = async (after, limit) =>
    [...(await before(after, limit)), next].filter((one) => one.version > after);
}
