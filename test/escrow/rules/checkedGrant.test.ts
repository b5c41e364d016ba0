import type { FollowedLog, GrantFacts, LogFacts } from '../../../src/escrow/logged/logFacts.js';
import { CheckedGrants, checkLoggedGrant } from '../../../src/escrow/rules/checkedGrant.js';
import type { Grant } from '../../../src/escrow/records/grant.js';
import type { KeyId, PrincipalId, RecoveryId } from '../../../src/escrow/records/ids.js';
import { activateRecovery } from '../../../src/escrow/acts/activateRecovery.js';
import { callOf, due, newScene, outcomeOf } from '../../adversary/database/scene.js';
import type { SymbolicWorld } from '../symbolicWorld.js';

/* What a certificate says of a grant is held to the log before the token signs it: for grants from before there were any as well. */

let world: SymbolicWorld;
let grant: Grant;
/** The same without its certificate, of which the facts have the hash. */
let atHand: Grant;
beforeAll(async () => {
  const scene = await newScene();
  world = scene.world;
  const { id } = await due(world, scene.key, 'operate');
  const [made] = (await activateRecovery(world.escrow, callOf('dana'), { recovery: id })).answer;
  if (made === undefined) throw new Error('not activated');
  grant = made;
  atHand = { ...made };
  delete (atHand as { certificate?: string }).certificate;
});

const outcome = (change: Partial<Grant>): Promise<string> =>
  outcomeOf(checkLoggedGrant(world.escrow, { ...grant, ...change }));

it('a grant is as the log has it, whether it has a certificate or not', async () => {
  expect(await outcome({})).toBe('done');
  expect(await outcome({ certificate: 'none' })).toBe('done');
});

const LATER = new Date('2099-01-01T00:00:00.000Z');
const scopes: Required<{ [Member in keyof Grant['scope']]: Grant['scope'][Member] }> = {
  app: 'printer' as PrincipalId,
  operations: ['sign', 'decrypt'],
  mechanisms: ['RS256', 'PS256'],
  input: 'digest',
  maxUses: 3,
  rate: { uses: 1, perMs: 1000 },
  durationMs: 1,
  notBefore: LATER,
  notAfter: LATER,
};
const members: Readonly<Record<string, Partial<Grant>>> = {
  recovery: { recovery: 'rec_1' as RecoveryId },
  key: { key: 'key_1' as KeyId },
  owner: { owner: 'dora' as PrincipalId },
  startsAt: { startsAt: LATER },
  expiresAt: { expiresAt: LATER },
};

it.each(Object.entries(scopes))('another %s in the scope of its record is found', async (name, value) => {
  expect(await outcome({ scope: { ...grant.scope, [name]: value } })).toBe('record-mismatch');
});

it.each(Object.entries(members))('another %s in its record is found', async (_name, change) => {
  expect(await outcome(change)).toBe('record-mismatch');
});

describe('a grant at hand', () => {
  const facts = (): LogFacts => world.facts;
  const logWith = (change: Partial<GrantFacts> | 'ended'): { readonly followed: FollowedLog } => ({
    followed: {
      ...world.escrow.followed,
      facts: {
        ...({} as LogFacts),
        grant: (id) => {
          const logged = facts().grant(id);
          return change === 'ended' || logged === undefined ? undefined : { ...logged, ...change };
        },
      },
    },
  });

  it('is one that was checked: it asks neither the store nor a signature again', async () => {
    let verified = 0;
    const { identity, origin, logKey } = world.escrow;
    const grants = new CheckedGrants(
      { origin, logKey },
      {
        verify: (jws, typ) => {
          verified += 1;
          return identity.verify(jws, typ);
        },
      },
    );
    expect(grants.atHand(world.escrow, grant.id)).toBeUndefined();
    await grants.check(world.escrow, grant);
    expect(grants.atHand(world.escrow, grant.id)).toEqual(atHand);
    expect(grants.atHand(world.escrow, grant.id)).toEqual(atHand);
    expect(verified).toBe(1);
    // read anew it is what it was
    await grants.check(world.escrow, grant);
    expect(verified).toBe(1);
    const other = { ...grant, certificate: `${grant.certificate ?? ''}x` };
    await expect(grants.check(world.escrow, other)).rejects.toMatchObject({ code: 'record-mismatch' });
  });

  it('has the uses that the log has counted, and is none any more when it has ended, or is another', async () => {
    const { grants } = world.escrow;
    await grants.check(world.escrow, grant);
    expect(grants.atHand(logWith({ used: 2 }), grant.id)).toEqual({ ...atHand, used: 2 });
    for (const change of [
      'ended',
      { certificate: undefined },
      { certificate: '00'.repeat(32) },
      { scope: { ...world.facts.grant(grant.id)?.scope } as GrantFacts['scope'] },
    ] as const) {
      await grants.check(world.escrow, grant);
      expect(grants.atHand(logWith(change), grant.id)).toBeUndefined();
    }
    expect(grants.atHand(logWith({}), grant.id)).toEqual(atHand);
  });

  it('is none when its record was refused since', async () => {
    const { grants } = world.escrow;
    await grants.check(world.escrow, grant);
    const other = { ...grant, expiresAt: LATER };
    await expect(grants.check(world.escrow, other)).rejects.toMatchObject({ code: 'record-mismatch' });
    expect(grants.atHand(world.escrow, grant.id)).toBeUndefined();
  });
});
