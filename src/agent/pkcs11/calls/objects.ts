import { isSame, readAsked, readTemplate, writeAttribute, writeMissing, lengthOf } from '../attributes.js';
import { type Call, NOTHING } from '../call.js';
import { CKR, Pkcs11Error } from '../numbers.js';

/** Functions for objects (PKCS#11 2.40 section 5.7): they are found and read, and nothing else. */
export const OBJECT_CALLS = {
  24: {
    ...{ name: 'C_GetAttributeValue', takes: 'uufA', gives: 'aAu' },
    run: ({ sessions, parts }, take) => {
      sessions.get(take.ulong());
      const object = parts.objects.get(take.ulong());
      const asked = readAsked(take);
      take.end();
      if (object === undefined) throw new Pkcs11Error(CKR.OBJECT_HANDLE_INVALID);
      return (reply) => {
        reply.uint32(asked.length);
        let code = 0;
        for (const one of asked) {
          const value = object.attributes.get(one.type);
          if (value === undefined) {
            writeMissing(reply, one.type);
            code = object.secret.has(one.type) ? CKR.ATTRIBUTE_SENSITIVE : CKR.ATTRIBUTE_TYPE_INVALID;
          } else {
            writeAttribute(reply, one, value);
            if (one.room > 0 && lengthOf(value) > one.room) code = CKR.BUFFER_TOO_SMALL;
          }
        }
        return reply.ulong(code);
      };
    },
  },
  26: {
    ...{ name: 'C_FindObjectsInit', takes: 'uaA', gives: '' },
    run: ({ sessions, parts }, take) => {
      const session = sessions.get(take.ulong());
      const template = readTemplate(take);
      take.end();
      if (session.found !== undefined) throw new Pkcs11Error(CKR.OPERATION_ACTIVE);
      session.found = [...parts.objects]
        .filter(([, { attributes }]) =>
          template.every(({ type, value }) => value !== undefined && isSame(attributes.get(type), value)),
        )
        .map(([handle]) => handle);
      return NOTHING;
    },
  },
  27: {
    ...{ name: 'C_FindObjects', takes: 'ufu', gives: 'au' },
    run: ({ sessions }, take) => {
      const session = sessions.get(take.ulong());
      const room = take.room();
      take.end();
      if (session.found === undefined) throw new Pkcs11Error(CKR.OPERATION_NOT_INITIALIZED);
      const now = session.found.slice(0, room);
      session.found = session.found.slice(room);
      return (reply) => reply.ulongArray(now);
    },
  },
  28: {
    ...{ name: 'C_FindObjectsFinal', takes: 'u', gives: '' },
    run: ({ sessions }, take) => {
      const session = sessions.get(take.ulong());
      take.end();
      if (session.found === undefined) throw new Pkcs11Error(CKR.OPERATION_NOT_INITIALIZED);
      session.found = undefined;
      return NOTHING;
    },
  },
} as const satisfies Readonly<Record<number, Call>>;
