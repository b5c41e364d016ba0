import { setTimeout as pause } from 'node:timers/promises';
import koffi from 'koffi';

/** Memory in use: resident in all, and what C code has allocated and not given back. */
export interface Memory {
  readonly residentBytes: number;
  readonly allocatedBytes: number;
}

/** Memory before the work, and how much more it was after it. */
export interface Growth {
  readonly start: Memory;
  readonly grown: Memory;
}

/** Part of the work that is done before measuring begins: caches and the heap find their size. */
const WARM_UP = 0.05;
const REPORTS = 20;

/** Does the work, `recover` once for each recovery with its share of the signatures, and says how memory goes. */
export async function measureGrowth(
  who: string,
  work: { readonly signatures: number; readonly recoveries: number },
  recover: (signatures: number) => Promise<void>,
): Promise<Growth> {
  const each = Math.round(work.signatures / work.recoveries);
  for (let done = 0; done < WARM_UP * work.recoveries; done += 1) await recover(each);
  const start = await measure();
  const every = Math.ceil(work.recoveries / REPORTS);
  for (let done = 1; done <= work.recoveries; done += 1) {
    await recover(each);
    if (done % every > 0 && done < work.recoveries) continue;
    const { residentBytes, allocatedBytes } = difference(await measure(), start);
    const grown = `RSS ${mebibytes(residentBytes)} MiB, allocated ${mebibytes(allocatedBytes)} MiB`;
    process.stderr.write(`${who}: after ${done} recoveries and ${done * each} signatures: ${grown}\n`);
  }
  return { start, grown: difference(await measure(), start) };
}

/** Memory in use once the garbage is collected. */
export async function measure(): Promise<Memory> {
  if (globalThis.gc === undefined) throw new Error('run with --expose-gc');
  for (let round = 0; round < 3; round += 1) {
    await globalThis.gc({ execution: 'async', type: 'major' });
    await pause(20);
  }
  return { residentBytes: process.memoryUsage.rss(), allocatedBytes: allocatedByC() };
}

/** How much more is in use now than then. */
export function difference(now: Memory, then: Memory): Memory {
  return {
    residentBytes: now.residentBytes - then.residentBytes,
    allocatedBytes: now.allocatedBytes - then.allocatedBytes,
  };
}

/** With its sign. */
export function mebibytes(bytes: number): string {
  const text = (bytes / 2 ** 20).toFixed(2);
  return bytes < 0 ? text : `+${text}`;
}

const COUNTS = [
  'arena',
  'ordblks',
  'smblks',
  'hblks',
  'hblkhd',
  'usmblks',
  'fsmblks',
  'uordblks',
  'fordblks',
  'keepcost',
];
koffi.struct('mallinfo2', Object.fromEntries(COUNTS.map((name) => [name, 'size_t'])));
const mallinfo2: unknown = koffi.load(null).func('mallinfo2 mallinfo2()');

/** mallinfo(3) of glibc, over all arenas. */
function allocatedByC(): number {
  if (typeof mallinfo2 !== 'function') throw new Error('this needs glibc');
  const { uordblks, hblkhd } = Reflect.apply(mallinfo2, undefined, []) as Record<
    'uordblks' | 'hblkhd',
    number
  >;
  return uordblks + hblkhd;
}
