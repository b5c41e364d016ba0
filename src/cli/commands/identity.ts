import { join, resolve } from 'node:path';

import { type Identity, FILES } from '../../client/identity/identity.js';
import type { NewIdentity } from '../../client/identity/newIdentity.js';
import { createIdentity, pinServer, pinWitnesses } from '../../client/identity/newIdentity.js';
import { type ServerPins, parseCeremonyRecord } from '../../client/serverPins.js';
import type { WitnessPins } from '../../client/log/witnessPins.js';
import { readTrustedText } from '../../client/files/textFile.js';
import { parseCheckpoint } from '../../log/note/checkpoint.js';
import { parseNote } from '../../log/note/note.js';
import { cardPublicKey } from '../card.js';
import { facts } from '../columns.js';
import type { CommandRow, OptionRow, Result } from '../command.js';
import { UsageError } from '../failures.js';
import type { CommandArguments } from '../commandArguments.js';
import type { Session } from '../session.js';
import { witnessesIn } from '../witnessesIn.js';

const PIN_OPTIONS = [
  { flags: '--server <url>', about: 'address of the server, such as https://escrow.example.com:8443' },
  { flags: '--ca <file>', about: 'certificate of the CA that the server is believed by (PEM)' },
  { flags: '--record <file>', about: "the ceremony's record: the public keys of identity and log" },
  { flags: '--origin <name>', about: 'origin of the log, where the record does not say it' },
] as const satisfies readonly OptionRow[];

/** Making, pinning and showing an identity. */
export const identityCommands: readonly CommandRow[] = [
  {
    usage: 'new <dir>',
    summary: 'makes your keys, once, in a new directory',
    about:
      'Private keys stay in DIR (0600). Hand out public.json, for the policy document, and for a depositary\n' +
      'depositary-public.pem, for the ceremony. Nothing that is there is overwritten.',
    options: [
      { flags: '--id <id>', about: 'your id in the directory', required: true },
      { flags: '--depositary', about: 'also an RSA key to which shares of keys are encrypted' },
      { flags: '--delivery-key', about: 'also an RSA key to which copies of your own keys are encrypted' },
      { flags: '--encrypt', about: 'keep your private keys under a passphrase' },
      { flags: '--card-module <file>', about: 'PKCS#11 module of the card that your depositary key is on' },
      { flags: '--card-token <label>', about: 'label of the card' },
      { flags: '--card-key <label>', about: 'label of the key on the card' },
      ...PIN_OPTIONS,
    ],
    examples: [
      'identity new ~/.escrowd --id dana --depositary --encrypt',
      'identity new ~/.escrowd --id dana --card-module /usr/lib/opensc-pkcs11.so --card-token Dana --card-key escrow',
      'identity new ~/.escrowd --id dana --depositary',
      'identity new ~/.escrowd --id olga --delivery-key --server https://escrow.example.com:8443 \\\n' +
        '      --ca ca.pem --record ceremony-record.json --origin escrow.example.com/log',
    ],
    run: newIdentity,
  },
  {
    usage: 'pin <dir>',
    summary: 'tells an identity which server to believe',
    about:
      'The keys come from the record of the ceremony, which you were given by people, and never from the server\n' +
      'itself. Pinning again may change the address or the CA, never the keys.',
    options: PIN_OPTIONS.map((option) =>
      option.flags.startsWith('--origin') ? option : { ...option, required: true },
    ),
    examples: [
      'identity pin ~/.escrowd --server https://escrow.example.com:8443 --ca ca.pem \\\n' +
        '      --record record.json --origin escrow.example.com/log',
    ],
    run: pin,
  },
  {
    usage: 'witnesses <dir>',
    summary: 'tells an identity which witnesses must have cosigned the log, and how many of them',
    about:
      'Before anything is approved or exported, so many of these witnesses must have cosigned the log that the server\n' +
      'shows. Their keys come from those who run them, never from the server. What was pinned before is replaced.',
    options: [
      { flags: '--witness <vkey>', about: 'verifier key of a witness, type 0x04', many: true },
      { flags: '--require <k>', about: 'how many of them' },
      { flags: '--none', about: 'require none, and forget those pinned' },
    ],
    examples: [
      'identity witnesses ~/.escrowd --witness w1.example.org+1a2b3c4d+BA... \\\n' +
        '      --witness w2.example.net+5e6f7a8b+BB... --require 2',
      'identity witnesses ~/.escrowd --none',
    ],
    run: witnesses,
  },
  {
    usage: 'show',
    summary: 'shows who you are and what you have pinned',
    examples: ['identity show --as ~/.escrowd'],
    run: show,
  },
];

async function newIdentity(session: Session, given: CommandArguments): Promise<Result> {
  const directory = given.argument(0);
  const isPinned = given.find('server') ?? given.find('ca') ?? given.find('record');
  // read before anything is made: a bad record must not leave half an identity
  const pins = isPinned === undefined ? undefined : await pinsOf(given);
  const card = await cardOf(session, given);
  const depositary = given.flag('depositary') || card !== undefined;
  const passphrase = given.flag('encrypt') ? await newPassphrase(session) : undefined;
  const part = await createIdentity(directory, {
    id: given.text('id'),
    depositary,
    deliveryKey: given.flag('deliveryKey'),
    ...(card === undefined ? {} : { card }),
    ...(passphrase === undefined ? {} : { passphrase }),
  });
  passphrase?.fill(0);
  if (pins !== undefined) await pinServer(directory, pins.pins, pins.ca);
  const files = {
    publicPart: join(directory, FILES.publicPart),
    ...(depositary ? { depositaryPublic: join(directory, FILES.depositaryPublic) } : {}),
  };
  return {
    json: { id: part.id, directory, public: part, files, pinned: pins !== undefined },
    lines: [
      `Made the identity ${part.id} in ${directory}.`,
      ...facts([
        ['signing key', `${part.keys[0]?.['alg'] ?? ''} ${part.keys[0]?.['kid'] ?? ''}`],
        ['for the policy document', files.publicPart],
        ['for the ceremony', depositary ? join(directory, FILES.depositaryPublic) : undefined],
      ]),
    ],
    next: depositary
      ? 'give public.json to an administrator and depositary-public.pem to the security officer, who sends a challenge'
      : 'give public.json to an administrator',
  };
}

async function cardOf(session: Session, given: CommandArguments): Promise<NewIdentity['card']> {
  const [module, token, key] = ['cardModule', 'cardToken', 'cardKey'].map((name) => given.find(name));
  if (module === undefined && token === undefined && key === undefined) return undefined;
  if (module === undefined || token === undefined || key === undefined) {
    throw new UsageError('--card-module, --card-token and --card-key belong together');
  }
  const location = { module: resolve(module), token, key };
  return { location, publicKeyPem: await cardPublicKey(session.cards, location) };
}

async function newPassphrase(session: Session): Promise<Buffer> {
  const first = await session.passphrase('New passphrase of your keys: ');
  const second = await session.passphrase('The same again: ');
  if (first === undefined || second === undefined) {
    throw new UsageError('nobody is there to give a passphrase', 'add --passphrase-file FILE');
  }
  if (first.length === 0) throw new UsageError('an empty passphrase is none');
  if (!first.equals(second)) throw new UsageError('the two passphrases differ; nothing was made');
  return first;
}

async function pin(_session: Session, given: CommandArguments): Promise<Result> {
  const directory = given.argument(0);
  const { pins, ca } = await pinsOf(given);
  await pinServer(directory, pins, ca);
  return {
    json: { directory, ...pins },
    lines: [`${directory} now believes this server, and no other:`, ...pinFacts(pins)],
    next: `escrowctl status --as ${directory}`,
  };
}

async function witnesses(_session: Session, given: CommandArguments): Promise<Result> {
  const directory = given.argument(0);
  const pins = witnessesIn(given);
  if (given.flag('none') ? pins !== undefined : pins === undefined) {
    throw new UsageError('which witnesses?', 'give --witness VKEY and --require K, or --none');
  }
  await pinWitnesses(directory, pins);
  return {
    json: { directory, witnesses: pins ?? null },
    lines:
      pins === undefined
        ? [`${directory} asks for no witness.`]
        : [`${directory} now asks for witnesses:`, ...witnessFacts(pins)],
    next: `escrowctl log checkpoint --as ${directory}`,
  };
}

async function show(session: Session): Promise<Result> {
  const identity = await session.identity();
  const seen = await seenSize(identity);
  const { id, kid, algorithm } = identity.signer;
  const pins = identity.isPinned ? identity.pins : undefined;
  return {
    json: {
      id,
      directory: identity.directory,
      signingKey: { alg: algorithm, kid },
      ...(pins === undefined
        ? {}
        : {
            server: pins.server,
            origin: pins.origin,
            identityKey: pins.identityKey,
            logKey: pins.logKey,
          }),
      ...(identity.witnesses === undefined ? {} : { witnesses: identity.witnesses }),
      ...(seen === undefined ? {} : { logSizeSeen: seen }),
    },
    lines: [
      ...facts([
        ['id', id],
        ['directory', identity.directory],
        ['signing key', `${algorithm} ${kid}`],
      ]),
      ...(pins === undefined ? ['  no server is pinned'] : pinFacts(pins)),
      ...(identity.witnesses === undefined ? [] : witnessFacts(identity.witnesses)),
      ...facts([['log seen up to', seen === undefined ? undefined : `${seen} entries`]]),
    ],
    ...(pins === undefined
      ? {
          next: `escrowctl identity pin ${identity.directory} --server URL --ca FILE --record FILE --origin NAME`,
        }
      : {}),
  };
}

async function pinsOf(given: CommandArguments): Promise<{ readonly pins: ServerPins; readonly ca: string }> {
  const [server, caFile, recordFile] = ['server', 'ca', 'record'].map((name) => given.find(name));
  if (server === undefined || caFile === undefined || recordFile === undefined) {
    throw new UsageError(
      '--server, --ca and --record belong together',
      'give all three, or none and pin later',
    );
  }
  const record = parseCeremonyRecord(await readTrustedText(recordFile), given.find('origin'));
  return { pins: { server, ...record }, ca: await readTrustedText(caFile) };
}

function pinFacts({ server, origin, identityKey, logKey }: ServerPins): readonly string[] {
  return facts([
    ['server', server],
    ['origin', origin],
    ['identity key', `${identityKey['crv'] ?? ''} ${identityKey['x'] ?? ''}`],
    ['log key', logKey],
  ]);
}

function witnessFacts({ keys, require }: WitnessPins): readonly string[] {
  return facts([
    ['witnesses', `${require} of ${keys.length} must have cosigned`],
    ...keys.map((vkey): [string, string] => ['witness', vkey]),
  ]);
}

async function seenSize(identity: Identity): Promise<number | undefined> {
  const note = await identity.memory.last();
  return note === undefined ? undefined : parseCheckpoint(parseNote(note).text).size;
}
