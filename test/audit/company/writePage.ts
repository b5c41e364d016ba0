import { readFileSync, writeFileSync } from 'node:fs';

import { openAuditorsRoom } from './auditorsRoom.js';
import { play } from './played.js';

/* Writes into docs/auditors.md what its commands write now: `npm run generate:auditors`. */
const PAGE = 'docs/auditors.md';
const room = await openAuditorsRoom();
try {
  const { text, failed } = await play(readFileSync(PAGE, 'utf8'), room);
  for (const { command, exit, out, err } of failed)
    process.stderr.write(`${command}: exit ${exit}\n${out}${err}`);
  if (failed.length === 0) writeFileSync(PAGE, text);
} finally {
  await room.close();
}
