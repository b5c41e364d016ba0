import { readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { basename } from 'node:path';

import koffi from 'koffi';

/** Who is at the other end of a Unix socket, as the system says. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
  /** The name of its program, where it can be read. */
  readonly program: string | undefined;
}

/** socket(7): SOL_SOCKET and SO_PEERCRED of Linux on x86-64 and arm64. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** struct ucred: pid, uid, gid. */
const UCRED_BYTES = 12;

type GetSockOpt = (fd: number, level: number, name: number, value: Buffer, length: number[]) => number;

let call: GetSockOpt | undefined;

/**
 * The process that connected, on Linux; undefined elsewhere. It informs a person and refuses other users; it is no proof of which
 * program asks: a process can be replaced after it has connected, and whoever is this user can be any program.
 */
export function peerOf(socket: Socket): Peer | undefined {
  if (process.platform !== 'linux') return undefined;
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  call ??= load();
  const value = Buffer.alloc(UCRED_BYTES);
  if (call(fd, SOL_SOCKET, SO_PEERCRED, value, [UCRED_BYTES]) !== 0) return undefined;
  const pid = value.readInt32LE(0);
  return { pid, uid: value.readUInt32LE(4), program: programOf(pid) };
}

/** `ssh-keygen[1234]`, for people. */
export function nameOfPeer(peer: Peer | undefined): string {
  if (peer === undefined) return 'a program';
  return `${peer.program ?? 'a program'}[${peer.pid}]`;
}

function programOf(pid: number): string | undefined {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    return undefined;
  }
}

/** Node gives the descriptor of a socket by its handle only. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const fd: unknown = Reflect.get(handle, 'fd');
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

function load(): GetSockOpt {
  const libc = koffi.load(null);
  const found: unknown = libc.func(
    'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
  );
  if (typeof found !== 'function') throw new Error('getsockopt is not there');
  return found as GetSockOpt;
}
