import { canonicalHash, sha256Hex } from '../escrow/records/digests.js';
import type { DenialOrder, StopOrder } from '../api/orders.js';
import type { Acted, GrantReply, RecoveryReply } from '../api/replies.js';
import type { Entry } from '../log/entry/entry.js';
import { type End, NotBelieved, NotProven, ServerProblem, ServerUnreachable } from './errors.js';
import type { EscrowClient } from './escrowClient.js';
import type { LogView } from './log/logView.js';

/*
 * Acts that take something away, each with the proof that it was done: the entry that recorded exactly this, under a checkpoint by
 * the pinned log key that continues what was seen before, and that the pinned witnesses have cosigned, where there are some. A
 * host that would rather not have it done can say that it was, but then has it in its log for everybody to find.
 *
 * Each throws NotProven when there is no answer, or none with such a proof. A refusal has none either: that a request had ended, or
 * was nobody's, is what who hides it would say. A server that is older than this proves none but vetoes.
 */

/** Where the proof is checked. */
type Log = Pick<LogView, 'believeEntry'>;
/** The client of whoever asks, by one of its methods. */
type ClientOf<Method extends keyof EscrowClient> = Pick<EscrowClient, Method | 'caller'>;

/** The owner stops a request for their own keys. */
export function vetoProven(
  client: ClientOf<'veto'>,
  log: Log,
  recovery: string,
  reason: string,
): Promise<Acted<RecoveryReply>> {
  const entry = { act: 'recovery.veto', subject: { recovery }, status: 'vetoed' } as const;
  return proven(client, log, { end: 'vetoed', entry, send: () => client.veto(recovery, reason) });
}

/** A depositary hands in a denial made by `deny` (see depositary/depositary.ts). */
export function denyProven(
  client: ClientOf<'sendDenial'>,
  log: Log,
  recovery: string,
  denial: DenialOrder,
): Promise<Acted<RecoveryReply>> {
  const entry = { act: 'recovery.deny', subject: { recovery }, digest: sha256Hex(denial.statement) } as const;
  return proven(client, log, { end: 'denied', entry, send: () => client.sendDenial(recovery, denial) });
}

/** A requester takes their request back. */
export function cancelProven(
  client: ClientOf<'cancel'>,
  log: Log,
  recovery: string,
  reason: string,
): Promise<Acted<RecoveryReply>> {
  const entry = { act: 'recovery.cancel', subject: { recovery }, status: 'cancelled' } as const;
  return proven(client, log, { end: 'cancelled', entry, send: () => client.cancel(recovery, reason) });
}

/** An administrator hands in statements made by `signStop` (see stop.ts). */
export function stopProven(
  client: ClientOf<'stop'>,
  log: Log,
  recovery: string,
  stop: StopOrder,
): Promise<Acted<RecoveryReply>> {
  const digest = canonicalHash(stop.statements);
  const entry = { act: 'recovery.stop', subject: { recovery }, status: 'cancelled', digest } as const;
  return proven(client, log, { end: 'stopped', entry, send: () => client.stop(recovery, stop) });
}

/** A grant is ended. */
export function revokeProven(
  client: ClientOf<'revoke'>,
  log: Log,
  grant: string,
  reason: string,
): Promise<Acted<GrantReply>> {
  const entry = { act: 'grant.revoke', subject: { grant }, status: 'revoked' } as const;
  return proven(client, log, { end: 'revoked', entry, send: () => client.revoke(grant, reason) });
}

/** What the entry must say that records it. */
interface Expected {
  readonly act: string;
  readonly subject: Pick<Entry['subject'], 'recovery' | 'grant'>;
  readonly status?: string;
  /** Of what the caller has signed. */
  readonly digest?: string;
}

async function proven<T>(
  { caller }: Pick<EscrowClient, 'caller'>,
  log: Log,
  {
    end,
    entry: expected,
    send,
  }: { readonly end: End; readonly entry: Expected; readonly send: () => Promise<Acted<T>> },
): Promise<Acted<T>> {
  const acted = await send().catch((cause: unknown) => {
    if (!isWord(cause)) throw cause;
    const refused = cause instanceof ServerProblem && cause.status < 500;
    const why = refused
      ? `the server refuses it (${cause.code})`
      : 'the server does not say that it was done';
    throw new NotProven(end, `${why}: ${cause.message}`, { cause });
  });
  const { proof } = acted;
  if (proof === undefined) throw new NotProven(end, 'the server does not prove that it is in its log');
  const isHere = await log.believeEntry(proof).then(
    ({ entry }) => proof.index === acted.entry && isRecordOf(entry, expected, caller),
    (cause: unknown) => {
      if (!(cause instanceof NotBelieved) && !isWord(cause)) throw cause;
      const why = cause instanceof NotBelieved ? cause.detail : cause.message;
      throw new NotProven(end, `what the server shows as proof does not hold: ${why}`, { cause });
    },
  );
  if (!isHere) throw new NotProven(end, 'what the server shows as proof is of something else');
  return acted;
}

/** What the server says, or that it says nothing. */
function isWord(error: unknown): error is ServerProblem | ServerUnreachable {
  return error instanceof ServerUnreachable || error instanceof ServerProblem;
}

function isRecordOf(entry: Entry, { act, subject, status, digest }: Expected, caller: string): boolean {
  return (
    entry.act === act &&
    entry.phase === 'done' &&
    entry.actor === caller &&
    entry.subject.recovery === (subject.recovery ?? entry.subject.recovery) &&
    entry.subject.grant === subject.grant &&
    (status === undefined || entry.detail['status'] === status) &&
    (digest === undefined || entry.digest === digest)
  );
}
