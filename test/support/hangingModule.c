/*
 * A PKCS#11 module that passes every call on to the one that HANGING_TARGET names, until the file that HANGING_WHEN names is
 * there: from then on C_Sign (when its text is "sign") or C_GenerateKeyPair of RSA (when it is "rsa") does not come back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long (*function)();
/* CK_FUNCTION_LIST (PKCS#11 2.40 section 3.6): a version, then the functions in their order. */
enum { SIGN = 43, GENERATE_KEY_PAIR = 59, FUNCTIONS = 68 };
struct list {
  unsigned char version[8];
  function functions[FUNCTIONS];
};

static struct list ours;
static struct list *target;

static int told_to(const char *what) {
  char text[8] = {0};
  int file = open(getenv("HANGING_WHEN"), O_RDONLY);
  if (file < 0) return 0;
  ssize_t bytes = read(file, text, sizeof text - 1);
  close(file);
  return bytes > 0 && strcmp(text, what) == 0;
}

static void hang_when_told_to(const char *what) {
  while (told_to(what)) sleep(1);
}

static unsigned long hanging_sign(unsigned long session, void *data, unsigned long bytes, void *signature, void *length) {
  hang_when_told_to("sign");
  return target->functions[SIGN](session, data, bytes, signature, length);
}

static unsigned long hanging_pair(unsigned long session, void *mechanism, void *public, unsigned long publics,
                                  void *private, unsigned long privates, void *made, void *other) {
  /* CKM_RSA_PKCS_KEY_PAIR_GEN is 0 */
  if (*(unsigned long *)mechanism == 0) hang_when_told_to("rsa");
  return target->functions[GENERATE_KEY_PAIR](session, mechanism, public, publics, private, privates, made, other);
}

unsigned long C_GetFunctionList(struct list **given) {
  void *library = dlopen(getenv("HANGING_TARGET"), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  if (library == NULL) return 5; /* CKR_GENERAL_ERROR */
  unsigned long (*real)(struct list **) = (unsigned long (*)(struct list **))dlsym(library, "C_GetFunctionList");
  unsigned long answer = real(&target);
  if (answer != 0) return answer;
  memcpy(&ours, target, sizeof ours);
  ours.functions[SIGN] = (function)hanging_sign;
  ours.functions[GENERATE_KEY_PAIR] = (function)hanging_pair;
  *given = &ours;
  return 0;
}
