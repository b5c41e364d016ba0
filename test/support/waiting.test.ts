import { limitWaiting, until } from './waiting.js';

test('what is so already is waited for no longer', async () => {
  limitWaiting(globalThis, performance.now());
  await until(() => true);
});

test.each([2_100, 0, -1_000])(
  'waiting ends before the limit of its test, %i ms away, and says for what it was',
  async (awayMs) => {
    let isSo = false;
    const limit = performance.now() + awayMs;
    limitWaiting(globalThis, limit);
    await expect(until(() => isSo)).rejects.toThrow(/it is still not so: .*isSo/);
    expect(performance.now()).toBeGreaterThan(limit - 2_000);
    isSo = true;
    await until(() => isSo);
  },
);

test('the limit of a test is that of its own', async () => {
  await expect(until(() => false)).rejects.toThrow('after 1 s it is still not so');
}, 3_000);
