import type { ApprovedKeys } from '../../src/client/depositary/approvedKeys.js';
import type { GenerationMemory } from '../../src/client/depositary/generations.js';
import type { LogMemory } from '../../src/client/log/logMemory.js';

/** A memory that is one, for tests of what is remembered. */
export class TestMemory implements LogMemory {
  note: string | undefined;
  readonly evidence: Readonly<Record<string, unknown>>[] = [];

  constructor(note?: string) {
    this.note = note;
  }

  last(): Promise<string | undefined> {
    return Promise.resolve(this.note);
  }

  remember(note: string, instead: string | undefined): Promise<boolean> {
    if (this.note !== instead) return Promise.resolve(false);
    this.note = note;
    return Promise.resolve(true);
  }

  keepEvidence(evidence: Readonly<Record<string, unknown>>): Promise<string> {
    this.evidence.push(evidence);
    return Promise.resolve('evidence.json');
  }
}

/** Remembers in this process which deposits of keys a depositary has opened a share of. */
export function rememberedGenerations(): GenerationMemory {
  const highest = new Map<string, number>();
  return {
    highest: (key) => Promise.resolve(highest.get(key)),
    opened: (generations) => {
      for (const [key, each] of generations) highest.set(key, Math.max(each, highest.get(key) ?? 1));
      return Promise.resolve();
    },
  };
}

/** Remembers in this process what somebody approved to be released to them. */
export function rememberedKeys(): ApprovedKeys {
  const known = new Map<string, string>();
  return {
    of: (key) => Promise.resolve(known.get(key)),
    approved: (keys) => {
      for (const [key, hash] of keys) known.set(key, known.get(key) ?? hash);
      return Promise.resolve();
    },
  };
}
