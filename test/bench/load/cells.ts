/*
 * What a bench of signatures asks for, by four choices: each combination is measured for itself. The words are those of the
 * command line.
 */

/** Keys by the words of the command line: what the daemon calls them, and how they sign. */
export const KEYS = {
  p256: { spec: 'ec-p256', mechanism: 'ES256', title: 'P-256' },
  rsa2048: { spec: 'rsa-2048', mechanism: 'RS256', title: 'RSA-2048' },
  rsa3072: { spec: 'rsa-3072', mechanism: 'RS256', title: 'RSA-3072' },
} as const;
export type KeyWord = keyof typeof KEYS;
export const KEY_WORDS = Object.keys(KEYS) as readonly KeyWord[];

/** How long the signatures are. */
export const SIGNATURE_BYTES = { p256: 64, rsa2048: 256, rsa3072: 384 } as const satisfies Record<
  KeyWord,
  number
>;

/** Messages in a request. */
export const SIZES = { single: 1, batch: 100 } as const;
export type SizeWord = keyof typeof SIZES;

/** How the app shows who it is. */
export type CallerWord = 'certificate' | 'signed';

const CHOICES = {
  key: KEY_WORDS,
  size: Object.keys(SIZES) as readonly SizeWord[],
  caller: ['certificate', 'signed'] as readonly CallerWord[],
  clients: ['1', '8', '32'],
} as const;

/** One of the combinations. */
export interface Cell {
  readonly key: KeyWord;
  readonly size: SizeWord;
  readonly caller: CallerWord;
  /** Connections, each with one request after another. */
  readonly clients: number;
}

/** Every word that a selection may have. */
export const CELL_WORDS: readonly string[] = Object.values(CHOICES).flat();

/** What a bench of growth has grow, by the words that select it. */
export const GROWTH_WORDS = ['grants', 'deposits', 'entries'] as const;
export type GrowthWord = (typeof GROWTH_WORDS)[number];

/** The cells that a selection leaves: of each choice those that it names, or all where it names none. */
export function cellsOf(only: readonly string[]): readonly Cell[] {
  const left = <T extends string>(choice: readonly T[]): readonly T[] => {
    const named = choice.filter((word) => only.includes(word));
    return named.length === 0 ? choice : named;
  };
  return left(CHOICES.key).flatMap((key) =>
    left(CHOICES.size).flatMap((size) =>
      left(CHOICES.caller).flatMap((caller) =>
        left(CHOICES.clients).map((clients) => ({ key, size, caller, clients: Number(clients) })),
      ),
    ),
  );
}

/** A cell as the words that select it. */
export function nameOf({ key, size, caller, clients }: Cell): string {
  return `${key} ${size} ${caller} ${clients}`;
}

/** Where a bare server signs with a key. */
export function bareTarget(key: KeyWord): string {
  return `/sign/${key}`;
}
