import { PATHS } from './configuration.js';
import type { Participant } from './order.js';

/**
 * A first directory and rules for administrators to review: those whose keys are there, and rules by which two depositaries
 * decide. `schema` is the path of the JSON Schema.
 */
export function policyDraft(participants: readonly Participant[], schema: string): string {
  const names = [...participants].sort((a, b) => (a.id < b.id ? -1 : 1));
  return `# yaml-language-server: $schema=${schema}
# Directory and rules: a first draft, which nobody has signed. Two administrators sign what comes of it; see docs/policy.md.
# Check it with: escrowctl policy check ${PATHS.policy}
version: 1
administration:
  # So many administrators sign the next policy; never fewer than the floor. Nobody decides about a key alone.
  { quorum: 2, floor: 2, minimumQuorum: 2 }
principals:
  # Ids are for good. "name" is for people to read. Rules look at roles and attributes, such as
  # attributes: { department: finance, manager: ID-OF-A-DEPOSITARY, email: NAME@example.com }
${names.map(principalText).join('\n')}
rules:
  # The first rule that matches holds, for the whole life of a key.
  # Signing keys never leave the token: any two depositaries let an app sign, so often and so long.
  - name: signing
    when: { use: sign }
    depositaries: { atLeast: 2, of: [role:depositary] }
    operate: { operations: [sign], maxUses: 100, maxDuration: PT24H }
  # Decryption keys do not leave it either. With "release: { delay: P1D, ownerMayVeto: true }" beside
  # operate, two depositaries could hand such a key to one of them, a day later, unless its owner says no.
  - name: decryption
    when: { use: decrypt }
    depositaries: { atLeast: 2, of: [role:depositary] }
    operate: { operations: [decrypt], maxUses: 1000, maxDuration: P7D }
`;
}

function principalText({ id, roles }: Participant): string {
  const kind = roles.includes('app') ? 'app' : 'person';
  return `  - { id: "${id}", kind: ${kind}, name: "${id}", roles: [${roles.join(', ')}], keysFrom: ${PATHS.people}/${id}.json }`;
}
