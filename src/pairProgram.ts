import { url as inspectorUrl } from 'node:inspector';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';
import { forbidCoreDumps } from './daemon/coreDumps.js';
import { type PairAnswer, type PairOrder, MAKES_PAIRS } from './token/objects/pairMaker.js';
import { PairServer } from './token/service/pairServer.js';

/** The program of the process that makes key pairs: this file. */
export const PAIR_PROGRAM = fileURLToPath(import.meta.url);

/** Does what the process asks that has started this one, and ends when that one does: nobody would account for a pair of later. */
function serve(): void {
  forbidCoreDumps();
  // they are meant for the daemon, which first lets end what is under way; SIGUSR1 would open the inspector
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'] as const) process.on(name, () => undefined);
  dieWithParent();
  process.once('disconnect', die);
  endIfOrphan();
  let server: PairServer | undefined;
  process.on('message', (message) => {
    // orders lie in the pipe still when whoever gave them is gone
    endIfOrphan();
    const order = message as PairOrder;
    if (order.order === 'open') server = open(order);
    else server?.make(order.label).then(answerWith, die);
  });
}

/** At once, beside a call into the module. */
function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** That the parent had ended before this process asked to die with it shows in another one having taken its place. */
function endIfOrphan(): void {
  if (process.ppid !== Number(process.argv[3])) die();
}

function answerWith(answer: number): void {
  process.send?.({ answer } satisfies PairAnswer, undefined, undefined, (error) => {
    if (error !== null) die();
  });
}

/** Where the kernel can see to it, also when a call into the module does not come back (prctl(2), Linux). */
function dieWithParent(): void {
  if (process.platform !== 'linux') return;
  const PR_SET_PDEATHSIG = 1;
  const SIGKILL = 9;
  const prctl: unknown = koffi.load(null).func('int prctl(int what, ulong a, ulong b, ulong c, ulong d)');
  if (typeof prctl === 'function') Reflect.apply(prctl, undefined, [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0]);
}

function open({ location, pin }: Extract<PairOrder, { readonly order: 'open' }>): PairServer {
  try {
    // a signal may have come before it was ignored
    if (inspectorUrl() !== undefined) throw new Error("Node's inspector is open");
    return new PairServer(location, Buffer.from(pin.buffer, pin.byteOffset, pin.byteLength));
  } catch (error) {
    process.stderr.write(`error: no key pairs can be made: ${error instanceof Error ? error.message : ''}\n`);
    process.exit(1);
  }
}

// main.ts imports this file as well
if (process.argv[2] === MAKES_PAIRS && process.send !== undefined) serve();
