import { parseArgs } from 'node:util';
import { CELL_WORDS, GROWTH_WORDS } from './load/cells.js';

/** The arguments ask for nothing that there is; the message says which. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What the arguments ask for. */
export interface Asked<Name extends string> {
  readonly names: readonly Name[];
  readonly seconds: number;
  readonly rounds: number;
  readonly only: readonly string[];
  readonly scale: number;
  readonly isJudged: boolean;
  readonly isJson: boolean;
  readonly profileInto: string | undefined;
  /** A file that `--json` has written, of which charts are to be drawn. */
  readonly chart: string | undefined;
  readonly wantsHelp: boolean;
}

const OPTIONS = {
  seconds: { type: 'string', default: '3' },
  rounds: { type: 'string', default: '3' },
  only: { type: 'string', default: '' },
  scale: { type: 'string', default: '1' },
  check: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  profile: { type: 'string' },
  chart: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Reads the arguments; without a name all benches are meant. @throws UsageError */
export function askedOf<Name extends string>(argv: readonly string[], known: readonly Name[]): Asked<Name> {
  const { values, positionals } = parsed(argv);
  const names = positionals.map((name) => {
    const found = known.find((each) => each === name);
    if (found === undefined)
      throw new UsageError(`there is no bench "${name}": there are ${known.join(', ')}`);
    return found;
  });
  const only = values.only.split(',').filter((word) => word !== '');
  const words: readonly string[] = [...CELL_WORDS, ...GROWTH_WORDS];
  const unknown = only.find((word) => !words.includes(word));
  if (unknown !== undefined)
    throw new UsageError(`--only does not know "${unknown}": it knows ${words.join(', ')}`);
  return {
    names: names.length === 0 ? known : names,
    seconds: numberOf('seconds', values.seconds, (value) => value > 0 && value <= 600),
    rounds: numberOf(
      'rounds',
      values.rounds,
      (value) => Number.isInteger(value) && value > 0 && value < 1000,
    ),
    only,
    scale: numberOf('scale', values.scale, (value) => value > 0 && value <= 1),
    isJudged: values.check,
    isJson: values.json,
    profileInto: values.profile,
    chart: values.chart,
    wantsHelp: values.help,
  };
}

function parsed(
  argv: readonly string[],
): ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>> {
  try {
    return parseArgs({ args: [...argv], allowPositionals: true, options: OPTIONS });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

const BOUNDS = {
  seconds: 'a number above 0, at most 600',
  rounds: 'a whole number from 1 to 999',
  scale: 'a number above 0, at most 1',
} as const;

function numberOf(name: keyof typeof BOUNDS, text: string, isAllowed: (value: number) => boolean): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!isAllowed(value)) throw new UsageError(`--${name} takes ${BOUNDS[name]}, and not "${text}"`);
  return value;
}
