/** The `code` of what `act` throws; fails the test when it throws nothing. */
export function errorCode(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return (error as { readonly code: string }).code;
  }
  throw new Error('nothing was thrown');
}
