import type { CommandRow, GroupRow, OptionRow } from './command.js';
import { agentCommand } from './commands/agent.js';
import { coverageCommand } from './commands/audit/coverage.js';
import { depositaryCommands } from './commands/depositary.js';
import { drillCommand } from './commands/drills/drill.js';
import { grantCommands } from './commands/grant.js';
import { historyCommand, historyCommands } from './commands/audit/history.js';
import { historyFindCommand } from './commands/audit/historyFind.js';
import { identityCommands } from './commands/identity.js';
import { inboxCommand } from './commands/inbox.js';
import { keyCommands } from './commands/key.js';
import { importCommands } from './commands/keyImport.js';
import { logCommands } from './commands/audit/log.js';
import { notificationCommands } from './commands/notifications.js';
import { applyCommand, planCommand } from './commands/plan.js';
import { policyCommands } from './commands/policy.js';
import { recoveryCommands } from './commands/recovery.js';
import { decisionCommands } from './commands/recoveryDecisions.js';
import { releaseCommand } from './commands/release.js';
import { reportCommands } from './commands/audit/report.js';
import { approveJobCommand } from './commands/reseal/approve.js';
import { resealCommand } from './commands/reseal/ask.js';
import { showJobCommand } from './commands/reseal/show.js';
import { rulesCommands } from './commands/rules.js';
import { secretCommands } from './commands/secret.js';
import { statusCommand } from './commands/status.js';
import { tokenCommands } from './commands/token.js';
import { useCommands } from './commands/use.js';
import { whoamiCommand } from './commands/whoami.js';
import { witnessCommands } from './commands/witness.js';
import { DEFAULT_TIMEOUT } from './session.js';

/** Commands by what they are about, in the order in which one needs them. */
export const GROUPS: readonly GroupRow[] = [
  {
    name: 'identity',
    summary: 'who you are: your keys, and the server you trust',
    commands: identityCommands,
  },
  { name: 'depositary', summary: 'enrolment of depositaries', commands: depositaryCommands },
  {
    name: 'policy',
    summary: 'directory and rules: what is in force, and what was',
    commands: policyCommands,
  },
  { name: 'rules', summary: 'what the rules would say', commands: rulesCommands },
  { name: 'key', summary: 'keys, deposited as they are born', commands: [...keyCommands, ...importCommands] },
  { name: 'secret', summary: 'passphrases, disk keys and tokens, kept like keys', commands: secretCommands },
  {
    name: 'recovery',
    summary: 'bringing a key back: request, approve, activate, release',
    commands: [...recoveryCommands, ...decisionCommands, releaseCommand],
  },
  {
    name: 'reseal',
    summary: 'sealing keys to other depositaries',
    itself: resealCommand,
    commands: [approveJobCommand, showJobCommand],
  },
  { name: 'grant', summary: 'the right of an app to use a recovered key', commands: grantCommands },
  {
    name: 'notifications',
    summary: 'what people could not be told by webhook, mail or file',
    commands: notificationCommands,
  },
  { name: 'token', summary: 'what the token can do, and enforces', commands: tokenCommands },
  {
    name: 'history',
    summary: 'everything that was done, or tried, with your keys, and its proof',
    itself: historyCommand,
    commands: [historyFindCommand, ...historyCommands],
  },
  { name: 'log', summary: 'the record of everything, and its verification', commands: logCommands },
  {
    name: 'report',
    summary: 'what auditors ask, answered from a log that was verified',
    commands: reportCommands,
  },
  {
    name: 'witness',
    summary: 'a small witness, which keeps a log from showing different things to different people',
    commands: witnessCommands,
  },
];

export const OPTIONS: readonly OptionRow[] = [
  { flags: '--as <dir>', about: 'your identity directory (ESCROWCTL_IDENTITY)' },
  { flags: '--json', about: 'write JSON of a stable shape instead of text' },
  {
    flags: '--timeout <duration>',
    about: `how long to wait for the server (ESCROWCTL_TIMEOUT; default: ${DEFAULT_TIMEOUT})`,
  },
  {
    flags: '--passphrase-file <file>',
    about: 'the passphrase of your keys, instead of asking (ESCROWCTL_PASSPHRASE_FILE)',
  },
  {
    flags: '--card-pin-file <file>',
    about: 'the PIN of your card, instead of asking (ESCROWCTL_CARD_PIN_FILE)',
  },
];

/** Commands that stand by themselves. */
export const COMMANDS: readonly CommandRow[] = [
  inboxCommand,
  drillCommand,
  planCommand,
  applyCommand,
  coverageCommand,
  ...useCommands,
  agentCommand,
  statusCommand,
  whoamiCommand,
];
