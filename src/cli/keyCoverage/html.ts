import { printable } from '../../escrow/records/freeText.js';
import type { CoveredKeyReply } from '../../api/replies.js';
import {
  type CoverageListing,
  type Tally,
  coverageIn,
  GROUPINGS,
  talliesBy,
  tallyOf,
  unlistedInWords,
} from './listing.js';
import { drilledInWords } from './drills.js';
import { kekMissingInWords, kekStateInWords, keksOf } from './keks.js';
import { COVERAGE_WORDS } from './text.js';
import { liveInWords, unableInWords } from '../words.js';

const STYLE = `
  body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #1b1b1b; background: #fff; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
  table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .3rem .7rem; border-bottom: 1px solid #ddd; }
  td.n, th.n { text-align: right; } code { font-size: .85rem; }
  tr.lost td:first-child { border-left: .4rem solid #b00020; } tr.one-quorum td:first-child { border-left: .4rem solid #c77700; }
  tr.single-point td:first-child { border-left: .4rem solid #d6b400; } tr.covered td:first-child { border-left: .4rem solid #2e7d32; }
  @media print { body { margin: 0; } }
`;

/** A page of its own that shows all keys, the worst covered first: no script, nothing from elsewhere, printable. UTF-8. */
export function coverageAsHtml(listing: CoverageListing, madeAt: Date): Buffer {
  const { keys, policyVersion, policyHash, isTokenAsked } = listing;
  const body = [
    '<h1>Who can bring back which keys</h1>',
    `<p>${keys.length} keys under policy version ${policyVersion} (<code>${escaped(policyHash)}</code>), ${escaped(madeAt.toISOString())}. ${
      isTokenAsked
        ? 'The token said who is enrolled.'
        : '<strong>The token is out: who is enrolled in it is not counted.</strong>'
    }</p>`,
    ...unlistedInWords(listing).map((said) => `<p><strong>${escaped(said)}</strong></p>`),
    tallyTable('', [tallyOf(keys)]),
    ...GROUPINGS.flatMap(({ name, nameOf }) => [
      `<h2>By ${name}</h2>`,
      tallyTable(name, talliesBy(keys, nameOf)),
    ]),
    '<h2>By key-encryption key</h2>',
    kekTable(keys),
    '<h2>Keys</h2>',
    keyTable(keys),
  ];
  const head = [
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    '<title>escrowd: who can bring back which keys</title>',
    `<style>${STYLE}</style>`,
  ];
  return Buffer.from(
    `<!doctype html>\n<html lang="en">\n<head>\n${head.join('\n')}\n</head>\n<body>\n${body.join('\n')}\n</body>\n</html>\n`,
  );
}

function tallyTable(heading: string, tallies: readonly Tally[]): string {
  return table(
    [heading, 'keys', ...Object.values(COVERAGE_WORDS)],
    tallies.map((tally) => ({
      kind: undefined,
      cells: [
        cell(tally.name === '' ? 'none' : tally.name),
        number(tally.keys),
        ...(Object.keys(COVERAGE_WORDS) as (keyof typeof COVERAGE_WORDS)[]).map((one) => number(tally[one])),
      ],
    })),
  );
}

function kekTable(keys: readonly CoveredKeyReply[]): string {
  return table(
    ['key-encryption key', 'keys', 'what becomes of them'],
    keksOf(keys).map(({ kek, keys: count, state }) => ({
      kind: undefined,
      cells: [`<td><code>${escaped(kek)}</code></td>`, number(count), cell(kekStateInWords(state))],
    })),
  );
}

function keyTable(keys: readonly CoveredKeyReply[]): string {
  const order = Object.keys(COVERAGE_WORDS);
  const worstFirst = [...keys].sort(
    (a, b) => order.indexOf(coverageIn(a)) - order.indexOf(coverageIn(b)) || (a.key < b.key ? -1 : 1),
  );
  return table(
    [
      ...['key', 'owner', 'department', 'label', 'rule', 'made', 'generation', 'last used'],
      ...['covered', 'by whom'],
    ],
    worstFirst.map((key) => ({
      kind: coverageIn(key),
      cells: [
        `<td><code>${escaped(key.key)}</code></td>`,
        cell(key.owner),
        cell(key.department ?? ''),
        cell(key.label),
        cell(key.rule),
        cell(key.createdAt),
        number(key.generation),
        cell(key.lastUsedAt ?? 'never'),
        cell(key.isAsLogged ? COVERAGE_WORDS[coverageIn(key)] : 'its record is not what was logged'),
        `<td>${key.purposes.map(purposeIn).join('<br>')}</td>`,
      ],
    })),
  );
}

function purposeIn(purpose: CoveredKeyReply['purposes'][number]): string {
  const why = kekMissingInWords(purpose) ?? unableInWords(purpose.unable);
  const said = `to ${purpose.purpose}, under ${purpose.kek}: ${liveInWords(purpose, purpose.quorums)}; ${drilledInWords(purpose)}`;
  return escaped(why === undefined ? said : `${said}; ${why}`);
}

interface Row {
  /** The class of the row. */
  readonly kind: string | undefined;
  readonly cells: readonly string[];
}

function table(headings: readonly string[], rows: readonly Row[]): string {
  return [
    '<table>',
    `<thead><tr>${headings.map((text) => `<th>${escaped(text)}</th>`).join('')}</tr></thead>`,
    '<tbody>',
    ...rows.map(
      ({ kind, cells }) => `<tr${kind === undefined ? '' : ` class="${kind}"`}>${cells.join('')}</tr>`,
    ),
    '</tbody>',
    '</table>',
  ].join('\n');
}

function cell(text: string): string {
  return `<td>${escaped(text)}</td>`;
}

function number(count: number): string {
  return `<td class="n">${count}</td>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A text as it may stand in an element or in quotes; characters that one does not see are written out. */
export function escaped(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
