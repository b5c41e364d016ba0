import { importKey } from '../../escrow/acts/imports/importKey.js';
import { type ImportPair, prepareImport } from '../../escrow/acts/imports/prepareImport.js';
import { standingNow } from '../../escrow/reads/coverage.js';
import { base64url } from '../../escrow/records/digests.js';
import { sealed } from '../../escrow/records/sealing/sealed.js';
import type { ImportKeyReply } from '../../api/replies.js';
import { ROUTES } from '../../api/routes.js';
import { claimedKey, wrappedFrame } from '../claimedKey.js';
import { keyReply } from '../replies.js';
import { type Route, act } from '../route.js';

const OF_IMPORTS = [
  'owner-unknown',
  'rule-missing',
  'depositary-unknown',
  'depositary-retired',
  'quorum-impossible',
  'quorum-too-large',
  'depositary-not-enrolled',
  'key-use-unsupported',
  'key-spec-unsupported',
  'delivery-not-allowed',
  'delivery-key-missing',
  'import-not-allowed',
  'import-key-gone',
  'import-malformed',
  'import-mismatch',
  'token-object-missing',
] as const;

/** Keys and secrets that come from outside. */
export const importRoutes: readonly Route[] = [
  act({
    ...ROUTES.prepareImport,
    summary: 'Makes a one-time key in the token, to import one private key under.',
    problems: ['import-not-allowed', 'imports-too-many'],
    run: async (escrow, call, { body }) => {
      const { answer, index } = await prepareImport(escrow, call, { validForMs: body.validFor });
      return { result: importKeyReply(answer, escrow.token.abilities.oaep), entry: index };
    },
  }),
  act({
    ...ROUTES.importKey,
    summary: 'Imports a private key that was wrapped to an import key, and deposits it in the same act.',
    problems: OF_IMPORTS,
    run: async (escrow, call, { path, body }) => {
      const { answer, index } = await importKey(escrow, call, {
        ...{ owner: body.owner, spec: body.spec, use: body.use, label: body.label, deliver: body.deliver },
        pair: path.import,
        publicKey: claimedKey(body.publicKey, body.spec),
        wrapped: sealed('import', body.wrapped),
      });
      return { result: keyReply(answer, call.caller.id, await standingNow(escrow)), entry: index };
    },
  }),
  act({
    ...ROUTES.importSecret,
    summary: 'Imports a secret that was wrapped to an import key, and deposits it in the same act.',
    problems: [...OF_IMPORTS, 'secret-release-only'],
    run: async (escrow, call, { path, body }) => {
      const { answer, index } = await importKey(escrow, call, {
        ...{ owner: body.owner, label: body.label, deliver: body.deliver },
        ...{ spec: 'secret', use: 'keep', checkValue: body.checkValue },
        pair: path.import,
        wrapped: wrappedFrame(body.wrapped),
      });
      return { result: keyReply(answer, call.caller.id, await standingNow(escrow)), entry: index };
    },
  }),
];

function importKeyReply(pair: ImportPair, oaep: string): ImportKeyReply {
  return {
    import: pair.id,
    publicKey: base64url(pair.publicKey),
    oaep,
    expiresAt: pair.expiresAt.toISOString(),
    attestation: pair.attestation,
  };
}
