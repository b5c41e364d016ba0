import type { PrincipalId } from '../../src/escrow/records/ids.js';
import type { Notice, NoticeKind } from '../../src/escrow/records/notice.ts';
import type { StoredEntry } from '../../src/escrow/ports/log.ts';
import { Delivery, startDeliverer } from '../../src/notify/deliverer.js';
import { RESTS, TRIES } from '../../src/notify/tries.js';
import { backOffMs } from '../../src/system/backOff.js';
import type { DeliveryResult, Notices, Sink } from '../../src/notify/sink.js';
import type { MemoryOutbox } from './memoryOutbox.js';
import { memoryOutbox } from './memoryOutbox.js';
import { everyKind, noticeOf } from './samples.js';

const unavailable: DeliveryResult = {
  accepted: 'none',
  because: 'unavailable',
  fault: 'It is out.',
  reason: 'out',
};
const refused: DeliveryResult = { accepted: 'none', because: 'refused', fault: 'No.', reason: 'no' };
const POLL_MS = 1_000;
const START = Date.parse('2026-02-03T04:05:06.789Z');

/** A log of which every entry tells as many people as `tells` says, and a sink that answers as `answers` says. */
interface Stage {
  readonly delivery: Delivery;
  readonly outbox: MemoryOutbox;
  /** What the sink has been handed, whatever it answered. */
  readonly handed: string[];
  readonly reports: string[];
  /** What the sink answers next; it takes one when nothing is left. */
  readonly answers: DeliveryResult[];
  nowMs: number;
  /** Entries in the log, and how many notices each gives. */
  tells: number[];
  /** Notices that an entry has the sink told again. */
  readonly toldAgain: Map<number, readonly Notice[]>;
  /** Entries below it are not there. */
  lostBefore: number;
  again(): Delivery;
}

function stageOf(tells: number[], kinds: ReadonlySet<NoticeKind> = everyKind): Stage {
  const outbox = memoryOutbox();
  const handed: string[] = [];
  const answers: DeliveryResult[] = [];
  const reports: string[] = [];
  const sink: Sink = {
    name: 'sink',
    kinds,
    deliver: ([first]: Notices) => {
      handed.push(first.id);
      return Promise.resolve(answers.shift() ?? { accepted: 1 });
    },
    close: () => undefined,
  };
  const parts = {
    outbox,
    log: {
      entries: (from: number, limit: number) =>
        Promise.resolve(
          stage.tells
            .map((_, index): StoredEntry => ({ index, entry: new Uint8Array() }))
            .slice(Math.max(from, stage.lostBefore), from + limit),
        ),
    },
    noticesAbout: ({ index }: StoredEntry) =>
      Promise.resolve(
        Array.from({ length: stage.tells[index] ?? 0 }, (_, position): Notice => {
          const to = `person-${position}` as PrincipalId;
          return noticeOf({ id: `${index}.${position}`, to, kind: position === 1 ? 'used' : 'asked' });
        }),
      ),
    noticesAgain: ({ index }: StoredEntry) => Promise.resolve(stage.toldAgain.get(index) ?? []),
    clock: { now: () => new Date(stage.nowMs) },
    random: () => 1,
    report: (level: string, message: string) => reports.push(`${level}: ${message}`),
    pollMs: POLL_MS,
  };
  const again = (): Delivery => new Delivery(sink, parts);
  const stage: Stage = {
    delivery: again(),
    outbox,
    handed,
    reports,
    answers,
    nowMs: START,
    tells,
    toldAgain: new Map(),
    lostBefore: 0,
    again,
  };
  return stage;
}

test('everybody is told, in the order of the log, and then the sink rests', async () => {
  const stage = stageOf([0, 2, 0, 1, 3]);
  expect(await stage.delivery.round()).toBe(POLL_MS);
  expect(stage.handed).toEqual(['1.0', '1.1', '3.0', '4.0', '4.1', '4.2']);
  expect(stage.outbox.progress.place).toEqual({ entry: 5, position: 0 });
  await stage.delivery.round();
  expect(stage.handed).toHaveLength(6);
});

test('a long log is told to its end', async () => {
  const stage = stageOf(Array.from({ length: 250 }, () => 1));
  while ((await stage.delivery.round()) === 0);
  expect(stage.handed).toEqual(Array.from({ length: 250 }, (_, index) => `${index}.0`));
});

test('what a daemon delivered and died before writing down is delivered again, under the same id', async () => {
  const stage = stageOf([1, 1]);
  const advance = stage.outbox.advance.bind(stage.outbox);
  stage.outbox.advance = () => Promise.reject(new Error('killed'));
  await stage.delivery.round();
  expect(stage.handed).toEqual(['0.0']);
  stage.outbox.advance = advance;
  await stage.again().round();
  expect(stage.handed).toEqual(['0.0', '0.0', '1.0']);
});

test('of an entry, those who have been told are not told again because another could not be', async () => {
  const stage = stageOf([3]);
  stage.answers.push({ accepted: 1 }, unavailable);
  await stage.delivery.round();
  stage.nowMs += 1_000;
  await stage.again().round();
  expect(stage.handed).toEqual(['0.0', '0.1', '0.1', '0.2']);
});

test('a receiver that is out is tried again, ever more seldom, for as long as it takes, and nothing passes it by', async () => {
  const stage = stageOf([1, 1]);
  const waits: number[] = [];
  for (let turn = 0; turn < 40; turn += 1) {
    stage.answers.push(unavailable);
    await stage.delivery.round();
    const waitMs = (stage.outbox.progress.notBefore?.getTime() ?? 0) - stage.nowMs;
    waits.push(waitMs);
    stage.nowMs += waitMs - 1;
    await stage.delivery.round(); // too early: the sink is not asked
    expect(stage.handed).toHaveLength(turn + 1);
    stage.nowMs += 1;
  }
  expect(waits.slice(0, 10)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map((s) => s * 1000));
  expect(waits.at(-1)).toBe(300_000);
  await stage.delivery.round();
  expect(stage.handed.slice(-2)).toEqual(['0.0', '1.0']);
  expect(stage.outbox.dropped).toEqual([]);
  expect(stage.outbox.progress).toMatchObject({ attempts: 0, notBefore: undefined });
});

test('a receiver that says when it can be asked again is not asked sooner', async () => {
  const stage = stageOf([1]);
  stage.answers.push({ ...unavailable, retryAfterMs: 90_000 });
  await stage.delivery.round();
  expect(stage.outbox.progress.notBefore?.getTime()).toBe(START + 90_000);
});

test.each(['refused', 'deferred'] as const)(
  'a notice that is %s for its own sake is given up at last, and the next one is delivered',
  async (because) => {
    const stage = stageOf([2, 1]);
    for (let turn = 0; turn < TRIES[because]; turn += 1) {
      stage.answers.push({ ...refused, because });
      await stage.delivery.round();
      stage.nowMs += 300_000;
    }
    expect(stage.outbox.dropped).toEqual(['0.0']);
    expect(stage.reports.at(-1)).toBe('error: a notice was given up');
    await stage.delivery.round();
    expect(stage.handed.slice(-2)).toEqual(['0.1', '1.0']);
    expect(new Set(stage.handed.slice(0, -2))).toEqual(new Set(['0.0']));
  },
);

test('a sink that throws is one that is out', async () => {
  const stage = stageOf([1]);
  stage.delivery.sink.deliver = () => Promise.reject(new Error('broken'));
  await stage.delivery.round();
  expect(stage.outbox.progress).toMatchObject({ attempts: 1, fault: 'The sink failed.' });
});

test('a sink is told only the kinds that it wants', async () => {
  const stage = stageOf([2, 2], new Set(['used']));
  await stage.delivery.round();
  expect(stage.handed).toEqual(['0.1', '1.1']);
  expect(stage.outbox.progress.place).toEqual({ entry: 2, position: 0 });
});

test('a daemon whose lease another has taken delivers nothing more', async () => {
  const stage = stageOf([3]);
  const deliver = stage.delivery.sink.deliver.bind(stage.delivery.sink);
  stage.delivery.sink.deliver = (notices) => {
    stage.outbox.isTaken = true;
    return deliver(notices);
  };
  expect(await stage.delivery.round()).toBe(POLL_MS);
  expect(await stage.delivery.round()).toBe(POLL_MS);
  expect(stage.handed).toEqual(['0.0']);
  expect(stage.outbox.progress.place).toEqual({ entry: 0, position: 0 });
});

test('what is to be told again comes in its turn under its old id, is tried as often, and is noted as delivered', async () => {
  const stage = stageOf([1, 0, 1]);
  stage.toldAgain.set(1, [noticeOf({ id: 'old.0' }), noticeOf({ id: 'old.1' })]);
  stage.answers.push({ accepted: 1 }, unavailable);
  await stage.delivery.round();
  expect(stage.handed).toEqual(['0.0', 'old.0']);
  expect(stage.outbox.progress).toMatchObject({ place: { entry: 1, position: 0 }, attempts: 1 });
  stage.nowMs += 2_000;
  stage.answers.push({ accepted: 1 }, ...Array.from({ length: TRIES.refused }, () => refused));
  await stage.again().round();
  expect(stage.outbox.again).toEqual(['old.0']);
  for (let turn = 0; turn < TRIES.refused; turn += 1) {
    stage.nowMs += 400_000;
    await stage.delivery.round();
  }
  expect(stage.outbox.dropped).toEqual(['old.1']);
  expect(stage.outbox.again).toEqual(['old.0']);
  expect(stage.handed.at(-1)).toBe('2.0');
});

test('a gap in the log is not stepped over', async () => {
  const stage = stageOf([1, 1]);
  stage.lostBefore = 1;
  expect(await stage.delivery.round()).toBe(POLL_MS);
  expect(stage.handed).toEqual([]);
  expect(stage.outbox.progress.place).toEqual({ entry: 0, position: 0 });
});

test('an outage of the database is one line of the log, and the sink goes on after it', async () => {
  const stage = stageOf([1]);
  const lease = stage.outbox.lease.bind(stage.outbox);
  stage.outbox.lease = () => Promise.reject(new Error('no database'));
  await stage.delivery.round();
  await stage.delivery.round();
  expect(stage.reports).toEqual(['warn: notices wait: the log or the records cannot be read']);
  stage.outbox.lease = lease;
  await stage.delivery.round();
  expect(stage.handed).toEqual(['0.0']);
  await stage.delivery.round();
  expect(stage.reports.slice(1)).toEqual(['info: notices go on: the log and the records can be read again']);
});

test('a deliverer that is stopped lets go of what hangs, and gives its lease back', async () => {
  const stage = stageOf([1]);
  const released: string[] = [];
  stage.outbox.release = (sink) => {
    released.push(sink);
    return Promise.resolve();
  };
  let asked: () => void = () => undefined;
  const isAsked = new Promise<void>((resolve) => (asked = resolve));
  let letGo: (result: DeliveryResult) => void = () => undefined;
  const sink: Sink = {
    name: 'hanging',
    kinds: everyKind,
    deliver: () =>
      new Promise((resolve) => {
        letGo = resolve;
        asked();
      }),
    close: () => {
      letGo(unavailable);
    },
  };
  const deliverer = startDeliverer([sink], {
    outbox: stage.outbox,
    log: { entries: () => Promise.resolve([{ index: 0, entry: new Uint8Array() }]) },
    noticesAbout: () => Promise.resolve([noticeOf()]),
    noticesAgain: () => Promise.resolve([]),
    clock: { now: () => new Date(START) },
    random: () => 0,
    report: () => undefined,
    pollMs: POLL_MS,
  });
  await isAsked;
  await deliverer.stop(1);
  expect(released).toEqual(['hanging']);
  expect(stage.outbox.progress).toMatchObject({ place: { entry: 0, position: 0 }, attempts: 1 });
});

test('chance takes away at most half of a wait', () => {
  expect(backOffMs(1, RESTS, () => 0)).toBe(500);
  expect(backOffMs(1_000, RESTS, () => 0)).toBe(150_000);
});

test('a sink that takes notices again after it took none is one line', async () => {
  const stage = stageOf([1, 1]);
  stage.answers.push(unavailable, unavailable);
  for (let turn = 0; turn < 4; turn += 1) {
    await stage.delivery.round();
    stage.nowMs += 400_000;
  }
  const failed = 'warn: a notice could not be delivered; it is tried again';
  expect(stage.reports).toEqual([failed, failed, 'info: the sink takes notices again']);
});
