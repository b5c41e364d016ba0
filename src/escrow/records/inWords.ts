import { quoted } from './freeText.js';
import type { KeyId, PrincipalId } from './ids.js';
import type { Asked, DescribedKey } from './recovery.js';
import type { ResealPlan } from './sealing/resealing.js';
import type { Scope } from './scope.js';

/** What a depositary signs, in short: everything that the request's hash covers. */
export interface Summarised {
  readonly requester: PrincipalId;
  readonly owner: PrincipalId;
  readonly keys: readonly KeyId[];
  /** What the keys are; none, where the hash does not cover that. */
  readonly descriptions: readonly DescribedKey[];
  readonly asked: Asked;
  readonly reason: string;
  readonly expiresAt: Date;
  readonly approvalsHoldMs: number;
}

/**
 * A request in words, for whoever is about to approve it. A depositary's client makes these words by itself of what the
 * token attests, and does not take them from the server. The reason comes last: what somebody wrote ends it.
 */
export function requestInWords(request: Summarised): string {
  return `${wishInWords(request)} ${reasonInWords(request)}`;
}

/** The same without the reason. */
export function wishInWords(request: Summarised): string {
  const { requester, asked, expiresAt, approvalsHoldMs } = request;
  return [
    `${requester} asks that ${askedInWords(request, asked)}`,
    `It can be approved until ${expiresAt.toISOString()}; an approval counts for at most ${durationInWords(approvalsHoldMs)}.`,
  ].join(' ');
}

/** The reason alone, marked as what it is. */
export function reasonInWords({ requester, reason }: Pick<Summarised, 'requester' | 'reason'>): string {
  return `Reason given by ${requester}: ${quoted(reason)}`;
}

function askedInWords({ keys, owner, descriptions }: Summarised, asked: Asked): string {
  const all = keys.map((key) => keyInWords(key, descriptions)).join(', ');
  if (keys.length > 1) {
    switch (asked.purpose) {
      case 'operate':
        return `${scopeInWords(asked.scope)}, on behalf of ${owner}, with each of these ${keys.length} keys as much: ${all}. The keys stay in the token.`;
      case 'release':
        return `these ${keys.length} private keys of ${owner} are handed out to ${asked.recipient}, who then has them for good: ${all}.`;
      case 'reseal':
        return `these ${keys.length} keys of ${owner} are opened, as for a release, and ${sealedTo(asked.plan)}: ${all}.`;
    }
  }
  switch (asked.purpose) {
    case 'operate':
      return `${scopeInWords(asked.scope)}, on behalf of ${owner}, with the key ${all}. The key stays in the token.`;
    case 'release':
      return `the private key ${all} of ${owner} is handed out to ${asked.recipient}, who then has it for good.`;
    case 'reseal':
      return `the key ${all} of ${owner} is opened, as for a release, and ${sealedTo(asked.plan)}.`;
  }
}

/** `sealed anew to other people by the rule letters: from then on ... can bring it back`. */
function sealedTo({ rule, quorums, ...keks }: ResealPlan): string {
  const enough = quorums.map((members) => members.join(' and ')).join('; or ');
  const under = keksInWords(keks);
  return `sealed anew by the rule ${rule}: from then on these can bring it back, and nobody else: ${enough}${under === '' ? '' : `; ${under}`}`;
}

/** What a plan does about key-encryption keys, where there are newer ones: `kek:... is rotated to kek:...`; else empty. */
export function keksInWords({
  rotations = [],
  unrotated = [],
}: Pick<ResealPlan, 'rotations' | 'unrotated'>): string {
  return [
    ...rotations.map(({ from, to }) => `what lies under ${from} is put under ${to}`),
    ...unrotated.map((kek) => `what lies under ${kek} stays there, which cannot be rotated`),
  ].join(', ');
}

/** `key_0123... ("letters", ec-p256 to sign)`. */
function keyInWords(key: KeyId, descriptions: readonly DescribedKey[]): string {
  const found = descriptions.find((candidate) => candidate.key === key);
  if (found === undefined) return key;
  const label = found.label === '' ? '' : `${quoted(found.label)}, `;
  return `${key} (${label}${found.spec} to ${found.use})`;
}

/** What an app may do: `the app mailer may sign with ES256, at most 3 times, for 1 hour from activation, ...`. */
export function scopeInWords(scope: Scope): string {
  const { app, operations, mechanisms, input, maxUses, rate, durationMs, notBefore, notAfter } = scope;
  const parts = [
    `the app ${app} may ${operations.join(' and ')} with ${mechanisms.join(', ')}`,
    maxUses === 1 ? 'once' : `at most ${maxUses} times`,
    ...(rate === undefined ? [] : [`at most ${rate.uses} in any ${durationInWords(rate.perMs)}`]),
    `for ${durationInWords(durationMs)} from activation`,
    ...(notBefore === undefined ? [] : [`not before ${notBefore.toISOString()}`]),
    ...(notAfter === undefined ? [] : [`not after ${notAfter.toISOString()}`]),
    input === 'digest'
      ? 'sending messages or digests, which nobody can read'
      : 'sending messages, no digests',
  ];
  return parts.join(', ');
}

/** Units of time by their names, the longest first, in milliseconds. */
export const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const;

/** A length of time in words, down to seconds: `1 day 2 hours`. */
export function durationInWords(ms: number): string {
  let rest = ms;
  const words = UNITS.flatMap(([unit, sizeMs]) => {
    const count = Math.floor(rest / sizeMs);
    rest -= count * sizeMs;
    return count === 0 ? [] : [`${count} ${unit}${count === 1 ? '' : 's'}`];
  });
  return words.length === 0 ? 'no time' : words.join(' ');
}
