import type { Table } from './table.js';

/** Told while a bench works. */
export type Progress = (line: string) => void;

/** How a bench is to measure. */
export interface How {
  /** How long each figure is measured. */
  readonly seconds: number;
  /** How often all of what a bench of the whole daemon measures is measured. */
  readonly rounds: number;
  /** Words that select what a bench of signatures measures, and what one of growth has grow; all of it, where there is none. */
  readonly only: readonly string[];
  /** The part of its full size that a bench of growth has its state grow to. */
  readonly scale: number;
  /** Where the daemon's profiles of CPU time go; none are made when it is undefined. */
  readonly profileInto: string | undefined;
  readonly progress: Progress;
}

/** A bench: makes what it needs, measures, and removes it again. */
export type Bench = (how: How) => Promise<Findings>;

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
  return { what: `${what}: ${figure(value)}, asked ${least.toLocaleString('en-US')}`, met: value >= least };
}

/** `value` against the most that is asked. */
export function atMost(what: string, value: number, most: number): Target {
  const asked = `asked at most ${most.toLocaleString('en-US')}`;
  return { what: `${what}: ${figure(value)}, ${asked}`, met: value <= most };
}

function figure(value: number): string {
  return value < 10 ? value.toFixed(2) : Math.round(value).toLocaleString('en-US');
}
