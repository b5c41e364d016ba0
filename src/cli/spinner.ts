import type { Terminal } from './terminal.js';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const;
/** Nothing is shown of what is over sooner. */
const PATIENCE_MS = 1000;
const FRAME_MS = 100;

/** What a long piece of work tells about itself. */
export type Progress = (text: string) => void;

/**
 * Shows on a person's terminal that work goes on, when it takes over a second; without a terminal nothing is written.
 */
export async function withSpinner<T>(
  terminal: Terminal,
  label: string,
  work: (progress: Progress) => Promise<T>,
): Promise<T> {
  if (!terminal.isInteractive) return work(() => undefined);
  const shown = { text: label, frame: -1 };
  const startedAt = performance.now();
  const timer = setInterval(() => {
    if (performance.now() - startedAt < PATIENCE_MS) return;
    shown.frame = (shown.frame + 1) % FRAMES.length;
    terminal.writeError(`\r\u001b[K${FRAMES[shown.frame] ?? ''} ${shown.text}`);
  }, FRAME_MS);
  try {
    return await work((said) => {
      shown.text = said;
    });
  } finally {
    clearInterval(timer);
    if (shown.frame >= 0) terminal.writeError('\r\u001b[K');
  }
}

const BAR_CELLS = 24;

/** How far a piece of work has come: `[██████······]  50 %`. */
export function bar(done: number, total: number): string {
  const share = total <= 0 ? 1 : Math.min(1, Math.max(0, done / total));
  const full = Math.floor(share * BAR_CELLS);
  const percent = String(Math.floor(share * 100)).padStart(3);
  return `[${'█'.repeat(full)}${'·'.repeat(BAR_CELLS - full)}] ${percent} %`;
}
