import { signerOf, type Signer } from '../../../src/client/identity/signingKey.js';
import { fixedPrivateKey } from '../../log/noteKeys.js';
import { sha256Hex } from '../../client/signedActs.js';

/** Somebody of the company, or one of its apps, as a directory lists them. */
export interface Member {
  readonly id: string;
  readonly name: string;
  readonly kind: 'person' | 'app';
  readonly roles: readonly string[];
  readonly attributes: Readonly<Record<string, string>>;
}

export const DEPARTMENTS = [
  'engineering',
  'finance',
  'hr',
  'legal',
  'logistics',
  'marketing',
  'sales',
  'support',
] as const;
type Department = (typeof DEPARTMENTS)[number];

const FIRST = [
  ...['Ada', 'Ben', 'Cleo', 'Dev', 'Edith', 'Farid', 'Greta', 'Hugo', 'Ines', 'Jonas'],
  ...['Kira', 'Liam', 'Mona', 'Nils', 'Olga', 'Pavel', 'Rosa', 'Sven', 'Tara', 'Udo'],
] as const;
const LAST = [
  ...['Abel', 'Brandt', 'Castro', 'Duarte', 'Eriksen'],
  ...['Fischer', 'Gomez', 'Haas', 'Ivanov', 'Jensen'],
] as const;

/** So many people work there in the end, apps not counted. */
export const HEADCOUNT = 200;

const person = (
  id: string,
  name: string,
  roles: readonly string[],
  attributes: Readonly<Record<string, string>> = {},
): Member => ({ id, name, kind: 'person', roles, attributes });
const app = (id: string, name: string): Member => ({ id, name, kind: 'app', roles: ['app'], attributes: {} });

const managerOf = (department: Department): string => `head-${department}`;

/** Those who run the escrow. */
const STAFF: readonly Member[] = [
  person('anna', 'Anna Berg', ['admin']),
  person('bert', 'Bert Cole', ['admin']),
  person('carl', 'Carl Dietz', ['admin']),
  person('audra', 'Audra Quinn', ['auditor']),
  person('milo', 'Milo Reyes', ['auditor']),
  person('dora', 'Dora Engel', ['depositary', 'security-officer']),
  person('erik', 'Erik Falk', ['depositary', 'security-officer']),
  person('otto', 'Otto Grau', ['depositary', 'security-officer']),
  person('gwen', 'Gwen Hale', ['depositary']),
  person('paula', 'Paula Ibsen', ['depositary'], { department: 'finance' }),
  person('victor', 'Victor Jung', ['depositary'], { department: 'finance' }),
  person('wanda', 'Wanda Koch', ['depositary'], { department: 'finance' }),
];
const LATER_OFFICER = person('fay', 'Fay Lund', ['depositary', 'security-officer']);

/** Each department has one. */
export const HEADS: readonly Member[] = DEPARTMENTS.map((department, at) =>
  person(managerOf(department), `${FIRST[at] ?? ''} Oakley`, ['depositary', 'owner'], {
    department,
    manager: 'gwen',
  }),
);

export const APPS: readonly Member[] = [
  app('mailer', 'Mail gateway'),
  app('archive', 'Archive reader'),
  app('payroll', 'Payroll run'),
];

/** Owners of the ranks, in the order in which they were hired. */
const OWNERS: readonly Member[] = Array.from({ length: HEADCOUNT - STAFF.length - HEADS.length }, (_, at) => {
  const [first = '', last = ''] = [FIRST[at % FIRST.length], LAST[Math.floor(at / FIRST.length)]];
  const department = DEPARTMENTS[at % DEPARTMENTS.length] ?? 'sales';
  return person(`${first}.${last}`.toLowerCase(), `${first} ${last}`, ['owner'], {
    department,
    manager: managerOf(department),
  });
});
const JOINERS = OWNERS.slice(-6);

/** What a directory is at some time of the year. */
export interface Directory {
  readonly members: readonly Member[];
  /** Who brings back keys of the payroll, besides paula. */
  readonly payroll: string;
}

const without = (members: readonly Member[], ...ids: readonly string[]): readonly Member[] =>
  members.filter(({ id }) => !ids.includes(id));

const AT_FIRST = [...STAFF, ...HEADS, ...without(OWNERS, ...JOINERS.map(({ id }) => id)), ...APPS];
const WITH_JOINERS = [...AT_FIRST, ...JOINERS];
const WITHOUT_OTTO = [...without(WITH_JOINERS, 'otto'), LATER_OFFICER];

/**
 * The directories of the year, each from its day on: people join in February, two owners leave in May, a security officer in August, and
 * in October one of the two without whom nobody brings back the keys of the payroll.
 */
export const DIRECTORIES: readonly (Directory & { readonly from: string })[] = [
  { from: '2025-12-01T08:00:00.000Z', members: AT_FIRST, payroll: 'victor' },
  { from: '2026-02-02T09:30:00.000Z', members: WITH_JOINERS, payroll: 'victor' },
  {
    from: '2026-05-04T09:30:00.000Z',
    members: without(WITH_JOINERS, 'cleo.abel', 'hugo.brandt'),
    payroll: 'victor',
  },
  {
    from: '2026-08-03T09:30:00.000Z',
    members: without(WITHOUT_OTTO, 'cleo.abel', 'hugo.brandt'),
    payroll: 'victor',
  },
  {
    from: '2026-10-05T09:30:00.000Z',
    members: without(WITHOUT_OTTO, 'cleo.abel', 'hugo.brandt', 'victor'),
    payroll: 'wanda',
  },
];

/** Who has a key of their own to sign with; the same each time. */
const signers = new Map<string, Signer>();
export function signer(id: string): Signer {
  const known = signers.get(id) ?? signerOf(id, fixedPrivateKey(`company ${id}`));
  signers.set(id, known);
  return known;
}

/** The document that administrators sign. */
export function documentOf({ members, payroll }: Directory): object {
  return {
    version: 1,
    principals: members.map(({ id, name, kind, roles, attributes }) => ({
      ...{ id, name, kind, roles, attributes },
      keys: [{ ...signer(id).publicJwk }],
      ...(roles.includes('depositary') ? { depositaryKey: sha256Hex(`depositary key of ${id}`) } : {}),
    })),
    rules: [
      {
        name: 'payroll',
        when: { 'owner.department': 'finance', use: 'sign' },
        depositaries: { allOf: ['person:paula', `person:${payroll}`] },
        operate: { operations: ['sign'], maxUses: 500, maxDuration: 'P31D' },
      },
      {
        name: 'signing',
        when: { use: 'sign' },
        depositaries: { atLeast: 2, of: ['role:security-officer'] },
        operate: { operations: ['sign'], maxUses: 200, maxDuration: 'P14D' },
      },
      {
        name: 'mail',
        when: { use: 'decrypt' },
        depositaries: { allOf: ['manager', { anyOf: ['role:security-officer'] }] },
        operate: { operations: ['decrypt'], maxUses: 1000, maxDuration: 'P31D' },
        release: {},
      },
    ],
  };
}
