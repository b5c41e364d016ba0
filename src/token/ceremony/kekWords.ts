import { readKekLabel } from '../../escrow/records/sealing/keks.js';
import { CeremonyRefused } from './ceremonySession.js';
import type { CeremonyTerminal } from './ownTerminal.js';
import type { CeremonyRecord } from './record.js';

export const RENEW_HELP = `
Stop every daemon of this token first: it would see names twice. Keep a copy of the token and of the record.
Makes the next version of each key-encryption key, and of the server's pair for each depositary; old ones go on to open what
they sealed. The trusted public keys of a ceremony before are replaced by such as say what may go under them: that cannot be
undone, and a daemon of an older version of escrowd no longer finds its depositaries.
When it fails half-way, run it again. If it then says that the record does not have a key, the renewal was killed after it had
made keys: compare the record with the token (ceremony show) before you destroy them.`;

export const afterRenew = (
  record: string,
): string => `The keys are renewed. The record ${record} is up to date.
Next: 1. Put the record where the configuration says (token.record), on every server of this token, and start the daemons.
      2. Keep the new record, and a backup of the token, with those before.
      3. What was deposited before is still under the old keys. escrowctl reseal --older-keks puts it under the new ones, as far as that
         can be (escrowctl coverage says so); then ceremony destroy-kek destroys the old ones.`;

/** Said before PINs are asked for: the token does not know the database, so a person has to look there. */
export const beforeDestroy = (
  keks: readonly string[],
): string => `ceremony destroy-kek ${keks.join(' ')} does this in the token:
  destroys   ${keks.join(', ')}: each with its rotating handle and with every copy of these that this token holds.
             What lies under them opens no more in this token, for nobody, neither from the database nor from any copy of it, whoever
             agrees. A KEY THAT LIES UNDER THEM STILL IS LOST. THIS CANNOT BE UNDONE.
  keeps      every other key-encryption key, grants that run, and requests that are open; of these, those for keys that lie under
             what is destroyed come to nothing.

It changes no deposit, and does not know which there are. Before it,
  1. escrowctl coverage says how many keys lie under each key-encryption key (UNDER): none under these;
  2. those under which some do: escrowctl reseal --older-keks --reason TEXT, until no key is left to be asked for. Keys for operate
     under one without a rotating handle cannot be rotated: new keys in their place, or it stays;
  3. the database is restored from no older copy any more: what that has lies under these. Take a new backup of it.
Other tokens with the same key-encryption keys (a standby, a clone) and backups of tokens hold them still.

`;

export const DESTROY_KEK_HELP = `
${beforeDestroy(['KEK'])}Labels are those of \`ceremony show\`; several can be given. The newest of a kind is refused: ceremony renew makes a newer one.
A record without check values is refused: ceremony show --json writes one that has them.
Stop every daemon of this token first. Without a terminal --yes stands for typing the label. When it fails or is killed half-way, run
it again.`;

/** Says what of the kind is left, here and elsewhere. */
export const afterDestroy = (
  keks: readonly string[],
  file: string,
): ((record: Pick<CeremonyRecord, 'objects'>) => string) => {
  return ({ objects }) => {
    const left = objects.map(({ label }) => label).filter((label) => readKekLabel(label) !== undefined);
    return `${keks.join(', ')} ${keks.length === 1 ? 'is' : 'are'} destroyed in this token. The record ${file} is up to date.
Left in this token: ${left.join(', ')}.
Next: 1. Put the record where the configuration says (token.record), on every server of this token, and start the daemons.
      2. escrowctl coverage: no key is lost that was not before.
      3. Do the same on every other token that holds them: a standby, a clone.
      4. Make a new backup of the token, and destroy those before, with every copy: whoever has one of them, the user PIN and a
         ciphertext from a recovery of before needs nobody's agreement.`;
  };
};

/** What cannot be undone is done only when somebody has typed what goes, or has said so in advance. */
export async function requireDestructionMeant(
  terminal: Pick<CeremonyTerminal, 'ask'>,
  keks: readonly string[],
  isSaid: boolean,
): Promise<void> {
  if (isSaid) return;
  const wanted = keks.join(' ');
  const typed = await terminal.ask(`To destroy what is named above, type ${wanted}: `);
  if (typed === undefined)
    throw new CeremonyRefused('Nobody is there to be asked whether to destroy: add --yes. Nothing was done.');
  if (typed.trim().replace(/\s+/g, ' ') !== wanted)
    throw new CeremonyRefused(`That is not ${wanted}. No PIN was asked for, and nothing was done.`);
}
