import { readFileSync } from 'node:fs';

/** A buffer that crossed the PKCS#11 interface, as pkcs11-spy wrote it down. */
export interface SpiedBuffer {
  readonly call: string;
  readonly direction: 'in' | 'out';
  /** The argument, or the attribute of a template. */
  readonly name: string;
  /** How long pkcs11-spy says that it is. */
  readonly length: number;
  /** Empty where pkcs11-spy (of OpenSC 0.23) does not print the bytes of an attribute it has no name for. */
  readonly bytes: Buffer;
}

/** A call, as pkcs11-spy wrote it down. */
export interface SpiedCall {
  readonly name: string;
  /** What it returned; undefined where the log ends before that. */
  returned: string | undefined;
  /** Attributes of the templates given that pkcs11-spy prints as words: `pTemplate CKA_SENSITIVE` is `True`. */
  readonly given: ReadonlyMap<string, string>;
}

/** What pkcs11-spy wrote. */
export interface SpyLog {
  readonly calls: readonly SpiedCall[];
  readonly buffers: readonly SpiedBuffer[];
}

const CALL = /^\d+: (C_\w+)$/;
const ARGUMENT = /^\[(in|out)\] ([^\s[]+)/;
const ATTRIBUTE = /^ {4}(CKA_\w+(?:\? \(0x[0-9A-F]+\))?|CKA_\? \(0x[0-9A-F]+\)) /;
const WORD = / (True|False|CKO_\w+) *$/;
const RETURNED = /^Returned: +\d+ (\S+)$/;
const ANNOUNCED = / ([0-9a-f]{16}) \/ (\d+)$/;
/** `    00000010  0A 0B ...  ascii`, 16 bytes a line. */
const DUMP = /^ {4}[0-9A-F]{8} {2}(?:[0-9A-F]{2} )/;
/** How labels are printed: `    6B656B3A 6F706572`, 32 bytes a line, each line followed by its text. */
const GROUPS = /^ {4}(?:[0-9A-F]{8} )*(?:[0-9A-F]{2}){1,4}$/;
/** The text has no newline after a whole line: the next one follows at this column. */
const WHOLE_LINE = 75;

/** Reads a log of pkcs11-spy. Throws when a buffer was printed in part. */
export function readSpyLog(file: string): SpyLog {
  const calls: (SpiedCall & { readonly given: Map<string, string> })[] = [];
  const buffers: { call: string; direction: 'in' | 'out'; name: string; length: number; hex: string[] }[] =
    [];
  let direction: 'in' | 'out' = 'in';
  let argument = '';
  let open = false;
  // the lengths asked for, not bytes
  const isQuery = (): boolean => calls.at(-1)?.name === 'C_GetAttributeValue' && direction === 'in';
  for (const line of readFileSync(file, 'latin1').split('\n')) {
    const call = CALL.exec(line)?.[1];
    if (call !== undefined) calls.push({ name: call, returned: undefined, given: new Map() });
    const latest = calls.at(-1);
    if (latest === undefined) continue;
    latest.returned ??= RETURNED.exec(line)?.[1];
    const hex = hexOf(line);
    if (hex !== undefined && open) {
      buffers.at(-1)?.hex.push(hex);
      continue;
    }
    const named = ARGUMENT.exec(line);
    const attribute = ATTRIBUTE.exec(line)?.[1];
    // the rest is what pkcs11-spy makes of the bytes as text
    if (named === null && attribute === undefined && call === undefined) continue;
    if (named !== null) [direction, argument] = [named[1] === 'in' ? 'in' : 'out', named[2] ?? ''];
    const word = WORD.exec(line)?.[1];
    if (word !== undefined && direction === 'in') latest.given.set(`${argument} ${attribute ?? ''}`, word);
    const announced = ANNOUNCED.exec(line);
    open = announced !== null && /[^0]/.test(announced[1] ?? '') && announced[2] !== '0' && !isQuery();
    if (!open) continue;
    const name = attribute ?? argument;
    buffers.push({ call: latest.name, direction, name, length: Number(announced?.[2]), hex: [] });
  }
  return { calls, buffers: buffers.map(checked) };
}

function hexOf(line: string): string | undefined {
  if (DUMP.test(line)) return line.slice(14, 14 + 3 * 16);
  if (GROUPS.test(line)) return line;
  const next = `    ${line.slice(WHOLE_LINE)}`;
  return line.startsWith('     ') && GROUPS.test(next) ? next : undefined;
}

function checked({ hex, ...rest }: Omit<SpiedBuffer, 'bytes'> & { hex: readonly string[] }): SpiedBuffer {
  const bytes = Buffer.from(hex.join('').replaceAll(' ', ''), 'hex');
  if (bytes.length !== rest.length && bytes.length > 0) {
    throw new Error(`${rest.call}: ${bytes.length} of ${rest.length} bytes of ${rest.name} were read`);
  }
  return { ...rest, bytes };
}
