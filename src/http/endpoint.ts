import type { Call, Escrow } from '../escrow/context.js';
import { EscrowError } from '../escrow/errors.js';
import { parseId, parsePrincipalId } from '../escrow/ids.js';
import type { Subject } from '../escrow/journal.js';
import { recordRefusal } from '../escrow/refusal.js';
import { hasRole } from '../escrow/principals.js';
import type { Received } from './caller.js';
import { authenticate } from './caller.js';
import { isJsonObject } from './strictJson.js';
import type { Access, Carried, PublicRoute, Reply, SignedRoute } from './route.js';

/** A request for a route, before anything of it is believed. */
export interface Incoming {
  readonly received: Received;
  /** Path parameters. */
  readonly path: Readonly<Record<string, unknown>>;
  /** Reads query and body. Throws EscrowError `request-malformed`. */
  readonly readRest: () => Pick<Carried, 'query' | 'body'>;
}

/** Answers a request that anybody may make. @throws EscrowError */
export async function answerAnyone(escrow: Escrow, route: PublicRoute, incoming: Incoming): Promise<Reply> {
  return route.prepare({ path: incoming.path, ...incoming.readRest() })(escrow);
}

/**
 * Answers a signed request: who calls, whether the route is open to them, what they ask, and then the use case. A
 * known caller who is refused is recorded: by the ledger where the use case goes through it, else here.
 *
 * @throws EscrowError for every refusal; `log-unavailable` when it could not be recorded.
 */
export async function answerCaller(escrow: Escrow, route: SignedRoute, incoming: Incoming): Promise<Reply> {
  const { access } = route;
  const call = await admit(escrow, access, incoming);
  let run: ReturnType<SignedRoute['prepare']>;
  try {
    run = route.prepare({ path: incoming.path, ...incoming.readRest() });
  } catch (error) {
    if (access.isLedgered && error instanceof EscrowError)
      await record(escrow, access, call, incoming, error);
    throw error;
  }
  return access.isLedgered
    ? run(escrow, call)
    : readOnce(escrow, access, call, incoming, () => run(escrow, call));
}

/** Lets in who signed the request and has one of the route's roles. */
async function admit(escrow: Escrow, access: Access, incoming: Incoming): Promise<Call> {
  const policy = await escrow.directory.current();
  const trust = { policy, origin: escrow.origin, now: escrow.clock.now() };
  const found = await authenticate(incoming.received, trust);
  if (found.outcome === 'refused') {
    if (found.call !== undefined) await record(escrow, access, found.call, incoming, found.error);
    throw found.error;
  }
  const { call } = found;
  if (access.roles.some((role) => hasRole(call.caller, role))) return call;
  const error = new EscrowError('forbidden');
  await record(escrow, access, call, incoming, error);
  throw error;
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
  call: Call,
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
  const owner = parsePrincipalId(text('owner'));
  const recovery = parseId('RecoveryId', text('recovery'));
  const grant = parseId('GrantId', text('grant'));
  return {
    ...(key === undefined ? {} : { key }),
    ...(owner === undefined ? {} : { owner }),
    ...(recovery === undefined ? {} : { recovery }),
    ...(grant === undefined ? {} : { grant }),
  };
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
