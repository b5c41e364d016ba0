import koffi from 'koffi';

/** The same number on Linux, macOS and the BSDs. */
const RLIMIT_CORE = 4;
/** prctl(2), Linux only. */
const PR_SET_DUMPABLE = 4;

/**
 * Lets this process, and what it starts, leave no core dump, for good; on Linux nobody but root can trace it or read its
 * memory from then on, either. The token's PIN passes through this memory, and so does what is signed and decrypted.
 *
 * @throws Error when the system refuses; does nothing on Windows.
 */
export function forbidCoreDumps(): void {
  if (process.platform === 'win32') return;
  const libc = koffi.load(null);
  try {
    const limit = Buffer.alloc(16); // struct rlimit { 0, 0 }: soft and hard, so that it cannot be raised again
    call(libc.func('int setrlimit(int resource, const void *limit)'), RLIMIT_CORE, limit);
    if (process.platform === 'linux') {
      const prctl = libc.func('int prctl(int what, ulong a, ulong b, ulong c, ulong d)');
      call(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
  } finally {
    libc.unload();
  }
}

function call(of: unknown, ...given: readonly unknown[]): void {
  if (typeof of !== 'function') throw new Error('the C library has no such function');
  if (Reflect.apply(of, undefined, given) !== 0) throw new Error('core dumps cannot be turned off');
}
