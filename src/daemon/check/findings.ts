import { type Finding, found, type FindingCode, type Severity } from './finding.js';

/** What is found, in the order in which a start would find it. */
export class Findings {
  readonly #findings: Finding[] = [];
  #exitCode = 0;

  get list(): readonly Finding[] {
    return this.#findings;
  }

  /** The code that a start would end with: that of the first error. 0 when there is none. */
  get exitCode(): number {
    return this.#exitCode;
  }

  add(severity: Exclude<Severity, 'error'>, finding: Omit<Finding, 'severity'>): void {
    this.#findings.push({ ...finding, severity });
  }

  /** What a start would have thrown. */
  error(error: unknown, about: { readonly code: FindingCode; readonly where: string }): void {
    const { findings, exitCode } = found(error, about);
    this.#findings.push(...findings);
    if (this.#exitCode === 0) this.#exitCode = exitCode;
  }

  /** Does what a start does; undefined when that throws, which is found then. */
  async attempt<T>(
    about: { readonly code: FindingCode; readonly where: string },
    work: () => T | Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.error(error, about);
      return undefined;
    }
  }
}
