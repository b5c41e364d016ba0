import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { LIMITS_MS } from './support/limits.js';

jest.setTimeout(LIMITS_MS.programs);

const repository = resolve(__dirname, '..');

/** What `npm run check:rooms` finds in a tree of these files: the rules that are broken, and by which file. */
function broken(files: Readonly<Record<string, string>>): readonly string[] {
  const tree = mkdtempSync(join(tmpdir(), 'escrowd-rooms-'));
  try {
    symlinkSync(join(repository, 'node_modules'), join(tree, 'node_modules'));
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(tree, path)), { recursive: true });
      writeFileSync(join(tree, path), text);
    }
    const program = join(repository, 'node_modules', '.bin', 'depcruise');
    const config = join(repository, '.dependency-cruiser.js');
    const args = ['src', '--config', config, '--output-type', 'json', '--no-progress'];
    const { stdout, stderr, error } = spawnSync(program, args, {
      cwd: tree,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    if (error !== undefined) throw error;
    if (stdout === '') throw new Error(stderr);
    const { summary } = JSON.parse(stdout) as {
      readonly summary: {
        readonly violations: readonly { readonly from: string; readonly rule: { readonly name: string } }[];
      };
    };
    return summary.violations.map(({ from, rule }) => `${rule.name}: ${from}`).sort();
  } finally {
    rmSync(tree, { recursive: true });
  }
}

/** What each of these files is refused for. The imports between them are such that nothing but the one named is wrong. */
const PLANTED: Readonly<Record<string, readonly [text: string, rule: string]>> = {
  'src/log/note/circle.ts': [`import type { B } from './other.js';\nexport type A = B;`, 'no-circle'],
  'src/log/upwards.ts': [`import { id } from '../escrow/records/id.js';\nexport const a = id;`, 'room-log'],
  'src/escrow/records/time.ts': [`import 'node:fs';`, 'room-escrow'],
  'src/escrow/records/driver.ts': [
    `import type { Client } from 'pg';\nexport type A = Client;`,
    'room-escrow',
  ],
  'src/escrow/ledger/figures.ts': [
    `import { Gauge } from 'prom-client';\nexport const a = Gauge;`,
    'room-escrow',
  ],
  'src/metrics/server.ts': [
    `import { listen } from '../http/listen.js';\nexport const a = listen;`,
    'room-metrics',
  ],
  'src/escrow/records/act.ts': [
    `import { act } from '../acts/act.js';\nexport const a = act;`,
    'floor-records',
  ],
  'src/escrow/rules/ledger.ts': [
    `import type { Door } from '../ledger/door.js';\nexport type A = Door;`,
    'floor-rules',
  ],
  'src/http/token.ts': [`import { pin } from '../token/pin.js';\nexport const a = pin;`, 'room-http'],
  'src/privatePostgres/core.ts': [
    `import { id } from '../escrow/records/id.js';\nexport const a = id;`,
    'room-privatePostgres',
  ],
  'src/client/auditor.ts': [
    `import { audit } from '../audit/audit.js';\nexport const a = audit;`,
    'room-client',
  ],
  'src/cli/nowhere.ts': [`import { a } from './gone.js';\nexport const b = a;`, 'no-unresolved'],
};
/** The other half of the circle: a circle is told once, where it is begun. */
const BESIDE = { 'src/log/note/other.ts': `import type { A } from './circle.js';\nexport type B = A;` };
const SOUND = {
  'src/escrow/records/id.ts': `import { createHash } from 'node:crypto';\nexport const id = createHash;`,
  'src/escrow/ledger/door.ts': `import { id } from '../records/id.js';\nexport interface Door { readonly id: typeof id }`,
  'src/escrow/acts/act.ts': `import { id } from '../records/id.js';\nexport const act = id;`,
  'src/http/listen.ts': `import 'express';\nexport const listen = 1;`,
  'src/metrics/gauges.ts': `import 'prom-client';\nexport const gauges = 1;`,
  'src/token/pin.ts': `import 'pkcs11js';\nimport 'node:fs';\nexport const pin = 1;`,
  'src/audit/audit.ts': `import { id } from '../escrow/records/id.js';\nexport const audit = id;`,
};

test('a circle of files, and an import from where a room does not stand, are refused', () => {
  const files = {
    ...SOUND,
    ...BESIDE,
    ...Object.fromEntries(Object.entries(PLANTED).map(([path, [text]]) => [path, text])),
  };
  const refused = new Set(broken(files));
  for (const [path, [, rule]] of Object.entries(PLANTED)) expect([...refused]).toContain(`${rule}: ${path}`);
  for (const path of Object.keys(SOUND))
    expect([...refused].filter((each) => each.endsWith(` ${path}`))).toEqual([]);
});

test('what stands only on what it may is not refused', () => {
  expect(broken(SOUND)).toEqual([]);
});

test('no room has more than 25 files', () => {
  const crowded: Record<string, number> = {};
  const walk = (folder: string): void => {
    const names = readdirSync(folder).map((name) => join(folder, name));
    const files = names.filter((name) => statSync(name).isFile());
    if (files.length > 25) crowded[folder] = files.length;
    for (const name of names) if (statSync(name).isDirectory()) walk(name);
  };
  walk(join(repository, 'src'));
  expect(crowded).toEqual({});
});
