import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { transform } from '@swc/core';

/* Lets `node --import` run the TypeScript of this repository as it stands; types are not checked. */
if (isMainThread) register(import.meta.url);

const isOurs = (url) => url?.endsWith('.ts') === true && !url.includes('/node_modules/');

/** An import of `./x.js` from TypeScript means `./x.ts`. */
export async function resolve(specifier, context, next) {
  const ours = specifier.startsWith('.') && isOurs(context.parentURL);
  return next(ours ? specifier.replace(/\.js$/, '.ts') : specifier, context);
}

export async function load(url, context, next) {
  if (!isOurs(url)) return next(url, context);
  const filename = fileURLToPath(url);
  const { code } = await transform(await readFile(filename, 'utf8'), {
    filename,
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'es6' },
  });
  return { format: 'module', source: code, shortCircuit: true };
}
