import type { Entry } from './entry.js';
import { forms, isAscending, isPhase, isTime } from './entry.js';
import { isPlainJson, plainCharacters } from './plainJson.js';

/** What following the acts of a log takes of an entry. */
export type EntryHead = Pick<Entry, 'act' | 'actor' | 'id' | 'phase'> & {
  readonly request?: string | undefined;
  readonly certificate?: string | undefined;
  readonly error?: string | undefined;
};

/**
 * The head of an entry whose text is plainly as the format has it: every member, in canonical form. That form fixes the
 * order of members, so that one pattern can tell, and no value need be made of them.
 *
 * @returns undefined when `parseEntry` has to look at it: it may be an entry with other characters, or none at all. What
 *   is accepted here, `parseEntry` accepts too, but for the entry's length, which is not looked at here.
 */
export function scanEntry(text: string): EntryHead | undefined {
  const members = outline.exec(text);
  if (members === null) return undefined;
  const [, act, actor, certificate, detail, digest, error, id, phase, request, keys, time, version] = members;
  if (act === undefined || actor === undefined || detail === undefined || id === undefined) return undefined;
  if (time === undefined || !isTime(time) || !isPhase(phase) || !isPlainJson(detail)) return undefined;
  if (keys !== undefined && !isAscending(keys.slice(1, -1).split('","'))) return undefined;
  if ((version === '2') !== (certificate !== undefined)) return undefined;

  const isCall = request !== undefined || certificate !== undefined;
  const isRefusal = phase === 'denied' || phase === 'failed';
  if (isRefusal !== (error !== undefined)) return undefined;
  if (digest !== undefined && phase !== 'done') return undefined;
  if (isCall && phase !== 'attempted' && phase !== 'denied') return undefined;
  if (request !== undefined && certificate !== undefined) return undefined;
  return { act, actor, id, phase, request, certificate, error };
}

/** A string that is not empty, and what it says. */
const words = `"([${plainCharacters}]+)"`;
const unread = `"[${plainCharacters}]+"`;

/** Nothing stands before the first member of an object, and a comma before each other. */
const next = '(?:(?<=\\{)|(?<!\\{),)';
const subject = [
  `(?:${next}"grant":${unread})?(?:${next}"key":${unread})?`,
  `(?:${next}"keys":\\[(${unread}(?:,${unread})*)\\])?`,
  `(?:${next}"owner":${unread})?(?:${next}"recovery":${unread})?`,
].join('');

/**
 * All of an entry but for its detail, which is taken to end where the next member seems to begin: whether it is a whole
 * value up to there is then to be seen.
 */
const outline = new RegExp(
  `^\\{"act":${words},"actor":${words}(?:,"certificate":"(${forms.certificate})")?,"detail":(\\{.*?\\})` +
    `(?:,"digest":"(${forms.digest})")?(?:,"error":${words})?,"id":${words},"phase":"([a-z]+)"` +
    `(?:,"request":"(${forms.jws})")?,"subject":\\{${subject}\\},"time":"([^"]{24})","v":([12])\\}$`,
);
