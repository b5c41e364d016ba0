/** What an act is about. Ids are as asked for: they need not exist. */
export interface Subject {
  readonly key?: string;
  /** In place of `key`, of what is about a recovery: all its keys, in ascending order. */
  readonly keys?: readonly string[];
  readonly owner?: string;
  readonly recovery?: string;
  readonly grant?: string;
}
