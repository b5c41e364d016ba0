import { isPlainText } from '../log/entry/plainText.js';
import { UsageError } from './failures.js';
import { parseDurationArgument } from './durationArgument.js';

/** What was typed: arguments by place, options by their long names in camel case. */
export class CommandArguments {
  readonly #arguments: readonly (string | undefined)[];
  readonly #options: Readonly<Record<string, unknown>>;

  constructor(args: readonly (string | undefined)[], options: Readonly<Record<string, unknown>>) {
    this.#arguments = args;
    this.#options = options;
  }

  argument(place: number): string {
    const value = this.#arguments[place];
    if (value === undefined) throw new UsageError('an argument is missing', 'see --help');
    return value;
  }

  /** All arguments, of a command that takes any number of them. */
  get all(): readonly string[] {
    return this.#arguments.filter((value) => value !== undefined);
  }

  /** An option, when it was given or has a default. */
  find(name: string): string | undefined {
    const value = this.#options[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** An option that the command requires. */
  text(name: string): string {
    const value = this.find(name);
    if (value === undefined) throw new UsageError(`--${dashed(name)} is missing`, 'see --help');
    return value;
  }

  /** An option that is a text for people, when it was given: what the terminal sent must have been UTF-8, and be in NFC. */
  findWords(name: string): string | undefined {
    const value = this.find(name);
    if (value === undefined || isPlainText(value)) return value;
    throw new UsageError(
      `--${dashed(name)} is not in Unicode NFC, or was not UTF-8`,
      'set the terminal and LANG to UTF-8, and type it anew',
    );
  }

  /** The same, of an option that the command requires. */
  words(name: string): string {
    this.text(name);
    return this.findWords(name) ?? '';
  }

  /** Whether a flag was given; for a flag `--no-x` ask for `x`. */
  flag(name: string): boolean {
    return this.#options[name] === true;
  }

  /** Every value of an option that may stand several times. */
  list(name: string): readonly string[] {
    const value = this.#options[name];
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
  }

  /** A duration in milliseconds: `1h`, `30m`, `7d` or ISO 8601. */
  duration(name: string): number {
    const text = this.text(name);
    const ms = parseDurationArgument(text);
    if (ms === undefined) {
      throw new UsageError(`--${dashed(name)} ${text} is not a duration`, 'write 30m, 1h, 7d, or PT1H30M');
    }
    return ms;
  }

  /** A whole number of at least 1. */
  count(name: string): number {
    const text = this.text(name);
    const value = /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : undefined;
    if (value === undefined) throw new UsageError(`--${dashed(name)} ${text} is not a number from 1 on`);
    return value;
  }

  /** A whole number, when it was given. */
  findNumber(name: string): number | undefined {
    const text = this.find(name);
    if (text === undefined) return undefined;
    if (/^(?:0|[1-9][0-9]{0,8})$/.test(text)) return Number(text);
    throw new UsageError(`--${dashed(name)} ${text} is not a number from 0 on`);
  }

  /** One of a closed set, when it was given. */
  oneOf<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const text = this.find(name);
    const choice = choices.find((candidate) => candidate === text);
    if (text !== undefined && choice === undefined) {
      throw new UsageError(`--${dashed(name)} ${text} is not one of ${choices.join(', ')}`);
    }
    return choice;
  }
}

function dashed(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
