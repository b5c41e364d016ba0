/**
 * pg looks for its native bindings, which are not installed, when it is loaded with this variable: a program ends with a stack
 * trace before its first line. So it is taken away before, by being imported first.
 */
const VARIABLE = 'NODE_PG_FORCE_NATIVE';

const found = process.env[VARIABLE];
Reflect.deleteProperty(process.env, VARIABLE);

/** What was taken away: variables to be added to the environment that is judged. */
export const NATIVE_DRIVER: Readonly<Record<string, string>> = found ? { [VARIABLE]: found } : {};
