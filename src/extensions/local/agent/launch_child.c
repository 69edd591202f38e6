/* From the launcher to the agent: cgroups, user ids, rights, descriptors, exec. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "launch.h"

#define REPORT_DESCRIPTOR 6
#define PROGRAM_DESCRIPTOR 7
#define FIRST_FREE_DESCRIPTOR 8
#define USUAL_OPEN_FILES 1024

static void send_report(int descriptor, enum report_kind kind, int value, const char *step) {
  struct launch_report report = {.kind = kind, .value = value};
  snprintf(report.step, sizeof report.step, "%s", step);
  ssize_t ignored = write(descriptor, &report, sizeof report);
  (void)ignored;
}

static void __attribute__((noreturn)) give_up(int descriptor, const char *step) {
  send_report(descriptor, REPORT_FAILURE, errno, step);
  _exit(126);
}

static bool copy_path(struct bytes value, char *path) {
  errno = ENAMETOOLONG;
  if (value.length == 0 || value.length >= LAUNCH_PATH) return false;
  memcpy(path, value.data, value.length);
  path[value.length] = 0;
  return true;
}

static bool write_text(const char *path, const char *text) {
  int descriptor = open(path, O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  bool written = write_all(descriptor, text, strlen(text));
  int number = errno;
  close(descriptor);
  errno = number;
  return written;
}

static bool join_cgroups(struct bytes payload) {
  struct bytes rest = payload;
  struct bytes value;
  uint8_t tag;
  char path[LAUNCH_PATH];
  while (fields_next(&rest, &tag, &value)) {
    if (tag != FIELD_CGROUP_FILE) continue;
    if (!copy_path(value, path) || !write_text(path, "0")) return false;
  }
  return true;
}

/* The kernel lets an ordinary user map its own id, as long as nobody's groups can change; only a process that may be
 * looked into owns its own map files. */
static bool map_own_identity(const struct launch_request *request) {
  char text[64];
  if (prctl(PR_SET_DUMPABLE, 1) != 0) return false;
  if (!write_text("/proc/self/setgroups", "deny")) return false;
  snprintf(text, sizeof text, "%d %u 1\n", USER_ID, request->group);
  if (!write_text("/proc/self/gid_map", text)) return false;
  snprintf(text, sizeof text, "%d %u 1\n", USER_ID, request->user);
  return write_text("/proc/self/uid_map", text) && prctl(PR_SET_DUMPABLE, 0) == 0;
}

static bool drop_rights(const struct launch_request *request) {
  if (request->ranged && (setgroups(0, NULL) != 0 || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0)) return false;
  /* The namespace just entered is the last one: nothing inside makes another. */
  if (!write_text("/proc/sys/user/max_user_namespaces", "0")) return false;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  return keep_capabilities(request->ranged ? AGENT_CAPABILITIES : 0);
}

static bool arrange_descriptors(const struct launch_descriptors *descriptors, int report, int program) {
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int sources[] = {null,
                   descriptors->launch_log,
                   descriptors->launch_log,
                   descriptors->listener,
                   descriptors->config,
                   descriptors->sandbox_log,
                   report,
                   program};
  int copies[FIRST_FREE_DESCRIPTOR];
  for (int index = 0; index < FIRST_FREE_DESCRIPTOR; index++) {
    copies[index] = fcntl(sources[index], F_DUPFD_CLOEXEC, 32);
    if (copies[index] < 0) return false;
  }
  for (int index = 0; index < FIRST_FREE_DESCRIPTOR; index++) {
    int flags = index >= REPORT_DESCRIPTOR ? O_CLOEXEC : 0;
    if (dup3(copies[index], index, flags) < 0) return false;
  }
  if (syscall(SYS_close_range, FIRST_FREE_DESCRIPTOR, ~0U, 0) == 0) return true;
  for (int descriptor = FIRST_FREE_DESCRIPTOR; descriptor < 4096; descriptor++) close(descriptor);
  return true;
}

/* A broker raises its own limit; programs inside start with the usual one and may raise it again. */
static void reset_open_files(void) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur <= USUAL_OPEN_FILES) return;
  files.rlim_cur = USUAL_OPEN_FILES;
  setrlimit(RLIMIT_NOFILE, &files);
}

static void reset_signals(void) {
  sigset_t none;
  signal(SIGPIPE, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The agent's own file through a mount that nobody can write through: who shares its user id could otherwise reach it by
 * /proc/PID/exe and change its mode, on the host too. */
static int open_program(void) {
  char path[LAUNCH_PATH];
  struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return -1;
  path[length] = 0;
  int program = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (program >= 0 && mount_setattr(program, "", AT_EMPTY_PATH, &read_only, sizeof read_only) == 0) return program;
  return -1;
}

/* The agent is opened first: later no path of the host is in sight any more. */
void launch_child(const struct launch_request *request, const struct launch_descriptors *descriptors, int report,
                  int start) {
  static char name[] = "sandboxer-agent";
  static char mode[] = "agent";
  char *arguments[] = {name, mode, NULL};
  char *environment[] = {NULL};
  char step[sizeof((struct launch_report *)0)->step];
  char go;
  if (!join_cgroups(request->payload)) give_up(report, "join the cgroups");
  if (!request->ranged && !map_own_identity(request)) give_up(report, "map the user ids");
  if (unshare(CLONE_NEWCGROUP) != 0) give_up(report, "make a cgroup namespace");
  if (setsid() < 0) give_up(report, "start a session");
  int program = open_program();
  if (program < 0) give_up(report, "open the agent");
  if (!launch_box(request, step, sizeof step)) give_up(report, step);
  if (request->ranged && unshare(CLONE_NEWUSER) != 0) give_up(report, "make a user namespace");
  send_report(report, REPORT_READY, 0, "");
  if (read(start, &go, 1) != 1) _exit(126);
  if (!arrange_descriptors(descriptors, report, program)) give_up(report, "arrange the descriptors");
  reset_signals();
  reset_open_files();
  umask(022);
  if (!drop_rights(request)) give_up(REPORT_DESCRIPTOR, "drop rights");
  syscall(SYS_execveat, PROGRAM_DESCRIPTOR, "", arguments, environment, AT_EMPTY_PATH);
  give_up(REPORT_DESCRIPTOR, "execute the agent");
}

bool launch_map_identities(pid_t process, uint32_t id_base) {
  char path[64];
  char map[64];
  snprintf(map, sizeof map, "0 %u %d\n", id_base, IDENTITY_COUNT);
  snprintf(path, sizeof path, "/proc/%d/gid_map", process);
  if (!write_text(path, map)) return false;
  snprintf(path, sizeof path, "/proc/%d/uid_map", process);
  return write_text(path, map);
}

/* Field 22 of stat, counted after the name, which may hold anything. */
static bool read_start_time(pid_t process, unsigned long long *start) {
  char path[64];
  char text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", process);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  ssize_t length = read(descriptor, text, sizeof text - 1);
  close(descriptor);
  if (length <= 0) return false;
  text[length] = 0;
  char *position = strrchr(text, ')');
  for (int field = 2; field < 22 && position != NULL; field++) position = strchr(position + 1, ' ');
  errno = EPROTO;
  if (position == NULL) return false;
  *start = strtoull(position + 1, NULL, 10);
  return *start > 0;
}

bool launch_write_pid_file(int directory, pid_t process) {
  char text[64];
  unsigned long long start = 0;
  if (!read_start_time(process, &start)) return false;
  int length = snprintf(text, sizeof text, "%d %llu\n", process, start);
  int descriptor = openat(directory, "pid.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return false;
  bool written = write_all(descriptor, text, (size_t)length);
  close(descriptor);
  return written && renameat(directory, "pid.new", directory, "pid") == 0;
}
