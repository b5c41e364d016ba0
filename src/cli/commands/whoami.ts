import type { EscrowClient } from '../../client/escrowClient.js';
import { ServerProblem } from '../../client/errors.js';
import { readPolicyInForce } from '../../client/policy/policyDocument.js';
import { quoted } from '../../escrow/records/freeText.js';
import type { Principal } from '../../escrow/records/principals.js';
import { facts } from '../columns.js';
import type { CommandRow, Result } from '../command.js';
import type { Session } from '../session.js';

/** Who the caller is to the server. */
export const whoamiCommand: CommandRow = {
  usage: 'whoami',
  summary: 'says who you are, to which server, and with which roles',
  about:
    'Roles and attributes stand in the policy in force, which administrators and auditors may read.\n' +
    'What your identity has pinned says: escrowctl identity show.',
  examples: ['whoami --as ~/.escrowd'],
  run: whoami,
};

async function whoami(session: Session): Promise<Result> {
  const { identity, client } = await session.connect();
  const { id, directory, pins, signer } = identity;
  const found = await session.busy('asking for the policy', () => principalOf(client, id));
  const listed = typeof found === 'string' ? undefined : found;
  return {
    json: {
      id,
      directory,
      server: pins.server,
      signingKey: { alg: signer.algorithm, kid: signer.kid },
      ...(listed === undefined ? {} : { roles: listed.roles, attributes: listed.attributes }),
    },
    lines: facts([
      ['id', id],
      ['name', listed && quoted(listed.name)],
      ['roles', typeof found === 'string' ? found : found.roles.join(', ')],
      ['attributes', listed && attributesInWords(listed)],
      ['server', pins.server],
      ['directory', directory],
      ['signing key', `${signer.algorithm} ${signer.kid}`],
    ]),
  };
}

/** Whom the policy in force lists under this id; in words why nobody is known. */
async function principalOf(client: EscrowClient, id: string): Promise<Principal | string> {
  try {
    const { document } = await client.policy();
    const all = document === undefined ? [] : [...readPolicyInForce(document).principals.values()];
    return all.find((principal) => principal.id === id) ?? 'none: the policy in force does not list you';
  } catch (error) {
    if (!(error instanceof ServerProblem)) throw error;
    if (error.code === 'caller-unknown') return 'none: the server does not know your key';
    if (error.code === 'forbidden') return 'not shown to you: ask an administrator';
    throw error;
  }
}

function attributesInWords({ attributes }: Principal): string | undefined {
  const all = Object.entries(attributes).map(([name, value]) => `${name} ${quoted(value)}`);
  return all.length === 0 ? undefined : all.join(', ');
}
