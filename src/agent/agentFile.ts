import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { dirname, resolve } from 'node:path';

import { parse } from 'yaml';
import { z } from 'zod';

import { IdentityError } from '../client/errors.js';
import { readTrustedFile } from '../client/files/trustedFile.js';
import { parseId } from '../escrow/records/ids.js';
import { GENERATED_SPECS } from '../escrow/records/keySpecs.js';
import { MECHANISM_NAMES } from '../escrow/records/mechanisms.js';
import { decodeText } from '../log/entry/plainText.js';
import { duration, newWords } from '../policy/fields.js';
import { codeOf } from '../system/errors.js';
import { isOfSpec } from './signatureCheck.js';
import type { OfferedKey } from './use.js';

const DAY_MS = 86_400_000;

const request = z.strictObject({
  reason: newWords({ min: 1, max: 1000 }),
  mechanisms: z.array(z.enum(MECHANISM_NAMES)).max(16).default([]),
  input: z.enum(['message', 'digest']).default('digest'),
  maxUses: z.int().min(1).max(1_000_000_000),
  duration: duration({ minMs: 1000, maxMs: 3660 * DAY_MS }),
  validFor: duration({ minMs: 1000, maxMs: 90 * DAY_MS }),
});

const schema = z.strictObject({
  keys: z
    .array(
      z.strictObject({
        key: z.string().refine((text) => parseId('KeyId', text) !== undefined, 'not the id of a key'),
        name: newWords({ min: 1, max: 64 }),
        /** The public key (PEM, as `escrowctl key show --public-key-out` writes it), or a certificate of it. */
        publicKey: z.string().min(1).max(4096),
        request: z.exactOptional(request),
      }),
    )
    .min(1)
    .max(64),
});

/** The agent's configuration is not as it must be; the message says what and where. */
export class AgentFileError extends Error {
  override readonly name = 'AgentFileError';
}

/**
 * Reads which keys are offered to tools. Paths in the file are relative to it; neither it nor what it names may be writable by
 * others, since it says what a signature is believed by.
 * @throws AgentFileError
 */
export async function readAgentFile(path: string): Promise<readonly OfferedKey[]> {
  const file = resolve(path);
  const read = schema.safeParse(parseYaml(await readText(file), file));
  if (!read.success) {
    const [issue] = read.error.issues;
    throw new AgentFileError(
      `${file}: ${[issue?.path.join('.'), issue?.message].filter(Boolean).join(': ')}`,
    );
  }
  const { keys } = read.data;
  for (const member of ['key', 'name'] as const) {
    const twice = keys.find((row, at) => keys.findIndex((other) => other[member] === row[member]) < at);
    if (twice !== undefined)
      throw new AgentFileError(`${file}: two keys have the ${member} ${twice[member]}`);
  }
  const offered = await Promise.all(
    keys.map(async ({ key, name, publicKey, request: terms }) => {
      const at = resolve(dirname(file), publicKey);
      const pem = await readText(at);
      return {
        ...{ key, name },
        ...publicPart(pem, at),
        request:
          terms === undefined
            ? undefined
            : {
                ...{ reason: terms.reason, mechanisms: terms.mechanisms, input: terms.input },
                ...{ maxUses: terms.maxUses, durationMs: terms.duration, validForMs: terms.validFor },
              },
      };
    }),
  );
  const twin = offered.find((one, at) =>
    offered.some((other, before) => before < at && other.publicKey.equals(one.publicKey)),
  );
  if (twin !== undefined)
    throw new AgentFileError(
      `${file}: ${twin.name} has the public key of another, which tools could not tell apart`,
    );
  return offered;
}

function publicPart(pem: string, file: string): { publicKey: KeyObject; certificate: Buffer | undefined } {
  try {
    if (pem.includes('-----BEGIN CERTIFICATE-----')) {
      const certificate = new X509Certificate(pem);
      return { publicKey: offerable(certificate.publicKey, file), certificate: certificate.raw };
    }
    if (!pem.includes('-----BEGIN PUBLIC KEY-----')) throw new Error('neither');
    return { publicKey: offerable(createPublicKey(pem), file), certificate: undefined };
  } catch (cause) {
    if (cause instanceof AgentFileError) throw cause;
    throw new AgentFileError(
      `${file} is neither a public key nor a certificate in PEM; write it by: escrowctl key show KEY --public-key-out ${file}`,
      { cause },
    );
  }
}

/** A kind of key that can be deposited, and that tools can use. */
function offerable(publicKey: KeyObject, file: string): KeyObject {
  if (GENERATED_SPECS.some((spec) => isOfSpec(publicKey, spec))) return publicKey;
  throw new AgentFileError(
    `${file} is no key that tools are offered: those are RSA with 2048, 3072 or 4096 bits, P-256, P-384, P-521 and Ed25519`,
  );
}

async function readText(file: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readTrustedFile(file);
  } catch (cause) {
    if (cause instanceof IdentityError) throw new AgentFileError(cause.message, { cause });
    const code = codeOf(cause) ?? 'error';
    throw new AgentFileError(`${file} ${code === 'ENOENT' ? 'is not there' : `cannot be read (${code})`}`, {
      cause,
    });
  }
  return decodeText(bytes, file);
}

function parseYaml(text: string, file: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new AgentFileError(`${file} is not YAML`, { cause });
  }
}
