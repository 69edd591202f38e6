/* A directory that several sandboxes share: each sees it with its own ids and writes over it in a directory of its own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"

bool launch_shares(struct bytes payload) {
  struct bytes value;
  uint8_t tag;
  while (fields_next(&payload, &tag, &value)) {
    if (tag == FIELD_BOX_STEP && value.length > 0 && value.data[0] == 'Y') return true;
  }
  return false;
}

/* Ends with the launcher at the latest. */
static void __attribute__((noreturn)) hold_until_killed(pid_t launcher) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher) _exit(0);
  for (;;) pause();
}

/* The sandbox's own namespace is entered only when its file system stands; this one means the same and is held by nobody
 * but the descriptor. */
int launch_open_identities(uint32_t id_base) {
  char path[64];
  int identities = -1;
  pid_t launcher = getpid();
  pid_t holder = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  if (holder < 0) return -1;
  if (holder == 0) hold_until_killed(launcher);
  if (launch_map_identities(holder, id_base)) {
    snprintf(path, sizeof path, "/proc/%d/ns/user", holder);
    identities = open(path, O_RDONLY | O_CLOEXEC);
  }
  int number = errno;
  kill(holder, SIGKILL);
  while (waitpid(holder, NULL, 0) < 0 && errno == EINTR) continue;
  errno = number;
  return identities;
}

/* Hangs at its own place, in this mount namespace alone: an overlay takes its lower directory by path. */
static bool show_with_ids(int identities, const char *shared) {
  struct mount_attr attributes = {.attr_set = USUAL_ATTRIBUTES | MOUNT_ATTR_RDONLY | MOUNT_ATTR_IDMAP,
                                  .userns_fd = (uint64_t)identities};
  int copy = open_tree(AT_FDCWD, shared, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (copy < 0) return false;
  bool shown = mount_setattr(copy, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0 &&
               move_mount(copy, "", AT_FDCWD, shared, MOVE_MOUNT_F_EMPTY_PATH) == 0;
  int number = errno;
  close(copy);
  errno = number;
  return shown;
}

int launch_open_layer(int identities, const char *shared, const char *upper, const char *work) {
  errno = ENOTSUP;
  if (identities < 0 || !show_with_ids(identities, shared)) return -1;
  int context = fsopen("overlay", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  bool configured = launch_configure(context, "lowerdir", shared) && launch_configure(context, "upperdir", upper) &&
                    launch_configure(context, "workdir", work) && launch_configure(context, "redirect_dir", "on") &&
                    launch_configure(context, "metacopy", "off") && launch_configure(context, "index", "off");
  return launch_finish_context(context, configured, USUAL_ATTRIBUTES);
}
