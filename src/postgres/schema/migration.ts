/** One step of the schema. One that has been released is never edited: the next one changes what it made. */
export interface Migration {
  /** Begins with its number: they run in the order of their list, which is that of their names. */
  readonly name: string;
  readonly sql: string;
}
