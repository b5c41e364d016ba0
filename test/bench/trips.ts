import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { Session } from 'node:inspector/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { agree, askToOperate, makeKey, signingScope } from '../support/life.js';
import { grantOf } from '../support/oneKey.js';
import type { PersonName, System } from '../support/system.js';
import { makeSystem } from '../support/system.js';

/*
 * Which files of `src` one call enters, from its arrival to its answer:
 *
 *   npm run bench:trips
 *
 * A daemon on SoftHSM in this process, warm. What a call asks is made and signed before, and it is sent by node:https: so while
 * it is under way nobody but the daemon runs anything of `src`. A file counts as entered when V8's precise coverage has a
 * function of it that was called meanwhile; a function that only goes on after an `await` was called before. What the daemon does
 * beside a call in that time, such as to bring the tree up to date with its entries, is told apart by asking often: what counts is
 * what every one of the calls has entered.
 *
 * `by` are the functions that a file exports, and the methods of its classes, that were called, however often: in so many ways it
 * was entered, at most, since its own calls of them count as well. Methods of objects that its functions make are not among them.
 */

interface Sent {
  readonly by: PersonName;
  readonly target: string;
  readonly body: object;
}

interface Trip {
  readonly call: string;
  readonly files: readonly { readonly file: string; readonly by: readonly string[] }[];
}

/** So many calls of each kind. */
const CALLS = 6;

const message = Buffer.from('an invoice').toString('base64url');
const root = pathToFileURL(join(process.cwd(), 'src/')).href;

const system = await makeSystem({ config: () => ({ housekeepingMs: 3_600_000 }) });
const agent = new Agent({ keepAlive: true, ca: readFileSync(join(system.directory, 'server.crt')) });
const session = new Session();
try {
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const { key } = await makeKey(system, { spec: 'ec-p256', use: 'sign' });
  const { recovery: first } = await askToOperate(system, key, signingScope({ maxUses: CALLS + 1 }));
  const grant = grantOf(await agree(system, first));
  const sign = { mechanism: 'ES256', messages: [message] };
  const signing: Sent = { by: 'app', target: `/v1/grants/${grant}/sign`, body: sign };
  await tripOf('warming', signing);
  const signatures: Trip[] = [];
  while (signatures.length < CALLS) signatures.push(await tripOf('a signature', signing));
  const approvals: Trip[] = [];
  const activations: Trip[] = [];
  while (activations.length < CALLS) {
    const { recovery } = await askToOperate(system, key);
    const target = `/v1/recoveries/${recovery}/approvals`;
    for (const [by, call, trips] of [
      ['manager', 'an approval', approvals],
      ['officer-1', 'an approval that completes the quorum, and the activation', activations],
    ] as const)
      trips.push(await tripOf(call, { by, target, body: await system.makeApproval(by, recovery) }));
  }
  for (const trips of [signatures, approvals, activations]) print(commonOf(trips));
} finally {
  agent.destroy();
  session.disconnect();
  await system.remove();
}

/** The files that every one of these trips has entered, each with the ways that every one of them has taken. */
function commonOf([first, ...others]: readonly Trip[]): Trip {
  if (first === undefined) throw new Error('there is no trip');
  const files = first.files.flatMap(({ file, by }) => {
    const same = others.map((trip) => trip.files.find((one) => one.file === file));
    if (same.includes(undefined)) return [];
    return [{ file, by: by.filter((way) => same.every((one) => one?.by.includes(way))) }];
  });
  return { call: first.call, files };
}

async function tripOf(call: string, sent: Sent): Promise<Trip> {
  const send = await signed(system, sent);
  await session.post('Profiler.takePreciseCoverage');
  await send();
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const entered = result.flatMap(({ url, functions }) => {
    const called = functions.flatMap(({ functionName, ranges: [whole] }) =>
      whole !== undefined && whole.count > 0 ? [functionName] : [],
    );
    return url.startsWith(root) && called.length > 0 ? [{ url, called }] : [];
  });
  const files = await Promise.all(
    entered.map(async ({ url, called }) => {
      const doors = doorsOf((await import(fileURLToPath(url))) as object);
      const by = [...new Set(called)].filter((name) => doors.has(name));
      return { file: url.slice(root.length), by: by.sort() };
    }),
  );
  return { call, files: files.sort((a, b) => (a.file < b.file ? -1 : 1)) };
}

/** What sends a request once that is signed already. @throws Error when it is refused */
async function signed({ identity }: System, { by, target, body }: Sent): Promise<() => Promise<void>> {
  const { signer, pins } = identity(by);
  const bytes = Buffer.from(JSON.stringify(body));
  const iat = Math.floor(Date.now() / 1000);
  const jws = await signer.sign('escrowd-request+jwt', {
    ...{ iss: by, aud: pins.logKey, iat, exp: iat + 60, jti: randomUUID().replaceAll('-', '') },
    ...{ htm: 'POST', htu: target, cd: createHash('sha256').update(bytes).digest('base64url') },
  });
  const headers = { authorization: `Escrowd-JWS ${jws}`, 'content-type': 'application/json' };
  return async () => {
    const outgoing = httpsRequest(`${system.url()}${target}`, { method: 'POST', headers, agent });
    outgoing.end(bytes);
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    const answer = Buffer.concat((await incoming.toArray()) as Buffer[]);
    if (incoming.statusCode !== 200) throw new Error(`${target}: ${answer.toString()}`);
  };
}

/** The names of what others can call in a module: functions, classes and their methods, and members of objects. */
function doorsOf(module: object): ReadonlySet<string> {
  const names = Object.entries(module).flatMap(([name, exported]: [string, unknown]) => {
    if (typeof exported === 'object' && exported !== null) return Object.keys(exported);
    if (typeof exported !== 'function') return [];
    const made: unknown = exported.prototype;
    const methods = typeof made === 'object' && made !== null ? Object.getOwnPropertyNames(made) : [];
    return [name, ...methods.flatMap((method) => [method, `get ${method}`])];
  });
  return new Set(names);
}

function print({ call, files }: Trip): void {
  const often = files.filter(({ by }) => by.length > 2);
  process.stdout.write(
    `${call}: ${files.length} files, ${often.length} of them entered in more than two ways\n`,
  );
  for (const { file, by } of files) process.stdout.write(`  ${file}  ${by.join(', ')}\n`);
}
