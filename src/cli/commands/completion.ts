import type { CommandRow, GroupRow, OptionRow } from '../command.js';
import { completionScript, SHELLS } from '../completion.js';
import { UsageError } from '../failures.js';

/** Completion of whatever escrowctl knows; `options` are those of every command. */
export function completionCommand(
  groups: readonly GroupRow[],
  others: readonly CommandRow[],
  options: readonly OptionRow[],
): CommandRow {
  const command: CommandRow = {
    usage: 'completion <shell>',
    summary: `prints what completes escrowctl in a shell: ${SHELLS.join(', ')}`,
    examples: [
      'completion bash > ~/.local/share/bash-completion/completions/escrowctl',
      'completion zsh > "${fpath[1]}/_escrowctl"',
      'completion fish > ~/.config/fish/completions/escrowctl.fish',
    ],
    run: (_session, given) => {
      const name = given.argument(0);
      const shell = SHELLS.find((known) => known === name);
      if (shell === undefined) throw new UsageError(`${name} is not one of ${SHELLS.join(', ')}`);
      const script = completionScript(shell, { groups, commands: [...others, command], options });
      return Promise.resolve({ json: { shell, script }, lines: [], raw: Buffer.from(script) });
    },
  };
  return command;
}
