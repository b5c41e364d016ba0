import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ceremonyCommands } from '../../src/token/ceremony/commands.js';
import { escrowctl } from '../cli/commandLine.js';
import { handIn, init } from './people.js';

interface Listed {
  readonly section: string;
  readonly command: string;
}

/** The commands of docs/install.md, as scripts/try/by-hand runs them. */
const commands: readonly Listed[] = execFileSync('scripts/try/by-hand', ['--list'], { encoding: 'utf8' })
  .trimEnd()
  .split('\n')
  .map((line) => {
    const [section = '', , command = ''] = line.split('\t');
    return { section, command };
  });

const helps = new Map<string, Promise<string | undefined>>();

/** What the help of the command says that this line calls; undefined when it is no program of ours. */
function helpOf(command: string): Promise<string | undefined> {
  const [program = '', ...words] = command.split(/\s+/);
  const names = words.slice(
    0,
    words.findIndex((word) => !/^[a-z-]+$/.test(word) || word.startsWith('--')),
  );
  const key = [program, words[0], ...names.slice(0, 2)].join(' ');
  const help = helps.get(key) ?? readHelp(program, words, names);
  helps.set(key, help);
  return help;
}

async function readHelp(
  program: string,
  words: readonly string[],
  names: readonly string[],
): Promise<string | undefined> {
  switch (program) {
    case 'escrowd':
      return words[0] === 'init' ? (await init(['--help'])).out : '--config';
    case 'ceremony':
      return ceremonyCommands('', () => undefined)
        .commands.find((each) => each.name() === words[0])
        ?.helpInformation();
    case 'escrowctl': {
      // a word behind the command's name may be its argument
      for (let length = Math.min(names.length, 2); length > 0; length -= 1) {
        const run = await escrowctl(['help', ...names.slice(0, length)]);
        if (run.exit === 0) return run.out;
      }
      return '';
    }
    default:
      return undefined;
  }
}

async function unknownOptions(command: string): Promise<readonly string[]> {
  const help = await helpOf(command);
  if (help === undefined) return [];
  const given = command.match(/(?<=\s)--[a-z][a-z-]*/g) ?? [];
  return given.filter((option) => !new RegExp(`${option}(?![a-z-])`).test(help));
}

test('an installation by hand has at most 25 commands', () => {
  const installing = commands.filter(
    ({ section, command }) => section === 'installation' && !command.startsWith('export '),
  );
  expect(installing.length).toBeGreaterThan(15);
  expect(installing.length).toBeLessThanOrEqual(25);
});

test('a shell can read every command of the page', () => {
  execFileSync('bash', ['-n'], { input: commands.map(({ command }) => command).join('\n'), stdio: 'pipe' });
});

test('the programs know every option that the page names', async () => {
  expect(await unknownOptions('escrowctl key generate --owner olga --no-such')).toEqual(['--no-such']);
  expect(await unknownOptions('ceremony enrol dora --no-such')).toEqual(['--no-such']);
  const ours = commands.filter(({ command }) => /^(escrowctl|escrowd|ceremony) /.test(command));
  expect(ours.length).toBeGreaterThan(15);
  for (const { command } of ours)
    expect({ command, unknown: await unknownOptions(command) }).toEqual({ command, unknown: [] });
});

test('and every option that escrowd init names as what comes next', async () => {
  const top = mkdtempSync(join(tmpdir(), 'escrowd-next-'));
  try {
    const people = ['ann', 'bob'].flatMap((id) => ['--administrator', handIn(top, id)]);
    const args = ['--origin', 'escrow.test/log', '--softhsm', '--user', 'root', '--json', ...people];
    for (const more of [
      ['--tls', 'request'],
      ['--no-systemd'],
      ['--database', 'postgresql://localhost/escrow'],
    ]) {
      const run = await init([join(top, more.join('').replace(/\W/g, '')), ...args, ...more]);
      const { next } = JSON.parse(run.out) as {
        readonly next: readonly { readonly commands: readonly string[] }[];
      };
      const lines = next.flatMap((step) => step.commands);
      expect(lines.length).toBeGreaterThan(8);
      execFileSync('bash', ['-n'], { input: lines.join('\n'), stdio: 'pipe' });
      for (const command of lines)
        expect({ command, unknown: await unknownOptions(command) }).toEqual({ command, unknown: [] });
    }
  } finally {
    rmSync(top, { recursive: true });
  }
});
