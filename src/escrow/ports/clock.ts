/** Time, given by the composition root. */
export interface Clock {
  now(): Date;
  pause(ms: number): Promise<void>;
}
