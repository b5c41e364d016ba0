import { randomBytes } from 'node:crypto';
import { Command, Option } from 'commander';
import { acceptLoss } from './acceptLoss.js';
import { makeChallenge } from './challenge.js';
import { destroyOlderKeks } from './destroyKeks.js';
import { enrol } from './enrol.js';
import { readText, requireAbsent, writeText } from './files.js';
import { initialise } from './initialise.js';
import {
  REPLACE_HELP,
  RETIRE_HELP,
  afterReplace,
  afterRetire,
  beforeReplace,
  beforeRetire,
  requireMeant,
} from './keyChanges.js';
import {
  DESTROY_KEK_HELP,
  RENEW_HELP,
  afterDestroy,
  afterRenew,
  beforeDestroy,
  requireDestructionMeant,
} from './kekWords.js';
import { type CeremonyTerminal, ownTerminal } from './ownTerminal.js';
import { obtainNewPin, obtainPin } from './pins.js';
import { type TokenOptions, readTokenLocation, withTokenOptions } from './tokenOptions.js';
import { type CeremonyRecord, type Continued, readRecord, recordText } from './record.js';
import { recording, requireRecordPlace } from './recordFile.js';
import { renew } from './renew.js';
import { replace } from './replace.js';
import { retire } from './retire.js';
import { show } from './show.js';
import type { Pins, TokenLocation } from './ceremonySession.js';
import { unbroken } from '../../system/helpText.js';
import { versionLine } from '../../version.js';

/** As typed after a command that is about a token. */
interface CommandOptions extends TokenOptions {
  readonly soPinFile?: string;
  readonly userPinFile?: string;
  readonly json?: boolean;
}

interface RecordOptions extends CommandOptions {
  readonly record: string;
}

/**
 * The `ceremony` command line. `profiles` is the folder of the token profiles, `print` writes to the standard output; `terminal` is
 * where a person is told what a command is about to do, and asked whether it is meant.
 */
export function ceremonyCommands(
  profiles: string,
  print: (text: string) => void,
  terminal: CeremonyTerminal = ownTerminal,
): Command {
  const place = (options: TokenOptions): TokenLocation => readTokenLocation(profiles, options);
  const tell = (record: CeremonyRecord, options: CommandOptions, next: string): void => {
    print(
      options.json === true ? `${JSON.stringify(record, null, 2)}\n` : `${recordText(record)}\n${next}\n`,
    );
  };
  /** Goes on from the record before, writes the new one in its place, and says what comes next. */
  const goOn = async (
    options: RecordOptions,
    who: 'user' | 'both',
    work: (order: TokenLocation & Pins & Continued) => Promise<CeremonyRecord>,
    next: string | ((record: CeremonyRecord) => string),
  ): Promise<void> => {
    const at = place(options);
    const before = readRecord(readText(options.record), at);
    requireRecordPlace(options.record);
    const soPin =
      who === 'both' && hasOfficer(at)
        ? await obtainPin('security officer', options.soPinFile)
        : Buffer.alloc(0);
    const userPin = await obtainPin('user', options.userPinFile);
    const record = await zeroing([soPin, userPin], () =>
      recording(options.record, print, () => work({ ...at, soPin, userPin, now: new Date(), before })),
    );
    tell(record, options, typeof next === 'string' ? next : next(record));
  };
  const program = new Command('ceremony')
    .configureHelp({ commandDescription: (command) => unbroken(command.description()) })
    .version(versionLine('ceremony'), '--version', 'say which version this is')
    .description(
      'Prepares a token for escrowd. People run this, with the PINs of the security officer and of the user in\n' +
        'different hands. The daemon makes none of what is made here, and does not start without it.',
    )
    .addHelpText('after', WHOLE_CEREMONY)
    .showHelpAfterError('(--help says more)');

  withPins(withTokenOptions(program.command('init')))
    .description('initialise a token and make its long-lived keys: key-encryption keys, identity and log')
    .requiredOption('--record <file>', 'where to write the record of the ceremony (JSON, public)')
    .option('--json', 'print the record as JSON')
    .addHelpText('after', INIT_HELP)
    .action(async (options: RecordOptions) => {
      requireAbsent(options.record);
      requireRecordPlace(options.record);
      const at = place(options);
      const soPin = hasOfficer(at)
        ? await obtainNewPin('security officer', options.soPinFile)
        : Buffer.alloc(0);
      const userPin = await obtainNewPin('user', options.userPinFile);
      const record = await zeroing([soPin, userPin], () =>
        recording(options.record, print, () => initialise({ ...at, soPin, userPin, now: new Date() })),
      );
      tell(record, options, afterInit(options.record));
    });

  program
    .command('challenge')
    .description('make a challenge by which a depositary shows to hold its private key')
    .argument('<id>', 'the depositary, as the directory calls it')
    .requiredOption('--public-key <file>', "the depositary's RSA public key (PEM), 2048 bits or more")
    .requiredOption('--out <file>', 'where to write the challenge (JSON, public)')
    .addOption(
      new Option(
        '--oaep <name>',
        'RSA-OAEP (SHA-1), for a key on a card that knows no other, or RSA-OAEP-256',
      )
        .choices(['RSA-OAEP', 'RSA-OAEP-256'] as const)
        .default('RSA-OAEP-256'),
    )
    .option('--json', 'print the challenge as JSON')
    .action(
      async (
        id: string,
        options: {
          readonly publicKey: string;
          readonly out: string;
          readonly oaep: 'RSA-OAEP' | 'RSA-OAEP-256';
          readonly json?: boolean;
        },
      ) => {
        const challenge = makeChallenge(id, readText(options.publicKey), randomBytes(32), options.oaep);
        const text = `${JSON.stringify(challenge, null, 2)}\n`;
        await writeText(options.out, text);
        print(options.json === true ? text : afterChallenge(id, options.out));
      },
    );

  withPins(withTokenOptions(program.command('enrol')))
    .description('make the public key of a depositary trusted, once it has answered its challenge')
    .argument('<id>', 'the depositary, as the directory calls it')
    .requiredOption('--challenge <file>', 'the challenge that was given out')
    .requiredOption('--answer <file>', 'the answer: { "id", "nonce" }')
    .requiredOption('--record <file>', 'the record of the ceremony, which is brought up to date')
    .option('--json', 'print the record as JSON')
    .addHelpText('after', ENROL_HELP)
    .action(
      async (
        id: string,
        options: RecordOptions & { readonly challenge: string; readonly answer: string },
      ) => {
        const files = { challenge: readText(options.challenge), answer: readText(options.answer) };
        await goOn(
          options,
          'both',
          (order) => enrol({ ...order, ...files, id }),
          afterEnrol(id, options.record),
        );
      },
    );

  withPins(withTokenOptions(program.command('replace')))
    .description('give a depositary who stays another key, once it has answered its challenge')
    .argument('<id>', 'the depositary, as the directory calls it')
    .requiredOption('--challenge <file>', 'the challenge that was given out for the new key')
    .requiredOption('--answer <file>', 'the answer: { "id", "nonce" }')
    .requiredOption('--record <file>', 'the record of the ceremony, which is brought up to date')
    .option('--json', 'print the record as JSON')
    .addHelpText('after', REPLACE_HELP)
    .action(
      async (
        id: string,
        options: RecordOptions & { readonly challenge: string; readonly answer: string },
      ) => {
        const files = { challenge: readText(options.challenge), answer: readText(options.answer) };
        terminal.say(beforeReplace(id));
        await goOn(
          options,
          'both',
          (order) => replace({ ...order, ...files, id }),
          afterReplace(id, options.record),
        );
      },
    );

  withPins(withTokenOptions(program.command('retire')))
    .description('destroy the trusted key of a depositary who leaves: nothing is sealed to them any more')
    .argument('<id>', 'the depositary, as the directory calls it')
    .option(
      '--destroy-server-keys',
      "destroy the server's private keys regarding them too: what was sealed through them opens no more",
    )
    .option('--yes', 'do not ask whether to destroy them (for scripts)')
    .requiredOption('--record <file>', 'the record of the ceremony, which is brought up to date')
    .option('--json', 'print the record as JSON')
    .addHelpText('after', RETIRE_HELP)
    .action(
      async (
        id: string,
        options: RecordOptions & { readonly destroyServerKeys?: boolean; readonly yes?: boolean },
      ) => {
        const serverKeys = options.destroyServerKeys === true ? 'destroyed' : 'kept';
        terminal.say(beforeRetire(id, serverKeys));
        if (serverKeys === 'destroyed') await requireMeant(terminal, id, options.yes === true);
        await goOn(
          options,
          'both',
          (order) => retire({ ...order, id, serverKeys }),
          afterRetire(id, options.record, serverKeys),
        );
      },
    );

  withPins(withTokenOptions(program.command('renew')))
    .description("make the ceremony's keys anew, beside the old ones, which then only open what they sealed")
    .requiredOption('--record <file>', 'the record of the ceremony, which is brought up to date')
    .option('--json', 'print the record as JSON')
    .addHelpText('after', RENEW_HELP)
    .action((options: RecordOptions) => goOn(options, 'both', renew, afterRenew(options.record)));

  withPins(withTokenOptions(program.command('destroy-kek')))
    .description(
      'destroy key-encryption keys that there are newer ones of: what lies under them opens no more',
    )
    .argument('<kek...>', 'labels, such as kek:operate:sign:v1')
    .option('--yes', 'do not ask whether to destroy them (for scripts)')
    .requiredOption('--record <file>', 'the record of the ceremony, which is brought up to date')
    .option('--json', 'print the record as JSON')
    .addHelpText('after', DESTROY_KEK_HELP)
    .action(async (keks: readonly string[], options: RecordOptions & { readonly yes?: boolean }) => {
      terminal.say(beforeDestroy(keks));
      await requireDestructionMeant(terminal, keks, options.yes === true);
      await goOn(
        options,
        'both',
        (order) => destroyOlderKeks({ ...order, keks }),
        afterDestroy(keks, options.record),
      );
    });

  withTokenOptions(program.command('accept-loss'))
    .description('accept that the database has lost entries of the log that the token remembers')
    .option('--user-pin-file <file>', 'read the user PIN from here instead of asking')
    .requiredOption('--record <file>', 'the record of the ceremony, which is brought up to date')
    .option('--json', 'print the record as JSON')
    .addHelpText('after', ACCEPT_LOSS_HELP)
    .action((options: RecordOptions) => goOn(options, 'user', acceptLoss, AFTER_ACCEPT_LOSS));

  withTokenOptions(program.command('show'))
    .description(
      'print the long-lived objects with their attributes as the token gives them back; changes nothing',
    )
    .option('--user-pin-file <file>', 'read the user PIN from here instead of asking')
    .option('--json', 'print as JSON')
    .action(async (options: CommandOptions) => {
      const at = place(options);
      const userPin = await obtainPin('user', options.userPinFile);
      const record = await zeroing([userPin], () => show({ ...at, userPin, events: [] }));
      tell(
        record,
        options,
        'Compare with the record of the ceremony: fingerprints and attributes do not change.',
      );
    });
  return program;
}

function withPins(command: Command): Command {
  return command
    .option('--so-pin-file <file>', "read the security officer's PIN from here instead of asking")
    .option('--user-pin-file <file>', 'read the user PIN from here instead of asking');
}

/** Whether there is a security officer whose PIN to ask for. */
function hasOfficer({ profile }: TokenLocation): boolean {
  return profile.securityOfficer === 'throughout';
}

async function zeroing<T>(pins: readonly Buffer[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    for (const pin of pins) pin.fill(0);
  }
}

const WHOLE_CEREMONY = `
A whole ceremony, for one depositary called alice:
  ceremony init --profile softhsm-2.6 --label escrowd --record record.json
  ceremony challenge alice --public-key alice.pem --out alice.challenge.json
    (alice, with her own key: escrowctl depositary answer alice.challenge.json --as DIR --out alice.answer.json)
  ceremony enrol alice --profile softhsm-2.6 --label escrowd --challenge alice.challenge.json \\
    --answer alice.answer.json --record record.json
Later: ceremony replace for somebody with a new key, ceremony retire for somebody who leaves, ceremony renew and then
ceremony destroy-kek for new key-encryption keys in the place of old ones; read their --help before the day.
PINs are typed without echo, or read from files that only their owner can read. A refused PIN is not tried again.
hsm-config/README.md says more.`;

const INIT_HELP = `
A token that exists under this label is never initialised again: it is refused if it holds anything of escrowd.
The record says what was made, with the public keys that everyone must pin. It holds no secret.`;

const ENROL_HELP = `
Stop the daemon of this token first where the token allows one login only; SoftHSM does not ask for that.
The user makes the server's key regarding this depositary; the security officer makes both public keys trusted.`;

const ACCEPT_LOSS_HELP = `
The token remembers how far the log had come, so that nobody puts an old copy of the database in its place unseen. Only
when the newest copy there is has been restored, and the daemon still says that the token remembers more, is the rest
lost. The next start of the daemon writes into the log what was accepted. Whoever saw a newer checkpoint is told that the
log was changed, and must be told why.`;

const AFTER_ACCEPT_LOSS = `The token will take the log that the database holds now.
Next: 1. Start the daemon. Its first entry (log.loss) says what was accepted.
      2. Compare policy and deposits with what people remember: both may be older.
      3. Tell depositaries and auditors: their clients refuse the log until they start anew with it (docs/operations.md).`;

const afterInit = (record: string): string => `The token is ready. The record is in ${record}.
Next: 1. Keep the PIN of the security officer away from this machine.
      2. Put the user PIN where the daemon's configuration says (token.pinFile), mode 0600.
      3. Give everyone the record: the keys in it are what they pin.
      4. Enrol the depositaries: ceremony challenge <id>, then ceremony enrol <id>.`;

const afterChallenge = (id: string, file: string): string => `The challenge is in ${file}.
Next: ${id} answers it: escrowctl depositary answer ${file} --as DIR --out answer.json
      Then: ceremony enrol ${id} --challenge ${file} --answer answer.json ...
      The public key must have come from ${id} in person, or by a way as good.
`;

const afterEnrol = (
  id: string,
  record: string,
): string => `${id} is enrolled. The record ${record} is up to date.
Next: 1. ${id} compares the fingerprint of depositary:${id} above with their own key.
      2. Name ${id} in the directory and in rules (escrowctl policy). A daemon that runs sees ${id} at once.`;
