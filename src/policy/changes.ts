import type { Policy, Rule } from '../escrow/records/policy.js';
import type { Principal } from '../escrow/records/principals.js';
import { ruleInWords } from './inWords.js';

/**
 * What putting `after` in force changes, in words: one sentence for each thing, none for what stays. People are named by
 * their ids, keys by their fingerprints.
 */
export function policyChanges(before: Policy, after: Policy): readonly string[] {
  const { administration: was } = before;
  const { administration: is } = after;
  return [
    ...changed('administration: signatures needed', String(was.quorum), String(is.quorum)),
    ...changed('administration: floor', String(was.floor), String(is.floor)),
    ...changed(
      'administration: depositaries in a quorum, at least',
      String(was.minimumQuorum),
      String(is.minimumQuorum),
    ),
    ...principalChanges(before.principals, after.principals),
    ...ruleChanges(before.rules, after.rules),
  ];
}

function principalChanges(before: Policy['principals'], after: Policy['principals']): readonly string[] {
  const removed = [...before.values()].filter(({ id }) => !after.has(id));
  return [
    ...removed.map(({ id, name, roles }) => `- ${id} (${name}; ${list(roles)}) is removed`),
    ...[...after.values()].flatMap((person) => {
      const was = before.get(person.id);
      return was === undefined ? [added(person)] : personChanges(was, person);
    }),
  ];
}

function added({ id, name, kind, roles, keys, certificates, returns }: Principal): string {
  const what =
    returns === undefined ? `is added, a new ${kind}` : `comes back (listed until version ${returns})`;
  return `+ ${id} (${name}; ${list(roles)}) ${what}, with ${keysInWords(keys.map(({ thumbprint }) => thumbprint))}${certificatesInWords(certificates)}`;
}

function personChanges(was: Principal, is: Principal): readonly string[] {
  const old = was.keys.map(({ thumbprint }) => thumbprint);
  const now = is.keys.map(({ thumbprint }) => thumbprint);
  const isReplaced = old.length > 0 && now.length > 0 && !now.some((key) => old.includes(key));
  const names = [...new Set([...Object.keys(was.attributes), ...Object.keys(is.attributes)])].sort();
  return [
    ...changed('name', was.name, is.name),
    ...gained('role', was.roles, is.roles),
    ...names.flatMap((name) => changed(name, was.attributes[name], is.attributes[name])),
    ...gained('signing key', old, now),
    ...(isReplaced ? ['every signing key is another: make sure that it is the same principal'] : []),
    ...gained('client certificate', was.certificates, is.certificates),
    ...changed('depositaryKey', was.depositaryKey, is.depositaryKey),
    ...changed('deliveryKey', hex(was.deliveryKey), hex(is.deliveryKey)).map(() => 'another deliveryKey'),
    ...(was.retired === is.retired ? [] : [is.retired ? 'is retired' : 'is no longer retired']),
  ].map((change) => `~ ${is.id}: ${change}`);
}

function ruleChanges(before: readonly Rule[], after: readonly Rule[]): readonly string[] {
  const old = new Map(before.map((rule) => [rule.name, rule]));
  const names = new Set(after.map(({ name }) => name));
  const kept = before.filter(({ name }) => names.has(name)).map(({ name }) => name);
  const order = after.filter(({ name }) => old.has(name)).map(({ name }) => name);
  return [
    ...before.filter(({ name }) => !names.has(name)).map(({ name }) => `- rule ${name} is removed`),
    ...after.flatMap((rule) => {
      const was = old.get(rule.name);
      if (was === undefined) return [`+ rule ${rule.name}: ${ruleInWords(rule)}`];
      return changed(`rule ${rule.name}`, ruleInWords(was), ruleInWords(rule)).map((change) => `~ ${change}`);
    }),
    ...(list(kept) === list(order)
      ? []
      : [`~ the order of the rules: ${list(after.map(({ name }) => name))}`]),
  ];
}

function changed(what: string, was: string | undefined, is: string | undefined): readonly string[] {
  return was === is ? [] : [`${what}: ${was ?? 'none'} -> ${is ?? 'none'}`];
}

function gained(what: string, was: readonly string[], is: readonly string[]): readonly string[] {
  return [
    ...was.filter((item) => !is.includes(item)).map((item) => `loses the ${what} ${item}`),
    ...is.filter((item) => !was.includes(item)).map((item) => `gets the ${what} ${item}`),
  ];
}

function keysInWords(thumbprints: readonly string[]): string {
  return thumbprints.length === 0 ? 'no key' : `key ${list(thumbprints)}`;
}

function certificatesInWords(certificates: readonly string[]): string {
  return certificates.length === 0 ? '' : ` and client certificate ${list(certificates)}`;
}

function list(items: readonly string[]): string {
  return items.join(', ');
}

function hex(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('hex');
}
