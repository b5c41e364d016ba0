import type { Off } from './ceremony.js';
import type { Model, Move } from './explorer.js';

/** What stands against a principal without rights, and against whoever holds the network. */
export type CallCheck =
  | 'signature-by-registered-key'
  | 'signature-covers-body'
  | 'signature-names-server'
  | 'signature-once'
  | 'rights'
  | 'key-listed-in-transaction';

const SERVERS = ['this server', 'another server'] as const;
type Server = (typeof SERVERS)[number];

interface CallState {
  /** Whether the app has asked this server, once, to sign one message with its grant. */
  readonly asked: boolean;
  /** Whether the app's key was removed from the directory. */
  readonly removed: boolean;
  readonly carriedOut: number;
  readonly broken: string | undefined;
}

interface Delivery {
  readonly what: string;
  readonly at: Server;
  readonly signedBy: 'the app' | 'a stranger';
  readonly saysItIs: 'the app' | 'a stranger';
  readonly body: 'as signed' | 'another';
}

/** An app asks once. The network keeps, repeats, alters and redirects what it saw; a stranger with a key signs what they like. */
export function callModel(off: Off<CallCheck>): Model<CallState> {
  return {
    initial: { asked: false, removed: false, carriedOut: 0, broken: undefined },
    key: (state) => JSON.stringify(state),
    moves: (state) => (state.broken === undefined ? movesIn(state, off) : []),
    broken: (state) => state.broken,
  };
}

function* movesIn(state: CallState, off: Off<CallCheck>): Iterable<Move<CallState>> {
  if (!state.asked && !state.removed) yield { what: 'the app asks', to: { ...state, asked: true } };
  if (!state.removed) yield { what: 'the key of the app is removed', to: { ...state, removed: true } };
  for (const delivery of deliveries(state)) {
    if (isRefused(state, delivery, off)) continue;
    const to = { ...state, carriedOut: state.carriedOut + 1, broken: brokenBy(state, delivery) };
    yield { what: delivery.what, to };
  }
}

function* deliveries({ asked }: CallState): Iterable<Delivery> {
  const own = { signedBy: 'a stranger', body: 'as signed', at: 'this server' } as const;
  yield { ...own, what: 'a stranger uses the grant under their own name', saysItIs: 'a stranger' };
  yield { ...own, what: 'a stranger uses the grant under the name of the app', saysItIs: 'the app' };
  if (!asked) return;
  const seen = { signedBy: 'the app', saysItIs: 'the app' } as const;
  for (const at of SERVERS) {
    yield { ...seen, at, body: 'as signed', what: `what the app signed is delivered to ${at}` };
    yield {
      ...seen,
      at,
      body: 'another',
      what: `what the app signed is delivered to ${at} with another body`,
    };
  }
}

function isRefused(
  state: CallState,
  { at, signedBy, saysItIs, body }: Delivery,
  off: Off<CallCheck>,
): boolean {
  return (
    (signedBy !== saysItIs && !off.has('signature-by-registered-key')) ||
    (body === 'another' && !off.has('signature-covers-body')) ||
    (at === 'another server' && !off.has('signature-names-server')) ||
    (signedBy === 'the app' && state.carriedOut > 0 && !off.has('signature-once')) ||
    (saysItIs === 'a stranger' && !off.has('rights')) ||
    (saysItIs === 'the app' && state.removed && !off.has('key-listed-in-transaction'))
  );
}

function brokenBy(state: CallState, { at, signedBy, body }: Delivery): string | undefined {
  if (signedBy === 'a stranger') return 'nobody uses what is not granted to them';
  if (state.removed) return 'a key that was removed does nothing more';
  if (body === 'another') return 'nothing is done that was not asked';
  if (at === 'another server') return 'nothing is done where it was not asked';
  return state.carriedOut > 0 ? 'nothing is done more often than it was asked' : undefined;
}
