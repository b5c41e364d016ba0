import { existsSync, readFileSync } from 'node:fs';

const PAGE = readFileSync('docs/threat-model.md', 'utf8');
const README = readFileSync('README.md', 'utf8');
const ADVERSARIES = ['principal', 'database', 'host', 'network'];

/** Promises by their headings, each with the rows of its table: against whom, whether it holds, because, tested. */
const sections = PAGE.split(/^## /m)
  .filter((section) => /^\d+\. /.test(section))
  .map((section) => ({
    title: section.split('\n')[0] ?? '',
    rows: section
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .map((line) =>
        line
          .split('|')
          .map((cell) => cell.trim())
          .slice(1, -1),
      )
      .filter(([first]) => ADVERSARIES.includes(first ?? '')),
  }));

test('every promise of the README has its section, under its own name, and none has another', () => {
  const list = README.split('## What it promises')[1]?.split('\n## ')[0] ?? '';
  const promised = [...list.matchAll(/^(\d+)\. \*\*(.+?)\*\*/gm)].map(([, number, name]) =>
    `${number ?? ''}. ${name ?? ''}`.replace(/\.$/, ''),
  );
  expect(promised).toHaveLength(11);
  expect(sections.map(({ title }) => title)).toEqual(promised);
});

test.each(sections)(
  '$title: says of each adversary whether it holds, why, and where that is tested',
  ({ rows }) => {
    expect(rows.map(([who]) => who)).toEqual(ADVERSARIES);
    for (const [, holds = '', because = '', tested = ''] of rows) {
      expect(holds).toMatch(/^(holds|does not hold|in part)$/);
      expect(because.length).toBeGreaterThan(10);
      const files = [...tested.matchAll(/`([^`]+)`/g)].map(([, file]) => file ?? '');
      expect(files.length).toBeGreaterThan(0);
      expect(files.filter((file) => !existsSync(file))).toEqual([]);
      if (holds === 'holds') expect(files.filter((file) => !file.endsWith('.test.ts'))).toEqual([]);
    }
  },
);

test('every file that the page names exists', () => {
  const named = [...PAGE.matchAll(/`((?:test|src|docs|scripts)\/[^`\s]+)`/g)].map(([, file]) => file ?? '');
  const linked = [...PAGE.matchAll(/\]\(([^)#]+)\)/g)].map(([, file]) => `docs/${file ?? ''}`);
  expect(named.length).toBeGreaterThan(30);
  expect([...named, ...linked].filter((file) => !existsSync(file))).toEqual([]);
});
