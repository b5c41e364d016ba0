import { isIP } from 'node:net';

import type { PublicPart } from '../client/identity/publicPart.js';

/** An installation cannot be begun so. The message is a sentence that says what to change; nothing was made. */
export class InstallationRefused extends Error {
  override readonly name = 'InstallationRefused';
}

/** Host, as the configuration has it (an IPv6 address without brackets), and port. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where the server's certificate comes from; paths are absolute. */
export type TlsOrder =
  | { readonly kind: 'private-ca' }
  | { readonly kind: 'request' }
  | { readonly kind: 'files'; readonly certificate: string; readonly key: string };

/** What somebody is to be in the first draft of the policy. */
export const PART_ROLES = ['admin', 'depositary', 'owner', 'app', 'auditor'] as const;
export type PartRole = (typeof PART_ROLES)[number];

/** Somebody who has handed in their public keys. */
export interface Participant {
  readonly id: string;
  readonly roles: readonly PartRole[];
  readonly part: PublicPart;
}

/** Everything that an installation is made of. */
export interface InstallationOrder {
  /** Absolute. */
  readonly directory: string;
  readonly origin: string;
  readonly listen: Address;
  readonly management: Address | 'off';
  /** Names and addresses that clients reach the server by, the first of which is the usual one. */
  readonly names: readonly string[];
  readonly tls: TlsOrder;
  readonly token: {
    readonly profile: string;
    readonly label: string;
    readonly module: string | undefined;
    readonly isSoftHsm: boolean;
  };
  readonly participants: readonly Participant[];
  /** A server of PostgreSQL, without roles and passwords; the private cluster where it is not given. */
  readonly database: DatabaseAddress | undefined;
  /** Who the daemon runs as. */
  readonly user: string;
  readonly isForSystemd: boolean;
  readonly hasPolicy: boolean;
}

/** Of a `postgresql://` URL: `host[:port]` (empty for a socket), the database, and the parameters with their `?`. */
export interface DatabaseAddress {
  readonly authority: string;
  readonly name: string;
  readonly parameters: string;
}

/** Reads `host:port`; an IPv6 address stands in brackets. @throws InstallationRefused */
export function readAddress(text: string, option: string): Address {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port < 1 || port > 65_535 || (bracketed !== undefined && isIP(bracketed) !== 6))
    throw new InstallationRefused(
      `${option} wants HOST:PORT, such as 0.0.0.0:8443 or [::]:8443, not "${text}"`,
    );
  return { host, port };
}

/** Whether this is a name or address that a certificate can be for. */
export function isServerName(text: string): boolean {
  return (
    isIP(text) !== 0 ||
    /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/.test(text)
  );
}

/**
 * Reads where the database is. Whoever else's the way to it is must not be able to stand in for it: over the network the
 * server is verified by its certificate.
 * @throws InstallationRefused
 */
export function readDatabaseAddress(text: string): DatabaseAddress {
  const [, authority = '', name, parameters = ''] =
    /^postgres(?:ql)?:\/\/([^/?#@\s]*)\/([A-Za-z_][A-Za-z0-9_]{0,62})(\?[^#\s]*)?$/.exec(text) ?? [];
  if (name === undefined)
    throw new InstallationRefused(
      '--database wants postgresql://HOST[:PORT]/NAME[?PARAMETERS], without user and password: roles and their passwords are made here',
    );
  const given = new URLSearchParams(parameters);
  // what stands in the parameters counts, and of several hosts each
  const hosts = (given.get('host') ?? authority.replace(/:\d+(?=,|$)/g, '')).split(',');
  const other = hosts.find((host) => !isOwnHost(host));
  if (hosts.includes(''))
    throw new InstallationRefused(
      '--database names neither a host nor the directory of a socket (?host=/var/run/postgresql)',
    );
  if (other !== undefined && given.get('sslmode') !== 'verify-full')
    throw new InstallationRefused(
      `--database: whoever answers as ${other} would be believed. Add ?sslmode=verify-full&sslrootcert=FILE, with the CA of the database`,
    );
  return { authority, name, parameters };
}

function isOwnHost(host: string): boolean {
  return /^(?:localhost|\[?::1\]?|127(?:\.\d{1,3}){3}|\/.*)$/.test(host);
}

/** The URL of the database for this role, whose password stands in the password file. */
export function databaseUrl({ authority, name, parameters }: DatabaseAddress, role: string): string {
  return `postgresql://${role}@${authority}/${name}${parameters}`;
}

/** `host:port` as URLs have it. */
export function inUrl({ host, port }: Address): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
