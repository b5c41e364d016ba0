import { AwaitedSeen } from './remindRecovery.js';
import { TokenSeen } from './strays.js';

/** What one round of housekeeping tells the next. */
export class HouseMemory {
  readonly token: TokenSeen;
  readonly awaited = new AwaitedSeen();

  /** @param tokenEveryMs how often the token is looked through though nothing asks for it; 0: in each round */
  constructor(tokenEveryMs = 0) {
    this.token = new TokenSeen(tokenEveryMs);
  }
}
