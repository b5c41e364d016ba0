import { userInfo } from 'node:os';
import { resolve } from 'node:path';

import {
  type Address,
  type InstallationOrder,
  InstallationRefused,
  type TlsOrder,
  isServerName,
  readAddress,
  readDatabaseAddress,
} from './order.js';
import { type PersonFiles, readParticipants } from './participants.js';
import type { Questions } from './questions.js';

/** The options of `escrowd init`, as typed. */
export interface InitOptions extends PersonFiles {
  readonly origin?: string;
  readonly listen?: string;
  readonly management?: string;
  readonly name?: readonly string[];
  readonly tls?: 'private-ca' | 'request';
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly softhsm?: boolean;
  readonly profile?: string;
  readonly label: string;
  readonly module?: string;
  readonly database?: string;
  readonly user?: string;
  readonly systemd: boolean;
  readonly policy: boolean;
  readonly json?: boolean;
}

/** The order that options and answers make. @throws InstallationRefused naming what is missing or wrong */
export async function readOrder(
  directory: string,
  options: InitOptions,
  questions: Questions | undefined,
): Promise<InstallationOrder> {
  const ask = async (
    given: string | undefined,
    option: string,
    question: string,
    usual?: string,
  ): Promise<string> => {
    if (given !== undefined) return given;
    if (questions !== undefined) return questions.ask(question, usual);
    if (usual !== undefined) return usual;
    throw new InstallationRefused(`${option} is needed, and there is no terminal to ask on`);
  };
  const origin = await ask(
    options.origin,
    '--origin',
    'Name of the service and its log, for ever, such as escrow.example.com/log',
  );
  const listen = readAddress(
    await ask(options.listen, '--listen', 'Listen where (HOST:PORT)', '127.0.0.1:8443'),
    '--listen',
  );
  const names = await readNames(options, listen, questions);
  const tls = await readTls(options, ask);
  const token = await readToken(options, ask);
  const participants = await readParticipants(options, questions);
  const database = await ask(
    options.database,
    '--database',
    'PostgreSQL (a URL without user and password), or nothing for a private one',
    '',
  );
  return {
    directory: resolve(directory),
    origin,
    listen,
    management: readManagement(options.management, listen),
    names,
    tls,
    token,
    participants,
    database: database === '' ? undefined : readDatabaseAddress(database),
    user: options.user ?? usualUser(options),
    isForSystemd: options.systemd,
    hasPolicy: options.policy,
  };
}

type Ask = (given: string | undefined, option: string, question: string, usual?: string) => Promise<string>;

function usualUser({ systemd }: InitOptions): string {
  if (process.getuid?.() === 0) return systemd ? 'escrowd' : 'root';
  try {
    return userInfo().username;
  } catch {
    throw new InstallationRefused('--user is needed: the system has no name for you');
  }
}

function readManagement(given: string | undefined, listen: Address): Address | 'off' {
  if (given === 'off') return 'off';
  return given === undefined
    ? { host: '127.0.0.1', port: listen.port === 65_535 ? listen.port - 1 : listen.port + 1 }
    : readAddress(given, '--management');
}

async function readNames(
  { name }: InitOptions,
  { host }: Address,
  questions: Questions | undefined,
): Promise<readonly string[]> {
  const isEverywhere = host === '0.0.0.0' || host === '::';
  const isLoopback = host === 'localhost' || host === '::1' || host.startsWith('127.');
  const usual = isEverywhere ? [] : isLoopback ? [...new Set([host, 'localhost'])] : [host];
  const asked =
    name ??
    (await questions?.askMany(
      `Name or address that clients know the server by${usual.length === 0 ? '' : ` (besides ${usual.join(', ')})`}`,
    ));
  const names = [...new Set([...(asked ?? []), ...(name === undefined ? usual : [])])];
  if (names.length === 0)
    throw new InstallationRefused(
      '--name is needed: what do clients call the server, such as escrow.example.com?',
    );
  for (const each of names)
    if (!isServerName(each))
      throw new InstallationRefused(
        `--name: "${each}" is no name of a server, in lower case, and no address`,
      );
  return names;
}

async function readTls({ tls, tlsCert, tlsKey }: InitOptions, ask: Ask): Promise<TlsOrder> {
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new InstallationRefused('--tls-cert and --tls-key belong together');
  if (tlsCert !== undefined && tlsKey !== undefined) {
    if (tls !== undefined)
      throw new InstallationRefused('--tls makes a key, and --tls-cert brings one: give one of them');
    return { kind: 'files', certificate: resolve(tlsCert), key: resolve(tlsKey) };
  }
  const kind = await ask(tls, '--tls', 'TLS: private-ca, or request (for a CA of your own)', 'private-ca');
  if (kind !== 'private-ca' && kind !== 'request')
    throw new InstallationRefused(`--tls is private-ca or request, not "${kind}"`);
  return { kind };
}

async function readToken(options: InitOptions, ask: Ask): Promise<InstallationOrder['token']> {
  const { softhsm, label, module } = options;
  const answer = await ask(
    options.profile ?? (softhsm === true ? 'softhsm-2.6' : undefined),
    '--softhsm or --profile',
    'Token profile (softhsm-2.6 for trying out, nss-softokn-3, or the path of your own)',
  );
  const profile = answer.includes('/') ? resolve(answer) : answer;
  return {
    profile,
    label,
    module: module === undefined ? undefined : resolve(module),
    isSoftHsm: softhsm === true || /^softhsm-[0-9.]+$/.test(profile),
  };
}
