import { z } from 'zod';

import { HttpConnection } from '../system/httpConnection.js';
import { ServerUnreachable } from './errors.js';
import { jsonOrUndefined } from '../system/json.js';

const text = z.string().max(1024);
const count = z.int().min(0);

/** What the management listener of a daemon says; members that are not known yet are let pass. */
const schema = z.object({
  status: z.enum(['ready', 'not ready']),
  problems: z.array(text).readonly(),
  alarms: z.array(z.object({ alarm: text, message: text, times: count, lastAt: text })).readonly(),
  notes: z.array(text).readonly(),
  unenforced: z.array(text).readonly(),
  notifications: z
    .array(z.object({ sink: text, waiting: count, dropped: count, fault: text.optional() }))
    .readonly(),
});

/** How a daemon is, in detail: what keeps it from working, what wants a person, and what should be otherwise. */
export type ManagementReport = z.output<typeof schema>;

const MAXIMUM_ANSWER_BYTES = 1024 * 1024;

/**
 * Asks the management listener of a daemon, in plain HTTP: whoever is between hears it and can change it, so ask over the
 * loopback interface or a network of your own. Nothing that is decided about keys rests on the answer.
 *
 * @param url `http://host:port`
 * @throws ServerUnreachable
 */
export async function readManagement(url: string, deadlineMs: number): Promise<ManagementReport> {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== 'http:' || parsed.href !== `http://${parsed.host}/`)
    throw new ServerUnreachable('not-escrowd', `${url} is not an address like http://127.0.0.1:8444`);
  const body = await bodyOf(new URL('/readyz', parsed), deadlineMs);
  const report = schema.safeParse(jsonOrUndefined(body));
  if (report.success) return report.data;
  throw new ServerUnreachable('not-escrowd', `${url} is not the management listener of an escrowd`);
}

async function bodyOf(url: URL, timeoutMs: number): Promise<string> {
  const bounds = { connections: 1, isKept: false, timeoutMs, maxAnswerBytes: MAXIMUM_ANSWER_BYTES };
  const connection = new HttpConnection({ url, ...bounds });
  try {
    const request = { method: 'GET', path: url.pathname, headers: {}, body: new Uint8Array() } as const;
    const answer = await connection.send(request);
    return (await answer.readBody()).toString('utf8');
  } catch (cause) {
    throw new ServerUnreachable('refused', `cannot ask ${url.host}`, { cause });
  } finally {
    connection.close();
  }
}
