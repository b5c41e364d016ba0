import { NotBelieved } from '../../../src/client/errors.js';
import { LogView } from '../../../src/client/log/logView.js';
import { readWitnessPins } from '../../../src/client/log/witnessPins.js';
import { testWitness } from '../../log/witnessKeys.js';
import { FakeLog, ORIGIN } from '../fakeServer.js';
import { TestMemory } from '../memory.js';

const one = testWitness('one.example');
const two = testWitness('two.example');
let log: FakeLog;
let memory: TestMemory;
/** What the server shows when it is asked for a cosigned checkpoint. */
let shows: (count: number) => string | undefined;
let asked: (readonly [number, readonly string[]])[];

beforeEach(() => {
  log = new FakeLog();
  log.fill(9);
  memory = new TestMemory();
  shows = () => undefined;
  asked = [];
});

/** The view of somebody who has seen `size` entries, and now wants 5 of them witnessed. */
async function witnessed(require = 2, seen = 9, covering = 5): Promise<string> {
  const view = new LogView({
    origin: ORIGIN,
    logKey: log.key.vkey,
    memory,
    consistency: async (oldSize, newSize) =>
      (await log.consistency(oldSize, newSize)).map((hash) => Buffer.from(hash, 'base64')),
    witnesses: readWitnessPins({ keys: [one.vkey, two.vkey], require }),
    witnessed: (count, keyIds) => {
      asked.push([count, keyIds]);
      return Promise.resolve(shows(count));
    },
    patience: { totalMs: 0, retryMs: 1 },
  });
  await view.believe(log.checkpoint(seen));
  try {
    const found = await view.believeWitnessed(covering);
    return `believed, by ${found?.by.join(' and ') ?? 'nobody'}`;
  } catch (error) {
    if (error instanceof NotBelieved) return `${error.code}: ${error.detail}`;
    throw error;
  }
}

describe('an honest server', () => {
  test('is believed, whether the witnesses are behind what was seen, at it, or ahead of it', async () => {
    for (const size of [5, 7, 9]) {
      shows = () => two.cosign(one.cosign(log.checkpoint(size)));
      expect(await witnessed(2, 7)).toBe('believed, by one.example and two.example');
    }
    // what the witnesses have seen is remembered when it is more than was seen before
    expect(memory.note).toBe(shows(2));
  });

  test('is asked for just the witnesses that are pinned', async () => {
    shows = () => two.cosign(log.checkpoint());
    expect(await witnessed(1)).toBe('believed, by two.example');
    const hex = [one, two].map(({ key }) => key.keyId.toString(16).padStart(8, '0'));
    expect(asked).toEqual([[1, hex]]);
  });

  test('that has too few cosignatures is not believed, and it is said how many there are', async () => {
    shows = (count) => (count === 1 ? one.cosign(log.checkpoint()) : undefined);
    expect(await witnessed()).toMatch(/^witnesses-missing: 1 of the 2 witnesses required/);
    shows = () => undefined;
    expect(await witnessed()).toMatch(/^witnesses-missing: 0 of the 2 witnesses required/);
  });

  test('is waited for', async () => {
    let tries = 0;
    shows = () => ((tries += 1) < 3 ? undefined : two.cosign(one.cosign(log.checkpoint())));
    const view = new LogView({
      origin: ORIGIN,
      logKey: log.key.vkey,
      memory,
      consistency: () => Promise.resolve([]),
      witnesses: readWitnessPins({ keys: [one.vkey, two.vkey], require: 2 }),
      witnessed: (count) => Promise.resolve(shows(count)),
      patience: { totalMs: 60_000, retryMs: 1 },
    });
    await view.believe(log.checkpoint());
    expect((await view.believeWitnessed(9))?.by).toHaveLength(2);
  });
});

describe('a server that lies', () => {
  test('with a forged cosignature is found', async () => {
    const thief = testWitness('two.example');
    const forged = thief.line(log.checkpoint());
    // the thief's key has another id; put the true one in front of the signature
    const [, , base64 = ''] = forged.trimEnd().split(' ');
    const bytes = Buffer.from(base64, 'base64');
    bytes.writeUInt32BE(two.key.keyId);
    shows = () => `${one.cosign(log.checkpoint())}\u2014 two.example ${bytes.toString('base64')}\n`;
    expect(await witnessed()).toMatch(/^cosignature-invalid/);
    shows = () => one.cosign(log.checkpoint()) + forged;
    expect(await witnessed()).toMatch(/^witnesses-missing/);
  });

  test('with one witness twice has one', async () => {
    shows = () => one.cosign(one.cosign(log.checkpoint()), 99);
    expect(await witnessed()).toMatch(/^witnesses-missing: 1 of the 2/);
  });

  test('with the cosignature of another root is found', async () => {
    const other = new FakeLog(log.key);
    other.fill(10);
    shows = () => one.cosign(log.checkpoint()) + two.line(other.checkpoint());
    expect(await witnessed()).toMatch(/^cosignature-invalid/);
  });

  test('with a cosigned checkpoint from before the entry is not believed', async () => {
    shows = () => two.cosign(one.cosign(log.checkpoint(4)));
    expect(await witnessed()).toMatch(/^witnesses-missing: 0 of the 2 .* at least 5 entries$/);
  });

  test('with a cosigned checkpoint that the log has not signed is found', async () => {
    const stranger = new FakeLog();
    stranger.fill(9);
    shows = () => two.cosign(one.cosign(stranger.checkpoint()));
    expect(await witnessed()).toMatch(/^checkpoint-invalid/);
  });

  test.each([9, 7, 8])(
    'that shows the witnesses one log and this client another is found, and the evidence kept (%s seen)',
    async (seen) => {
      const honest = new FakeLog(log.key);
      honest.append({
        v: 1,
        time: '2026-03-01T11:00:00.000Z',
        act: 'grant.expire',
        id: 'act_other',
        phase: 'attempted',
        actor: 'escrowd',
        subject: {},
        detail: {},
      });
      honest.fill(7);
      shows = () => two.cosign(one.cosign(honest.checkpoint()));
      expect(await witnessed(2, seen)).toMatch(/^log-forked/);
      expect(memory.evidence).toHaveLength(1);
    },
  );
});
