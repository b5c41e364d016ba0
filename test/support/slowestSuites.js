import { relative } from 'node:path';

const SHOWN = 10;

/** Says at the end of a run which suites took longest, in seconds of the clock. */
class SlowestSuites {
  onRunComplete(_contexts, { testResults }) {
    if (testResults.length < 2) return;
    const slowest = testResults
      .map(({ testFilePath, perfStats }) => ({ testFilePath, seconds: perfStats.runtime / 1000 }))
      .sort((a, b) => b.seconds - a.seconds)
      .slice(0, SHOWN);
    const lines = slowest.map(
      ({ testFilePath, seconds }) =>
        `${seconds.toFixed(1).padStart(7)} s  ${relative(process.cwd(), testFilePath)}\n`,
    );
    process.stderr.write(`\nThe suites that took longest:\n${lines.join('')}`);
  }
}

export { SlowestSuites as default };
