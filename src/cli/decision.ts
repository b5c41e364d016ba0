import type { BelievedRecovery } from '../client/depositary/believedRecovery.js';
import type { ShownDeposit } from '../client/depositary/shownDeposit.js';
import { durationInWords, reasonInWords, wishInWords } from '../escrow/records/inWords.js';
import { facts } from './columns.js';
import { keyInWords, keysFacts, quorumsInWords, statusFacts } from './words.js';

type Facts = readonly (readonly [name: string, value: string | undefined])[];

/**
 * What a depositary reads before they decide: what is attested and logged, what their own share proves before anything is
 * sent, and apart from it what the server says and nothing proves. The reason comes last.
 *
 * @param continues whether the log continues one that was seen before
 */
export function decisionLines(
  { shown, attested, deposits, index, checkpoint }: BelievedRecovery,
  continues: string,
  now: Date,
): readonly string[] {
  const proven = deposits.filter(({ version }) => version === 2);
  const unproven = deposits.filter(({ version }) => version === 1);
  const others = shown.keys.filter(({ key }) => deposits.every((deposit) => deposit.key !== key));
  const depositFacts = (some: readonly ShownDeposit[]): Facts =>
    some.flatMap((deposit): Facts => {
      const key = shown.keys.find((candidate) => candidate.key === deposit.key);
      return [['key', key && keyInWords(key)], ...termsFacts(deposit)];
    });
  return [
    `The token attests this request, and it is in the log; ${continues}`,
    `(entry ${index}, under a checkpoint of ${checkpoint.size} entries):`,
    '',
    // made here of what is attested, and of nothing else
    wishInWords(attested),
    '',
    ...(proven.length === 0
      ? []
      : [
          `Your share proves this of the ${proven.length === 1 ? 'key' : 'keys'} of ${attested.owner}, or nothing is sent:`,
          ...facts(depositFacts(proven)),
          '',
        ]),
    'The server says this, and nothing proves it:',
    ...facts([...depositFacts(unproven), ...keysFacts({ keys: others }), ...statusFacts(shown, now)]),
    '',
    reasonInWords(attested),
    '',
  ];
}

function termsFacts({ quorums, delayMs, ownerMayVeto, replies, requesters }: ShownDeposit): Facts {
  return [
    ['enough are', quorumsInWords(quorums)],
    ['delay', delayMs === 0 ? 'none' : durationInWords(delayMs)],
    [
      'shares leave',
      replies === 'afterDelay' ? 'when the delay is over, which begins with intents' : 'at once',
    ],
    ['the owner', ownerMayVeto ? 'may veto' : 'has no veto'],
    ['may be asked for by', requesters.join(', ')],
  ];
}
