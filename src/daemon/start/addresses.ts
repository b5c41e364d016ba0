import { once } from 'node:events';
import { createServer } from 'node:net';

import { codeOf, messageOf } from '../../system/errors.js';
import type { Config } from '../config.js';
import { ConfigError } from './configError.js';
import type { Fault } from './fault.js';

/** Where the daemon listens, by the member of the configuration that says so. */
export interface ListenAddress {
  readonly member: 'listen' | 'management';
  readonly host: string;
  readonly port: number;
}

/** An address cannot be listened on. The message names it. */
export class AddressRefused extends ConfigError {
  constructor(
    readonly address: ListenAddress,
    /** Whether somebody else listens there. */
    readonly isInUse: boolean,
    fault: Fault,
    cause: unknown,
  ) {
    super([fault], { cause });
  }
}

/** A daemon of this configuration serves already. Nothing of it was touched. */
export class AlreadyServing extends Error {
  override readonly name = 'AlreadyServing';
}

/** The addresses of a configuration. */
export function addressesOf({
  listen,
  management,
}: Pick<Config, 'listen' | 'management'>): readonly ListenAddress[] {
  return [
    { member: 'listen', ...listen },
    ...(management === 'off' ? [] : [{ member: 'management' as const, ...management }]),
  ];
}

/** Authority of a URL: an IPv6 address stands in brackets (RFC 3986 section 3.2.2). */
export function authorityOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * Listens, so that an address which cannot be had is known before anything costly was done. Nobody is answered. Resolves with how to
 * give it back.
 *
 * @throws AddressRefused
 */
export async function hold(address: ListenAddress): Promise<() => Promise<void>> {
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen({ host: address.host, port: address.port, exclusive: true });
    await once(server, 'listening');
  } catch (error) {
    throw refusedAddress(address, error);
  }
  return async () => {
    server.close();
    await once(server, 'close');
  };
}

/**
 * Listens for an instant: see {@link hold}.
 *
 * @throws AddressRefused
 */
export async function requireFree(address: ListenAddress): Promise<void> {
  await (
    await hold(address)
  )();
}

/** What is thrown when the daemon itself, by an earlier member of its configuration, has this address. */
export function ownAddress({ member, host, port }: ListenAddress, other: ListenAddress): AddressRefused {
  const fault = {
    where: `${member}: ${authorityOf({ host, port })}`,
    what: `cannot listen there: ${other.member} (${authorityOf(other)}) has this port`,
    do: `name another ${member}.port`,
  };
  return new AddressRefused({ member, host, port }, false, fault, undefined);
}

/** What is thrown when an address cannot be listened on, by what the system said. */
export function refusedAddress(address: ListenAddress, cause: unknown): AddressRefused {
  const { member, host, port } = address;
  const code = codeOf(cause) ?? '';
  const noAddress = {
    what: 'this name leads to no address',
    do: `name an address of this machine in ${member}.host`,
  };
  const why: Readonly<Record<string, Omit<Fault, 'where'>>> = {
    EADDRINUSE: {
      what: 'another program listens there',
      do: `see which (ss -ltnp 'sport = :${port}'), and end it, or name another ${member}.port`,
    },
    EADDRNOTAVAIL: {
      what: 'this machine has no such address',
      do: `name an address of this machine in ${member}.host (ip address), or 0.0.0.0 or :: for all of them`,
    },
    EACCES: {
      what: 'the user of the daemon may not listen there',
      do: `name a ${member}.port of 1024 or more, or give the service CAP_NET_BIND_SERVICE`,
    },
    ENOTFOUND: noAddress,
    EAI_AGAIN: noAddress,
  };
  const fault = why[code] ?? { what: messageOf(cause), do: `name another address in ${member}` };
  const where = `${member}: ${authorityOf({ host, port })}`;
  const known = { ...fault, what: `cannot listen there: ${fault.what}` };
  return new AddressRefused(address, code === 'EADDRINUSE', { where, ...known }, cause);
}
