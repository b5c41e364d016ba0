import type { Call, Escrow } from '../../escrow.js';
import { actorOf } from '../../escrow.js';
import type { Recorded } from '../../ledger/act.js';
import type { ImportsAsOf } from '../../logged/logFacts.js';
import type { Json } from '../../../log/entry/canonical.js';
import { sha256Hex } from '../../records/digests.js';
import { EscrowError } from '../../records/errors.js';
import { type ImportId, newId } from '../../records/ids.js';
import { IMPORT_TYPE } from '../../records/statementTypes.js';
import { signedByIdentity } from '../../rules/attestation.js';

/** A one-time key to import under. */
export interface ImportPair {
  readonly id: ImportId;
  /** DER SubjectPublicKeyInfo, RSA-3072. */
  readonly publicKey: Uint8Array;
  /** Compact JWS by the identity key over exactly this. */
  readonly attestation: string;
  readonly expiresAt: Date;
}

/** So many import pairs stand at once: each is two objects of the token. */
export const MAX_IMPORT_PAIRS = { all: 128, own: 16 } as const;

/**
 * Makes a key in the token to import one other key under, and signs with the identity key what it is for. Only the caller can
 * use it, once, until it is too old.
 *
 * @throws EscrowError `import-not-allowed` when no rule allows an import at all, `imports-too-many`, `token-unavailable`, `log-unavailable`
 */
export function prepareImport(
  escrow: Escrow,
  call: Call,
  { validForMs }: { readonly validForMs: number },
): Promise<Recorded<ImportPair>> {
  return escrow.ledger.perform({
    act: 'import.prepare',
    actor: actorOf(call),
    decide: () => {
      const isAllowed = call.policy.rules.some((rule) => rule.import === true);
      if (!isAllowed) return Promise.reject(new EscrowError('import-not-allowed'));
      const id = newId('ImportId', escrow.random);
      const madeAt = escrow.clock.now();
      const expiresAt = new Date(madeAt.getTime() + validForMs);
      return Promise.resolve({
        detail: { import: id, expiresAt: expiresAt.toISOString() },
        claims: [],
        holds: ({ imports }) => {
          checkFew(imports);
        },
        plan: { id, madeAt, expiresAt },
      });
    },
    run: async (lent, { id, madeAt, expiresAt }) => {
      const { publicKey } = await lent.createImportPair(id);
      const key = sha256Hex(publicKey);
      const payload = importPayload(escrow, { id, by: call.caller.id, key, madeAt, expiresAt });
      const attestation = await signedByIdentity(lent, IMPORT_TYPE, payload);
      return {
        detail: { import: id, expiresAt: expiresAt.toISOString(), key },
        digest: sha256Hex(attestation),
        changes: [],
        answer: { id, publicKey, attestation, expiresAt },
        undo: () => lent.destroyImportPair(id),
      };
    },
  });
}

function checkFew(imports: ImportsAsOf | undefined): void {
  const { all = Infinity, own = Infinity } = imports ?? {};
  if (own >= MAX_IMPORT_PAIRS.own || all >= MAX_IMPORT_PAIRS.all) throw new EscrowError('imports-too-many');
}

/** What the token attests of an import pair: exactly this. */
function importPayload(
  { origin, logKey, token }: Pick<Escrow, 'origin' | 'logKey' | 'token'>,
  pair: {
    readonly id: ImportId;
    readonly by: string;
    readonly key: string;
    readonly madeAt: Date;
    readonly expiresAt: Date;
  },
): Readonly<Record<string, Json>> {
  return {
    iss: origin,
    aud: logKey,
    iat: Math.floor(pair.madeAt.getTime() / 1000),
    exp: Math.floor(pair.expiresAt.getTime() / 1000),
    import: pair.id,
    for: pair.by,
    key: pair.key,
    oaep: token.abilities.oaep,
  };
}
