import { openState } from '../../src/witness/state.js';
import { knownLogs, Witness } from '../../src/witness/witness.js';

/**
 * A witness that is killed when it comes to cosign: argv is state directory, its vkey, the log's vkey, and the body of
 * the request in base64.
 */
const [, , directory = '', vkey = '', logKey = '', body = ''] = process.argv;
const witness = new Witness({
  cosigner: {
    cosign: () => {
      process.kill(process.pid, 'SIGKILL');
      for (;;); // nothing is done until the signal has arrived
    },
  },
  state: await openState(directory, vkey),
  logs: knownLogs([logKey]),
  now: () => new Date(),
});
const { told } = await witness.addCheckpoint(Buffer.from(body, 'base64').toString());
process.stdout.write(`${told.outcome}\n`);
