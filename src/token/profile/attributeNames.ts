import pkcs11 from 'pkcs11js';

/** Attributes that a profile can say its token does not have. */
export const DISPENSABLE = {
  CKA_TRUSTED: pkcs11.CKA_TRUSTED,
  CKA_WRAP_WITH_TRUSTED: pkcs11.CKA_WRAP_WITH_TRUSTED,
  CKA_UNWRAP_TEMPLATE: pkcs11.CKA_UNWRAP_TEMPLATE,
  CKA_WRAP_TEMPLATE: pkcs11.CKA_WRAP_TEMPLATE,
  CKA_ALLOWED_MECHANISMS: pkcs11.CKA_ALLOWED_MECHANISMS,
  CKA_COPYABLE: pkcs11.CKA_COPYABLE,
  CKA_LOCAL: pkcs11.CKA_LOCAL,
} as const;
/** Uses that a token may give to every private key that it unwraps, whatever was asked. */
export const USES_ON_UNWRAPPING = {
  CKA_DECRYPT: pkcs11.CKA_DECRYPT,
  CKA_SIGN: pkcs11.CKA_SIGN,
  CKA_SIGN_RECOVER: pkcs11.CKA_SIGN_RECOVER,
  CKA_UNWRAP: pkcs11.CKA_UNWRAP,
  CKA_DERIVE: pkcs11.CKA_DERIVE,
} as const;
