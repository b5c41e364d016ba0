import { request } from 'node:https';

import { HttpsConnection } from '../../src/client/connection.js';
import { WebhookSink } from '../../src/notify/webhookSink.js';
import { parseWitnessKey } from '../../src/log/note/cosignature.js';
import { submissionTo } from '../../src/cosigning/submission.js';

/*
 * Run as a program of its own, with NODE_TLS_REJECT_UNAUTHORIZED=0 in its environment: sends something on each kind of TLS
 * connection to the server whose port is given, and says what came of it. `plain` is the control.
 */

const [port = '', ca = '', witness = ''] = process.argv.slice(2);
const url = `https://127.0.0.1:${port}`;
const secret = 'SECRET';

const ways: Readonly<Record<string, () => Promise<unknown>>> = {
  plain: () =>
    new Promise((resolve, reject) => {
      const outgoing = request(`${url}/plain`, { method: 'POST', ca }, (incoming) => {
        incoming.resume();
        resolve('answered');
      });
      outgoing.on('error', reject);
      outgoing.end(secret);
    }),
  client: () =>
    new HttpsConnection({ url, ca, deadlineMs: 5000 }).send({
      method: 'POST',
      target: '/client',
      headers: {},
      body: Buffer.from(secret),
    }),
  witness: () => submissionTo({ key: parseWitnessKey(witness), url, ca }, 5000).send(secret),
  webhook: async () => {
    const handed = await new WebhookSink({
      name: 'webhook:x',
      url: new URL(`${url}/webhook`),
      secrets: [Buffer.alloc(32)],
      kinds: new Set(['asked'] as const),
      ca,
      timeoutMs: 5000,
      origin: 'escrow.example.com/log',
      clock: { now: () => new Date() },
    }).deliver([
      {
        id: `ntc_${'1'.repeat(32)}`,
        entry: 1,
        to: 'olga',
        as: 'owner',
        kind: 'asked',
        time: '2026-03-01T12:00:00.000Z',
        text: secret,
      },
    ] as never);
    if (handed.accepted === 'none') throw new Error(handed.reason);
    return handed;
  },
};

const told: Record<string, string> = {};
for (const [name, send] of Object.entries(ways)) {
  told[name] = await send().then(
    () => 'sent',
    () => 'refused',
  );
}
process.stdout.write(JSON.stringify(told));
process.exit(0);
