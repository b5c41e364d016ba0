import { writeSync } from 'node:fs';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import koffi from 'koffi';

/** What a {@link watchForHangs} watches. */
export interface HangWatch {
  /** How long the process may stand still, or one call into the token may take, before the process ends. */
  readonly hangMs: number;
  /** The code that the process ends with then. */
  readonly exitCode: number;
  /** For how long the oldest call of another thread into the token has been under way; 0 when there is none. */
  readonly oldestCallMs: () => number;
}

/** Shared with the watching thread: how often this one has shown that it lives, and whether a call hangs in another. */
const BEATS = 0;
const HANGS = 1;
/** How often within `hangMs` it is looked. */
const LOOKS = 20;

/**
 * Ends this process with a code of its own when a call into a PKCS#11 module does not come back. Nothing else helps: such a
 * call cannot be taken back, and one on the main thread stands in the way of everything, timers included; so a thread of
 * its own watches. The end is sudden, as by SIGKILL, which the log is made for. Time in which the whole process is stopped
 * (SIGSTOP, a suspended machine) does not count. Returns how to stop watching.
 */
export function watchForHangs({ hangMs, exitCode, oldestCallMs }: HangWatch): () => Promise<void> {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const everyMs = Math.max(1, Math.floor(hangMs / LOOKS));
  const beat = setInterval(() => {
    Atomics.add(shared, BEATS, 1);
    if (oldestCallMs() >= hangMs) Atomics.store(shared, HANGS, 1);
  }, everyMs);
  beat.unref();
  const watcher = new Worker(new URL(import.meta.url), { workerData: { shared, everyMs, exitCode, hangMs } });
  watcher.unref();
  return async () => {
    clearInterval(beat);
    await watcher.terminate();
  };
}

function watch(given: {
  readonly shared: Int32Array;
  readonly everyMs: number;
  readonly exitCode: number;
  readonly hangMs: number;
}): void {
  const { shared, everyMs, exitCode, hangMs } = given;
  // not process.exit: it would end this thread only; nor exit(3), which waits for the thread that hangs
  const exit: unknown = koffi.load(null).func('void _exit(int code)');
  let beats = -1;
  let still = 0;
  setInterval(() => {
    const now = Atomics.load(shared, BEATS);
    still = now === beats ? still + 1 : 0;
    beats = now;
    const hangs = Atomics.load(shared, HANGS) === 1;
    if (!hangs && still < LOOKS) return;
    const line = {
      level: 'error',
      message: 'a call into the token does not come back: the daemon ends, to be started again',
      alarm: 'token-call-hangs',
      hangMs,
      timestamp: new Date().toISOString(),
    };
    writeSync(1, `${JSON.stringify(line)}\n`);
    if (typeof exit === 'function') Reflect.apply(exit, undefined, [exitCode]);
  }, everyMs);
}

if (!isMainThread && isWatching(workerData)) watch(workerData);

/** Other workers may load this module as well. */
function isWatching(data: unknown): data is Parameters<typeof watch>[0] {
  return typeof data === 'object' && data !== null && 'shared' in data && data.shared instanceof Int32Array;
}
