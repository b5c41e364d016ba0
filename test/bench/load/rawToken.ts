import { createInterface } from 'node:readline';
import { KEYS, SIGNATURE_BYTES, type KeyWord } from './cells.js';
import { openBareToken, type TokenPlace } from './token.js';

/** A line that asks for signatures. */
export interface RawOrder {
  readonly key: KeyWord;
  readonly seconds: number;
}

/** How that went. */
export interface RawRate {
  readonly signaturesPerSecond: number;
}

/*
 * The token's own rate on one thread: C_SignInit and C_Sign, one after another, in a process that does nothing else. Two of
 * these are two threads, without what threads of one process take from each other.
 */
const { driver, mechanisms, session, key } = openBareToken(JSON.parse(process.argv[2] ?? '') as TokenPlace);
const own = session();
say('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line) as RawOrder;
  measure(order, order.seconds / 4);
  say(measure(order, order.seconds));
}

function measure({ key: word }: RawOrder, seconds: number): RawRate {
  const handle = key(word);
  const { mechanism, input } = mechanisms.signing(KEYS[word].mechanism, Buffer.alloc(32, 1));
  const room = Buffer.alloc(SIGNATURE_BYTES[word]);
  const begunAt = performance.now();
  const over = begunAt + seconds * 1000;
  let made = 0;
  let now = begunAt;
  while (now < over) {
    driver.C_SignInit(own, mechanism, handle);
    driver.C_Sign(own, input, room);
    made += 1;
    now = performance.now();
  }
  return { signaturesPerSecond: (made / (now - begunAt)) * 1000 };
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
