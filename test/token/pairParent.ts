import { pairProcess } from '../../src/token/objects/pairMaker.js';
import { findModule, libraryParameters } from '../../src/token/cryptoki/module.js';
import { readProfile } from '../../src/token/profile/profile.js';

/** Has one pair after another made until it is killed: program, profile, token's label, configuration of SoftHSM, PIN. */
const [program = '', profileFile = '', label = '', conf = '', pin = ''] = process.argv.slice(2);
const profile = readProfile(profileFile);
const environment = { SOFTHSM2_CONF: conf };
const modulePath = findModule(profile, undefined);
const parameters = libraryParameters(profile, label, environment);
const start = pairProcess(program, { deadlineMs: 60_000, log: () => undefined });
const maker = start({ profile, label, modulePath, environment, parameters }, Buffer.from(pin));
for (let made = 0; ; made += 1) {
  await maker.make(`transport:${made}`);
  process.stdout.write('made\n');
}
