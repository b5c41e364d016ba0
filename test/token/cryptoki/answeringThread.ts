import { parentPort } from 'node:worker_threads';
import type { SigningAnswer, SigningOrder } from '../../../src/token/cryptoki/signingThreads.js';

// A thread whose signatures are what it was to sign.
parentPort?.on('message', ({ inputs }: SigningOrder) => {
  parentPort?.postMessage({ signatures: inputs } satisfies SigningAnswer);
});
