import { execFileSync } from 'node:child_process';

import { COMMANDS, GROUPS } from '../../src/cli/commands.js';
import { escrowctl } from './commandLine.js';

async function script(shell: string): Promise<string> {
  const ran = await escrowctl(['completion', shell]);
  expect(ran).toMatchObject({ exit: 0, err: '' });
  return ran.out;
}

/** What bash offers behind these words, as it calls a completion function. */
async function offered(...words: string[]): Promise<readonly string[]> {
  const asked = `${await script('bash')}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _escrowctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync('bash', ['--noprofile', '--norc', '-euc', asked, 'bash', 'escrowctl', ...words]);
  return out.toString().split('\n').filter(Boolean);
}

test('every command is offered in bash, and every option of it', async () => {
  expect(await offered('')).toEqual(
    expect.arrayContaining([
      ...GROUPS.map(({ name }) => name),
      ...COMMANDS.map(({ usage }) => usage.split(' ')[0]),
    ]),
  );
  for (const group of GROUPS) {
    expect(await offered(group.name, '')).toEqual(
      expect.arrayContaining(group.commands.map(({ usage }) => usage.split(' ')[0])),
    );
  }
  expect(await offered('key', 'generate', '--s')).toEqual(['--spec']);
  expect(await offered('--as', 'key', 'reco')).toEqual(['recovery']);
});

test('the values of an option are offered, and files where it takes one', async () => {
  expect(await offered('key', 'generate', '--spec', 'ec-')).toEqual(['ec-p256', 'ec-p384', 'ec-p521']);
  expect(await offered('key', 'generate', '--as', '')).toEqual([]);
  // of one name, but not of one kind
  expect(await offered('key', 'copy', '--format', '')).toEqual(['pem', 'jwk', 'raw']);
  expect(await offered('sign', '--format', '')).toEqual(['jose', 'der']);
});

test('zsh and fish are told the same words', async () => {
  const zsh = await script('zsh');
  expect(zsh).toMatch(/^#compdef escrowctl\n/);
  expect(zsh).toContain(await script('bash'));
  const fish = await script('fish');
  for (const { name, commands } of GROUPS) {
    expect(fish).toContain(`-f -a ${name} -d `);
    for (const { usage } of commands) expect(fish).toContain(`-f -a ${usage.split(' ')[0] ?? ''} -d `);
  }
});

test('a shell that nobody knows is refused', async () => {
  expect(await escrowctl(['completion', 'tcsh'])).toMatchObject({ exit: 2 });
});
