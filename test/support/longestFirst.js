// Comes with jest, whose own order it keeps where that knows better.
import Sequencer from '@jest/test-sequencer';

/**
 * Suites that take longest, by what they cost in CPU. A machine that has not run them knows nothing of that, and would begin
 * some of them last, with one worker and nothing left for the other.
 */
const LONGEST = [
  'promises/kill',
  'daemon/daemonProcess',
  'promises/badInput',
  'promises/copies',
  'promises/story',
  'privatePostgres/cluster',
  'promises/token',
  'token/contract',
  'token/hostile',
  'crash/crash',
  'promises/lifeOfARequest',
  'adversary/database/columns',
  'token/service/supervisedToken',
  'postgres/log/log',
  'promises/races',
  'promises/dump',
].map((name) => `/test/${name}.test.ts`);

/** Begins with the longest suites. */
class LongestFirst extends Sequencer {
  sort(tests) {
    const rank = ({ path }) => {
      const at = LONGEST.findIndex((name) => path.endsWith(name));
      return at < 0 ? LONGEST.length : at;
    };
    return super.sort(tests).sort((a, b) => rank(a) - rank(b));
  }
}

export { LongestFirst as default };
