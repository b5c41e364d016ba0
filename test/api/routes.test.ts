import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ROUTES } from '../../src/api/routes.js';
import { routesOf } from '../../src/http/routes/index.js';

const nameOf = ({ method, path }: { readonly method: string; readonly path: string }): string =>
  `${method} ${path}`;

test('the server answers every row of the table, in its order, and nothing else', () => {
  const answered = routesOf({ identityKey: {}, logKey: '' }).map((route) => ({
    ...{ name: route.about.name, at: nameOf(route) },
    act: route.access === 'public' ? undefined : route.access.act,
    roles: route.access === 'public' ? undefined : route.access.roles,
    takesCertificate: route.takesCertificate,
  }));
  const rows = Object.values(ROUTES).map((row) => ({
    ...{ name: row.name, at: nameOf(row) },
    act: 'act' in row ? row.act : undefined,
    roles: 'roles' in row ? row.roles : undefined,
    takesCertificate: 'takesCertificate' in row,
  }));
  expect(answered).toEqual(rows);
});

/** Those of the rooms of http alone: health, and this interface itself. */
const BESIDE = ['GET /healthz', 'GET /readyz', 'GET /openapi.json'];

test('docs/api.md has a table of exactly these routes', () => {
  const text = readFileSync(join(__dirname, '../../docs/api.md'), 'utf8');
  const [, section = ''] = text.split('\n## Routes\n');
  const cells = section.split('\n## ')[0]?.match(/^\| `[^|]+\|/gm) ?? [];
  const documented = cells.flatMap((cell) => {
    let [method, before] = ['', ''];
    return [...cell.matchAll(/`(?:([A-Z]+) )?([^`]+)`/g)].map(([, verb, said = '']) => {
      method = verb ?? method;
      const path = said
        .replace(/\?.*$/, '')
        .replace(/<.*$/, '*tile')
        .replace(/\{(\w+)\}/g, ':$1');
      // a second path is written out, or is another last step of the first
      const isWhole = before === '' || /^\/(v1|readyz)/.test(path);
      before = isWhole ? path : before.replace(/\/[^/]*$/, path);
      return `${method} ${before}`;
    });
  });
  const routes = [...BESIDE, ...Object.values(ROUTES).map(nameOf)];
  expect([...new Set(documented)].sort()).toEqual(routes.sort());
});
