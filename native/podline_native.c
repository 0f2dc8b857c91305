/*
 * The native part of the scratch: memory maps of files as ArrayBuffers, the few file calls that Node lacks, and a checksum at
 * the speed of memory. Everything works without it, by pread and plain copies.
 *
 * Owns: the list of live mappings. Leaves to others: which file is mapped how far (runtime/scratch/segment-views.ts,
 * open-segment.ts).
 *
 * Invariants
 *  1. A mapping for readers is MAP_PRIVATE: what a reader writes into it is its own copy, and no other process sees it.
 *  2. After unmap() no JavaScript can reach the file through the buffer: in one step, its addresses become memory of this process
 *     alone, zeros, which stay until V8 lets go of the buffer. Addresses are given back by the finalizer and nobody else.
 *  3. An ArrayBuffer reaches exactly the bytes that were asked for, not the pages that they lie in.
 *  4. The module keeps no state per thread but through N-API, so that worker threads may load it too.
 *  5. What is mapped costs V8 no garbage collection: it is taken off V8's account of memory (see `thread`).
 *
 * Why unmap() does not detach. V8 compiles loops over typed arrays without looking whether the array's buffer is still there, for as
 * long as no buffer of the thread was ever detached; the first one that is makes all such loops slower (bytes by 40 %), for good.
 *
 * Needs N-API 8 and a POSIX libc only; system calls without a wrapper in old libcs go through syscall().
 */
#define _GNU_SOURCE
#define NAPI_VERSION 8
#include <node_api.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE 0x01
#endif
#ifndef FALLOC_FL_PUNCH_HOLE
#define FALLOC_FL_PUNCH_HOLE 0x02
#endif

typedef struct mapping {
  /* What the ArrayBuffer holds. */
  void *address;
  size_t length;
  /* The pages around it. */
  void *base;
  size_t base_length;
  struct mapping *next;
} mapping;

static mapping *mappings = NULL;
static pthread_mutex_t mappings_lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * V8 adds the length of an external ArrayBuffer to its account when the buffer is made, takes it off when the buffer is swept, and
 * collects garbage when the account has grown by 64 MiB. A map of a file is no garbage to speak of: its length is taken off
 * beforehand, from a loan that is put onto the account once, so that the account never falls below nothing. It falls as buffers are
 * swept and never rises, which V8 takes for good news. The loan is for 1 TiB of maps; then another one is taken.
 */
typedef struct {
  int64_t loan;
  /* Maps since V8 was last asked to collect. */
  uint32_t maps;
} thread;

static const int64_t loan_bytes = (int64_t)1 << 40;
/* So many buffers wait to be swept at most, each with addresses (the kernel gives 65,530 stretches): then V8 is asked to collect. */
static const uint32_t maps_before_collecting = 4096;
static const int64_t asks_to_collect = (int64_t)65 << 20;

static void account(napi_env env, int64_t bytes) {
  int64_t sum;
  napi_adjust_external_memory(env, bytes, &sum);
}

static void take_loan(napi_env env, thread *of) {
  of->loan += loan_bytes;
  account(env, loan_bytes);
}

/* Before a buffer of so many bytes is made; a negative number takes it back. */
static void off_account(napi_env env, int64_t bytes) {
  thread *of = NULL;
  if (napi_get_instance_data(env, (void **)&of) != napi_ok || of == NULL) return;
  if (of->loan < bytes) take_loan(env, of);
  of->loan -= bytes;
  account(env, -bytes);
  if (bytes < 0 || ++of->maps < maps_before_collecting) return;
  of->maps = 0;
  account(env, asks_to_collect);
  account(env, -asks_to_collect);
}

static void forget_thread(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

static const struct {
  int number;
  const char *name;
} error_names[] = {
    {EACCES, "EACCES"}, {EBADF, "EBADF"},   {EDQUOT, "EDQUOT"}, {EFBIG, "EFBIG"},   {EINVAL, "EINVAL"},
    {EIO, "EIO"},       {ENODEV, "ENODEV"}, {ENOMEM, "ENOMEM"}, {ENOSPC, "ENOSPC"}, {ENOSYS, "ENOSYS"},
    {ENXIO, "ENXIO"},   {EPERM, "EPERM"},   {EXDEV, "EXDEV"},   {EOPNOTSUPP, "EOPNOTSUPP"},
};

/* Throws `<call>: <CODE>` as an Error with `code`, as those of node:fs have it. */
static napi_value fail(napi_env env, const char *call, int number) {
  const char *code = "EUNKNOWN";
  for (size_t i = 0; i < sizeof(error_names) / sizeof(error_names[0]); i++) {
    if (error_names[i].number == number) code = error_names[i].name;
  }
  char message[128];
  snprintf(message, sizeof(message), "%s: %s (errno %d)", call, code, number);
  napi_throw_error(env, code, message);
  return NULL;
}

/* The live mapping of exactly these bytes, by what must not be looked up in the record later; 0 when there is none. */
static int find(const void *address, size_t length, mapping *copy) {
  int found = 0;
  pthread_mutex_lock(&mappings_lock);
  for (mapping *m = mappings; m != NULL && !found; m = m->next) {
    if (m->address == address && m->length == length) {
      *copy = *m;
      found = 1;
    }
  }
  pthread_mutex_unlock(&mappings_lock);
  return found;
}

/* Takes the mapping with these pages off the list; 0 when it is not on it (any more). */
static int forget(const void *base) {
  int found = 0;
  pthread_mutex_lock(&mappings_lock);
  for (mapping **at = &mappings; *at != NULL; at = &(*at)->next) {
    if ((*at)->base == base) {
      *at = (*at)->next;
      found = 1;
      break;
    }
  }
  pthread_mutex_unlock(&mappings_lock);
  return found;
}

/* Runs when V8 lets go of the buffer. */
static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)data;
  mapping *m = hint;
  forget(m->base);
  munmap(m->base, m->base_length);
  free(m);
}

static int numbers(napi_env env, napi_callback_info info, size_t wanted, napi_value *argv, double *out, size_t from) {
  size_t argc = wanted;
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc < wanted) {
    napi_throw_type_error(env, "ERR_INVALID_ARG", "too few arguments");
    return 0;
  }
  for (size_t i = from; i < wanted; i++) {
    if (napi_get_value_double(env, argv[i], &out[i]) != napi_ok || !(out[i] >= 0) || out[i] > 9007199254740991.0) {
      napi_throw_type_error(env, "ERR_INVALID_ARG", "expected a number that is not negative");
      return 0;
    }
  }
  return 1;
}

/* Bytes [offset, offset + length) of a file as an ArrayBuffer (invariant 3). */
static napi_value map_bytes(napi_env env, int fd, off_t offset, size_t length, int flags) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t head = (size_t)offset % page;
  mapping *m = malloc(sizeof(*m));
  if (m == NULL) return fail(env, "map", ENOMEM);
  m->base_length = head + length;
  m->length = length;
  m->base = mmap(NULL, m->base_length, PROT_READ | PROT_WRITE, flags, fd, offset - (off_t)head);
  if (m->base == MAP_FAILED) {
    int number = errno;
    free(m);
    return fail(env, "mmap", number);
  }
  m->address = (char *)m->base + head;
  pthread_mutex_lock(&mappings_lock);
  m->next = mappings;
  mappings = m;
  pthread_mutex_unlock(&mappings_lock);
  off_account(env, (int64_t)length);
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, m->address, length, finalize, m, &buffer) != napi_ok) {
    off_account(env, -(int64_t)length);
    forget(m->base);
    munmap(m->base, m->base_length);
    free(m);
    napi_throw_error(env, "EUNKNOWN", "this Node does not allow external array buffers");
    return NULL;
  }
  return buffer;
}

/* map(fd, offset, length): ArrayBuffer. Private: for readers (invariant 1). Throws with `code`. */
static napi_value map_file(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  double n[3];
  if (!numbers(env, info, 3, argv, n, 0)) return NULL;
  return map_bytes(env, (int)n[0], (off_t)n[1], (size_t)n[2], MAP_PRIVATE | MAP_NORESERVE);
}

/* mapOutput(fd, offset, length): ArrayBuffer. Shared: what is written is in the file. To be reserved before. Throws with `code`. */
static napi_value map_output(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  double n[3];
  if (!numbers(env, info, 3, argv, n, 0)) return NULL;
  /* The pages are there: one call instead of a fault for each of them. */
  return map_bytes(env, (int)n[0], (off_t)n[1], (size_t)n[2], MAP_SHARED | MAP_POPULATE);
}

/* unmap(buffer): boolean. From now on the buffer holds zeros of this process alone (invariant 2); false when it is no live mapping (any more). */
static napi_value unmap_file(napi_env env, napi_callback_info info) {
  napi_value argv[1], result;
  double none[1];
  void *address = NULL;
  size_t length = 0;
  bool is_buffer = false;
  if (!numbers(env, info, 1, argv, none, 1)) return NULL;
  napi_is_arraybuffer(env, argv[0], &is_buffer);
  if (!is_buffer || napi_get_arraybuffer_info(env, argv[0], &address, &length) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_ARG", "expected an ArrayBuffer");
    return NULL;
  }
  mapping m;
  int live = address != NULL && find(address, length, &m) && forget(m.base);
  if (live) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    void *zeros = mmap(m.base, m.base_length, PROT_READ | PROT_WRITE, flags, -1, 0);
    /* The kernel has no stretch left to give. What is detached cannot be reached either; the finalizer unmaps. */
    if (zeros == MAP_FAILED && napi_detach_arraybuffer(env, argv[0]) != napi_ok) {
      napi_throw_error(env, "EUNKNOWN", "the buffer cannot be detached");
      return NULL;
    }
  }
  napi_get_boolean(env, live != 0, &result);
  return result;
}

/* advise(buffer, offset, length, advice): madvise with 'willneed' = 3, 'dontneed' = 4, … ; errors are ignored: it is advice. */
static napi_value advise(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  double n[4];
  void *address = NULL;
  size_t size = 0;
  if (!numbers(env, info, 4, argv, n, 1)) return NULL;
  if (napi_get_arraybuffer_info(env, argv[0], &address, &size) != napi_ok || address == NULL) return NULL;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t from = (size_t)n[1] / page * page;
  size_t to = (size_t)n[1] + (size_t)n[2];
  if (to > size) to = size;
  if (from < to) madvise((char *)address + from, to - from, (int)n[3]);
  return NULL;
}

/* Copies by read and write where the kernel cannot copy between the two files; -1 with errno. */
static int64_t copy_by_hand(int in, off_t in_at, int out, off_t out_at, size_t length) {
  const size_t piece = 1 << 20;
  char *buffer = malloc(piece);
  if (buffer == NULL) {
    errno = ENOMEM;
    return -1;
  }
  size_t done = 0;
  while (done < length) {
    ssize_t got = pread(in, buffer, length - done < piece ? length - done : piece, in_at + (off_t)done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    if (got == 0) {
      errno = 0;
      break;
    }
    size_t put = 0;
    while (put < (size_t)got) {
      ssize_t wrote = pwrite(out, buffer + put, (size_t)got - put, out_at + (off_t)(done + put));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) {
        int number = errno;
        free(buffer);
        errno = number;
        return -1;
      }
      put += (size_t)wrote;
    }
    done += (size_t)got;
  }
  int number = errno;
  free(buffer);
  if (done < length && number != 0) {
    errno = number;
    return -1;
  }
  return (int64_t)done;
}

/* copyRange(fdIn, offsetIn, fdOut, offsetOut, length): number of bytes copied, less than `length` only at the end of the file. */
static napi_value copy_range(napi_env env, napi_callback_info info) {
  napi_value argv[5], result;
  double n[5];
  if (!numbers(env, info, 5, argv, n, 0)) return NULL;
  int64_t in_at = (int64_t)n[1], out_at = (int64_t)n[3];
  size_t length = (size_t)n[4], done = 0;
  while (done < length) {
    long copied = -1;
    errno = ENOSYS;
#ifdef SYS_copy_file_range
    copied = syscall(SYS_copy_file_range, (int)n[0], &in_at, (int)n[2], &out_at, length - done, 0u);
#endif
    if (copied > 0) {
      done += (size_t)copied;
      continue;
    }
    if (copied < 0 && errno == EINTR) continue;
    /* 0 may be the end of the file or a file system that does not really copy: the hand knows. */
    if (copied < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG)) return fail(env, "copy_file_range", errno);
    int64_t rest = copy_by_hand((int)n[0], (off_t)in_at, (int)n[2], (off_t)out_at, length - done);
    if (rest < 0) return fail(env, "copy", errno);
    done += (size_t)rest;
    break;
  }
  napi_create_double(env, (double)done, &result);
  return result;
}

/* punchHole(fd, offset, length): gives the pages of a stretch back, the size of the file stays; throws with `code`. */
static napi_value punch_hole(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  double n[3];
  if (!numbers(env, info, 3, argv, n, 0)) return NULL;
  int done;
  do {
    done = fallocate((int)n[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)n[1], (off_t)n[2]);
  } while (done < 0 && errno == EINTR);
  if (done < 0) return fail(env, "fallocate", errno);
  return NULL;
}

/* reserve(fd, offset, length): gives a stretch of a file room of its own; throws with `code` (ENOSPC). */
static napi_value reserve(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  double n[3];
  if (!numbers(env, info, 3, argv, n, 0)) return NULL;
  int done;
  do {
    done = fallocate((int)n[0], 0, (off_t)n[1], (off_t)n[2]);
  } while (done < 0 && errno == EINTR);
  if (done < 0) return fail(env, "fallocate", errno);
  return NULL;
}

/* take(fd): boolean. An exclusive lock that goes with the last descriptor or map of this opening of the file; false: another has it. */
static napi_value take(napi_env env, napi_callback_info info) {
  napi_value argv[1], result;
  double n[1];
  if (!numbers(env, info, 1, argv, n, 0)) return NULL;
  int done = flock((int)n[0], LOCK_EX | LOCK_NB);
  if (done < 0 && errno != EWOULDBLOCK) return fail(env, "flock", errno);
  napi_get_boolean(env, done == 0, &result);
  return result;
}

/* ---- CRC-32 with zlib's polynomial, bits reflected. `crc` is the running value, already inverted. ---- */

static uint32_t tables[8][256];

__attribute__((constructor)) static void make_tables(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0xedb88320u : crc >> 1;
    tables[0][byte] = crc;
  }
  for (int table = 1; table < 8; table++) {
    for (int byte = 0; byte < 256; byte++)
      tables[table][byte] = (tables[table - 1][byte] >> 8) ^ tables[0][tables[table - 1][byte] & 0xff];
  }
}

/* Eight bytes a step, by tables: everywhere. */
static uint32_t crc_portable(uint32_t crc, const uint8_t *at, size_t length) {
  for (; length >= 8; length -= 8, at += 8) {
    uint32_t low, high;
    memcpy(&low, at, 4);
    memcpy(&high, at + 4, 4);
    low ^= crc;
    crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^
          tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^ tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
  }
  for (; length > 0; length--, at++) crc = (crc >> 8) ^ tables[0][(crc ^ *at) & 0xff];
  return crc;
}

static uint32_t (*crc_best)(uint32_t, const uint8_t *, size_t) = crc_portable;

#if defined(__x86_64__)
/* One step of folding: 128 bits carried over the distance that `by` stands for, onto what lies there. */
__attribute__((target("pclmul,sse4.1"))) static inline __m128i fold(__m128i x, __m128i by, __m128i onto) {
  return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, by, 0x00), _mm_clmulepi64_si128(x, by, 0x11)), onto);
}

/*
 * Carry-less multiplication: four lanes of 128 bits over 64 bytes a step, then one over 16; what remains is left to the tables, which
 * reduce it as they do any 16 bytes. The constants are powers of x modulo the polynomial, reflected: x^(512+32), x^(512-32), x^(128+32),
 * x^(128-32), as in Intel's "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ".
 */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc_pclmul(uint32_t crc, const uint8_t *at, size_t length) {
  if (length < 64) return crc_portable(crc, at, length);
  const __m128i by512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), by128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const __m128i *next = (const __m128i *)at;
  __m128i a = _mm_xor_si128(_mm_loadu_si128(next), _mm_cvtsi32_si128((int)crc));
  __m128i b = _mm_loadu_si128(next + 1), c = _mm_loadu_si128(next + 2), d = _mm_loadu_si128(next + 3);
  next += 4;
  for (length -= 64; length >= 64; length -= 64, next += 4) {
    a = fold(a, by512, _mm_loadu_si128(next));
    b = fold(b, by512, _mm_loadu_si128(next + 1));
    c = fold(c, by512, _mm_loadu_si128(next + 2));
    d = fold(d, by512, _mm_loadu_si128(next + 3));
  }
  a = fold(fold(fold(a, by128, b), by128, c), by128, d);
  for (; length >= 16; length -= 16, next++) a = fold(a, by128, _mm_loadu_si128(next));
  uint8_t rest[16];
  _mm_storeu_si128((__m128i *)rest, a);
  return crc_portable(crc_portable(0, rest, 16), (const uint8_t *)next, length);
}

__attribute__((constructor)) static void choose_crc(void) {
  unsigned int a, b, c, d;
  const unsigned int needed = bit_PCLMUL | bit_SSE4_1;
  if (__get_cpuid(1, &a, &b, &c, &d) && (c & needed) == needed) crc_best = crc_pclmul;
}
#elif defined(__aarch64__)
__attribute__((target("crc"))) static uint32_t crc_arm(uint32_t crc, const uint8_t *at, size_t length) {
  for (; length >= 32; length -= 32, at += 32) {
    uint64_t words[4];
    memcpy(words, at, 32);
    crc = __crc32d(__crc32d(__crc32d(__crc32d(crc, words[0]), words[1]), words[2]), words[3]);
  }
  for (; length > 0; length--, at++) crc = __crc32b(crc, *at);
  return crc;
}

#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
__attribute__((constructor)) static void choose_crc(void) {
  if (getauxval(AT_HWCAP) & HWCAP_CRC32) crc_best = crc_arm;
}
#endif

static napi_value checksum(napi_env env, napi_callback_info info, uint32_t (*crc)(uint32_t, const uint8_t *, size_t)) {
  napi_value argv[2], result;
  size_t argc = 2, length = 0;
  void *data = NULL;
  napi_typedarray_type type;
  uint32_t value = 0;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc < 1 || napi_get_typedarray_info(env, argv[0], &type, &length, &data, NULL, NULL) != napi_ok || type != napi_uint8_array ||
      (argc > 1 && napi_get_value_uint32(env, argv[1], &value) != napi_ok)) {
    napi_throw_type_error(env, "ERR_INVALID_ARG", "expected a Uint8Array and a checksum");
    return NULL;
  }
  napi_create_uint32(env, length == 0 ? value : ~crc(~value, data, length), &result);
  return result;
}

/* crc32(bytes, value = 0): number. The fastest way that this processor has. */
static napi_value crc32_best(napi_env env, napi_callback_info info) { return checksum(env, info, crc_best); }

/* crc32Portable(bytes, value = 0): number. The way that every processor has; to hold the other one against. */
static napi_value crc32_portable(napi_env env, napi_callback_info info) { return checksum(env, info, crc_portable); }

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {"map", NULL, map_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"unmap", NULL, unmap_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"advise", NULL, advise, NULL, NULL, NULL, napi_enumerable, NULL},
      {"copyRange", NULL, copy_range, NULL, NULL, NULL, napi_enumerable, NULL},
      {"punchHole", NULL, punch_hole, NULL, NULL, NULL, napi_enumerable, NULL},
      {"reserve", NULL, reserve, NULL, NULL, NULL, napi_enumerable, NULL},
      {"mapOutput", NULL, map_output, NULL, NULL, NULL, napi_enumerable, NULL},
      {"take", NULL, take, NULL, NULL, NULL, napi_enumerable, NULL},
      {"crc32", NULL, crc32_best, NULL, NULL, NULL, napi_enumerable, NULL},
      {"crc32Portable", NULL, crc32_portable, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  thread *of = calloc(1, sizeof(*of));
  if (of != NULL && napi_set_instance_data(env, of, forget_thread, NULL) == napi_ok) take_loan(env, of);
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return exports;
}
