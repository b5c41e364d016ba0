import { Writable } from 'node:stream';
import winston from 'winston';
import type { OperatorLog } from '../../src/daemon/operatorLog.js';

/** An operator's log that keeps its lines as they would be written, for a test to read. */
export function keptLog(): {
  readonly log: OperatorLog;
  readonly lines: Readonly<Record<string, unknown>>[];
} {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const stream = new Writable({
    write: (line: Buffer, _encoding, done) => {
      lines.push(JSON.parse(line.toString()) as Record<string, unknown>);
      done();
    },
  });
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own transport, by its own types
  const log = winston.createLogger({ transports: [new winston.transports.Stream({ stream })] });
  return { log, lines };
}
