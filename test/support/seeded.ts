import fc from 'fast-check';

import { runSeed } from './chance.js';

// In every test file, before it: whatever fast-check draws follows from the seed of the run, which its failures name.
fc.configureGlobal({ seed: runSeed() });
