import { trustedUsers } from '../../src/system/users.js';

test.each([
  ['of a user, root and the user', 1000, {}, [0, 1000]],
  ['of a user who says that sudo was called, nobody more', 1000, { SUDO_UID: '1001' }, [0, 1000]],
  ['of root by sudo, the caller as well', 0, { SUDO_UID: '1001' }, [0, 1001]],
  ['of root, root alone', 0, {}, [0]],
  ['of root by what is no user', 0, { SUDO_UID: '-1' }, [0]],
])('%s are trusted', (_whose, user, environment, expected) => {
  expect([...trustedUsers(user, environment)]).toEqual(expected);
});
