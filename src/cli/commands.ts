import type { CommandRow, GroupRow } from './command.js';
import { depositaryCommands } from './commands/depositary.js';
import { grantCommands } from './commands/grant.js';
import { historyCommand, historyCommands } from './commands/history.js';
import { identityCommands } from './commands/identity.js';
import { keyCommands } from './commands/key.js';
import { logCommands } from './commands/log.js';
import { policyCommands } from './commands/policy.js';
import { recoveryCommands } from './commands/recovery.js';
import { decisionCommands } from './commands/recoveryDecisions.js';
import { releaseCommand } from './commands/release.js';
import { rulesCommands } from './commands/rules.js';
import { statusCommand } from './commands/status.js';
import { tokenCommands } from './commands/token.js';
import { useCommands } from './commands/use.js';

/** Commands by what they are about, in the order in which one needs them. */
export const GROUPS: readonly GroupRow[] = [
  {
    name: 'identity',
    summary: 'who you are: your keys, and the server you trust',
    commands: identityCommands,
  },
  { name: 'depositary', summary: 'enrolment of depositaries', commands: depositaryCommands },
  { name: 'policy', summary: 'directory and rules, signed by two administrators', commands: policyCommands },
  { name: 'rules', summary: 'what the rules in force would say', commands: rulesCommands },
  { name: 'key', summary: 'keys, deposited as they are born', commands: keyCommands },
  {
    name: 'recovery',
    summary: 'bringing a key back: request, approve, activate, release',
    commands: [...recoveryCommands, ...decisionCommands, releaseCommand],
  },
  { name: 'grant', summary: 'the right of an app to use a recovered key', commands: grantCommands },
  { name: 'token', summary: 'what the token can do, and enforces', commands: tokenCommands },
  {
    name: 'history',
    summary: 'everything that was done, or tried, with your keys, and its proof',
    itself: historyCommand,
    commands: historyCommands,
  },
  { name: 'log', summary: 'the record of everything, and its verification', commands: logCommands },
];

/** Commands that stand by themselves. */
export const COMMANDS: readonly CommandRow[] = [...useCommands, statusCommand];
