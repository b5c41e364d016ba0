import { parsedScope } from '../client/depositary/attestation.js';
import type { LogView } from '../client/log/logView.js';
import { parseDuration } from '../policy/durations.js';
import { quoted } from '../escrow/records/freeText.js';
import { durationInWords, keksInWords, scopeInWords } from '../escrow/records/inWords.js';
import type {
  GrantReply,
  KeyReply,
  PurposeCoverageReply,
  RecoveryKeyReply,
  RecoveryReply,
  ScopeReply,
} from '../api/replies.js';
import { type Inability, INABILITIES } from '../escrow/rules/liveQuorums.js';
import { when } from './times.js';

/** How they are marked who count no more in quorums. */
const MARKS = {
  'not-listed': 'cannot agree',
  'not-depositary': 'cannot agree',
  'no-signing-key': 'cannot agree',
  'not-enrolled': 'not enrolled',
  'other-key': 'has another key',
} as const satisfies Record<Inability, string>;

/** Who suffices: `manager and officer-1, or manager and officer-2 (cannot agree)`; they are marked who count no more. */
export function quorumsInWords(
  quorums: readonly (readonly string[])[],
  unable: PurposeCoverageReply['unable'] = [],
): string {
  const marks = new Map<string, string>(
    unable.map(({ depositary, because }) => [depositary, isInability(because) ? MARKS[because] : because]),
  );
  const name = (member: string): string => {
    const mark = marks.get(member);
    return mark === undefined ? member : `${member} (${mark})`;
  };
  return quorums.map((members) => members.map(name).join(' and ')).join(', or ');
}

/** Who counts no more, and why: `otto is not in the directory`; undefined when all do. */
export function unableInWords(unable: PurposeCoverageReply['unable']): string | undefined {
  if (unable.length === 0) return undefined;
  return unable
    .map(
      ({ depositary, because }) => `${depositary} ${isInability(because) ? INABILITIES[because] : because}`,
    )
    .join(', ');
}

function isInability(because: string): because is Inability {
  return Object.hasOwn(INABILITIES, because);
}

/** How many quorums are left of so many, and on whom they all depend. */
export function liveInWords(
  { live, singlePoints }: Pick<PurposeCoverageReply, 'live' | 'singlePoints'>,
  quorums?: number,
): string {
  const of = quorums === undefined ? String(live.length) : `${live.length} of ${quorums}`;
  if (live.length === 0) return `${of}: nobody can bring it back`;
  return singlePoints.length === 0 ? of : `${of}, none without ${singlePoints.join(' or ')}`;
}

/** An ISO 8601 duration in words; as it is when it is none. */
export function isoInWords(text: string): string {
  const ms = parseDuration(text);
  return ms === undefined ? text : durationInWords(ms);
}

/** What an app may do, as far as what the server shows has the form of it. */
function shownScopeInWords(shown: ScopeReply | undefined): string {
  const scope = shown && parsedScope(shown);
  return scope === undefined ? 'an unknown scope' : scopeInWords(scope);
}

/** What a request asks for, and what that means for the key. */
export function askedInWords(recovery: RecoveryReply): string {
  switch (recovery.purpose) {
    case 'operate':
      return `operate: ${shownScopeInWords(recovery.scope)}${recovery.keys.length === 1 ? '. The key stays' : '; as much with each of the keys. They stay'} in the token.`;
    case 'release':
      return `release: ${recovery.recipient ?? 'somebody'} receives ${recovery.keys.length === 1 ? 'the private key itself' : 'the private keys themselves'}, for good.`;
    case 'reseal':
      return `reseal: ${recovery.keys.length === 1 ? 'the key is' : 'the keys are'} opened, as for a release, and sealed anew by the rule ${recovery.reseal?.rule ?? ''}; enough are then ${quorumsInWords(recovery.reseal?.quorums ?? [])}${underInWords(recovery.reseal)}.`;
    default:
      return `${recovery.purpose}: this version does not know what that is.`;
  }
}

/** What becomes of key-encryption keys, to stand at the end; empty where nothing does. */
function underInWords(reseal: RecoveryReply['reseal']): string {
  const said = reseal === undefined ? '' : keksInWords(reseal);
  return said === '' ? '' : `; ${said}`;
}

/** A key of a request, by what it is: `key_0123... "letters", ec-p256 to sign`. */
export function keyInWords({ key, label, spec, use, bornOutside }: RecoveryKeyReply): string {
  const whence = bornOutside === true ? ', born outside: others may have it' : '';
  const what = spec === 'secret' ? 'a secret' : `${spec} to ${use}`;
  return `${key}${label === '' ? '' : ` ${quoted(label)}`}, ${what}${whence}`;
}

/** The keys of a request, each with who suffices for it and what came of it, as rows of facts. */
export function keysFacts({
  keys,
}: Pick<RecoveryReply, 'keys'>): readonly (readonly [string, string | undefined])[] {
  return keys.flatMap((key) => [
    ['key', keyInWords(key)],
    ['enough are', quorumsInWords(key.quorums, key.unable)],
    ['cannot agree', unableInWords(key.unable ?? [])],
    [
      'impossible',
      key.quorumsLeft === 0 ? 'no quorum is left: as people are listed, nobody can approve it' : undefined,
    ],
    ['grant', key.grant === undefined ? undefined : `${key.grant.grant}, ${key.grant.status}`],
  ]);
}

/** A request as rows of facts, in words. */
export function recoveryFacts(
  recovery: RecoveryReply,
  now: Date,
): readonly (readonly [string, string | undefined])[] {
  return [
    ['request', recovery.recovery],
    ['keys of', recovery.owner],
    ...keysFacts(recovery),
    ['asked by', recovery.requester],
    ['asks for', askedInWords(recovery)],
    ['can be approved until', when(recovery.expiresAt, now)],
    ['an approval counts for', isoInWords(recovery.approvalsHold)],
    ...statusFacts(recovery, now),
    ['waits for', waitsForInWords(recovery)],
    ['ended', endInWords(recovery, now)],
    // last, so that it can pretend to be none of the others
    ['reason', quoted(recovery.reason)],
  ];
}

/** Where a request stands, as rows of facts. */
export function statusFacts(
  recovery: RecoveryReply,
  now: Date,
): readonly (readonly [string, string | undefined])[] {
  const denied = recovery.deniedBy
    .map(({ depositary, reason }) => `${depositary} (${quoted(reason)})`)
    .join(', ');
  return [
    ['filed', when(recovery.filedAt, now)],
    ['status', recovery.status],
    ['intend to approve', intendedInWords(recovery)],
    ['approvals from', recovery.repliesFrom === undefined ? undefined : when(recovery.repliesFrom, now)],
    ['approved by', recovery.approvedBy.length === 0 ? 'nobody yet' : recovery.approvedBy.join(', ')],
    ['denied by', denied === '' ? undefined : denied],
    [
      'released from',
      recovery.releasableAt === undefined || recovery.purpose !== 'release'
        ? undefined
        : when(recovery.releasableAt, now),
    ],
    [
      recovery.purpose === 'reseal' ? 'sealed anew from' : 'active from',
      recovery.releasableAt === undefined || recovery.purpose === 'release'
        ? undefined
        : when(recovery.releasableAt, now),
    ],
    ['approvals count until', recovery.holdsUntil === undefined ? undefined : when(recovery.holdsUntil, now)],
  ];
}

/** Who intends to approve; undefined where nobody is asked to say so. */
export function intendedInWords({ replies, intendedBy = [] }: RecoveryReply): string | undefined {
  if (replies === undefined) return undefined;
  return intendedBy.length === 0 ? 'nobody yet' : intendedBy.join(', ');
}

/** Whom a request waits for: who is still needed, or who is to carry it out; undefined when for nobody. */
export function waitsForInWords(recovery: RecoveryReply): string | undefined {
  const { status, purpose, keys, approvedBy, recipient, scope } = recovery;
  switch (status) {
    case 'pending': {
      const needed = keys.map(({ quorums }) => leftOf(quorums, approvedBy)).filter((left) => left.length > 0);
      return [...new Set(needed.map((left) => quorumsInWords(left)))].join('; and ') || undefined;
    }
    case 'approved':
      return purpose === 'release' ? (recipient ?? 'the recipient') : 'its delay, and the server';
    case 'active':
      return `the app ${scope?.app ?? ''}`;
    case 'released':
    case 'resealed':
    case 'exhausted':
    case 'revoked':
    case 'denied':
    case 'vetoed':
    case 'cancelled':
    case 'expired':
    case 'failed':
      break;
  }
  return undefined;
}

/** What is left of quorums when these have approved: no more than is needed. */
function leftOf(
  quorums: readonly (readonly string[])[],
  approvedBy: readonly string[],
): readonly (readonly string[])[] {
  const left = quorums.map((members) => members.filter((member) => !approvedBy.includes(member)));
  const isMore = (more: readonly string[], less: readonly string[]): boolean =>
    less.length < more.length && less.every((member) => more.includes(member));
  const least = left.filter((members) => !left.some((other) => isMore(members, other)));
  return [...new Map(least.map((members) => [[...members].sort().join(), members])).values()];
}

/** What comes next for a request; undefined when nothing does. */
export function nextForRecovery(recovery: RecoveryReply): string | undefined {
  const id = recovery.recovery;
  switch (recovery.status) {
    case 'pending':
      if (recovery.keys.some(({ quorumsLeft }) => quorumsLeft === 0))
        return `nobody can approve it: escrowctl recovery cancel ${id} --reason TEXT, and ask for the other keys apart`;
      if (recovery.reseal !== undefined)
        return `depositaries decide about all requests of the job at once: escrowctl reseal approve ${recovery.reseal.job}`;
      return recovery.repliesFrom === undefined
        ? `depositaries decide: escrowctl recovery approve ${id}, or deny`
        : `from ${recovery.repliesFrom} on depositaries approve: escrowctl recovery approve ${id}, or deny`;
    case 'approved':
      if (recovery.purpose === 'reseal') return 'the server does it when the delay is over';
      return recovery.purpose === 'operate'
        ? `escrowctl recovery activate ${id}`
        : `${recovery.recipient ?? 'the recipient'} runs: escrowctl recovery release ${id} --out ${recovery.keys.length === 1 ? 'key.pem' : 'DIRECTORY'}`;
    case 'active':
      return `the app uses ${recovery.keys.length === 1 ? 'it' : 'each key by its own grant'}: escrowctl ${recovery.scope?.operations[0] ?? 'sign'} FILE --grant ${recovery.keys.find(({ grant }) => grant?.status === 'active')?.grant?.grant ?? 'GRANT'} --mechanism ${recovery.scope?.mechanisms[0] ?? 'NAME'}`;
    case 'resealed':
      return recovery.reseal && `escrowctl reseal show ${recovery.reseal.job}`;
    case 'released':
    case 'exhausted':
    case 'revoked':
    case 'denied':
    case 'vetoed':
    case 'cancelled':
    case 'expired':
    case 'failed':
    default:
      return undefined;
  }
}

export function grantFacts(grant: GrantReply, now: Date): readonly (readonly [string, string | undefined])[] {
  return [
    ['grant', grant.grant],
    ['key', `${grant.key}, ${grant.spec}, of ${grant.owner}`],
    ['request', grant.recovery],
    ['allows', shownScopeInWords(grant.scope)],
    ['used', `${grant.used} of ${grant.scope.maxUses}`],
    ['since', when(grant.startsAt, now)],
    ['until', when(grant.expiresAt, now)],
    ['status', grant.status],
  ];
}

/** What the rule of a key allows. */
export function termsInWords({ terms }: KeyReply): string {
  const { operate, release } = terms;
  const parts = [
    operate === undefined ? '' : operateInWords(operate),
    release === undefined
      ? ''
      : `release to a depositary${release.delay === 'PT0S' ? '' : ` after ${isoInWords(release.delay)}`}${release.ownerMayVeto ? ', unless the owner vetoes' : ''}${repliesInWords(release)}`,
  ].filter((part) => part !== '');
  return `${parts.join('; ')}${release === undefined ? '; it never leaves the token' : ''}`;
}

function operateInWords(operate: NonNullable<KeyReply['terms']['operate']>): string {
  const { operations, mechanisms, input, maxUses, maxDuration, rate, delay, ownerMayVeto } = operate;
  return [
    `${operations.join(' and ')} on behalf`,
    mechanisms === undefined ? '' : ` with ${mechanisms.join(', ')}`,
    input === 'message' ? ', messages only' : '',
    `, at most ${maxUses} uses in ${isoInWords(maxDuration)}`,
    rate === undefined ? '' : ` and ${rate.uses} in any ${isoInWords(rate.per)}`,
    delay === 'PT0S' ? '' : `, after ${isoInWords(delay)}`,
    ownerMayVeto ? ', unless the owner vetoes' : '',
    repliesInWords(operate),
  ].join('');
}

function repliesInWords({ replies }: Pick<RecoveryReply, 'replies'>): string {
  return replies === 'afterDelay' ? '; shares leave depositaries after the delay' : '';
}

/** Where an opened key is, and what was checked of it. */
export function openedInWords(
  key: Pick<KeyReply, 'key' | 'publicKeyPem' | 'checkValue'>,
  out: string,
): string {
  if (key.checkValue !== undefined)
    return `The secret ${key.key} is in ${out}, byte for byte as it was imported; keep it safe.`;
  return key.publicKeyPem === undefined
    ? `The secret key ${key.key} is in ${out}; keep it safe.`
    : `The private key of ${key.key} is in ${out}. It fits the public key; keep it safe.`;
}

function endInWords({ ended }: RecoveryReply, now: Date): string | undefined {
  if (ended === undefined) return undefined;
  const by = ended.by === undefined ? '' : ` by ${ended.by}`;
  const reason = ended.reason === undefined ? '' : `: ${quoted(ended.reason)}`;
  return `${when(ended.at, now)}${by}${reason}`;
}

/** Whether what is shown of the log continues what this identity saw of it before. */
export function continuesInWords({ isBeginning }: Pick<LogView, 'isBeginning'>): string {
  return isBeginning
    ? 'nothing of it was remembered here (state.json is new, or was lost): what you believe begins with this'
    : 'it continues what you saw before';
}
