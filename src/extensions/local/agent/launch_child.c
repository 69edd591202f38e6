/* The process that becomes bwrap: cgroups, staged mounts, user namespace, descriptors, exec. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "launch.h"

#define REPORT_DESCRIPTOR 7
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

bool launch_join_cgroups(struct bytes payload) {
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

static bool open_staged(const struct launch_request *request, int *sources, int *count) {
  struct bytes rest = request->payload;
  struct bytes value;
  uint8_t tag;
  char path[LAUNCH_PATH];
  while (fields_next(&rest, &tag, &value)) {
    if (tag != FIELD_STAGED) continue;
    errno = E2BIG;
    if (*count >= STAGED_LIMIT || !copy_path(value, path)) return false;
    sources[*count] = open(path, O_PATH | O_CLOEXEC);
    if (sources[*count] < 0) return false;
    (*count)++;
  }
  return true;
}

static bool bind_staged(int source, int number) {
  char from[64];
  char target[64];
  struct stat status;
  snprintf(from, sizeof from, "/proc/self/fd/%d", source);
  snprintf(target, sizeof target, STAGE_DIRECTORY "/%d", number);
  if (fstat(source, &status) != 0) return false;
  bool made = S_ISDIR(status.st_mode) ? mkdir(target, 0755) == 0 : mknod(target, S_IFREG | 0644, 0) == 0;
  return made && mount(from, target, NULL, MS_BIND, NULL) == 0;
}

/* The ids inside have no rights on the way to the sandbox's files, for example through root's home. While still root
 * outside, this binds those files to a place everybody may reach, in a mount namespace nobody else sees. */
static bool stage_mounts(const struct launch_request *request) {
  struct bytes unused;
  int sources[STAGED_LIMIT];
  int count = 0;
  if (!field_find(request->payload, FIELD_STAGED, &unused)) return true;
  if (unshare(CLONE_NEWNS) != 0) return false;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
  /* Opened in the new namespace, because a descriptor of the old one cannot be bound in it. */
  if (!open_staged(request, sources, &count)) return false;
  if (mount("stage", STAGE_DIRECTORY, "tmpfs", MS_NOSUID | MS_NODEV, "size=65536,mode=0755") != 0) return false;
  for (int index = 0; index < count; index++) {
    if (!bind_staged(sources[index], index)) return false;
    close(sources[index]);
  }
  return true;
}

static bool become_namespace_root(void) {
  if (setgroups(0, NULL) != 0 || setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0) return false;
  /* The namespace just entered is the last one: nothing inside makes another. */
  return write_text("/proc/sys/user/max_user_namespaces", "0");
}

static bool arrange_descriptors(const struct launch_descriptors *descriptors, int report) {
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int sources[] = {null,
                   descriptors->launch_log,
                   descriptors->launch_log,
                   descriptors->listener,
                   descriptors->config,
                   descriptors->sandbox_log,
                   descriptors->arguments,
                   report};
  int copies[FIRST_FREE_DESCRIPTOR];
  for (int index = 0; index < FIRST_FREE_DESCRIPTOR; index++) {
    copies[index] = fcntl(sources[index], F_DUPFD_CLOEXEC, 32);
    if (copies[index] < 0) return false;
  }
  for (int index = 0; index < FIRST_FREE_DESCRIPTOR; index++) {
    int flags = index == REPORT_DESCRIPTOR ? O_CLOEXEC : 0;
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
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

void launch_child(const struct launch_request *request, const struct launch_descriptors *descriptors, int report,
                  int start) {
  static char name[] = "bwrap";
  static char arguments_option[] = "--args";
  static char arguments_descriptor[] = "6";
  static char separator[] = "--";
  static char agent_path[] = "/.sandboxer/agent";
  static char agent_mode[] = "agent";
  char *arguments[] = {name, arguments_option, arguments_descriptor, separator, agent_path, agent_mode, NULL};
  char *environment[] = {NULL};
  char go;
  if (setsid() < 0) give_up(report, "start a session");
  if (!launch_join_cgroups(request->payload)) give_up(report, "join the cgroups");
  if (!stage_mounts(request)) give_up(report, "stage the sandbox's files");
  if (request->ranged && unshare(CLONE_NEWUSER) != 0) give_up(report, "make a user namespace");
  send_report(report, REPORT_PROCESS, getpid(), "");
  /* The launcher answers when the process between is gone. Before, its end would count as the parent's end for
   * --die-with-parent. */
  if (read(start, &go, 1) != 1) _exit(126);
  if (request->ranged && !become_namespace_root()) give_up(report, "become root of the user namespace");
  if (!arrange_descriptors(descriptors, report)) give_up(report, "arrange the descriptors");
  reset_signals();
  reset_open_files();
  umask(022);
  if (chdir("/") != 0) give_up(REPORT_DESCRIPTOR, "change to the root directory");
  execve(request->bwrap, arguments, environment);
  give_up(REPORT_DESCRIPTOR, request->bwrap);
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
