import type { Table } from './table.js';

/** Told while a bench works. */
export type Progress = (line: string) => void;

/** A bench: makes what it needs, measures, and removes it again. */
export type Bench = (how: {
  /** How long each figure is measured. */
  readonly seconds: number;
  readonly progress: Progress;
}) => Promise<Findings>;

/** What a bench has found. */
export interface Findings {
  readonly bench: string;
  readonly tables: readonly Table[];
  /** The same figures for a program; units are in the names. */
  readonly figures: readonly object[];
  readonly targets: readonly Target[];
}

/** What is asked of a figure, with the figure, and whether it is so. */
export interface Target {
  readonly what: string;
  readonly met: boolean;
}

/** `value` against the least that is asked. */
export function atLeast(what: string, value: number, least: number): Target {
  const figure = value < 10 ? value.toFixed(2) : Math.round(value).toLocaleString('en-US');
  return { what: `${what}: ${figure}, asked ${least.toLocaleString('en-US')}`, met: value >= least };
}
