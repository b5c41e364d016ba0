import { type JsonWebKey, createPublicKey } from 'node:crypto';
import { z } from 'zod';
import { KEK_KINDS, newestKeks } from '../../escrow/records/sealing/keks.js';
import { jsonOrUndefined } from '../../system/json.js';

/** What the record of the ceremony says of the long-lived keys of a token. */
export interface TokenPins {
  /** DER SubjectPublicKeyInfo. */
  readonly identity: Buffer;
  /** DER SubjectPublicKeyInfo. */
  readonly log: Buffer;
  /** Check values of the key-encryption keys, by label. */
  readonly keks: ReadonlyMap<string, string>;
  /** The labels of all objects that it has. */
  readonly labels: ReadonlySet<string>;
}

const recordSchema = z.object({
  format: z.literal('escrowd-ceremony/v1'),
  token: z.object({ label: z.string() }),
  identityKey: z.record(z.string(), z.unknown()),
  log: z.object({ spki: z.base64() }),
  objects: z.array(
    z.object({
      label: z.string(),
      checkValue: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .optional(),
    }),
  ),
});

/**
 * Reads the record that the ceremony left (JSON). Throws an Error that says what is wrong with it: not a record, of another
 * token, or without check values, as records from before they were recorded are.
 */
export function readPins(text: string, token: { readonly label: string }): TokenPins {
  const read = recordSchema.safeParse(jsonOrUndefined(text));
  if (!read.success) throw new Error('it is not the record of a ceremony');
  const { identityKey, log, objects } = read.data;
  if (read.data.token.label !== token.label)
    throw new Error(`it is the record of the token "${read.data.token.label}"`);
  const keks = new Map(
    objects.flatMap(({ label, checkValue }) => (checkValue === undefined ? [] : [[label, checkValue]])),
  );
  const labels = new Set(objects.map(({ label }) => label));
  const newest = newestKeks([...keks.keys()]);
  const lacking = KEK_KINDS.find((kind) => newest[kind] === undefined);
  if (lacking !== undefined)
    throw new Error(`it has no check value of a kek:${lacking}: write it anew by \`ceremony show --json\``);
  return { identity: spkiOf(identityKey), log: Buffer.from(log.spki, 'base64'), keks, labels };
}

function spkiOf(jwk: JsonWebKey): Buffer {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' });
  } catch (error) {
    throw new Error('its identity key is not a public key', { cause: error });
  }
}
