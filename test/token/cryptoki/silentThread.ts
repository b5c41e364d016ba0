import { parentPort, workerData } from 'node:worker_threads';
import type { SigningOrder, SigningThreadData } from '../../../src/token/cryptoki/signingThreads.js';

// A thread that answers nothing: `bytes` times it says, after a while, that it has made a signature.
const { made } = workerData as SigningThreadData;
parentPort?.on('message', ({ bytes }: SigningOrder) => {
  let left = bytes;
  const timer = setInterval(() => {
    if (left === 0) clearInterval(timer);
    else Atomics.add(made, 0, 1);
    left -= 1;
  }, 500);
});
