/* File requests. The handler is the unprivileged user by then: the kernel alone decides what is allowed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

#define DEFAULT_FILE_MODE 0644
#define DEFAULT_DIRECTORY_MODE 0755
#define MODE_BITS 07777

static void *chunk_buffer(void) {
  void *memory = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

/* Opens only regular files: a pipe or a device could block the handler for ever. */
static int open_regular(const char *path, int flags, mode_t mode) {
  int descriptor = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
  if (descriptor < 0) return -1;
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    errno = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    return -1;
  }
  return descriptor;
}

static void read_file(struct session *session, const char *path, struct bytes payload) {
  int target = session->connection.descriptor;
  uint64_t offset = field_number(payload, FIELD_OFFSET, 0);
  uint64_t left = field_number(payload, FIELD_LENGTH, UINT64_MAX);
  uint8_t *chunk = chunk_buffer();
  if (chunk == NULL || offset > INT64_MAX) {
    send_error(target, chunk == NULL ? ERROR_LIMIT : ERROR_INVALID, "the offset is too large or memory is short");
    return;
  }
  int source = open_regular(path, O_RDONLY, 0);
  if (source < 0) {
    send_errno(target, errno, path);
    return;
  }
  if (offset > 0 && lseek(source, (off_t)offset, SEEK_SET) < 0) {
    send_errno(target, errno, path);
    return;
  }
  while (left > 0) {
    ssize_t count = read(source, chunk, left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      send_errno(target, errno, path);
      return;
    }
    if (count == 0) break;
    if (!send_frame(target, FRAME_DATA, chunk, (size_t)count)) return;
    session_activity(session);
    left -= (uint64_t)count;
  }
  send_frame(target, FRAME_END, NULL, 0);
}

static bool make_parents(char *path) {
  char *slash = strrchr(path, '/');
  if (slash == NULL || slash == path) return true;
  *slash = 0;
  bool made = directory_make(path, DEFAULT_DIRECTORY_MODE, true);
  *slash = '/';
  return made;
}

/* Takes DATA frames until END; false when an error was answered or the client is gone. */
static bool receive_file(struct session *session, int target, const char *path, uint64_t *total) {
  int descriptor = session->connection.descriptor;
  struct frame frame;
  while (connection_wait(&session->connection, &frame, 0)) {
    if (frame.type == FRAME_END) return true;
    if (frame.type != FRAME_DATA) {
      send_error(descriptor, ERROR_INVALID, "only DATA and END may follow WRITE_FILE");
      return false;
    }
    if (!write_all(target, frame.payload.data, frame.payload.length)) {
      send_errno(descriptor, errno, path);
      return false;
    }
    session_activity(session);
    *total += frame.payload.length;
  }
  if (errno == EPROTO) send_error(descriptor, ERROR_INVALID, "a DATA frame is too long");
  return false;
}

static void write_file(struct session *session, char *path, struct bytes payload) {
  int descriptor = session->connection.descriptor;
  mode_t mode = (mode_t)(field_number(payload, FIELD_MODE, DEFAULT_FILE_MODE) & MODE_BITS);
  if (field_number(payload, FIELD_PARENTS, 0) != 0 && !make_parents(path)) {
    send_errno(descriptor, errno, path);
    return;
  }
  int target = open_regular(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (target < 0) {
    send_errno(descriptor, errno, path);
    return;
  }
  uint64_t total = 0;
  if (!receive_file(session, target, path, &total)) return;
  struct bytes unused;
  /* An existing file keeps its mode unless the request names one. */
  bool failed = field_find(payload, FIELD_MODE, &unused) && fchmod(target, mode) != 0;
  if (close(target) != 0 || failed) {
    send_errno(descriptor, errno, path);
    return;
  }
  uint8_t data[64];
  struct builder answer;
  builder_init(&answer, data, sizeof data);
  builder_begin(&answer, FRAME_OK);
  builder_number(&answer, FIELD_SIZE, total);
  builder_end(&answer);
  send_all(descriptor, data, answer.length);
}

static uint64_t type_of(mode_t mode) {
  if (S_ISREG(mode)) return FILE_REGULAR;
  if (S_ISDIR(mode)) return FILE_DIRECTORY;
  return S_ISLNK(mode) ? FILE_LINK : FILE_OTHER;
}

void add_file_fields(struct builder *answer, const struct stat *status) {
  builder_number(answer, FIELD_TYPE, type_of(status->st_mode));
  builder_number(answer, FIELD_SIZE, (uint64_t)status->st_size);
  builder_number(answer, FIELD_MODE, status->st_mode & MODE_BITS);
  int64_t modified = (int64_t)status->st_mtim.tv_sec * 1000 + status->st_mtim.tv_nsec / 1000000;
  builder_number(answer, FIELD_MODIFIED_MS, (uint64_t)modified);
  builder_number(answer, FIELD_USER_ID, status->st_uid);
  builder_number(answer, FIELD_GROUP_ID, status->st_gid);
}

static void stat_file(struct session *session, const char *path) {
  int descriptor = session->connection.descriptor;
  struct stat status;
  if (lstat(path, &status) != 0) {
    send_errno(descriptor, errno, path);
    return;
  }
  uint8_t data[PATH_CAPACITY + 512];
  struct builder answer;
  builder_init(&answer, data, sizeof data);
  builder_begin(&answer, FRAME_OK);
  add_file_fields(&answer, &status);
  char link[PATH_CAPACITY];
  ssize_t length = S_ISLNK(status.st_mode) ? readlink(path, link, sizeof link) : -1;
  if (length >= 0) builder_bytes(&answer, FIELD_LINK, link, (size_t)length);
  builder_end(&answer);
  send_all(descriptor, data, answer.length);
}

static void make_directory(struct session *session, const char *path, struct bytes payload) {
  int descriptor = session->connection.descriptor;
  unsigned mode = (unsigned)field_number(payload, FIELD_MODE, DEFAULT_DIRECTORY_MODE) & MODE_BITS;
  if (!directory_make(path, mode, field_number(payload, FIELD_PARENTS, 0) != 0)) {
    send_errno(descriptor, errno, path);
    return;
  }
  send_frame(descriptor, FRAME_OK, NULL, 0);
}

void files_run(struct session *session, uint8_t type, struct bytes payload) {
  int descriptor = session->connection.descriptor;
  char path[PATH_CAPACITY];
  if (!become_user(session->agent)) {
    send_error(descriptor, ERROR_INTERNAL, "cannot become the user");
    return;
  }
  if (!field_string(payload, FIELD_PATH, path, sizeof path)) {
    send_error(descriptor, ERROR_INVALID, "the path is missing, too long or holds a zero byte");
    return;
  }
  /* Relative paths start at the working directory of commands. */
  if (path[0] != '/' && chdir("/workspace") != 0) {
    send_errno(descriptor, errno, "/workspace");
    return;
  }
  switch (type) {
    case FRAME_READ_FILE:
      read_file(session, path, payload);
      return;
    case FRAME_WRITE_FILE:
      write_file(session, path, payload);
      return;
    case FRAME_LIST_DIRECTORY:
      directory_list(session, path);
      return;
    case FRAME_STAT:
      stat_file(session, path);
      return;
    case FRAME_MAKE_DIRECTORY:
      make_directory(session, path, payload);
      return;
    case FRAME_REMOVE:
      directory_remove(session, path, field_number(payload, FIELD_RECURSIVE, 0) != 0);
      return;
    default:
      send_error(descriptor, ERROR_UNSUPPORTED, "unknown request");
  }
}
