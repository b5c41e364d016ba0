import type { Answered, TellAnswered } from '../http/answered.js';
import type { OperatorLog } from './operatorLog.js';

/**
 * A line for each request, at level `info`. Who could not be told, and what could not be read, is `-`. What a caller may write as
 * they like (targets, headers, bodies) is in no line.
 */
export function accessLog(log: OperatorLog): TellAnswered {
  return (answered) => {
    if (log.isInfoEnabled()) log.log(lineOf(answered));
  };
}

function lineOf(answered: Answered): Readonly<Record<string, unknown>> & { level: string; message: string } {
  const { caller, method, route, address, status, code, requestId, entry, durationMs, isCut } = answered;
  return {
    level: 'info',
    message: 'request',
    who: caller ?? '-',
    what: `${method ?? '-'} ${route ?? '-'}`,
    from: address === '' ? '-' : address,
    status,
    ...(code === undefined ? {} : { code }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(entry === undefined ? {} : { entry }),
    ms: Math.round(durationMs * 10) / 10,
    ...(isCut ? { cut: true } : {}),
  };
}
