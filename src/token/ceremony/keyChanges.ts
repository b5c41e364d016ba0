import { CeremonyRefused } from './ceremonySession.js';
import type { CeremonyTerminal } from './ownTerminal.js';
import type { Retirement } from './retire.js';

/** Said before PINs are asked for: the token does not know the database, so a person has to look there. */
export const beforeReplace = (id: string): string => `ceremony replace ${id} does this in the token:
  makes      depositary:${id}, of the new key, and the server's next pair regarding ${id}: from then on keys are sealed to these.
  destroys   what was trusted before: depositary:${id} and the public half of the pair. THIS CANNOT BE UNDONE.
  keeps      the private halves of the pairs. Keys that were sealed before still open by the old key of ${id}, for who has it.

It changes no deposit. Which keys are concerned an administrator sees before this, by
  escrowctl plan -f POLICY     the policy with the new key as depositaryKey of ${id}: keys that would be left to nobody
  escrowctl coverage --csv     all keys, and who can bring each of them back

The order in which all keys can be opened that can be opened now:
  1. POLICY is planned and signed, and not applied yet.
  2. This ceremony, on every token. From here until 3 no key is made whose rule names ${id}.
  3. escrowctl apply -f POLICY
  4. escrowctl reseal --other-key ${id} --reason TEXT. Who approves needs the key that their share went to: ${id} the
     old one, and keeps it until all is sealed anew. If that is lost, the others of a quorum approve; a key of which every
     quorum needs ${id} is lost then, and no order of steps brings it back.

`;

export const REPLACE_HELP = `
${beforeReplace('ID')}Needs the challenge for the new key and its answer, as enrol does. Stop every daemon of this token first: while it has both keys,
nothing is sealed to either. When it fails or is killed half-way, run it again with the same files: it goes on to the end.`;

export const afterReplace = (
  id: string,
  record: string,
): string => `${id} has another key. The record ${record} is up to date.
Next: 1. ${id} compares the fingerprint of depositary:${id} above with their own key.
      2. Put the record where the configuration says (token.record), on every server of this token, and start the daemons.
      3. escrowctl apply -f POLICY, which lists this fingerprint as depositaryKey of ${id}: until then no key is made whose rule
         names ${id}.
      4. escrowctl reseal --other-key ${id} --reason TEXT: keys that were sealed to the old key are sealed anew.
         ${id} approves with the old key, or others of a quorum without ${id} do.
      5. Keep the new record, and a backup of the token, with those before.`;

const KEPT = (id: string): string =>
  `  keeps      the server's private keys regarding ${id}. Keys that were sealed through ${id} open as before, also from old copies of
             the database, by ${id} and the others of a quorum.`;

const DESTROYED = (id: string): string =>
  `  destroys   the server's private keys regarding ${id}, of every version (--destroy-server-keys). What was sealed through ${id} opens
             no more in this token, for nobody, neither from the database nor from any copy of it; a key of which every
             quorum needs ${id} IS LOST. Other tokens and backups of tokens that hold these keys open it still; and who read
             the server during a recovery has seen what needs no share any more: only another key-encryption key ends that.
             ${id} comes back, should they, with a key that they have not had: their shares of before open no more.`;

/** Said before PINs are asked for. */
export const beforeRetire = (
  id: string,
  serverKeys: Retirement['serverKeys'],
): string => `ceremony retire ${id} does this in the token:
  destroys   depositary:${id}, and the trusted half of the server's pair regarding ${id}: no key is sealed to ${id} any more.
${serverKeys === 'destroyed' ? DESTROYED(id) : KEPT(id)}
             THIS CANNOT BE UNDONE. ${id} can be enrolled again, for keys that are sealed from then on.

It changes no deposit. Before it,
  1. a policy has ${id} as retired, so that no rule gives them shares (escrowctl plan, escrowctl apply);
  2. escrowctl reseal --leaving ${id} has the keys sealed anew that ${id} has shares of, and is run until no key is left to be asked for;
  3. escrowctl coverage says of no key that it depends on ${id}.
While ${id} is not enrolled and a rule in force names them, no key is made by that rule.

`;

export const RETIRE_HELP = `
${beforeRetire('ID', 'kept')}With --destroy-server-keys, in place of keeping them:
${DESTROYED('ID')}
             This is what makes old copies of the database worthless to ID and whoever has ID's key, once everything was
             sealed anew: for that do it on every token, and destroy the backups of tokens that hold the keys.

Without a terminal --yes stands for typing ID. When it fails or is killed half-way, run it again. Of somebody who was retired before,
--destroy-server-keys destroys what was kept then.`;

export const afterRetire = (
  id: string,
  record: string,
  serverKeys: Retirement['serverKeys'],
): string => `${id} is retired. The record ${record} is up to date.
Next: 1. Put the record where the configuration says (token.record), on every server of this token, and restart the daemons.
      2. Do the same on every other token of this database.
${
  serverKeys === 'destroyed'
    ? `      3. Make a new backup of the token, and destroy those before: they still hold the server's keys regarding ${id}.`
    : `      3. When nothing is sealed through ${id} any more (escrowctl reseal --leaving ${id}), old copies of the database are made worthless
         to them by: ceremony retire ${id} --destroy-server-keys`
}
      4. A policy without ${id} may follow (escrowctl plan says whether any key is lost by it).`;

/** What cannot be opened again is destroyed only when somebody has typed whose it is, or has said so in advance. */
export async function requireMeant(
  terminal: Pick<CeremonyTerminal, 'ask'>,
  id: string,
  isSaid: boolean,
): Promise<void> {
  if (isSaid) return;
  const typed = await terminal.ask(`To destroy the server's private keys regarding ${id}, type ${id}: `);
  if (typed === undefined)
    throw new CeremonyRefused(
      'Nobody is there to be asked whether to destroy the private keys: add --yes. Nothing was done.',
    );
  if (typed.trim() !== id)
    throw new CeremonyRefused(`That is not ${id}. No PIN was asked for, and nothing was done.`);
}
