import { createHash } from 'node:crypto';

import type { Json } from '../../log/entry/canonical.js';
import { isJsonObject } from '../limits/strictJson.js';

/** A page and the policy it is to be shown under. */
export interface ApiPage {
  readonly html: string;
  /** Content-Security-Policy: no script, nothing from elsewhere, this one style (CSP3 section 2.3.1). */
  readonly contentSecurityPolicy: string;
}

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2430; background: #fff }
h2 { border-bottom: 1px solid #d0d7de; margin-top: 3rem } h3 { margin: 2rem 0 .25rem; font-size: 1rem }
code, pre { font: 14px/1.45 ui-monospace, monospace } pre { background: #f6f8fa; padding: .75rem; overflow-x: auto }
h3, p, td:last-child { overflow-wrap: anywhere; min-width: 5rem } td pre { white-space: pre-wrap; overflow-wrap: anywhere }
.method { display: inline-block; min-width: 3rem; font-weight: 700 } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #eaeef2 }
summary { cursor: pointer } a { color: #0b57d0 }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117 } pre { background: #161b22 } h2, th, td { border-color: #30363d } a { color: #79b8ff }
}
`;

/** The OpenAPI document for people: one page, without scripts. */
export function apiPageOf(document: Readonly<Record<string, Json>>): ApiPage {
  const info = at(document, 'info');
  const operations = Object.entries(object(document['paths'])).flatMap(([path, methods]) =>
    Object.entries(object(methods)).map(([method, operation]) => ({
      path,
      method,
      operation: object(operation),
    })),
  );
  const tags = list(document['tags']).map(object);
  const body = [
    `<h1>${escaped(info['title'])} <small>${escaped(info['version'])}</small></h1>`,
    `<p>${escaped(info['description'])}</p>`,
    '<p>The same for machines: <a href="/openapi.json">openapi.json</a>.</p>',
    `<nav><ul>${tags.map(({ name }) => `<li><a href="#${escaped(name)}">${escaped(name)}</a></li>`).join('')}` +
      '<li><a href="#schemas">schemas</a></li></ul></nav>',
    ...tags.flatMap(({ name, description }) => [
      `<h2 id="${escaped(name)}">${escaped(name)}</h2><p>${escaped(description)}</p>`,
      ...operations
        .filter(({ operation }) => list(operation['tags']).includes(name ?? null))
        .map(operationHtml),
    ]),
    '<h2 id="schemas">schemas</h2>',
    ...Object.entries(at(document, 'components', 'schemas')).map(
      ([name, schema]) => `<h3 id="schema-${escaped(name)}">${escaped(name)}</h3>${schemaHtml(schema)}`,
    ),
  ];
  const styleHash = createHash('sha256').update(STYLE).digest('base64');
  return {
    html:
      '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>escrowd API</title>' +
      '<meta name="viewport" content="width=device-width, initial-scale=1">' +
      `<style>${STYLE}</style></head><body>${body.join('\n')}</body></html>\n`,
    contentSecurityPolicy: `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  };
}

function operationHtml(found: {
  readonly path: string;
  readonly method: string;
  readonly operation: Readonly<Record<string, Json>>;
}): string {
  const { path, method, operation } = found;
  const parameters = list(operation['parameters']).map(object);
  const responses = Object.entries(object(operation['responses']));
  const order = at(operation, 'requestBody', 'content', 'application/json')['schema'];
  return [
    `<h3 id="${escaped(operation['operationId'])}"><code><span class="method">${escaped(method.toUpperCase())}</span> ${escaped(path)}</code></h3>`,
    `<p>${escaped(operation['description'])}</p>`,
    parameters.length === 0
      ? ''
      : rows(parameters.map((one) => [text(one['name']), text(one['in']), one['schema'] ?? {}])),
    order === undefined ? '' : `<p>Body: ${schemaHtml(order)}</p>`,
    rows(
      responses.map(([status, response]) => {
        const [content] = Object.values(at(object(response), 'content'));
        const isProblem = Number(status) >= 400;
        return [
          status,
          text(object(response)['description']),
          (isProblem ? undefined : object(content)['schema']) ?? '',
        ];
      }),
    ),
  ].join('');
}

function rows(cells: readonly (readonly [string, string, Json])[]): string {
  const shown = cells.map(
    ([first, second, schema]) =>
      `<tr><td><code>${escaped(first)}</code></td><td>${escaped(second)}</td><td>${schemaHtml(schema)}</td></tr>`,
  );
  return `<table>${shown.join('')}</table>`;
}

function schemaHtml(schema: Json): string {
  if (schema === '') return '';
  const { $ref } = object(schema);
  if (typeof $ref === 'string') {
    const name = escaped($ref.slice($ref.lastIndexOf('/') + 1));
    return `<a href="#schema-${name}">${name}</a>`;
  }
  const json = JSON.stringify(schema, null, 2);
  return json.length < 80 ? `<code>${escaped(JSON.stringify(schema))}</code>` : `<pre>${escaped(json)}</pre>`;
}

function at(
  from: Readonly<Record<string, Json>>,
  ...path: readonly string[]
): Readonly<Record<string, Json>> {
  return path.reduce((found, name) => object(found[name]), from);
}

function object(value: Json | undefined): Readonly<Record<string, Json>> {
  return isJsonObject(value) ? value : {};
}

function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

function text(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}

function escaped(value: Json | undefined): string {
  return text(value).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
