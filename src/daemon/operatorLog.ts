import winston from 'winston';

/** For operators; never evidence. Nothing here may hold a PIN, a key or a ciphertext. */
export type OperatorLog = winston.Logger;

/** From the fewest lines to the most. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The level of this name; undefined when there is none: a log of an unknown level would have no line at all. */
export function logLevelOf(name: string): LogLevel | undefined {
  return LOG_LEVELS.find((level) => level === name);
}

/** JSON lines on standard output, or readable lines when that is a terminal. */
export function createOperatorLog(level: string, isTerminal: boolean): OperatorLog {
  const { combine, timestamp, json, printf, colorize } = winston.format;
  const readable = printf(({ timestamp: time, level: name, message, ...rest }) => {
    const more = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
    return `${String(time)} ${name} ${String(message)}${more}`;
  });
  return winston.createLogger({
    level,
    format: isTerminal ? combine(timestamp(), colorize(), readable) : combine(timestamp(), json()),
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own transport, by its own types
    transports: [new winston.transports.Console()],
  });
}

/** The chain of reasons of an error, for a log line. */
export function reasonsOf(error: unknown): string {
  const reasons: string[] = [];
  for (let at: unknown = error; at instanceof Error && reasons.length < 5; at = at.cause) {
    reasons.push(`${at.name}: ${at.message}`);
  }
  return reasons.length > 0 ? reasons.join(' <- ') : String(error);
}
