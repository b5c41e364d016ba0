import {
  constants,
  createCipheriv,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  publicEncrypt,
  type KeyObject,
} from 'node:crypto';

import { parsedAsked } from '../../src/client/depositary/attestation.js';
import { askedAsJson, requestHash } from '../../src/escrow/records/digests.js';
import type { KeySpec, KeyUse } from '../../src/escrow/records/keySpecs.js';
import type { KeyId, PrincipalId } from '../../src/escrow/records/ids.js';
import { layerContext, termsHash } from '../../src/escrow/records/sealing/layers.js';
import type { DepositReply, ForDepositaryReply, RecoveryReply, ShareReply } from '../../src/api/replies.js';
import { canonicalJson } from '../../src/log/entry/canonical.js';
import type { Entry } from '../../src/log/entry/entry.js';
import { formatDuration, parseDuration } from '../../src/policy/durations.js';
import type { FakeServer } from './fakeServer.js';
import { es256, ORIGIN } from './fakeServer.js';
import { rsaPair } from '../support/rsaPairs.js';
import { freshBytes } from '../support/fresh.js';

export const NOW = new Date('2026-03-01T12:00:00.000Z');
export const RECOVERY = `rec_${'2'.repeat(32)}`;
export const KEY = `key_${'1'.repeat(32)}`;
export const OTHER_KEY = `key_${'3'.repeat(32)}`;

/** Made once: RSA keys are slow. */
export const depositaryPair = rsaPair(3072);
export const transportPair = rsaPair(3072);
export const thievesPair = rsaPair(3072);
export const userPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
/** R */
export const SECRET = freshBytes(32);

const hex = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const der = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' });

/** What a server says of one recovery request; a test changes what is to be a lie. */
export interface Scene {
  readonly recovery: RecoveryReply;
  /** The attestation's payload. */
  readonly attested: Record<string, unknown>;
  /** The detail of the entry that recorded the filing. */
  readonly filed: Record<string, string>;
}

const shownScope = {
  app: 'mailer',
  operations: ['sign'],
  mechanisms: ['ES256'],
  input: 'message',
  maxUses: 3,
} as const;
const SCOPE = { ...shownScope, rate: null, durationMs: 3_600_000, notBefore: null, notAfter: null };

/** An honest scene: everything fits. */
export function honestScene(keys: readonly string[] = [KEY]): Scene {
  const expiresAt = '2026-03-02T12:00:00.000Z';
  const request = {
    version: 4,
    recovery: RECOVERY,
    owner: 'olga',
    keys: Object.fromEntries(keys.map((key) => [key, { label: 'letters', spec: 'ec-p256', use: 'sign' }])),
    requester: 'dave',
    purpose: 'operate',
    scope: SCOPE,
    reason: 'olga is ill',
    expiresAt,
    approvalsHoldMs: 7_200_000,
  };
  const requestHash = hex(canonicalJson(request));
  const transport = hex(der(transportPair.publicKey));
  return {
    recovery: {
      recovery: RECOVERY,
      owner: 'olga',
      keys: keys.map((key) => ({
        key,
        label: 'letters',
        spec: 'ec-p256',
        use: 'sign',
        publicKeyPem: userPair.publicKey.export({ format: 'pem', type: 'spki' }).toString(),
        quorums: [['dana', 'dave']],
      })),
      requester: 'dave',
      reason: 'olga is ill',
      purpose: 'operate',
      scope: { ...shownScope, duration: 'PT1H' },
      filedAt: '2026-03-01T12:00:00.000Z',
      expiresAt,
      approvalsHold: 'PT2H',
      summary: 'the words of the server, which nobody relies on',
      status: 'pending',
      approvedBy: [],
      deniedBy: [],
    },
    attested: {
      iss: ORIGIN,
      iat: NOW.getTime() / 1000,
      exp: Date.parse(expiresAt) / 1000,
      recovery: RECOVERY,
      requestHash,
      keys: Object.fromEntries(keys.map((key) => [key, hex(der(userPair.publicKey))])),
      purpose: 'operate',
      scope: SCOPE,
      transport,
    },
    filed: { requestHash, transport },
  };
}

/** The same of what a host shows who has the token's identity key and the log's key: all of it is attested and logged. */
function hostsScene(recovery: RecoveryReply): Scene {
  const asked = parsedAsked(recovery);
  if (asked === undefined) throw new Error('nothing is asked for');
  const hash = requestHash({
    ...{ version: 4, recovery: recovery.recovery, asked, reason: recovery.reason },
    owner: recovery.owner as PrincipalId,
    requester: recovery.requester as PrincipalId,
    keys: recovery.keys.map(({ key, label, spec, use }) => ({
      ...{ key: key as KeyId, label, spec: spec as KeySpec, use: use as KeyUse },
    })),
    expiresAt: new Date(recovery.expiresAt),
    approvalsHoldMs: parseDuration(recovery.approvalsHold) ?? 0,
  });
  const { attested, filed } = honestScene();
  const spkis = recovery.keys.map(({ key, publicKeyPem, checkValue = '' }) => [
    key,
    hex(
      publicKeyPem === undefined ? Buffer.from(checkValue, 'base64url') : der(createPublicKey(publicKeyPem)),
    ),
  ]);
  return {
    recovery,
    attested: { ...attested, requestHash: hash, keys: Object.fromEntries(spkis), ...askedAsJson(asked) },
    filed: { ...filed, requestHash: hash },
  };
}

/** What the server can lie about beside the scene itself. */
export interface Lies {
  /** What the honest part is for. */
  readonly keys?: readonly string[];
  /** What `recovery` says is attested and logged as well. */
  readonly isHost?: true;
  readonly recovery?: Partial<RecoveryReply>;
  readonly attested?: Record<string, unknown>;
  readonly filed?: Record<string, string>;
  readonly filedSubject?: Entry['subject'];
  readonly filedAct?: string;
  readonly part?: Partial<ForDepositaryReply>;
  /** Of which keys a share is shown; of all of the request, when it is not given. */
  readonly held?: readonly string[];
  /** Of each share. */
  readonly share?: Partial<ShareReply>;
  readonly deposit?: Partial<DepositReply>;
  /** What the deposit was really made by. */
  readonly made?: Partial<Made>;
  readonly attestationKey?: KeyObject;
  readonly attestationType?: string;
  /** The entry shown is not the one in the tree. */
  readonly isEntryOutsideTree?: true;
}

/** Puts the filing in the server's log and says what the server then shows. */
export async function show(server: FakeServer, lies: Lies = {}): Promise<RecoveryReply> {
  const keys = lies.keys ?? [KEY];
  const honest = honestScene(keys);
  const scene = lies.isHost === true ? hostsScene({ ...honest.recovery, ...lies.recovery }) : honest;
  const { owner } = scene.recovery;
  const { log } = server;
  log.fill(3);
  const index = log.append({
    v: 1,
    time: '2026-03-01T12:00:00.000Z',
    act: lies.filedAct ?? 'recovery.request',
    id: 'act_filing',
    phase: 'done',
    actor: 'dave',
    subject: {
      keys: scene.recovery.keys.map(({ key }) => key),
      owner,
      recovery: RECOVERY,
      ...lies.filedSubject,
    },
    detail: { ...scene.filed, ...lies.filed },
    digest: 'ab'.repeat(32),
  });
  const made = { ...MADE, token: hex(der(server.identity.publicKey)), ...lies.made };
  const held = lies.held ?? scene.recovery.keys.map(({ key }) => key);
  const births = held.map((key) => log.append(birthOf(key, owner, scene.recovery.purpose, made)));
  log.fill(2);
  const entry = log.entries[index] ?? '';
  const shares = await Promise.all(
    held.map(async (key, at): Promise<ShareReply> => {
      const birth = births[at] ?? 0;
      return {
        ...{ key, share: made.share, oaep: 'RSA-OAEP', link: linkOf(key, made) },
        deposit: { ...shownDeposit(made), ...lies.deposit },
        birth: { index: birth, entry: log.entries[birth] ?? '', proof: await log.inclusion(birth) },
        ...lies.share,
      };
    }),
  );
  const attestation = es256(
    lies.attestationKey ?? server.identity.privateKey,
    { alg: 'ES256', typ: lies.attestationType ?? 'escrowd-attestation+jwt' },
    { ...scene.attested, ...lies.attested },
  );
  return {
    ...scene.recovery,
    ...lies.recovery,
    forDepositary: {
      shares,
      transportKey: der(transportPair.publicKey).toString('base64url'),
      requestHash: String(scene.attested['requestHash']),
      requestVersion: 4,
      attestation,
      logged: {
        index,
        entry: lies.isEntryOutsideTree === true ? entry.replace('T12:00:00.000Z', 'T12:00:00.001Z') : entry,
        proof: await log.inclusion(index),
        checkpoint: log.checkpoint(),
      },
      ...lies.part,
    },
  };
}

/** What a deposit was made by: the terms of it, and the secret that is shared. */
export interface Made {
  readonly key: string | undefined;
  readonly owner: string;
  readonly label: string;
  readonly spec: 'ec-p256' | 'secret';
  readonly use: 'sign' | 'decrypt' | 'keep';
  readonly publicKey: Uint8Array | undefined;
  readonly checkValue?: Uint8Array;
  readonly bornOutside: boolean;
  readonly purpose: 'operate' | 'release';
  readonly version: 1 | 2;
  readonly generation: number;
  readonly token: string;
  readonly requesters: readonly string[];
  readonly delayMs: number;
  readonly ownerMayVeto: boolean;
  readonly replies?: 'afterDelay';
  readonly quorums: readonly (readonly string[])[];
  readonly recipients: DepositReply['recipients'];
  readonly depositary: string;
  readonly secret: Uint8Array;
  readonly share: string;
  /** What the entry of birth says of the share; undefined, as before that was recorded. */
  readonly recorded: string | undefined;
}

const MADE: Made = {
  key: undefined,
  owner: 'olga',
  label: 'letters',
  spec: 'ec-p256',
  use: 'sign',
  publicKey: der(userPair.publicKey),
  bornOutside: false,
  purpose: 'operate',
  version: 2,
  generation: 1,
  token: '',
  requesters: ['depositary'],
  delayMs: 0,
  ownerMayVeto: false,
  quorums: [['dana', 'dave']],
  recipients: [
    { depositary: 'dana', fingerprint: hex(der(depositaryPair.publicKey)) },
    { depositary: 'dave', fingerprint: 'dd'.repeat(32) },
  ],
  depositary: 'dana',
  secret: SECRET,
  share: share(),
  recorded: 'its own',
};

function shownDeposit({
  version,
  generation,
  requesters,
  delayMs,
  ownerMayVeto,
  replies,
  recipients,
}: Made): DepositReply {
  return {
    version,
    ...(version === 1 ? {} : { generation }),
    requesters,
    delay: formatDuration(delayMs),
    ownerMayVeto,
    ...(replies === undefined ? {} : { replies }),
    recipients,
  };
}

/** As the token makes it: AES-256-GCM under the secret, of what only the server's own key opens. */
function linkOf(key: string, made: Made): string {
  const { purpose, version, generation, token, depositary } = made;
  const binding = version === 1 ? { version } : { version, generation, token };
  const layers = { key: (made.key ?? key) as KeyId, purpose, binding, terms: termsHash(made) };
  const iv = freshBytes(12);
  const cipher = createCipheriv('aes-256-gcm', made.secret, iv);
  cipher.setAAD(layerContext(layers, { depositary }));
  const sealed = Buffer.concat([cipher.update(Buffer.alloc(384, 9)), cipher.final()]);
  return Buffer.concat([iv, sealed, cipher.getAuthTag()]).toString('base64url');
}

function birthOf(
  key: string,
  owner: string,
  purpose: string,
  { share: made, recorded, recipients, bornOutside }: Made,
): Entry {
  const hash = recorded === 'its own' ? hex(Buffer.from(made, 'base64url')) : recorded;
  return {
    v: 1,
    time: '2026-02-01T12:00:00.000Z',
    act: bornOutside ? 'key.import' : 'key.generate',
    id: `act_birth_${key}`,
    phase: 'done',
    actor: 'ann',
    subject: { key, owner },
    detail: {
      shares: [
        {
          purpose,
          kek: `kek:${purpose}:v1`,
          recipients: recipients.map(({ depositary, fingerprint }) => ({
            ...{ depositary, recipient: fingerprint },
            ...(hash === undefined ? {} : { share: depositary === 'dana' ? hash : 'ee'.repeat(32) }),
          })),
        },
      ],
      delivered: false,
    },
    digest: 'ab'.repeat(32),
  };
}

/** OAEP(depositary, R), as the token makes it: SHA-1. */
export function share(secret: Uint8Array = SECRET): string {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return publicEncrypt({ key: depositaryPair.publicKey, padding, oaepHash: 'sha1' }, secret).toString(
    'base64url',
  );
}

export const derOf = der;
export const hexOf = hex;
