/* The launcher's preparation: directories, socket, logs and the memory files the sandbox inherits. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"
#include "launch.h"

#define LISTEN_BACKLOG 512
#define CONFIG_BYTES 1024
#define NAME_CAPACITY 256

static bool plain_name(const char *name) {
  return strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The writable directories of the sandbox belong to its user. */
static bool make_owned(const struct launch_request *request, int directory) {
  struct bytes rest = request->payload;
  struct bytes value;
  uint8_t tag;
  uid_t owner = request->id_base + USER_ID;
  while (fields_next(&rest, &tag, &value)) {
    char name[NAME_CAPACITY] = "";
    if (tag != FIELD_OWNED_DIRECTORY) continue;
    if (value.length == 0 || value.length >= sizeof name) return errno = EINVAL, false;
    memcpy(name, value.data, value.length);
    if (!plain_name(name)) return errno = EINVAL, false;
    if (mkdirat(directory, name, 0755) != 0 && errno != EEXIST) return false;
    if (!request->ranged) continue;
    if (fchownat(directory, name, owner, owner, AT_SYMLINK_NOFOLLOW) != 0) return false;
  }
  return true;
}

static int open_listener(int directory) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  /* Through the descriptor, because the path itself may be longer than a socket address allows. */
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/agent.sock", directory);
  if (unlinkat(directory, "agent.sock", 0) != 0 && errno != ENOENT) return -1;
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return -1;
  mode_t before = umask(0177);
  int bound = bind(listener, (struct sockaddr *)&address, sizeof address);
  umask(before);
  if (bound == 0 && listen(listener, LISTEN_BACKLOG) == 0) return listener;
  int number = errno;
  close(listener);
  errno = number;
  return -1;
}

static int memory_file(const char *name, const void *data, size_t length) {
  int descriptor = memfd_create(name, MFD_CLOEXEC);
  if (descriptor < 0) return -1;
  if (write_all(descriptor, data, length) && lseek(descriptor, 0, SEEK_SET) == 0) return descriptor;
  close(descriptor);
  return -1;
}

static uint64_t absolute_time(uint64_t now, uint64_t milliseconds) {
  uint64_t longest = (UINT64_MAX / 4) / NANOSECONDS_PER_MILLISECOND;
  return now + (milliseconds < longest ? milliseconds : longest) * NANOSECONDS_PER_MILLISECOND;
}

static int config_file(const struct launch_request *request) {
  uint8_t data[CONFIG_BYTES];
  struct builder builder;
  struct bytes token = {0};
  struct bytes payload = request->payload;
  uint64_t now = now_ns();
  uint64_t missing = UINT64_MAX;
  uint64_t log_limit = field_number(payload, FIELD_LOG_LIMIT, missing);
  uint64_t max_sessions = field_number(payload, FIELD_MAX_SESSIONS, missing);
  uint64_t process_limit = field_number(payload, FIELD_PROCESS_LIMIT, missing);
  field_find(payload, FIELD_TOKEN, &token);
  builder_init(&builder, data, sizeof data);
  builder_bytes(&builder, FIELD_TOKEN, token.data, token.length);
  builder_number(&builder, FIELD_DEADLINE_NS, absolute_time(now, field_number(payload, FIELD_REMAINING_MS, 0)));
  builder_number(&builder, FIELD_CAP_NS, absolute_time(now, field_number(payload, FIELD_CAP_MS, 0)));
  builder_number(&builder, FIELD_IDENTITY, request->ranged ? IDENTITY_RANGED : IDENTITY_SINGLE);
  if (log_limit != missing) builder_number(&builder, FIELD_LOG_LIMIT, log_limit);
  if (max_sessions != missing) builder_number(&builder, FIELD_MAX_SESSIONS, max_sessions);
  if (process_limit != missing) builder_number(&builder, FIELD_PROCESS_LIMIT, process_limit);
  int descriptor = memory_file("configuration", data, builder.length);
  explicit_bzero(data, sizeof data);
  return descriptor;
}

static int open_log(int directory, const char *name) {
  return openat(directory, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

bool launch_open(const struct launch_request *request, struct launch_descriptors *descriptors, const char **step) {
  *descriptors = (struct launch_descriptors){-1, -1, -1, -1, -1};
  *step = "open the sandbox's directory";
  if (mkdir(request->directory, 0711) != 0 && errno != EEXIST) return false;
  descriptors->directory = open(request->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptors->directory < 0) return false;
  *step = "make the sandbox's own directories";
  if (!make_owned(request, descriptors->directory)) return false;
  *step = "open the logs";
  descriptors->sandbox_log = open_log(descriptors->directory, "sandbox.log");
  descriptors->launch_log = open_log(descriptors->directory, "launch.log");
  if (descriptors->sandbox_log < 0 || descriptors->launch_log < 0) return false;
  *step = "write the configuration";
  descriptors->config = config_file(request);
  if (descriptors->config < 0) return false;
  *step = "listen on the agent's socket";
  descriptors->listener = open_listener(descriptors->directory);
  return descriptors->listener >= 0;
}

void launch_close(struct launch_descriptors *descriptors) {
  int every[] = {descriptors->directory, descriptors->listener, descriptors->config, descriptors->sandbox_log,
                 descriptors->launch_log};
  for (size_t index = 0; index < sizeof every / sizeof every[0]; index++) {
    if (every[index] >= 0) close(every[index]);
  }
}
