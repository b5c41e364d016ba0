import { destroyOpened, exportOpened, type KeyFormat, openRelease } from '../../client/depositary/release.js';
import { quoted } from '../../escrow/records/freeText.js';
import {
  type GeneratedSpec,
  type Operation,
  GENERATED_SPECS,
  KEY_SPECS,
  OPERATIONS,
} from '../../escrow/records/keySpecs.js';
import type { KeyReply } from '../../api/replies.js';
import { cellOf, facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import { CLIENT_CERTIFICATE, namedKey } from './use.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import { FORCE, withOutputs, writePublic } from '../files/outputs.js';
import { listed } from '../pages.js';
import { idOf } from '../ids.js';
import type { Session } from '../session.js';
import { localTime, when } from '../times.js';
import { liveInWords, openedInWords, quorumsInWords, termsInWords, unableInWords } from '../words.js';

/** What a key can be for. */
export const USES = OPERATIONS;
/** How a key can be written. */
export const KEY_FORMATS = ['pem', 'jwk', 'raw'] as const;

/** How a public key can be written. */
const PUBLIC_FORMS = ['pem', 'jwk', 'jwks', 'der'] as const;

export const keyCommands: readonly CommandRow[] = [
  {
    usage: 'generate',
    summary: 'makes a key in the token, deposited as it is born',
    about: "The rules say who the depositaries are. Owners make their own keys, administrators anyone's.",
    options: [
      { flags: '--owner <id>', about: 'whose key (default: yours)' },
      { flags: '--spec <spec>', about: 'which kind', required: true, choices: GENERATED_SPECS },
      {
        flags: '--use <use>',
        about: 'what for (default: what the kind allows, if that is one thing)',
        choices: USES,
      },
      { flags: '--label <text>', about: 'what people call it' },
      { flags: '--deliver', about: 'also give the owner a copy, encrypted to their delivery key' },
    ],
    examples: [
      'key generate --as ~/.escrowd --owner olga --spec ec-p256 --label letters',
      'key generate --spec rsa-3072 --use decrypt --deliver',
    ],
    run: generate,
  },
  {
    usage: 'list',
    summary: 'lists the keys that you may see, newest first',
    options: [{ flags: '--limit <n>', about: 'how many', default: '50' }],
    examples: ['key list --as ~/.escrowd'],
    run: list,
  },
  {
    usage: 'show <key>',
    summary: 'shows a key: its depositaries, and what its rule allows',
    options: [
      { flags: '--public-key-out <file>', about: 'also write its public key to this file (PEM)' },
      FORCE,
    ],
    examples: ['key show key_0123456789abcdef0123456789abcdef --public-key-out olga.pem'],
    run: show,
  },
  {
    usage: 'public <key>',
    summary: 'the public half of a key, in the form that a program takes',
    about:
      'For an app as well, while a grant of its own for the key runs; it may name the key by its label. jwks is a JWK set of this one\n' +
      'key (RFC 7517), der its SubjectPublicKeyInfo, as bytes.',
    options: [
      { flags: '--form <form>', about: 'how', choices: PUBLIC_FORMS, default: 'pem' },
      { flags: '--out <file>', about: 'where it goes (default: standard output)' },
      FORCE,
      ...CLIENT_CERTIFICATE,
    ],
    examples: ['key public invoices-2026 --form jwk', 'key public KEY --form der --out invoices.spki'],
    run: publicHalf,
  },
  {
    usage: 'copy <key>',
    summary: 'opens your own copy of your key, ordered with --deliver',
    options: [
      { flags: '--out <file>', about: 'a new file for the private key', required: true },
      { flags: '--format <format>', about: 'how (default: pem, raw for AES)', choices: KEY_FORMATS },
      FORCE,
    ],
    examples: ['key copy key_0123456789abcdef0123456789abcdef --out letters.pem'],
    run: copy,
  },
];

async function generate(session: Session, given: CommandArguments): Promise<Result> {
  const spec = given.oneOf('spec', GENERATED_SPECS) ?? 'ec-p256';
  const use = useOf(spec, given);
  const { identity, client } = await session.connect();
  const label = given.findWords('label');
  const { result: key, entry } = await session.busy('making and depositing the key', () =>
    client.generateKey({
      owner: given.find('owner') ?? identity.id,
      spec,
      use,
      ...(label === undefined ? {} : { label }),
      ...(given.flag('deliver') ? { deliver: true } : {}),
    }),
  );
  return {
    json: { result: key, entry },
    lines: [`Made ${key.key} and deposited it (log entry ${entry}).`, ...facts(keyFacts(key, session.now))],
    next:
      key.ownersCopy === undefined
        ? `escrowctl key show ${key.key}${key.publicKeyPem === undefined ? '' : ' --public-key-out FILE'}`
        : `escrowctl key copy ${key.key} --out FILE`,
  };
}

/** What a key of this kind is for: as was said, or what the kind allows if that is one thing. @throws UsageError */
export function useOf(spec: GeneratedSpec, given: CommandArguments): Operation {
  const [onlyUse, ...otherUses] = KEY_SPECS[spec].uses;
  const use = given.oneOf('use', USES) ?? (otherUses.length === 0 ? onlyUse : undefined);
  if (use !== undefined) return use;
  throw new UsageError(`--use is missing: ${spec} can sign or decrypt`, 'add --use sign or --use decrypt');
}

function list(session: Session, given: CommandArguments): Promise<Result> {
  return listed(session, given, {
    busy: 'listing keys',
    page: (client, query) => client.keys(query),
    none: 'No keys.',
    columns: [
      ['KEY', ({ key }) => key],
      ['OWNER', ({ owner }) => owner],
      ['KIND', ({ spec }) => spec],
      ['USE', ({ use }) => use],
      ['MADE', ({ createdAt }) => localTime(new Date(createdAt))],
      ['BORN', ({ bornOutside }) => (bornOutside === true ? 'outside' : 'inside')],
      ['LABEL', ({ label }) => cellOf(label)],
    ],
  });
}

async function show(session: Session, given: CommandArguments): Promise<Result> {
  const { client } = await session.connect();
  const key = await session.busy('asking for the key', async () =>
    client.key(await idOf(session, client, 'key', given.argument(0))),
  );
  const out = given.find('publicKeyOut');
  if (out !== undefined) {
    if (key.publicKeyPem === undefined) throw new UsageError(`${key.key} has no public key`);
    await writePublic(session, given, out, ended(key.publicKeyPem));
  }
  return {
    json: key,
    lines: [
      ...facts(keyFacts(key, session.now)),
      ...(out === undefined ? [] : [`The public key is in ${out}.`]),
    ],
    next: `when the owner is away: escrowctl recovery request ${key.key} --help`,
  };
}

async function publicHalf(session: Session, given: CommandArguments): Promise<Result> {
  const form = given.oneOf('form', PUBLIC_FORMS) ?? 'pem';
  const out = given.find('out');
  const { key: name } = namedKey(given.argument(0));
  const { client } = await session.connect({ signsAll: false });
  const { half, ...of } = await session.busy('asking for the public key', () => client.publicKey(name));
  if (half === undefined) throw new UsageError(`${of.key} has no public half: it is symmetric`);
  const { pem, jwk } = half;
  const der = Buffer.from(half.der, 'base64url');
  const text = form === 'pem' ? ended(pem) : `${JSON.stringify(form === 'jwks' ? { keys: [jwk] } : jwk)}\n`;
  const content = form === 'der' ? der : Buffer.from(text);
  const json = { ...of, ...half };
  if (out === undefined) return given.flag('json') ? { json, lines: [] } : { json, lines: [], raw: content };
  await withOutputs(session, given, [{ path: out, isSecret: false }], (outputs) => outputs.write([content]));
  return { json: { ...json, out }, lines: [`The public key of ${of.key} is in ${out}.`] };
}

async function copy(session: Session, given: CommandArguments): Promise<Result> {
  const { identity, client } = await session.connect();
  const key = await session.busy('asking for the key', async () =>
    client.key(await idOf(session, client, 'key', given.argument(0))),
  );
  if (key.ownersCopy === undefined) {
    throw new UsageError(
      `there is no copy of ${key.key} for you`,
      'a copy is made with the key: key generate --deliver',
    );
  }
  const { ownersCopy, publicKeyPem, checkValue } = key;
  const format = formatOf(given, key);
  const out = given.text('out');
  await withOutputs(session, given, [{ path: out, isSecret: true }], async (outputs) => {
    const opened = openRelease(ownersCopy, await identity.deliveryKey(), { publicKeyPem, checkValue });
    try {
      await outputs.write([exportOpened(opened, format)]);
    } finally {
      destroyOpened(opened);
    }
  });
  return {
    json: { key: key.key, out },
    lines: [openedInWords(key, out)],
  };
}

/** How a key is written: as was said, or as its kind is usually. @throws UsageError where its kind has no such form */
export function formatOf(
  given: CommandArguments,
  { publicKeyPem }: Pick<KeyReply, 'publicKeyPem'>,
): KeyFormat {
  const isSecret = publicKeyPem === undefined;
  const format = given.oneOf('format', KEY_FORMATS) ?? (isSecret ? 'raw' : 'pem');
  if (format === (isSecret ? 'pem' : 'raw'))
    throw new UsageError(
      isSecret ? 'a secret key is written as raw or jwk' : 'a private key is written as pem or jwk',
      'choose another --format, or leave it out',
    );
  return format;
}

const BORN_OUTSIDE = 'outside the token: others may have it, and may have used it';

/** What a key is, as rows of facts. */
export function keyFacts(key: KeyReply, now: Date): readonly (readonly [string, string | undefined])[] {
  return [
    ['key', key.key],
    ['owner', key.owner],
    ['label', key.label === '' ? undefined : quoted(key.label)],
    ['kind', key.spec === 'secret' ? 'a secret: kept, and released only' : `${key.spec}, to ${key.use}`],
    ['check value', key.checkValue],
    [key.bornOutside === true ? 'imported' : 'made', when(key.createdAt, now)],
    ['born', key.bornOutside === true ? BORN_OUTSIDE : undefined],
    ['rule', `${key.rule.name} (policy version ${key.rule.policyVersion})`],
    ['allows', termsInWords(key)],
    ...key.purposes.flatMap(({ purpose, quorums }) => {
      const coverage = key.coverage?.purposes.find((each) => each.purpose === purpose);
      const unable = coverage?.unable ?? [];
      return [
        [`enough to ${purpose}`, quorumsInWords(quorums, unable)],
        ['not counted', unableInWords(unable)],
        ['live quorums', coverage && liveInWords(coverage, quorums.length)],
      ] as const;
    }),
    ['token', key.coverage?.isTokenAsked === false ? 'out: who is enrolled is not known' : undefined],
    ['digest', key.digest],
  ];
}

function ended(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`;
}
