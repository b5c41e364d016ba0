import { createReadStream } from 'node:fs';

import { NoteError } from '../log/noteKey.js';
import type { Verdict } from '../log/verifier.js';
import { ExportVerifier } from '../log/verifier.js';
import type { PublicPart } from './publicPart.js';
import type { RequestCounts } from './requestEvidence.js';
import { RequestEvidence } from './requestEvidence.js';

/** What an export is checked against; nothing of it comes from the export. */
export interface ExportCheck {
  readonly path: string;
  /** Pinned: a C2SP verifier key. Its name is the origin of the log. */
  readonly logKey: string;
  /** An older signed checkpoint that the export must extend. */
  readonly against?: string;
  /** Public parts of the first administrators, when they are known. */
  readonly bootstrap?: readonly PublicPart[];
}

/**
 * Verifies an export offline, as it is read: form, tree, signature of the log, continuation of the older checkpoint,
 * pairing of acts, and the callers' own signatures.
 */
export async function verifyExport(
  check: ExportCheck,
): Promise<{ readonly verdict: Verdict; readonly requests: RequestCounts }> {
  const origin = originOf(check.logKey);
  const evidence = new RequestEvidence({ origin, bootstrap: check.bootstrap ?? [] });
  const { logKey, against } = check;
  const verifier = new ExportVerifier({
    logKey,
    origin,
    ...(against === undefined ? {} : { against }),
    checkEntry: evidence.check,
  });
  for await (const chunk of createReadStream(check.path) as AsyncIterable<Buffer>) verifier.write(chunk);
  return { verdict: verifier.finish(), requests: evidence.counts };
}

/** The origin that a log key is for. @throws NoteError when it is not a vkey */
function originOf(logKey: string): string {
  const name = /^([^+]+)\+/.exec(logKey)?.[1];
  if (name === undefined) throw new NoteError('malformed verifier key');
  return name;
}
