/*
 * Which keys can be brought back by whom, worked out from an export of the log, the policy document and what the token has enrolled,
 * by nothing of src: as somebody would who has only read the documentation.
 */

interface Line {
  readonly act: string;
  readonly phase: string;
  readonly id: string;
  readonly subject: {
    readonly key?: string;
    readonly keys?: readonly string[];
    readonly owner?: string;
    readonly recovery?: string;
  };
  readonly detail: Readonly<Record<string, unknown>>;
}

interface Listed {
  readonly id: string;
  readonly roles: readonly string[];
  readonly keys: readonly unknown[];
  readonly depositaryKey?: string | undefined;
}

interface Share {
  readonly purpose: string;
  readonly recipients: readonly { readonly depositary: string; readonly recipient: string }[];
}

/** Whom keys are sealed to: of a birth, by its attempt; of a reseal, by what was asked. */
interface Plan {
  readonly rule: string;
  readonly quorums: readonly (readonly string[])[];
  readonly recipients: readonly { readonly depositary: string; readonly fingerprint: string }[];
}

interface Deposited extends Pick<Plan, 'rule' | 'quorums'> {
  readonly owner: string;
  readonly shares: readonly Share[];
}

/** What somebody who recomputes it finds about one key for one purpose. */
export interface Recomputed {
  readonly key: string;
  readonly owner: string;
  readonly rule: string;
  readonly purpose: string;
  /** `dana+dave`, sorted. */
  readonly live: readonly string[];
  readonly singlePoints: readonly string[];
  readonly unable: readonly string[];
}

/**
 * @param entries the lines of the log, each the JSON of an entry, in order
 * @param directory the principals of the policy in force, as its document lists them
 * @param enrolled the fingerprint of each key that the token has enrolled, by id
 */
export function recomputedCoverage(
  entries: readonly string[],
  directory: readonly Listed[],
  enrolled: Readonly<Record<string, string>>,
): readonly Recomputed[] {
  const attempts: Record<string, Line> = {};
  const asked: Record<string, Plan> = {};
  const deposits: Record<string, Deposited> = {};
  for (const text of entries) {
    const line = JSON.parse(text) as Line;
    const { key = '', keys = [], owner = '', recovery = '' } = line.subject;
    if (line.phase === 'attempted') attempts[line.id] = line;
    const attempt = attempts[line.id];
    if (line.act === 'recovery.request' && line.phase === 'attempted' && line.detail['plan'] !== undefined)
      asked[recovery] = line.detail['plan'] as Plan;
    if (line.phase !== 'done' || attempt === undefined) continue;
    if (line.act === 'key.generate' && deposits[key] === undefined) {
      const { rule, quorums } = attempt.detail as unknown as Plan;
      deposits[key] = { owner, rule, quorums, shares: line.detail['shares'] as readonly Share[] };
    }
    const plan = asked[recovery];
    if (line.act !== 'recovery.reseal' || plan === undefined) continue;
    const recipients = plan.recipients.map(({ depositary, fingerprint: recipient }) => ({
      ...{ depositary, recipient },
    }));
    for (const each of keys) {
      const before = deposits[each];
      if (before === undefined) continue;
      const shares = before.shares.map(({ purpose }) => ({ purpose, recipients }));
      deposits[each] = { owner, rule: plan.rule, quorums: plan.quorums, shares };
    }
  }
  const found = Object.entries(deposits).flatMap(([key, { owner, rule, quorums, shares }]) =>
    shares.map(({ purpose, recipients }): Recomputed => {
      const able = (id: string): boolean => canAgree(id, recipients, directory, enrolled);
      const live = quorums.filter((members) => members.every(able));
      const people = [...new Set(quorums.flat())].sort();
      return {
        ...{ key, owner, rule, purpose },
        live: live.map((members) => [...members].sort().join('+')).sort(),
        singlePoints:
          live.length === 0 ? [] : people.filter((id) => live.every((members) => members.includes(id))),
        unable: people.filter((id) => !able(id)),
      };
    }),
  );
  return found.sort((a, b) => (a.key + a.purpose < b.key + b.purpose ? -1 : 1));
}

/** Listed as a depositary who can sign; with the key that the share went to, in the directory and in the token. */
function canAgree(
  id: string,
  recipients: Share['recipients'],
  directory: readonly Listed[],
  enrolled: Readonly<Record<string, string>>,
): boolean {
  const person = directory.find((one) => one.id === id);
  const went = recipients.find(({ depositary }) => depositary === id)?.recipient;
  if (person === undefined || went === undefined) return false;
  const signs = person.roles.includes('depositary') && person.keys.length > 0;
  return signs && person.depositaryKey === went && enrolled[id] === went;
}

/** What coverage has said, in the same form. */
export function saidCoverage(
  keys: readonly {
    readonly key: string;
    readonly owner: string;
    readonly rule: string;
    readonly purposes: readonly {
      readonly purpose: string;
      readonly live: readonly (readonly string[])[];
      readonly singlePoints: readonly string[];
      readonly unable: readonly { readonly depositary: string }[];
    }[];
  }[],
): readonly Recomputed[] {
  return keys
    .flatMap(({ key, owner, rule, purposes }) =>
      purposes.map(({ purpose, live, singlePoints, unable }) => ({
        ...{ key, owner, rule, purpose },
        live: live.map((members) => [...members].sort().join('+')).sort(),
        singlePoints: [...singlePoints].sort(),
        unable: unable.map(({ depositary }) => depositary).sort(),
      })),
    )
    .sort((a, b) => (a.key + a.purpose < b.key + b.purpose ? -1 : 1));
}
