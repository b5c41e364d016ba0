import { join, resolve } from 'node:path';

import { startAgent } from '../../agent/agent.js';
import { readAgentFile } from '../../agent/agentFile.js';
import type { Told } from '../../agent/use.js';
import { cancelProven } from '../../client/ends.js';
import { printable, printableJson } from '../../escrow/records/freeText.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { CommandArguments } from '../commandArguments.js';
import { UsageError } from '../failures.js';
import type { Session } from '../session.js';
import { localTime } from '../times.js';

/** Tools that know nothing of escrowd use granted keys through this, as the app that `--as` names. */
export const agentCommand: CommandRow = {
  usage: 'agent <file>',
  summary: 'lends granted keys to unchanged tools, as an SSH agent and by PKCS#11',
  about:
    'FILE (YAML) names the keys; see docs/agent.md. Runs until SIGTERM or SIGINT, and says on its output what was used, refused or ' +
    'asked for. Every use is a request that the app signs, and counts as one use of the grant. The sockets are for this user ' +
    'alone; whoever is this user can use them.',
  options: [
    { flags: '--dir <dir>', about: 'where the sockets go (default: escrowd under XDG_RUNTIME_DIR)' },
    {
      flags: '--auto-request',
      about: 'file the request that FILE describes when no grant allows a use',
    },
    {
      flags: '--wait <duration>',
      about: "with --auto-request: how long a tool's call waits for the depositaries",
      default: '0s',
    },
    {
      flags: '--withdraw',
      about: 'with --auto-request: cancel the request when the tool that waits for it ends',
    },
  ],
  examples: ['agent agent.yaml --as ~/.escrowd', 'agent agent.yaml --auto-request --wait 15m'],
  run: agent,
};

async function agent(session: Session, given: CommandArguments): Promise<Result> {
  const isJson = given.flag('json');
  const terms = given.flag('autoRequest')
    ? { waitMs: waitOf(given), withdraws: given.flag('withdraw') }
    : undefined;
  if (terms === undefined && (given.flag('withdraw') || waitOf(given) > 0))
    throw new UsageError('--wait and --withdraw are for requests that the agent files', 'add --auto-request');
  const keys = await readAgentFile(given.argument(0));
  if (terms !== undefined && keys.every(({ request }) => request === undefined))
    throw new UsageError(
      '--auto-request, but no key of the file says what to ask for',
      'add `request:` to a key; see docs/agent.md',
    );
  const directory = directoryOf(session, given);
  const { client, log } = await session.connect();
  const cancel = (id: string, reason: string): Promise<unknown> => cancelProven(client, log, id, reason);
  const asks = terms === undefined ? undefined : { ...terms, cancel };
  const running = await startAgent({
    ...{ client, keys, directory, asks },
    now: () => session.now,
    tell: (told) => {
      session.terminal.write(isJson ? jsonLine(told) : textLines(told, session.now));
    },
  });
  announce(session, isJson, {
    app: client.caller,
    keys: keys.map(({ key, name }) => ({ key, name })),
    sshSocket: running.sshSocket,
    pkcs11Socket: running.pkcs11Socket,
  });
  await session.stopped();
  await running.stop();
  return {
    json: { stopped: directory },
    lines: ['The agent has ended; its sockets are gone.'],
    next: 'start it again whenever you like; what was granted is still granted',
  };
}

function waitOf(given: CommandArguments): number {
  return given.text('wait') === '0s' ? 0 : given.duration('wait');
}

function directoryOf({ variables }: Session, given: CommandArguments): string {
  const named = given.find('dir');
  if (named !== undefined) return resolve(named);
  // XDG Base Directory Specification: it is this user's, 0700, and gone when they log out
  const runtime = variables['XDG_RUNTIME_DIR'];
  if (runtime?.startsWith('/') === true) return join(runtime, 'escrowd');
  throw new UsageError('there is no XDG_RUNTIME_DIR', 'say where the sockets go: --dir DIR');
}

interface Serving {
  readonly app: string;
  readonly keys: readonly { readonly key: string; readonly name: string }[];
  readonly sshSocket: string;
  readonly pkcs11Socket: string;
}

/** Said while the command runs: a Result is for its end. */
function announce({ terminal }: Session, isJson: boolean, serving: Serving): void {
  if (isJson) {
    terminal.write(`${printableJson(JSON.stringify({ event: 'serving', ...serving }))}\n`);
    return;
  }
  const { app, keys, sshSocket, pkcs11Socket } = serving;
  const lines = [
    `The agent serves ${keys.length === 1 ? 'a key' : `${keys.length} keys`} as ${app}.`,
    ...facts(keys.map(({ key, name }): [string, string] => [name, key])),
    '',
    'Next: in the shell of the tools',
    `  export SSH_AUTH_SOCK=${shellWord(sshSocket)}`,
    '  ssh-add -L',
    `  export P11_KIT_SERVER_ADDRESS=${p11KitAddress(pkcs11Socket)}`,
  ];
  terminal.write(`${lines.map(printable).join('\n')}\n`);
}

/** p11-kit decodes percent signs, and ends a path at a semicolon. Nothing is left that a shell would read. */
function p11KitAddress(socket: string): string {
  const encoded = socket.split('/').map(encodeURIComponent).join('/');
  return `unix:path=${encoded.replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`)}`;
}

/** As it can be pasted into a shell. */
function shellWord(text: string): string {
  return /^[\w/.,:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function jsonLine(told: Told): string {
  return `${printableJson(JSON.stringify(told))}\n`;
}

function textLines({ sentence, next }: Told, now: Date): string {
  const lines = [`${localTime(now)}  ${sentence}`, ...(next === undefined ? [] : [`  next: ${next}`])];
  return `${lines.map(printable).join('\n')}\n`;
}
