import { parentPort } from 'node:worker_threads';

// A thread that ends at its first order, and answers none.
parentPort?.on('message', () => process.exit(0));
