import { escrowctl, type Ran } from '../../cli/commandLine.js';

/** A page of docs, and what came of the commands in it. */
export interface Played {
  /** The page, with what its commands wrote under each of them. */
  readonly text: string;
  readonly failed: readonly (Pick<Ran, 'exit' | 'out' | 'err'> & { readonly command: string })[];
  /** In the order of the page. */
  readonly commands: readonly string[];
}

/** How the world is of the page: `paths` says what stands for each word that is a path or an address. */
export interface Place {
  readonly now: Date;
  readonly paths: Readonly<Record<string, string>>;
}

/**
 * Runs the commands of a page, in order: every line of a block of `sh` that begins with escrowctl, and every `$ escrowctl` of a
 * block of `console`, under which what it writes is put.
 */
export async function play(page: string, { now, paths }: Place): Promise<Played> {
  const failed: (Pick<Ran, 'exit' | 'out' | 'err'> & { command: string })[] = [];
  const commands: string[] = [];
  const variables: Record<string, string> = {};
  const run = async (command: string): Promise<string> => {
    commands.push(command);
    const [line = ''] = command.split(' > ');
    const argv = words(line).slice(1);
    const ran = await escrowctl(
      argv.map((word) => translated(word, paths)),
      { now, variables },
    );
    if (ran.exit !== 0) failed.push({ command, exit: ran.exit, out: ran.out, err: ran.err });
    return ran.out;
  };
  const text: string[] = [];
  let block: 'sh' | 'console' | undefined;
  let command = '';
  for (const line of page.split('\n')) {
    const fence = /^```(\w*)$/.exec(line);
    if (fence !== null) {
      block = block === undefined && (fence[1] === 'sh' || fence[1] === 'console') ? fence[1] : undefined;
      text.push(line);
    } else if (block === 'console') {
      // what stood under the command before is replaced
      if (!line.startsWith('$ ')) continue;
      text.push(line, (await run(line.slice(2))).trimEnd());
    } else {
      text.push(line);
      if (block !== 'sh') continue;
      command += line.replace(/\\$/, '');
      if (line.endsWith('\\')) continue;
      const variable = /^export (\w+)=(.*)$/.exec(command);
      if (variable !== null) variables[variable[1] ?? ''] = translated(variable[2] ?? '', paths);
      else if (command.startsWith('escrowctl ')) await run(command);
      else throw new Error(`the page has a command that is none of escrowctl: ${command}`);
      command = '';
    }
  }
  return { text: text.join('\n'), failed, commands };
}

/** The words of a command, as a shell takes them apart; no other quotes than double ones. */
function words(command: string): readonly string[] {
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
}

function translated(word: string, paths: Place['paths']): string {
  return paths[word] ?? word;
}
