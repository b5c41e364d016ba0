import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** As GitHub makes them of headings. */
function anchorsOf(page: string): ReadonlySet<string> {
  const headings = [...readFileSync(page, 'utf8').matchAll(/^#+ (.*)$/gm)];
  return new Set(
    headings.map(([, text = '']) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

test('what the pages refer to is there: files, and headings in them', () => {
  const pages = [
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'hsm-config/README.md',
    ...readdirSync('docs').flatMap((name) => (name.endsWith('.md') ? [join('docs', name)] : [])),
  ];
  const broken = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].flatMap(
      ([whole, file = '', anchor]) => {
        const target = file === '' ? page : relative('.', join(dirname(page), file));
        try {
          const isThere =
            anchor === undefined ? readFileSync(target).length > 0 : anchorsOf(target).has(anchor);
          return isThere ? [] : [`${page}: ${whole}`];
        } catch {
          return [`${page}: ${whole}`];
        }
      },
    ),
  );
  expect(broken).toEqual([]);
});
