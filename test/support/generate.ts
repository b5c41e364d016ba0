import { writeFileSync } from 'node:fs';

import { generatedDocuments } from './generated.js';

// npm run generate
for (const [file, text] of Object.entries(generatedDocuments())) writeFileSync(file, text);
