import type { CertifiedCall, Escrow, OperateCall } from '../escrow/escrow.js';
import { callOf } from '../escrow/escrow.js';
import { findByCertificate, findByKey } from '../escrow/directory.js';
import { KnownCaller } from '../escrow/ledger/knownCaller.js';
import { EscrowError } from '../escrow/records/errors.js';
import type { KeyId } from '../escrow/records/ids.js';
import { parseId, parsePrincipalId } from '../escrow/records/ids.js';
import type { Subject } from '../log/entry/entry.js';
import type { Policy } from '../escrow/records/policy.js';
import type { Principal } from '../escrow/records/principals.js';
import { hasRole } from '../escrow/records/principals.js';
import { MAX_RECOVERY_KEYS } from '../escrow/records/recovery.js';
import { recordRefusal } from '../escrow/acts/refuse.js';
import type { Claimed, Known, Received } from './caller/signed.js';
import { checkRequest, proveSigner, readClaimed } from './caller/signed.js';
import type { InFlight } from './limits/inFlight.js';
import type { PeerCertificate } from './caller/peerCertificate.js';
import type { Gate } from './limits/rates.js';
import { isJsonObject } from '../log/entry/canonical.js';
import type { Access, RawInput, OperateRoute, PublicRoute, Reply, Route, SignedRoute } from './route.js';
import { membersOf } from './route.js';

/** A request for a route, before anything of it is believed. */
export interface Incoming {
  readonly received: Received;
  /** Path parameters. */
  readonly path: Readonly<Record<string, unknown>>;
  /** Reads query and body. Throws EscrowError `request-malformed`. */
  readonly readRest: () => Pick<RawInput, 'query' | 'body'>;
}

/** A request of which only the headers are there. */
export interface Arriving {
  readonly head: Omit<Received, 'body'>;
  /** Where it came from, as limits count it: see `networkOf`. */
  readonly address: string;
  /** The client certificate of its connection, if there is one. */
  readonly certificate: () => PeerCertificate | undefined;
  /** What its connection has proven before. */
  readonly connection: { provenKey?: string };
  /** To be told who asks, once that is proven. */
  readonly identified: (caller: string) => void;
  readonly announcesBody: boolean;
  /** Reads the body, of at most so many bytes. Once. Throws EscrowError `request-too-large`, `request-malformed`. */
  readonly receive: (maxBodyBytes: number) => Promise<Incoming>;
}

/** What stands behind every route. */
export interface Door {
  readonly escrow: Escrow;
  readonly gate: Gate;
  /** The requests under way. */
  readonly inFlight: InFlight;
  /** Those of them with a body larger than others may have. */
  readonly largeBodies: InFlight;
  /** How large a body may be, unless the route says otherwise. */
  readonly maxBodyBytes: number;
  /** Whether the clocks by which things are decided were apart when they were compared last. */
  readonly isClockOff: () => boolean;
}

/** Answers a request that anybody may make. @throws EscrowError */
export async function answerAnyone(door: Door, route: PublicRoute, arriving: Arriving): Promise<Reply> {
  door.gate.takeFromAddress(arriving.address, 'stranger');
  if (arriving.announcesBody) throw new EscrowError('request-malformed', 'This request has no body.');
  const { path, readRest } = await arriving.receive(0);
  return door.inFlight.run(() => route.prepare({ path, ...readRest() })(door.escrow));
}

/**
 * Answers a signed request, or one on a connection with a client certificate where the route takes those, in these steps. The
 * headers are received. Who calls is authenticated once, by the policy that is at hand, or by the one in force when that does not
 * name them; the call carries the policy. The caller's own limits hold from there on; until then no byte of the body is kept, and
 * what it costs is at the expense of the address. The caller is authorised for the route, what they ask is read, and the use case
 * acts; its reply is the answer.
 *
 * An act is held to the policy in force when it is recorded, and so is a refusal: see `Ledger.perform`. A caller who only reads,
 * or is refused before any use case, is looked up in the policy in force now. A known caller who is refused is recorded: by the
 * ledger where the use case goes through it, else here. One who asks too often is not: the log is not theirs to fill.
 *
 * Whoever sends an Authorization field is known by it or not at all, whatever the certificate.
 *
 * @throws EscrowError for every refusal; `log-unavailable` when it could not be recorded.
 */
export async function answerCaller(
  door: Door,
  route: SignedRoute | OperateRoute,
  arriving: Arriving,
): Promise<Reply> {
  const { escrow } = door;
  const shown = atTheirExpense(door, arriving, () => shownBy(route, arriving));
  if ('certificate' in shown) {
    const { certificate, route: open } = shown;
    const certify = (policy: Policy): Known<CertifiedCall> =>
      byCertificate(certificate, policy, escrow.clock.now());
    const isNamed = findByCertificate(escrow.directory.last, certificate.thumbprint) !== undefined;
    // TLS has proven that it is theirs
    const found = await authenticate(door, arriving, { isNamed, isProven: isNamed }, certify);
    return limit(door, open, arriving, found.call.caller, (incoming) =>
      answerKnown(escrow, open, incoming, found),
    );
  }
  const { claimed } = shown;
  const isNamed = findByKey(escrow.directory.last, claimed.kid) !== undefined;
  const isProven = isNamed && arriving.connection.provenKey === claimed.kid;
  const signed = await authenticate(door, arriving, { isNamed, isProven }, (policy) =>
    proveSigner(claimed, policy),
  );
  arriving.connection.provenKey = claimed.kid;
  return limit(door, route, arriving, signed.call.caller, async (incoming) => {
    const trust = { logKey: escrow.logKey, now: escrow.clock.now() };
    return answerKnown(escrow, route, incoming, checkRequest(signed, incoming.received, trust));
  });
}

async function answerKnown<C extends OperateCall>(
  escrow: Escrow,
  route: RouteFor<C>,
  incoming: Incoming,
  found: Known<C>,
): Promise<Reply> {
  if (!route.access.isLedgered) await renew(escrow, found.call);
  const { call, act } = await authorise(escrow, route, incoming, found);
  return route.access.isLedgered
    ? act(escrow, call)
    : readOnce(escrow, route, call, incoming, () => act(escrow, call));
}

/** By a clock that is off, what a request asks for would be refused for reasons that do not hold, or shown as it is not. */
function requireClock({ isClockOff }: Door): void {
  if (isClockOff()) throw new EscrowError('clock-differs');
}

/** By what a caller is to be known. */
type Shown =
  { readonly claimed: Claimed } | { readonly certificate: PeerCertificate; readonly route: OperateRoute };

function shownBy(route: SignedRoute | OperateRoute, { head, certificate }: Arriving): Shown {
  const shown = head.authorization.length === 0 ? certificate() : undefined;
  if (shown === undefined) return { claimed: readClaimed(head.authorization) };
  if (route.takesCertificate) return { certificate: shown, route };
  throw new EscrowError(
    'request-unsigned',
    'A client certificate is enough to sign and to decrypt under a grant, and to look at grants and public keys; everything else is asked for with a signed request.',
  );
}

/** What is wrong already with what a request shows is at the expense of where it came from. */
function atTheirExpense<T>({ gate }: Door, { address }: Arriving, read: () => T): T {
  try {
    return read();
  } catch (error) {
    gate.takeFromAddress(address, 'stranger');
    throw error;
  }
}

/**
 * Has callers prove who they are, and refuses nobody known, at the expense of where they ask from. The database is asked only
 * when the policy that is at hand does not name them: another one may.
 */
async function authenticate<T>(
  { escrow, gate, inFlight }: Door,
  { address, connection }: Arriving,
  known: { readonly isNamed: boolean; readonly isProven: boolean },
  prove: (policy: Policy) => T | Promise<T>,
): Promise<T> {
  const giveBack = known.isProven
    ? undefined
    : gate.takeFromAddress(address, known.isNamed ? 'unproven' : 'stranger');
  try {
    const { directory } = escrow;
    const found = await prove(known.isNamed ? directory.last : await inFlight.run(() => directory.current()));
    giveBack?.();
    return found;
  } catch (error) {
    delete connection.provenKey;
    const isTheirs =
      error instanceof EscrowError &&
      (error.code === 'caller-unknown' || error.code === 'request-signature-invalid');
    if (!isTheirs) giveBack?.();
    throw error;
  }
}

/**
 * An app by the client certificate of its connection (RFC 8705 section 2.2, with the certificate itself bound in the policy): this
 * policy binds it to the app, and it is within its period of validity. That the caller has its key, and that the request is new
 * and unchanged, TLS has seen to. An expired one is `certificate-expired`, recorded as the app's.
 *
 * @throws EscrowError `caller-unknown`
 */
function byCertificate(
  { thumbprint, fromMs, untilMs }: PeerCertificate,
  policy: Policy,
  now: Date,
): Known<CertifiedCall> {
  const found = KnownCaller.find(policy, { certificate: thumbprint });
  if (found === undefined)
    throw new EscrowError('caller-unknown', 'The client certificate is bound to no app.');
  const call = callOf(found, { request: undefined, certificate: thumbprint });
  // a date that does not parse compares with nothing, and refuses
  if (now.getTime() >= fromMs && now.getTime() <= untilMs) return { outcome: 'accepted', call };
  return { outcome: 'refused', call, error: new EscrowError('certificate-expired') };
}

/** Does what a known caller asks, within their limits: the body is read only then, and counts as theirs. */
function limit(
  door: Door,
  { access, maxBodyBytes: large }: SignedRoute | OperateRoute,
  arriving: Arriving,
  caller: Principal,
  work: (incoming: Incoming) => Promise<Reply>,
): Promise<Reply> {
  const { gate, inFlight, largeBodies, maxBodyBytes } = door;
  arriving.identified(caller.id);
  const run = async (maxBytes: number): Promise<Reply> => {
    const incoming = await arriving.receive(maxBytes);
    return inFlight.run(() => {
      requireClock(door);
      return work(incoming);
    });
  };
  return gate.runFor(caller.id, () => {
    const mayBeLarge = large !== undefined && access.roles.some((role) => hasRole(caller, role));
    return mayBeLarge ? largeBodies.run(() => run(large)) : run(maxBodyBytes);
  });
}

/**
 * Looks a caller up in the policy in force now. Says whether it is another than they were known by.
 * @throws EscrowError `caller-unknown`
 */
async function renew({ directory }: Escrow, { known }: OperateCall): Promise<boolean> {
  const current = await directory.current();
  try {
    return known.renew(current);
  } catch (error) {
    // one who has lost the role is known
    if (error instanceof EscrowError && error.code === 'forbidden') return true;
    throw error;
  }
}

/** A route for those who are known. */
interface KnownRoute extends Pick<Route, 'schemas'> {
  readonly access: Access;
}

/** A route, as far as it hears calls of this kind. */
interface RouteFor<C extends OperateCall> extends KnownRoute {
  readonly prepare: (carried: RawInput) => (escrow: Escrow, call: C) => Promise<Reply>;
}

/** What a known caller asks, and how it is done. */
interface Authorised<C extends OperateCall> {
  readonly call: C;
  readonly act: ReturnType<RouteFor<C>['prepare']>;
}

/**
 * Lets in whose request is good, who has one of the route's roles, and who asks what the interface describes. Nobody is refused
 * by a policy that is in force no more.
 */
async function authorise<C extends OperateCall>(
  escrow: Escrow,
  route: RouteFor<C>,
  incoming: Incoming,
  found: Known<C>,
): Promise<Authorised<C>> {
  const { access } = route;
  const { call } = found;
  let isIn = false;
  try {
    if (found.outcome === 'refused') throw found.error;
    call.known.requireRole(access.roles);
    isIn = true;
    checkIdempotencyKey(access, incoming);
    return { call, act: route.prepare({ path: incoming.path, ...incoming.readRest() }) };
  } catch (error) {
    if (!(error instanceof EscrowError)) throw error;
    if (await renew(escrow, call)) return authorise(escrow, route, incoming, found);
    if (access.isLedgered || !isIn) await record(escrow, route, call, incoming, error);
    throw error;
  }
}

/** A key where it is of no use is refused, so that nobody relies on it. */
function checkIdempotencyKey({ takesIdempotencyKey }: Access, { received }: Incoming): void {
  if (received.idempotencyKey.length === 0 || takesIdempotencyKey) return;
  throw new EscrowError('request-malformed', 'This operation takes no Idempotency-Key.');
}

/**
 * Reads, and answers only when the request is new; TLS has seen to that where there is none. In that order, because a refusal that is recorded uses the request
 * up by itself; reading twice changes nothing.
 */
async function readOnce(
  escrow: Escrow,
  route: KnownRoute,
  call: OperateCall,
  incoming: Incoming,
  run: () => Promise<Reply>,
): Promise<Reply> {
  try {
    const reply = await run();
    if (call.request === undefined) return reply;
    const { kid, jti, expiresAt } = call.request;
    if (await escrow.store.seeOnce({ kid, jti, expiresAt })) return reply;
    throw new EscrowError('request-replayed');
  } catch (error) {
    const isRecorded =
      error instanceof EscrowError && (error.code === 'forbidden' || error.code === 'request-replayed');
    if (isRecorded) await record(escrow, route, call, incoming, error);
    throw error;
  }
}

async function record(
  escrow: Escrow,
  route: KnownRoute,
  call: OperateCall,
  incoming: Incoming,
  error: EscrowError,
): Promise<void> {
  await recordRefusal(escrow, route.access.act, call, subjectOf(route, incoming), error);
}

/**
 * What a refused request was about, as far as it says so in the right form, in its path or in a member that the route has;
 * what it says need not exist.
 */
function subjectOf({ schemas }: KnownRoute, { path, readRest }: Incoming): Subject {
  const members = membersOf(schemas.body);
  const body = Object.entries(bodyOf(readRest)).filter(([name]) => members.includes(name));
  const said = { ...Object.fromEntries(body), ...path };
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
