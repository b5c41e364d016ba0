import { z } from 'zod';

import { BackupError } from './faults.js';

/** What a backup is of: `about.json`, the first file of the archive. */
const aboutSchema = z.strictObject({
  format: z.literal('escrowd-backup-1'),
  program: z.string(),
  madeAt: z.iso.datetime(),
  origin: z.string(),
  /** Names of the migrations that made the schema, in their order. */
  migrations: z.array(z.string()),
  token: z.strictObject({
    label: z.string(),
    /** Whether the token's own files are in the archive: those of SoftHSM are, an HSM's are its vendor's to copy. */
    included: z.boolean(),
  }),
});
/** See {@link aboutSchema}. */
export type About = z.output<typeof aboutSchema>;

/** What the archive holds: `manifest.json`, its last file. */
const manifestSchema = z.strictObject({
  /** The newest signed checkpoint (C2SP tlog-checkpoint); null in a log that has none yet. */
  checkpoint: z.string().nullable(),
  rows: z.record(z.string(), z.int().min(0)),
  files: z.array(
    z.strictObject({
      path: z.string(),
      bytes: z.int().min(0),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
  /** Files with secrets, which are not in the archive: where they belong beside the restored configuration. */
  secrets: z.array(z.string()),
});
/** See {@link manifestSchema}. */
export type Manifest = z.output<typeof manifestSchema>;

/** Throws {@link BackupError}. */
export function parseAbout(bytes: Uint8Array): About {
  return parse(aboutSchema, bytes, 'about.json');
}

/** Throws {@link BackupError}. */
export function parseManifest(bytes: Uint8Array): Manifest {
  return parse(manifestSchema, bytes, 'manifest.json');
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array, name: string): T {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new BackupError(`${name} in the backup is not JSON: the backup is damaged`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [fault] = parsed.error.issues;
  throw new BackupError(
    `${name} in the backup is not one that this version understands (${fault?.path.join('.') ?? ''}: ${fault?.message ?? ''})`,
  );
}
