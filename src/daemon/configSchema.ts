import { z } from 'zod';

import { DEFAULT_OPEN_REQUESTS } from '../escrow/rules/openRequests.js';
import { MAX_POLICY_SIGNATURES, POLICY_QUORUM } from '../escrow/rules/policySignatures.js';
import { maximumWitnesses, parseWitnessKey } from '../log/note/cosignature.js';
import { NoteError } from '../log/note/noteKey.js';
import { notificationsSchema } from './notificationsConfig.js';
import { LOG_LEVELS } from './operatorLog.js';

const path = z.string().min(1).max(1024);
const milliseconds = z.int().min(1).max(86_400_000);

/** Somebody who cosigns the log: its C2SP vkey, and where it is asked. */
const witness = z.strictObject({
  key: z
    .string()
    .max(512)
    .transform((vkey, context) => {
      try {
        return parseWitnessKey(vkey);
      } catch (error) {
        const message = error instanceof NoteError ? error.message : 'not a verifier key';
        context.addIssue({ code: 'custom', message });
        return z.NEVER;
      }
    }),
  url: z.url({ protocol: /^https?$/, hostname: /./ }).max(1024),
  ca: path.optional(),
});

/** What may stand in the file. */
export const configSchema = z.strictObject({
  origin: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9./_-]{0,127}$/),
  listen: z.strictObject({ host: z.string().min(1), port: z.int().min(0).max(65_535) }),
  management: z
    .union([
      z.literal('off'),
      z.strictObject({
        host: z.string().min(1).default('127.0.0.1'),
        port: z.int().min(0).max(65_535).default(8444),
      }),
    ])
    .prefault({}),
  tls: z.strictObject({ certificate: path, key: path }),
  token: z.strictObject({
    profile: path,
    label: z.string().min(1).max(32),
    pinFile: path,
    record: path.optional(),
    module: path.optional(),
    environment: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), z.string()).default({}),
    acceptUnenforced: z.array(z.string()).default([]),
    selfTest: z.enum(['full', 'quick']).default('full'),
    waitMs: milliseconds.default(10_000),
    probeMs: milliseconds.default(1_000),
    hangMs: milliseconds.default(60_000),
    maxGrants: z.int().min(1).max(10_000_000).optional(),
    recycleAfterObjects: z.int().min(0).default(100_000),
    pairProcess: z.boolean().default(true),
    allowSpy: z.boolean().default(false),
  }),
  administrators: path,
  policyFloor: z.int().min(POLICY_QUORUM).max(MAX_POLICY_SIGNATURES).default(POLICY_QUORUM),
  database: z
    .strictObject({
      directory: path.default('postgres'),
      binaries: path.optional(),
      runAs: z.string().optional(),
      waitMs: milliseconds.default(10_000),
      startMs: milliseconds.default(60_000),
    })
    .prefault({}),
  drills: z
    .strictObject({
      /** How long a share counts as drilled: then its depositary is asked again. */
      everyDays: z.int().min(1).max(3660).default(90),
    })
    .prefault({}),
  logLevel: z.enum(LOG_LEVELS).default('info'),
  requests: z
    .strictObject({
      contentionMs: milliseconds.default(5_000),
      drainMs: milliseconds.default(15_000),
      receiveMs: milliseconds.default(30_000),
      answerMs: milliseconds.default(60_000),
      maxBodyBytes: z.int().min(1024).max(1_048_576).default(360_448),
      atOnce: z.int().min(1).max(100_000).default(256),
      connections: z.int().min(1).max(1_000_000).default(2048),
      handshakeMs: milliseconds.default(5_000),
      perCaller: z
        .strictObject({
          perSecond: z.number().min(1).max(1_000_000).default(500),
          burst: z.int().min(1).max(1_000_000).default(1000),
          atOnce: z.int().min(1).max(100_000).default(64),
        })
        .prefault({}),
      refusals: z
        .strictObject({
          burst: z.int().min(1).max(1_000_000).default(60),
          perMinute: z.number().min(0).max(1_000_000).default(12),
        })
        .prefault({}),
      openRecoveries: z
        .strictObject({
          perRequester: z.int().min(1).max(1_000_000).default(DEFAULT_OPEN_REQUESTS.perRequester),
          perKey: z.int().min(1).max(1_000_000).default(DEFAULT_OPEN_REQUESTS.perKey),
        })
        .prefault({}),
      perAddress: z
        .strictObject({
          perSecond: z.number().min(1).max(1_000_000).default(200),
          burst: z.int().min(1).max(1_000_000).default(2000),
          connections: z.int().min(1).max(1_000_000).default(256),
        })
        .prefault({}),
      unknownBytes: z
        .strictObject({
          perSecond: z.int().min(1024).max(1_073_741_824).default(4_194_304),
          burst: z.int().min(65_536).max(1_073_741_824).default(16_777_216),
        })
        .prefault({}),
    })
    .prefault({}),
  housekeepingMs: milliseconds.default(5_000),
  inventoryMs: milliseconds.default(600_000),
  anchorMs: milliseconds.default(60_000),
  accessLog: z.boolean().default(true),
  surveyMs: milliseconds.default(60_000),
  witnesses: z.array(witness).max(maximumWitnesses).default([]),
  witnessing: z
    .strictObject({ timeoutMs: milliseconds.default(5_000), intervalMs: milliseconds.default(1_000) })
    .prefault({}),
  notifications: notificationsSchema,
});
