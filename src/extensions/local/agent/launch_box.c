/* The sandbox's file system: a new root, filled step by step as the request says, then made the only one there is. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "launch.h"

#define HOST_NAME "sandbox"
/* Any directory every host has: what lies below is hidden in a mount namespace of the sandbox's own, and nowhere else. */
#define SCAFFOLD "/tmp"
#define STEP_WORDS 5
#define TERMINAL_GROUP 5

/* One step of the request, cut into its words. The first is the kind. */
struct step {
  char text[2 * LAUNCH_PATH];
  const char *words[STEP_WORDS];
  int source; /* a detached copy of what a bind shows, or -1 */
};

struct box {
  struct step steps[BOX_STEPS_LIMIT];
  int count;
  bool ranged;
  uid_t owner; /* who is root inside, as seen from here */
};

static bool cut_step(struct bytes value, struct step *step) {
  errno = EINVAL;
  if (value.length == 0 || value.length >= sizeof step->text) return false;
  memcpy(step->text, value.data, value.length);
  step->text[value.length] = 0;
  size_t position = 0;
  for (int word = 0; word < STEP_WORDS && position < value.length; word++) {
    step->words[word] = step->text + position;
    position += strlen(step->words[word]) + 1;
  }
  step->source = -1;
  return position >= value.length && step->words[0] != NULL && step->words[1] != NULL && step->words[0][1] == 0;
}

static bool read_steps(struct box *box, struct bytes payload) {
  struct bytes value;
  uint8_t tag;
  while (fields_next(&payload, &tag, &value)) {
    if (tag != FIELD_BOX_STEP) continue;
    errno = E2BIG;
    if (box->count >= BOX_STEPS_LIMIT || !cut_step(value, &box->steps[box->count])) return false;
    box->count++;
  }
  errno = EINVAL;
  return box->count > 0;
}

static bool set_attributes(int descriptor, const char *path, uint64_t attributes, unsigned flags) {
  struct mount_attr change = {.attr_set = attributes};
  return mount_setattr(descriptor, path, flags, &change, sizeof change) == 0;
}

/* Copies of the sources are taken while the host's files are all in sight, and hang nowhere until they are attached. */
static bool open_sources(struct box *box) {
  for (int index = 0; index < box->count; index++) {
    struct step *step = &box->steps[index];
    if (strchr("BR", *step->words[0]) == NULL) continue;
    errno = EINVAL;
    if (step->words[2] == NULL) return false;
    step->source = open_tree(AT_FDCWD, step->words[2], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (step->source < 0) return false;
    uint64_t attributes = USUAL_ATTRIBUTES | (*step->words[0] == 'R' ? MOUNT_ATTR_RDONLY : 0);
    if (!set_attributes(step->source, "", attributes, AT_EMPTY_PATH | AT_RECURSIVE)) return false;
  }
  return true;
}

static bool open_layers(struct box *box, int identities) {
  for (int index = 0; index < box->count; index++) {
    struct step *step = &box->steps[index];
    if (*step->words[0] != 'Y') continue;
    errno = EINVAL;
    if (step->words[2] == NULL || step->words[3] == NULL || step->words[4] == NULL) return false;
    step->source = launch_open_layer(identities, step->words[2], step->words[3], step->words[4]);
    if (step->source < 0) return false;
  }
  return true;
}

/* A mount point below the new root. A link on the way, which an image could hold, is refused. */
static int open_point(const char *path) {
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
  return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static bool attach(int mount_descriptor, const char *path) {
  int point = open_point(path);
  if (point < 0) return false;
  int result = move_mount(mount_descriptor, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
  int number = errno;
  close(point);
  errno = number;
  return result == 0;
}

bool launch_configure(int context, const char *key, const char *value) {
  return fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) == 0;
}

static bool configure_number(int context, const char *key, const char *format, unsigned value) {
  char text[24];
  snprintf(text, sizeof text, format, value);
  return launch_configure(context, key, text);
}

int launch_finish_context(int context, bool configured, uint64_t attributes) {
  int result = -1;
  if (configured && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
    result = fsmount(context, FSMOUNT_CLOEXEC, (unsigned)attributes);
  }
  int number = errno;
  close(context);
  errno = number;
  return result;
}

static int make_temporary(const struct box *box, const char *bytes, const char *mode, uint64_t attributes) {
  int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  bool configured = launch_configure(context, "size", bytes) && launch_configure(context, "mode", mode);
  if (box->ranged) {
    configured = configured && configure_number(context, "uid", "%u", box->owner) &&
                 configure_number(context, "gid", "%u", box->owner);
  }
  return launch_finish_context(context, configured, attributes);
}

static bool attach_and_close(int mount_descriptor, const char *path) {
  if (mount_descriptor < 0) return false;
  bool attached = attach(mount_descriptor, path);
  int number = errno;
  close(mount_descriptor);
  errno = number;
  return attached;
}

static bool own(const struct box *box, const char *path) {
  return !box->ranged || lchown(path, box->owner, box->owner) == 0;
}

static bool make_directory(const struct box *box, const char *path, mode_t mode) {
  return mkdir(path, mode) == 0 && own(box, path);
}

static bool make_link(const struct box *box, const char *path, const char *target) {
  return symlink(target, path) == 0 && own(box, path);
}

static bool mount_proc(const char *path) {
  int context = fsopen("proc", FSOPEN_CLOEXEC);
  if (context < 0) return false;
  return attach_and_close(launch_finish_context(context, true, USUAL_ATTRIBUTES | MOUNT_ATTR_NOEXEC), path);
}

/* Without rights over the host nobody can make a device, so the host's own is shown. */
static bool make_device(const struct box *box, const char *name, unsigned number, int shown) {
  if (!box->ranged) {
    return mknod(name, S_IFREG | 0666, 0) == 0 && attach_and_close(shown, name);
  }
  return mknod(name, S_IFCHR | 0666, makedev(number >> 8, number & 255)) == 0 && chmod(name, 0666) == 0 &&
         own(box, name);
}

static bool mount_terminals(const struct box *box) {
  int context = fsopen("devpts", FSOPEN_CLOEXEC);
  if (context < 0) return false;
  bool configured = launch_configure(context, "mode", "620") && launch_configure(context, "ptmxmode", "666");
  if (box->ranged) {
    configured = configured && configure_number(context, "gid", "%u", box->owner + TERMINAL_GROUP);
  }
  return attach_and_close(launch_finish_context(context, configured, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), "dev/pts");
}

static const struct {
  const char *path;
  unsigned number;
} devices[] = {{"dev/null", 0x103}, {"dev/zero", 0x105},    {"dev/full", 0x107},
               {"dev/tty", 0x500},  {"dev/random", 0x108}, {"dev/urandom", 0x109}};

#define DEVICES (sizeof devices / sizeof devices[0])
static int host_devices[DEVICES];

static bool open_devices(const struct box *box) {
  for (size_t index = 0; index < DEVICES && !box->ranged; index++) {
    char path[32];
    snprintf(path, sizeof path, "/%s", devices[index].path);
    host_devices[index] = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (host_devices[index] < 0) return false;
  }
  return true;
}

static bool mount_devices(const struct box *box) {
  if (!attach_and_close(make_temporary(box, "65536", "755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), "dev")) return false;
  for (size_t index = 0; index < DEVICES; index++) {
    if (!make_device(box, devices[index].path, devices[index].number, host_devices[index])) return false;
  }
  return make_link(box, "dev/fd", "/proc/self/fd") && make_link(box, "dev/stdin", "/proc/self/fd/0") &&
         make_link(box, "dev/stdout", "/proc/self/fd/1") && make_link(box, "dev/stderr", "/proc/self/fd/2") &&
         make_directory(box, "dev/shm", 0755) && make_directory(box, "dev/pts", 0755) && mount_terminals(box) &&
         make_link(box, "dev/ptmx", "pts/ptmx");
}

/* Paths below the new root carry no slash in front: they begin at the working directory. */
static bool take_step(const struct box *box, const struct step *step) {
  const char *path = step->words[1];
  errno = EINVAL;
  switch (*step->words[0]) {
    case 'B':
    case 'R':
    case 'Y':
      return attach_and_close(step->source, path);
    case 'D':
      return make_directory(box, path, 0755);
    case 'L':
      return step->words[2] != NULL && make_link(box, path, step->words[2]);
    case 'T':
      return step->words[2] != NULL && step->words[3] != NULL &&
             attach_and_close(make_temporary(box, step->words[2], step->words[3], USUAL_ATTRIBUTES), path);
    case 'P':
      return mount_proc(path);
    case 'V':
      return mount_devices(box);
    case 'O':
      return set_attributes(AT_FDCWD, path, MOUNT_ATTR_RDONLY, AT_SYMLINK_NOFOLLOW);
    default:
      return false;
  }
}

static bool enter_new_root(const struct box *box) {
  const struct step *first = &box->steps[0];
  int root = first->source >= 0 ? first->source : make_temporary(box, "1048576", "755", USUAL_ATTRIBUTES);
  if (root < 0) return false;
  if (move_mount(root, "", AT_FDCWD, SCAFFOLD, MOVE_MOUNT_F_EMPTY_PATH) != 0) return false;
  return close(root) == 0 && chdir(SCAFFOLD) == 0;
}

static bool leave_old_root(void) {
  return syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0;
}

static bool start_network(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return false;
  bool started = ioctl(descriptor, SIOCSIFFLAGS, &request) == 0;
  close(descriptor);
  return started;
}

bool launch_box(const struct launch_request *request, char *step, size_t capacity) {
  static struct box box;
  box.ranged = request->ranged;
  box.owner = request->id_base;
  snprintf(step, capacity, "make the mounts private");
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
  snprintf(step, capacity, "read the file system's steps");
  if (!read_steps(&box, request->payload)) return false;
  snprintf(step, capacity, "open what is shown inside");
  if (!open_sources(&box) || !open_devices(&box)) return false;
  snprintf(step, capacity, "show a shared directory");
  if (!open_layers(&box, request->identities)) return false;
  snprintf(step, capacity, "make the root directory");
  if (!enter_new_root(&box)) return false;
  for (int index = 1; index < box.count; index++) {
    snprintf(step, capacity, "%s %.40s", box.steps[index].words[0], box.steps[index].words[1]);
    if (!take_step(&box, &box.steps[index])) return false;
  }
  snprintf(step, capacity, "leave the host's files");
  if (!leave_old_root()) return false;
  snprintf(step, capacity, "name the sandbox");
  if (sethostname(HOST_NAME, strlen(HOST_NAME)) != 0) return false;
  snprintf(step, capacity, "start the loopback interface");
  return start_network();
}
