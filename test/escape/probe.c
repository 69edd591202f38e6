/* One attempt a call: `probe NAME CANARY [ARGUMENT]`. Prints the canary only when the forbidden thing was done, else
 * `blocked: errno`. Which is right is decided by the test, never by an exit code. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *argument = "";

static long io_uring(void) {
  char parameters[120] = {0};
  return syscall(425, 4, parameters);
}

static long bpf_map(void) {
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 4;
  attributes.max_entries = 1;
  return syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes);
}

static long perf(void) {
  struct perf_event_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.size = sizeof attributes;
  attributes.config = PERF_COUNT_SW_CPU_CLOCK;
  return syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
}

static long user_fault(void) { return syscall(SYS_userfaultfd, O_CLOEXEC | 1); }
static long key(void) { return syscall(SYS_add_key, "user", "probe", "x", 1, -2); }
static long new_user(void) { return unshare(CLONE_NEWUSER); }
static long new_mount(void) { return unshare(CLONE_NEWNS); }
static long mount_tmpfs(void) { return mount("none", argument, "tmpfs", 0, ""); }
static long new_mount_api(void) { return syscall(430, "tmpfs", 0); }
static long packet(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long raw_netlink(void) { return socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT); }
static long vsock(void) { return socket(AF_VSOCK, SOCK_STREAM, 0); }
static long raw_internet(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static long algorithm(void) { return socket(38, SOCK_SEQPACKET, 0); }
static long module(void) { return syscall(SYS_delete_module, "nothing-of-this-name", 0) == -1 && errno == ENOENT ? 0 : -1; }
static long reboot_call(void) { return syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0) ; }
static long swap(void) { return syscall(SYS_swapoff, "/nothing") == -1 && errno == ENOENT ? 0 : -1; }
static long trace_first(void) { return ptrace(PTRACE_ATTACH, 1, 0, 0); }
static long signal_first(void) { return kill(1, SIGKILL) == 0 && (usleep(200000), kill(1, 0)) != 0 ? 0 : (errno = EPERM, -1); }
static long signal_outside(void) { return kill(atoi(argument), 0); }
static long make_device(void) { return mknod(argument, S_IFBLK | 0600, (254 << 8)); }
static long become_root(void) { return setuid(0); }
static long change_root(void) { return chroot("/"); }
static long host_name(void) { return sethostname("probe", 5); }
static long set_time(void) { return syscall(SYS_clock_settime, 0, NULL) == -1 && errno == EFAULT ? 0 : -1; }
static long raise_priority(void) { return nice(-5) == -1 && errno != 0 ? -1 : 0; }

static long terminal_inject(void) {
  int terminal = open("/dev/tty", O_RDWR);
  if (terminal < 0) terminal = STDIN_FILENO;
  return ioctl(terminal, TIOCSTI, "x");
}

static long by_handle(void) {
  struct { struct file_handle handle; char bytes[128]; } place = {.handle = {.handle_bytes = 128}};
  int mount_id;
  if (name_to_handle_at(AT_FDCWD, "/", &place.handle, &mount_id, 0) != 0) return -1;
  int base = open("/", O_RDONLY | O_DIRECTORY);
  return open_by_handle_at(base, &place.handle, O_PATH);
}

static long x32(void) {
#ifdef __x86_64__
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(0x40000000L + SYS_getpid) : "rcx", "r11", "memory");
  if (result < 0) errno = (int)-result;
  return result < 0 ? -1 : 0;
#else
  errno = ENOSYS;
  return -1;
#endif
}

static long connect_path(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argument, sizeof address.sun_path - 1);
  int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
  return connect(socket_, (struct sockaddr *)&address, sizeof address);
}

static long connect_abstract(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(argument);
  memcpy(address.sun_path + 1, argument, length);
  int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
  return connect(socket_, (struct sockaddr *)&address, (socklen_t)(sizeof(sa_family_t) + 1 + length));
}

static long connect_internet(void) {
  char host[64];
  int port = 0;
  if (sscanf(argument, "%63[^:]:%d", host, &port) != 2) return -1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, host, &address.sin_addr);
  int socket_ = socket(AF_INET, SOCK_STREAM, 0);
  struct timeval patience = {.tv_sec = 1};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  return connect(socket_, (struct sockaddr *)&address, sizeof address);
}

static const struct {
  const char *name;
  long (*attempt)(void);
} PROBES[] = {
    {"io_uring", io_uring}, {"bpf", bpf_map}, {"perf", perf}, {"userfaultfd", user_fault}, {"add_key", key},
    {"new_user_namespace", new_user}, {"new_mount_namespace", new_mount}, {"mount", mount_tmpfs},
    {"fsopen", new_mount_api}, {"packet_socket", packet}, {"audit_netlink", raw_netlink}, {"vsock", vsock},
    {"raw_socket", raw_internet}, {"alg_socket", algorithm}, {"delete_module", module}, {"reboot", reboot_call},
    {"swapoff", swap}, {"ptrace_first", trace_first}, {"kill_first", signal_first}, {"kill_outside", signal_outside},
    {"make_device", make_device}, {"become_root", become_root}, {"chroot", change_root}, {"sethostname", host_name},
    {"settime", set_time}, {"raise_priority", raise_priority}, {"terminal_inject", terminal_inject},
    {"by_handle", by_handle}, {"x32", x32}, {"connect_path", connect_path}, {"connect_abstract", connect_abstract},
    {"connect_internet", connect_internet},
};

int main(int count, char **arguments) {
  if (count < 3) return 2;
  if (count > 3) argument = arguments[3];
  for (size_t index = 0; index < sizeof PROBES / sizeof *PROBES; index++) {
    if (strcmp(PROBES[index].name, arguments[1]) != 0) continue;
    errno = 0;
    if (PROBES[index].attempt() >= 0) printf("%s\n", arguments[2]);
    else printf("blocked: %s\n", strerror(errno));
    return 0;
  }
  printf("no such probe\n");
  return 2;
}
