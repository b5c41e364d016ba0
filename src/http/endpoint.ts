import type { Call, Escrow, OperateCall } from '../escrow/context.js';
import { EscrowError } from '../escrow/errors.js';
import type { KeyId } from '../escrow/ids.js';
import { parseId, parsePrincipalId } from '../escrow/ids.js';
import type { Subject } from '../escrow/journal.js';
import { MAX_RECOVERY_KEYS } from '../escrow/recovery.js';
import { recordRefusal } from '../escrow/refusal.js';
import { hasRole } from '../escrow/principals.js';
import type { Anybody, Authentication, Known, Received } from './caller.js';
import { authenticate } from './caller.js';
import { authenticateByCertificate } from './certifiedCaller.js';
import type { PeerCertificate } from './peerCertificate.js';
import type { Gate } from './rates.js';
import { isJsonObject } from './strictJson.js';
import type { Access, Carried, OperateRoute, PublicRoute, Reply, SignedRoute } from './route.js';

/** A request for a route, before anything of it is believed. */
export interface Incoming {
  readonly received: Received;
  /** Where it came from, as far as the network says. */
  readonly address: string;
  /** The client certificate of its connection, if there is one. */
  readonly certificate: () => PeerCertificate | undefined;
  /** Path parameters. */
  readonly path: Readonly<Record<string, unknown>>;
  /** Reads query and body. Throws EscrowError `request-malformed`. */
  readonly readRest: () => Pick<Carried, 'query' | 'body'>;
}

/** Answers a request that anybody may make. @throws EscrowError */
export async function answerAnyone(
  { escrow, gate }: Door,
  route: PublicRoute,
  incoming: Incoming,
): Promise<Reply> {
  gate.takeFromAddress(incoming.address);
  return route.prepare({ path: incoming.path, ...incoming.readRest() })(escrow);
}

/** What stands behind every route. */
export interface Door {
  readonly escrow: Escrow;
  readonly gate: Gate;
}

/**
 * Answers a signed request, or one on a connection with a client certificate where the route takes those: who calls, whether
 * the route is open to them, what they ask, and then the use case. A known caller who is refused is recorded: by the ledger
 * where the use case goes through it, else here. One who asks too often is not: the log is not theirs to fill.
 *
 * Whoever sends an Authorization field is known by it or not at all, whatever the certificate.
 *
 * @throws EscrowError for every refusal; `log-unavailable` when it could not be recorded.
 */
export async function answerCaller(
  { escrow, gate }: Door,
  route: SignedRoute | OperateRoute,
  incoming: Incoming,
): Promise<Reply> {
  const policy = await escrow.directory.current();
  const trust = { policy, origin: escrow.origin, now: escrow.clock.now() };
  const { received } = incoming;
  const certificate = received.authorization.length === 0 ? incoming.certificate() : undefined;
  if (certificate !== undefined && route.takesCertificate) {
    const found = known(authenticateByCertificate(certificate, trust), gate, incoming);
    return gate.runFor(found.call.caller.id, async () => {
      const { call, run } = await heard(escrow, route, incoming, found);
      return run(escrow, call);
    });
  }
  const signed = certificate === undefined ? await authenticate(received, trust) : UNSIGNED;
  const found = known(signed, gate, incoming);
  return gate.runFor(found.call.caller.id, async () => {
    const { call, run } = await heard(escrow, route, incoming, found);
    return route.access.isLedgered
      ? run(escrow, call)
      : readOnce(escrow, route.access, call, incoming, () => run(escrow, call));
  });
}

/** Of a request with a certificate and no signature, where only a signature will do. */
const UNSIGNED: Anybody = {
  outcome: 'refused',
  call: undefined,
  error: new EscrowError(
    'request-unsigned',
    'A client certificate is enough to sign and to decrypt under a grant; everything else is asked for with a signed request.',
  ),
};

/** Refuses nobody known, at the expense of where they ask from. */
function known<C extends OperateCall>(found: Authentication<C>, gate: Gate, incoming: Incoming): Known<C> {
  if (isKnown(found)) return found;
  gate.takeFromAddress(incoming.address);
  throw found.error;
}

function isKnown<C extends OperateCall>(found: Authentication<C>): found is Known<C> {
  return found.call !== undefined;
}

/** What a known caller asks, once they are let in and it is what the interface describes. */
async function heard<C extends OperateCall>(
  escrow: Escrow,
  route: Asked<C>,
  incoming: Incoming,
  found: Known<C>,
): Promise<{ readonly call: C; readonly run: ReturnType<Asked<C>['prepare']> }> {
  const { access } = route;
  const call = await admit(escrow, access, incoming, found);
  try {
    checkIdempotencyKey(access, incoming);
    return { call, run: route.prepare({ path: incoming.path, ...incoming.readRest() }) };
  } catch (error) {
    if (access.isLedgered && error instanceof EscrowError)
      await record(escrow, access, call, incoming, error);
    throw error;
  }
}

/** A route, as far as it hears calls of this kind. */
interface Asked<C extends OperateCall> {
  readonly access: Access;
  readonly prepare: (carried: Carried) => (escrow: Escrow, call: C) => Promise<Reply>;
}

/** Lets in whose request is good and who has one of the route's roles. */
async function admit<C extends OperateCall>(
  escrow: Escrow,
  access: Access,
  incoming: Incoming,
  found: Known<C>,
): Promise<C> {
  const { call } = found;
  const isOpen = access.roles.some((role) => hasRole(call.caller, role));
  if (found.outcome === 'accepted' && isOpen) return call;
  const error = found.outcome === 'refused' ? found.error : new EscrowError('forbidden');
  await record(escrow, access, call, incoming, error);
  throw error;
}

/** A key where it is of no use is refused, so that nobody relies on it. */
function checkIdempotencyKey({ takesIdempotencyKey }: Access, { received }: Incoming): void {
  if (received.idempotencyKey.length === 0 || takesIdempotencyKey) return;
  throw new EscrowError('request-malformed', 'This operation takes no Idempotency-Key.');
}

/**
 * Reads, and answers only when the request is new. In that order, because a refusal that is recorded uses the request
 * up by itself; reading twice changes nothing.
 */
async function readOnce(
  escrow: Escrow,
  access: Access,
  call: Call,
  incoming: Incoming,
  run: () => Promise<Reply>,
): Promise<Reply> {
  try {
    const reply = await run();
    const { kid, jti, expiresAt } = call.request;
    if (await escrow.store.seeOnce({ kid, jti, expiresAt })) return reply;
    throw new EscrowError('request-replayed');
  } catch (error) {
    const isRecorded =
      error instanceof EscrowError && (error.code === 'forbidden' || error.code === 'request-replayed');
    if (isRecorded) await record(escrow, access, call, incoming, error);
    throw error;
  }
}

async function record(
  escrow: Escrow,
  access: Access,
  call: OperateCall,
  incoming: Incoming,
  error: EscrowError,
): Promise<void> {
  await recordRefusal(escrow, access.act, call, subjectOf(incoming), error);
}

/** What a refused request was about, as far as it says so in the right form; what it says need not exist. */
function subjectOf({ path, readRest }: Incoming): Subject {
  const said = { ...bodyOf(readRest), ...path };
  const text = (name: string): string => {
    const value = Object.hasOwn(said, name) ? said[name] : undefined;
    return typeof value === 'string' ? value : '';
  };
  const key = parseId('KeyId', text('key'));
  const keys = Object.hasOwn(said, 'keys') ? keysSaid(said['keys']) : [];
  const owner = parsePrincipalId(text('owner'));
  const recovery = parseId('RecoveryId', text('recovery'));
  const grant = parseId('GrantId', text('grant'));
  return {
    ...(key === undefined ? {} : { key }),
    ...(keys.length === 0 ? {} : { keys }),
    ...(owner === undefined ? {} : { owner }),
    ...(recovery === undefined ? {} : { recovery }),
    ...(grant === undefined ? {} : { grant }),
  };
}

/** The keys that a list names in the right form: as many of them as there may be, in ascending order. */
function keysSaid(value: unknown): readonly KeyId[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : [];
  const keys = items.flatMap((item) => (typeof item === 'string' ? (parseId('KeyId', item) ?? []) : []));
  return [...new Set(keys)].sort().slice(0, MAX_RECOVERY_KEYS);
}

function bodyOf(readRest: Incoming['readRest']): Readonly<Record<string, unknown>> {
  try {
    const { body } = readRest();
    return isJsonObject(body) ? body : {};
  } catch (error) {
    if (error instanceof EscrowError) return {};
    throw error;
  }
}
