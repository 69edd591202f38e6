/* Listing, making and removing directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

/* Each level of a removal holds one descriptor. */
#define REMOVE_DEPTH 200
#define LIST_BUFFER 65536
/* The longest entry: a name of 255 bytes plus seven fields. */
#define ENTRY_BYTES 512

void add_file_fields(struct builder *answer, const struct stat *status);

static bool flush_entries(struct session *session, struct builder *answer) {
  if (answer->overflow) return false;
  bool sent = send_all(session->connection.descriptor, answer->data, answer->length);
  answer->length = 0;
  return sent;
}

static bool is_dots(const char *name) { return strcmp(name, ".") == 0 || strcmp(name, "..") == 0; }

void directory_list(struct session *session, const char *path) {
  static uint8_t data[LIST_BUFFER];
  struct builder answer;
  builder_init(&answer, data, sizeof data);
  DIR *directory = opendir(path);
  if (directory == NULL) {
    send_errno(session->connection.descriptor, errno, path);
    return;
  }
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    struct stat status;
    if (is_dots(entry->d_name)) continue;
    /* An entry that vanished between the two calls is simply not there any more. */
    if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (answer.capacity - answer.length < ENTRY_BYTES && !flush_entries(session, &answer)) return;
    builder_begin(&answer, FRAME_ENTRY);
    builder_text(&answer, FIELD_NAME, entry->d_name);
    add_file_fields(&answer, &status);
    builder_end(&answer);
  }
  closedir(directory);
  if (answer.capacity - answer.length < ENTRY_BYTES && !flush_entries(session, &answer)) return;
  builder_begin(&answer, FRAME_END);
  builder_end(&answer);
  flush_entries(session, &answer);
}

static bool is_directory(const char *path) {
  struct stat status;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) return true;
  errno = EEXIST;
  return false;
}

bool directory_make(const char *path, unsigned mode, bool parents) {
  if (!parents) return mkdir(path, (mode_t)mode) == 0;
  char copy[PATH_CAPACITY];
  if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) {
    errno = ENAMETOOLONG;
    return false;
  }
  for (char *position = copy + 1; *position != 0; position++) {
    if (*position != '/') continue;
    *position = 0;
    /* Errors other than "exists" show at the last component, where they are reported. */
    if (mkdir(copy, 0755) != 0 && errno != EEXIST && access(copy, F_OK) != 0) return false;
    *position = '/';
  }
  return mkdir(copy, (mode_t)mode) == 0 || (errno == EEXIST && is_directory(copy));
}

static bool remove_entry(int parent, const char *name, unsigned depth);

static bool remove_children(int descriptor, unsigned depth) {
  DIR *directory = fdopendir(descriptor);
  if (directory == NULL) {
    close(descriptor);
    return false;
  }
  bool removed = true;
  for (struct dirent *entry = readdir(directory); entry != NULL && removed; entry = readdir(directory)) {
    if (is_dots(entry->d_name)) continue;
    removed = remove_entry(dirfd(directory), entry->d_name, depth + 1);
  }
  int number = errno;
  closedir(directory);
  errno = number;
  return removed;
}

/* Walks by descriptors and never follows a link, so a link swapped in meanwhile is removed, not entered. */
static bool remove_entry(int parent, const char *name, unsigned depth) {
  if (unlinkat(parent, name, 0) == 0) return true;
  if (errno != EISDIR) return errno == ENOENT && depth > 0;
  if (unlinkat(parent, name, AT_REMOVEDIR) == 0) return true;
  if (errno != ENOTEMPTY && errno != EEXIST) return false;
  if (depth >= REMOVE_DEPTH) {
    errno = EMFILE;
    return false;
  }
  int descriptor = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return false;
  if (!remove_children(descriptor, depth)) return false;
  return unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

void directory_remove(struct session *session, const char *path, bool recursive) {
  bool removed;
  if (recursive) {
    removed = remove_entry(AT_FDCWD, path, 0);
  } else {
    removed = unlink(path) == 0 || (errno == EISDIR && rmdir(path) == 0);
  }
  if (!removed) {
    send_errno(session->connection.descriptor, errno, path);
    return;
  }
  send_frame(session->connection.descriptor, FRAME_OK, NULL, 0);
}
