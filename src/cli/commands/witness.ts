import { printable } from '../../escrow/records/freeText.js';
import { rm } from 'node:fs/promises';

import { writeNewFile } from '../../system/files.js';
import { codeOf } from '../../system/errors.js';
import { WitnessFault } from '../../witness/errors.js';
import { lockState } from '../../witness/stateLock.js';
import { knownLogs, Witness } from '../../witness/witness.js';
import { newKeyFile, readKeyFile } from '../../witness/key.js';
import { type RunningWitness, type WitnessServerParts, serveWitness } from '../../witness/server.js';
import { createState, openState } from '../../witness/state.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';

const KEY = {
  flags: '--key <file>',
  about: 'the private key of the witness (0600)',
  required: true,
} as const;
const STATE = {
  flags: '--state <dir>',
  about: 'what the witness remembers; never lose it, never bring an old one back',
  required: true,
} as const;

/** A witness of one's own: making it, and letting it serve. */
export const witnessCommands: readonly CommandRow[] = [
  {
    usage: 'init',
    summary: 'makes a witness, once: its key, and a memory in which nothing is yet',
    about:
      'Prints the verifier key (C2SP vkey, type 0x04) that logs and clients are told. A key and its state stay\n' +
      'together for good: without its state a witness could sign a fork, so there is no second state for a key.',
    options: [
      KEY,
      STATE,
      {
        flags: '--name <name>',
        about: 'a name that is yours, like a URL without https://, such as witness.example.org/w1',
        required: true,
      },
    ],
    examples: ['witness init --key witness.key --state /var/lib/witness --name witness.example.org/w1'],
    run: init,
  },
  {
    usage: 'serve',
    summary: 'cosigns what the logs show that you name, as long as each continues what was cosigned before',
    about:
      'Speaks C2SP tlog-witness: POST /add-checkpoint. Runs until SIGTERM or SIGINT. Whatever is cosigned is on disk\n' +
      'before the cosignature leaves. Without --tls-cert it speaks plain HTTP: what it says is public and signed.',
    options: [
      KEY,
      STATE,
      {
        flags: '--log <vkey>',
        about: "the key of a log to witness, from its ceremony's record; its name is the log's origin",
        required: true,
        many: true,
      },
      { flags: '--listen <host:port>', about: 'where to listen', required: true },
      { flags: '--tls-cert <file>', about: 'certificate chain for HTTPS (PEM)' },
      { flags: '--tls-key <file>', about: 'its private key (PEM)' },
    ],
    examples: [
      'witness serve --key witness.key --state /var/lib/witness --listen 127.0.0.1:8787 \\\n' +
        '      --log escrow.example.com/log+1a2b3c4d+AX...',
    ],
    run: serve,
  },
];

async function init(_session: Session, given: CommandArguments): Promise<Result> {
  const [path, state] = [given.text('key'), given.text('state')];
  const { content, vkey } = newKeyFile(given.text('name'));
  await writeNewFile(path, content, 0o600).catch((cause: unknown) => {
    if (codeOf(cause) !== 'EEXIST') throw cause;
    throw new WitnessFault('witness-exists', `${path} exists; it was not overwritten`, { cause });
  });
  try {
    await createState(state, vkey);
  } catch (error) {
    // the key that was just made is of no use: it has signed nothing, and nobody knows it
    await rm(path, { force: true });
    throw error;
  }
  return {
    json: { vkey, key: path, state },
    lines: [
      'Made a witness.',
      ...facts([
        ['verifier key', vkey],
        ['private key', path],
        ['state', state],
      ]),
      'Back the key up if you like, and never the state: an old state would let it sign a fork.',
    ],
    next: `escrowctl witness serve --key ${path} --state ${state} --listen 127.0.0.1:8787 --log VKEY`,
  };
}

async function serve(session: Session, given: CommandArguments): Promise<Result> {
  const logs = knownLogs(given.list('log'));
  const listen = parseListen(given.text('listen'));
  const tls = await tlsOf(session, given);
  const cosigner = await readKeyFile(given.text('key'));
  const directory = given.text('state');
  const unlock = lockState(directory);
  try {
    const state = await openState(directory, cosigner.vkey);
    const witness = new Witness({ cosigner, state, logs, now: () => session.now });
    const tell = (text: string): void => {
      session.terminal.writeError(`${session.now.toISOString()} ${printable(text)}\n`);
    };
    const running = await listening(
      {
        witness,
        ...(tls === undefined ? {} : { tls }),
        onAnswer: ({ origin, outcome }) => {
          tell(`${origin ?? '-'} ${outcome}`);
        },
        onFault: (error) => {
          tell(`nothing was cosigned: ${error instanceof Error ? error.message : String(error)}`);
        },
      },
      listen,
    );
    const host = running.host.includes(':') ? `[${running.host}]` : running.host;
    const url = `${tls === undefined ? 'http' : 'https'}://${host}:${running.port}`;
    announce(session, given.flag('json'), {
      url,
      vkey: cosigner.vkey,
      logs: logs.map(({ origin }) => origin),
    });
    await session.stopped();
    await running.stop();
    return {
      json: { stopped: url },
      lines: ['Stopped. What was cosigned is on disk.'],
      next: 'start it again with the same key and state, whenever you like',
    };
  } finally {
    unlock();
  }
}

interface Serving {
  readonly url: string;
  readonly vkey: string;
  readonly logs: readonly string[];
}

/** Said while the command runs: a Result is for its end. */
function announce({ terminal }: Session, isJson: boolean, serving: Serving): void {
  if (isJson) {
    terminal.write(`${JSON.stringify(serving)}\n`);
    return;
  }
  const { url, vkey, logs } = serving;
  const lines = [
    `The witness serves on ${url}.`,
    ...facts([['verifier key', vkey], ...logs.map((origin): [string, string] => ['witnesses', origin])]),
    '',
    'Next: have the daemon told, in its configuration, and each depositary:',
    `  witnesses: [{ key: ${vkey}, url: ${url} }]`,
    `  escrowctl identity witnesses DIR --witness ${vkey} --require 1`,
  ];
  terminal.write(`${lines.map(printable).join('\n')}\n`);
}

async function listening(
  parts: WitnessServerParts,
  listen: { readonly host: string; readonly port: number },
): Promise<RunningWitness> {
  try {
    return await serveWitness(parts, listen);
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'EADDRINUSE' && code !== 'EACCES' && code !== 'EADDRNOTAVAIL' && code !== 'ENOTFOUND')
      throw error;
    throw new UsageError(
      `cannot listen on ${listen.host}:${listen.port} (${code})`,
      'choose another --listen',
    );
  }
}

/** `host:port`, an IPv6 address in brackets. */
function parseListen(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, decimal = ''] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(decimal);
  if (host === undefined || port > 65_535) {
    throw new UsageError(`--listen ${text} is not a host and a port`, 'write 127.0.0.1:8787 or [::1]:8787');
  }
  return { host, port };
}

async function tlsOf(
  session: Session,
  given: CommandArguments,
): Promise<{ readonly cert: string; readonly key: string } | undefined> {
  const [cert, key] = [given.find('tlsCert'), given.find('tlsKey')];
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    throw new UsageError('--tls-cert and --tls-key belong together', 'give both, or neither');
  }
  return { cert: await session.readText(cert), key: await session.readText(key) };
}
