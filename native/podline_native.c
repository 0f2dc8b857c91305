/*
 * The native part of the scratch: private memory maps of files as ArrayBuffers, and the few file calls that Node
 * lacks. Everything works without it, by pread and plain copies.
 *
 * Owns: the list of live mappings. Leaves to others: which file is mapped how far (runtime/scratch/mapping.ts).
 *
 * Invariants
 *  1. A mapping is MAP_PRIVATE: what a reader writes into it is its own copy, and no other process sees it.
 *  2. A mapping is unmapped once: by unmap(), which detaches the ArrayBuffer first, or by the finalizer of a
 *     buffer that was never unmapped. After unmap() no JavaScript can reach the memory.
 *  3. The module keeps no state per thread but through N-API, so that worker threads may load it too.
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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE 0x01
#endif
#ifndef FALLOC_FL_PUNCH_HOLE
#define FALLOC_FL_PUNCH_HOLE 0x02
#endif

typedef struct mapping {
  void *address;
  size_t length;
  struct mapping *next;
} mapping;

static mapping *mappings = NULL;
static pthread_mutex_t mappings_lock = PTHREAD_MUTEX_INITIALIZER;

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

/* Takes (address) or, when `owner` is given, exactly that mapping off the list; 0 when it is not on it. */
static int forget(void *address, size_t length, const mapping *owner) {
  int found = 0;
  pthread_mutex_lock(&mappings_lock);
  for (mapping **at = &mappings; *at != NULL; at = &(*at)->next) {
    if (owner != NULL ? *at == owner : ((*at)->address == address && (*at)->length == length)) {
      *at = (*at)->next;
      found = 1;
      break;
    }
  }
  pthread_mutex_unlock(&mappings_lock);
  return found;
}

/* Runs when V8 lets go of the buffer; frees the record always, the memory only if unmap() did not (invariant 2). */
static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)data;
  mapping *m = hint;
  if (forget(NULL, 0, m)) munmap(m->address, m->length);
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

/* map(fd, offset, length): ArrayBuffer. `offset` is a multiple of the page size; throws with `code`. */
static napi_value map_file(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  double n[3];
  if (!numbers(env, info, 3, argv, n, 0)) return NULL;
  size_t length = (size_t)n[2];
  mapping *m = malloc(sizeof(*m));
  if (m == NULL) return fail(env, "map", ENOMEM);
  m->length = length;
  m->address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, (int)n[0], (off_t)n[1]);
  if (m->address == MAP_FAILED) {
    int number = errno;
    free(m);
    return fail(env, "mmap", number);
  }
  pthread_mutex_lock(&mappings_lock);
  m->next = mappings;
  mappings = m;
  pthread_mutex_unlock(&mappings_lock);
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, m->address, length, finalize, m, &buffer) != napi_ok) {
    forget(NULL, 0, m);
    munmap(m->address, length);
    free(m);
    napi_throw_error(env, "EUNKNOWN", "this Node does not allow external array buffers");
    return NULL;
  }
  return buffer;
}

/* unmap(buffer): boolean. Detaches the buffer, then unmaps; false when it is no live mapping (any more). */
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
  int live = 0;
  if (address != NULL) {
    pthread_mutex_lock(&mappings_lock);
    for (mapping *m = mappings; m != NULL; m = m->next) {
      if (m->address == address && m->length == length) live = 1;
    }
    pthread_mutex_unlock(&mappings_lock);
    if (live && napi_detach_arraybuffer(env, argv[0]) != napi_ok) {
      napi_throw_error(env, "EUNKNOWN", "the buffer cannot be detached");
      return NULL;
    }
    /* Detaching may run the finalizer, which then has unmapped already. */
    if (live && forget(address, length, NULL)) munmap(address, length);
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

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {"map", NULL, map_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"unmap", NULL, unmap_file, NULL, NULL, NULL, napi_enumerable, NULL},
      {"advise", NULL, advise, NULL, NULL, NULL, napi_enumerable, NULL},
      {"copyRange", NULL, copy_range, NULL, NULL, NULL, napi_enumerable, NULL},
      {"punchHole", NULL, punch_hole, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return exports;
}
