/* Preloaded into a process under test: each write to a file called *-wal comes up to $SLOW_WAL_US later, so that a commit lasts
 * for milliseconds and a kill falls into it, also between two of its frames. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_wal(int fd) {
  char link[64], name[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name);
  return length >= 4 && memcmp(name + length - 4, "-wal", 4) == 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  const char *longest = getenv("SLOW_WAL_US");
  if (longest && is_wal(fd)) usleep(rand() % (atoi(longest) + 1));
  return ((ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, bytes, count, at);
}
