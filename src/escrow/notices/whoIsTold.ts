import { isJsonObject, type Json } from '../../log/entry/canonical.js';
import type { Entry } from '../../log/entry/entry.js';
import type { Act } from '../ledger/means.js';
import { sha256Hex } from '../records/digests.js';
import { printable, quoted } from '../records/freeText.js';
import { type PrincipalId, parsePrincipalId } from '../records/ids.js';
import type { Notice, NoticeKind, NoticeRequest } from '../records/notice.js';
import { happened, outcomeOf, type RequestFacts, wish } from './words.js';

/** What an entry says to one person. */
type Message = Pick<Notice, 'kind' | 'to' | 'as' | 'text'>;

interface LogEvent {
  readonly entry: Entry;
  /** Undefined when the entry is about no request that there is. */
  readonly request: RequestFacts | undefined;
}

/**
 * Whom an entry concerns, and what they are told; in an order that depends on nothing but its arguments. Empty for an
 * attempt, whose outcome follows, and for what concerns nobody but its actor.
 */
export function noticesOf(index: number, entry: Entry, request: RequestFacts | undefined): readonly Notice[] {
  const outcome = outcomeOf(entry);
  return messagesOf({ entry, request }).map(({ kind, to, as, text }) => ({
    id: `ntc_${sha256Hex(`${entry.id}\n${entry.phase}\n${kind}\n${to}`).slice(0, 32)}`,
    kind,
    to,
    as,
    text: printable(text),
    entry: index,
    time: entry.time,
    act: entry.act,
    actor: entry.actor,
    subject: entry.subject,
    outcome,
    request: request === undefined || !TELLS_REQUEST.has(kind) ? undefined : requestOf(request),
    uses: kind === 'used' ? usesOf(entry) : undefined,
  }));
}

const TELLS_REQUEST: ReadonlySet<NoticeKind> = new Set<NoticeKind>(['asked', 'approval-due', 'decided']);

/** Whether what an entry says depends on the request that it is about. */
export function needsRequest({ act, phase, subject }: Entry): boolean {
  const tells = phase === 'done' || phase === 'failed';
  return tells && subject.recovery !== undefined && isTold(act) && NOTICE_RULES[act] !== used;
}

function messagesOf(event: LogEvent): readonly Message[] {
  const { entry } = event;
  if (!isTold(entry.act)) return [];
  // a drill that came to nothing is said again by the client, and concerns nobody else
  if (entry.act === 'key.drill' && entry.phase !== 'done') return [];
  switch (entry.phase) {
    case 'attempted':
      return [];
    case 'done':
      return NOTICE_RULES[entry.act](event);
    case 'denied':
      return refused(event);
    case 'failed':
      if (NOTICE_RULES[entry.act] === used) return used(event);
      // what broke can be tried again, unless it has ended the request
      return entry.detail['status'] === 'failed' ? decided(event) : [];
  }
}

/** The acts that are told about, and how when they are done. */
const NOTICE_RULES = {
  'key.import': imported,
  'key.drill': drilled,
  'recovery.request': asked,
  // nothing is decided yet, and the owner can still do something
  'recovery.intend': intended,
  'recovery.remind': reminded,
  'recovery.approve': (event) =>
    // one approval of several decides nothing yet
    event.entry.detail['status'] === 'approved' ? decided(event) : [],
  'recovery.deny': decided,
  'recovery.veto': decided,
  'recovery.cancel': decided,
  'recovery.stop': stopped,
  'recovery.expire': decided,
  'recovery.activate': decided,
  'recovery.release': decided,
  'recovery.reseal': decided,
  // whoever had asked is to ask again
  'recovery.supersede': decided,
  'grant.sign': used,
  'grant.decrypt': used,
  'grant.revoke': decided,
  'grant.expire': decided,
  'grant.exhaust': decided,
} as const satisfies Partial<Record<Act, (event: LogEvent) => readonly Message[]>>;

function isTold(act: string): act is keyof typeof NOTICE_RULES {
  return Object.hasOwn(NOTICE_RULES, act);
}

/** The owner, whoever it was: a key of theirs is deposited that others may have as well. */
function imported({ entry }: LogEvent): readonly Message[] {
  const to = ownerOf(entry);
  if (to === undefined) return [];
  const who = entry.actor === to ? 'You have' : `${entry.actor} has`;
  const text = `${who} imported a key of yours: ${entry.subject.key ?? ''}. It was born outside the token, and who else has it escrowd cannot know.`;
  return [{ kind: 'imported', to, as: 'owner', text }];
}

/** The owner, of what does not open: it is to be sealed anew while others can still bring it back. */
function drilled({ entry }: LogEvent): readonly Message[] {
  const to = ownerOf(entry);
  const { results } = entry.detail;
  const failed = (Array.isArray(results) ? results : []).filter(isJsonObject).flatMap((one) => {
    const { key, purpose, result } = one;
    return result === 'opened' ? [] : [`${String(key)} for ${String(purpose)} (${String(result)})`];
  });
  if (to === undefined || failed.length === 0) return [];
  const text = `A drill of ${entry.actor} has found that their share does not open of ${failed.length === 1 ? 'a key' : 'keys'} of yours: ${failed.join(', ')}. What does not open counts in no quorum: have the ${failed.length === 1 ? 'key' : 'keys'} sealed anew (escrowctl reseal --key ...).`;
  return [{ kind: 'drill-failed', to, as: 'owner', text }];
}

/** Those who may decide, and the owner. */
function asked({ entry, request }: LogEvent): readonly Message[] {
  const kind = 'asked';
  const owner = ownerOf(entry);
  const what = request === undefined ? 'asks for keys' : `asks ${wish(request)}`;
  const why = request === undefined ? '' : ` Reason given: ${quoted(request.reason)}.`;
  const until = request === undefined ? '' : ` until ${request.expiresAt}`;
  const id = entry.subject.recovery ?? '';
  const toDeciders = (request?.deciders ?? [])
    .filter((decider) => decider !== owner)
    .map((to): Message => {
      const whose = owner === undefined ? '' : `, owned by ${owner}`;
      const text = `${entry.actor} ${what}${whose}.${why} You may approve or deny it${until}: request ${id}.`;
      return { kind, to, as: 'depositary', text };
    });
  const toOwner: readonly Message[] =
    owner === undefined
      ? []
      : [
          {
            kind,
            to: owner,
            as: 'owner',
            text: `${entry.actor} ${what}, owned by you.${why} It can be approved${until}: request ${id}.`,
          },
        ];
  return [...toDeciders, ...toOwner];
}

/** The owner and whoever asked; and those who may decide, once the delay runs that some of them have begun. */
function intended(event: LogEvent): readonly Message[] {
  const { entry, request } = event;
  const { repliesFrom } = entry.detail;
  if (typeof repliesFrom !== 'string') return decided(event);
  const id = entry.subject.recovery ?? '';
  const text = `${happened(entry, request)}. Whoever has said that they intend to approves then, or denies it: request ${id}.`;
  const toDeciders = (request?.deciders ?? [])
    .filter((decider) => decider !== ownerOf(entry))
    .map((to): Message => ({ kind: 'asked', to, as: 'depositary', text }));
  return [...decided(event), ...toDeciders];
}

/** Those whom the entry names: the delay is over that their intents began. */
function reminded({ entry, request }: LogEvent): readonly Message[] {
  const id = entry.subject.recovery ?? '';
  const until = request === undefined ? '' : `, until ${request.expiresAt}`;
  const what =
    request === undefined
      ? ''
      : ` ${request.requester} asks ${wish(request)}, owned by ${request.owner}. Reason given: ${quoted(request.reason)}.`;
  const text = `The delay of request ${id} is over: as you have said that you intend to, approve it now, or deny it${until}.${what}`;
  const { depositaries } = entry.detail;
  const named = Array.isArray(depositaries) ? (depositaries as readonly Json[]) : [];
  return named.flatMap((name): readonly Message[] => {
    const to = typeof name === 'string' ? parsePrincipalId(name) : undefined;
    return to === undefined ? [] : [{ kind: 'approval-due', to, as: 'depositary', text }];
  });
}

/** The owner and whoever asked. */
function decided({ entry, request }: LogEvent): readonly Message[] {
  const about = request === undefined ? '' : ` ${request.requester} had asked ${wish(request)}.`;
  const text = `${happened(entry, request)}.${about}`;
  const owner = ownerOf(entry);
  const requester = request?.requester;
  return [
    ...(requester === undefined || requester === owner
      ? []
      : [{ kind: 'decided', to: requester, as: 'requester', text } as const]),
    ...(owner === undefined ? [] : [{ kind: 'decided', to: owner, as: 'owner', text } as const]),
  ];
}

/** The owner, whoever asked, and those who might have gone on deciding. */
function stopped(event: LogEvent): readonly Message[] {
  const told = decided(event);
  const text = told[0]?.text ?? `${happened(event.entry, event.request)}.`;
  const others = (event.request?.deciders ?? []).filter((to) => told.every((one) => one.to !== to));
  return [...others.map((to): Message => ({ kind: 'decided', to, as: 'depositary', text })), ...told];
}

/** The owner. A use that failed is told as well: it is counted, and what the token did is not known. */
function used({ entry }: LogEvent): readonly Message[] {
  const to = ownerOf(entry);
  if (to === undefined) return [];
  const what = entry.act === 'grant.decrypt' ? 'decrypt with' : 'sign with';
  const key = `your key ${entry.subject.key ?? ''} under grant ${entry.subject.grant ?? ''}`;
  const uses = usesOf(entry);
  const { context } = entry.detail;
  const why = typeof context === 'string' ? ` Given as what it is for: ${quoted(context)}.` : '';
  const text =
    uses === undefined
      ? `${entry.actor} tried to ${what} ${key}; it failed (${entry.error ?? ''}), and is counted as used.${why}`
      : `${entry.actor} used ${key} to ${what === 'sign with' ? 'sign' : 'decrypt'}: ${uses} ${uses === 1 ? 'use' : 'uses'}.${why}`;
  return [{ kind: 'used', to, as: 'owner', text }];
}

/** The owner, of what others tried with their keys. That two were busy with the same thing is nobody's refusal. */
function refused({ entry }: LogEvent): readonly Message[] {
  const to = ownerOf(entry);
  if (to === undefined || to === entry.actor || entry.error === 'busy') return [];
  const { key, keys = key === undefined ? [] : [key] } = entry.subject;
  if (entry.detail['together'] !== undefined) {
    return [{ kind: 'refused', to, as: 'owner', text: refusedTogether(entry) }];
  }
  const text = `${entry.actor} was refused ${entry.act} on your ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}: ${entry.error ?? ''}.`;
  return [{ kind: 'refused', to, as: 'owner', text }];
}

/** Many refusals of one caller, which have one entry. */
function refusedTogether({ actor, detail }: Entry): string {
  const { refusals, since, until, of } = detail['together'] as {
    readonly refusals: number;
    readonly since: string;
    readonly until: string;
    readonly of: Readonly<Record<string, Readonly<Record<string, number>>>>;
  };
  const each = Object.entries(of).flatMap(([act, codes]) =>
    Object.entries(codes).map(([code, count]) => `${act}: ${code}, ${count} times`),
  );
  return `${actor} was refused ${refusals} times on your keys from ${since} to ${until}. ${each.join('; ')}.`;
}

function requestOf(facts: RequestFacts): NoticeRequest {
  const { requester, purpose, beneficiary, keys, reason, expiresAt } = facts;
  return { requester, purpose, beneficiary, keys, reason, expiresAt };
}

function usesOf({ phase, detail }: Entry): number | undefined {
  const { uses } = detail;
  return phase === 'done' && typeof uses === 'number' ? uses : undefined;
}

/** Subjects are as asked for: an owner who is none is told nothing. */
function ownerOf({ subject }: Entry): PrincipalId | undefined {
  return subject.owner === undefined ? undefined : parsePrincipalId(subject.owner);
}
