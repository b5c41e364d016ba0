import { IdentityError } from '../client/errors.js';
import { type PublicPart, parsePublicPart } from '../client/identity/publicPart.js';
import { parsePrincipalId } from '../escrow/records/ids.js';
import { TextError, decodeText } from '../log/entry/plainText.js';
import { messageOf } from '../system/errors.js';
import { readNamedFile } from '../system/namedFile.js';
import { InstallationRefused, PART_ROLES, type PartRole, type Participant } from './order.js';
import type { Questions } from './questions.js';

/** The options that name people, and what those are to be. */
export const PERSON_OPTIONS = {
  administrator: 'admin',
  depositary: 'depositary',
  owner: 'owner',
  app: 'app',
  auditor: 'auditor',
} as const satisfies Readonly<Record<string, PartRole>>;
export type PersonOption = keyof typeof PERSON_OPTIONS;

/** The files of public keys, by option. */
export type PersonFiles = Partial<Readonly<Record<PersonOption, readonly string[]>>>;

/** Everybody once, with the roles that they are named for. */
export async function readParticipants(
  options: PersonFiles,
  questions: Questions | undefined,
): Promise<readonly Participant[]> {
  const found = new Map<string, { file: string; roles: PartRole[]; part: PublicPart }>();
  for (const [option, role] of Object.entries(PERSON_OPTIONS) as [PersonOption, PartRole][]) {
    const files = options[option] ?? (await questions?.askMany(`public.json of one ${option}`)) ?? [];
    for (const file of files) {
      const part = readPart(file);
      const before = found.get(part.id);
      if (before !== undefined && JSON.stringify(before.part) !== JSON.stringify(part))
        throw new InstallationRefused(
          `${before.file} and ${file} are both about ${part.id}, and have different keys`,
        );
      if (before === undefined) found.set(part.id, { file, roles: [role], part });
      else if (!before.roles.includes(role)) before.roles.push(role);
    }
  }
  const participants = [...found].map(([id, { roles, part }]) => ({
    id,
    roles: PART_ROLES.filter((role) => roles.includes(role)),
    part,
  }));
  refuseRoles(participants);
  return participants;
}

function refuseRoles(participants: readonly Participant[]): void {
  for (const { id, roles, part } of participants) {
    if (roles.includes('app') && roles.length > 1)
      throw new InstallationRefused(
        `${id} is named as an app and as ${roles.find((role) => role !== 'app') ?? ''}: an app is no person`,
      );
    if (roles.includes('depositary') && part.depositaryKey === undefined)
      throw new InstallationRefused(
        `${id} has no key that shares go to: escrowctl identity new DIR --id ${id} --depositary makes one`,
      );
  }
  if (participants.filter(({ roles }) => roles.includes('admin')).length < 2)
    throw new InstallationRefused(
      '--administrator is needed for two different people, at least: nobody changes rules alone',
    );
}

function readPart(file: string): PublicPart {
  let text: string;
  try {
    text = decodeText(readNamedFile(file).bytes, file);
  } catch (error) {
    if (error instanceof TextError) throw error;
    throw new InstallationRefused(`${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    const part = parsePublicPart(text);
    if (parsePrincipalId(part.id) === undefined)
      throw new InstallationRefused(`${file}: "${part.id}" is not an id`);
    return part;
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    throw new InstallationRefused(`${file}: ${error.message}`, { cause: error });
  }
}
