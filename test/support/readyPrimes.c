/*
 * A library that has libcrypto make RSA pairs, for SoftHSM here, of primes that are ready. A search for two primes takes a
 * second of CPU, all that follows from them a millisecond. PRIMES holds files of primes, named by their bits, one in hex on
 * each line; TAKEN a file for each length, with a byte for each pair that a process of this run has taken, so that none is
 * taken twice. When all of them are, or for any other length, the pair is generated as usual.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of openssl/bn.h and openssl/rsa.h, which need not be installed. */
typedef struct bignum_st BIGNUM;
typedef struct bignum_ctx BN_CTX;
typedef struct bn_gencb_st BN_GENCB;
typedef struct rsa_st RSA;
typedef struct rsa_meth_st RSA_METHOD;
typedef int keygen(RSA *, int bits, BIGNUM *e, BN_GENCB *);

/* Looked up by hand: node has an OpenSSL of its own, whose functions have the same names. */
#define FUNCTIONS(X)                                                                                   \
  X(BN_CTX *, BN_CTX_new, (void))                                                                      \
  X(void, BN_CTX_free, (BN_CTX *))                                                                     \
  X(BIGNUM *, BN_new, (void))                                                                          \
  X(BIGNUM *, BN_dup, (const BIGNUM *))                                                                \
  X(void, BN_clear_free, (BIGNUM *))                                                                   \
  X(int, BN_hex2bn, (BIGNUM **, const char *))                                                         \
  X(int, BN_is_word, (const BIGNUM *, unsigned long))                                                  \
  X(int, BN_cmp, (const BIGNUM *, const BIGNUM *))                                                     \
  X(int, BN_sub_word, (BIGNUM *, unsigned long))                                                       \
  X(int, BN_mul, (BIGNUM *, const BIGNUM *, const BIGNUM *, BN_CTX *))                                 \
  X(int, BN_nnmod, (BIGNUM *, const BIGNUM *, const BIGNUM *, BN_CTX *))                               \
  X(BIGNUM *, BN_mod_inverse, (BIGNUM *, const BIGNUM *, const BIGNUM *, BN_CTX *))                    \
  X(RSA_METHOD *, RSA_PKCS1_OpenSSL, (void))                                                           \
  X(int, RSA_meth_set_keygen, (RSA_METHOD *, keygen *))                                                \
  X(int, RSA_generate_multi_prime_key, (RSA *, int bits, int primes, BIGNUM *e, BN_GENCB *))           \
  X(int, RSA_set0_key, (RSA *, BIGNUM *n, BIGNUM *e, BIGNUM *d))                                       \
  X(int, RSA_set0_factors, (RSA *, BIGNUM *p, BIGNUM *q))                                              \
  X(int, RSA_set0_crt_params, (RSA *, BIGNUM *dp, BIGNUM *dq, BIGNUM *inverse))
#define DECLARE(type, name, arguments) static type(*name) arguments;
FUNCTIONS(DECLARE)

/* The number of a pair that nobody has taken, or -1. */
static long take(int bits) {
  char path[512];
  snprintf(path, sizeof path, "%s/%d", TAKEN, bits);
  int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file < 0) return -1;
  /* what is appended is at its own place, whoever else appends: and the offset is after it */
  long number = write(file, "+", 1) == 1 ? (long)lseek(file, 0, SEEK_CUR) - 1 : -1;
  close(file);
  return number;
}

/* The primes of lines `first` and `second`, or 0 when there are not so many. */
static int read_primes(int bits, long first, long second, BIGNUM **p, BIGNUM **q) {
  char path[512], *line = NULL;
  size_t size = 0;
  snprintf(path, sizeof path, "%s/%d", PRIMES, bits);
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  for (long at = 0; getline(&line, &size, file) > 0; at += 1) {
    if (at == first) BN_hex2bn(p, line);
    if (at == second) BN_hex2bn(q, line);
  }
  free(line);
  fclose(file);
  return *p != NULL && *q != NULL;
}

/* RFC 8017 section 3.2: p is the larger one. */
static int make_pair(RSA *rsa, const BIGNUM *exponent, BIGNUM *p, BIGNUM *q) {
  BN_CTX *ctx = BN_CTX_new();
  BIGNUM *n = BN_new(), *phi = BN_new(), *dp = BN_new(), *dq = BN_new();
  BIGNUM *p1 = BN_dup(p), *q1 = BN_dup(q);
  BN_sub_word(p1, 1);
  BN_sub_word(q1, 1);
  BN_mul(n, p, q, ctx);
  BN_mul(phi, p1, q1, ctx);
  BIGNUM *d = BN_mod_inverse(NULL, exponent, phi, ctx), *inverse = BN_mod_inverse(NULL, q, p, ctx);
  if (d == NULL || inverse == NULL) return 0;
  BN_nnmod(dp, d, p1, ctx);
  BN_nnmod(dq, d, q1, ctx);
  BN_CTX_free(ctx);
  BN_clear_free(phi);
  BN_clear_free(p1);
  BN_clear_free(q1);
  return RSA_set0_key(rsa, n, BN_dup(exponent), d) && RSA_set0_factors(rsa, p, q) && RSA_set0_crt_params(rsa, dp, dq, inverse);
}

static int generate(RSA *rsa, int bits, BIGNUM *e, BN_GENCB *progress) {
  BIGNUM *p = NULL, *q = NULL;
  long number = BN_is_word(e, 65537) ? take(bits / 2) : -1, larger = 1;
  while (number >= larger) number -= larger++;
  if (number < 0 || !read_primes(bits / 2, larger, number, &p, &q)) return RSA_generate_multi_prime_key(rsa, bits, 2, e, progress);
  return BN_cmp(p, q) > 0 ? make_pair(rsa, e, p, q) : make_pair(rsa, e, q, p);
}

/* In whatever process it is preloaded, and only where the functions are all there. */
__attribute__((constructor)) static void use_ready_primes(void) {
  if (strcmp(program_invocation_short_name, "node") != 0) return;
  /* its own functions before node's of the same name, as whoever loads a token's module has it */
  void *libcrypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (libcrypto == NULL) return;
#define FIND(type, name, arguments) \
  if ((name = (type(*) arguments)dlsym(libcrypto, #name)) == NULL) return;
  FUNCTIONS(FIND)
  RSA_meth_set_keygen(RSA_PKCS1_OpenSSL(), generate);
}
