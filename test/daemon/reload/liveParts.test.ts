import type { WitnessedLog } from '../../../src/escrow/ports/log.js';
import { LiveNotifications, LiveWitnessing } from '../../../src/daemon/reload/liveParts.js';
import type { Notifications } from '../../../src/daemon/startNotifications.js';
import { testWitness } from '../../log/witnessKeys.js';
import { until } from '../../support/waiting.js';

test('the log is shown to the witnesses of now and no more to those of before', async () => {
  const away = (): Promise<never> => Promise.reject(new Error('not now'));
  const log: WitnessedLog = { newest: away, cosignedBy: away, consistency: away, keep: away };
  const tell = { info: () => undefined, warn: () => undefined };
  const parts = { log, now: () => new Date(), timeoutMs: 100, intervalMs: 1, tell };
  const [one, two] = ['one.example/1', 'two.example/1'].map((name) => ({
    key: testWitness(name).key,
    url: 'http://127.0.0.1:1',
  }));
  if (one === undefined || two === undefined) throw new Error('there are two');
  const live = new LiveWitnessing([one], parts);
  await until(() => live.silent.includes('one.example/1'));
  expect(await live.replace([one])).toBe(false);
  expect(await live.replace([two])).toBe(true);
  await until(() => live.silent.includes('two.example/1'));
  expect(live.silent).toEqual(['two.example/1']);
  await live.stop();
});

test('sinks of before have ended before those of now begin; when those cannot be opened, nothing ends', async () => {
  const done: string[] = [];
  const sinks = (name: string): Notifications => ({
    start: () => {
      done.push(`${name} begins`);
      return () => {
        done.push(`${name} ends`);
        return Promise.resolve();
      };
    },
    states: () => Promise.resolve([{ sink: name, waiting: 0, next: 0, fault: undefined, dropped: 0 }]),
  });
  const live = new LiveNotifications(sinks('one'), { sinks: 1 }, 100);
  live.start();
  expect(await live.replace({ sinks: 1 }, () => Promise.reject(new Error('is not opened')))).toBe(false);
  await expect(live.replace({ sinks: 2 }, () => Promise.reject(new Error('no database')))).rejects.toThrow();
  expect(done).toEqual(['one begins']);
  expect(await live.replace({ sinks: 2 }, () => Promise.resolve(sinks('two')))).toBe(true);
  expect(done).toEqual(['one begins', 'one ends', 'two begins']);
  expect(await live.states()).toMatchObject([{ sink: 'two' }]);
  await live.stop();
  expect(done.at(-1)).toBe('two ends');
});
