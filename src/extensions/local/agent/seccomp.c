/* System calls no sandbox needs. The list denies, because programs inside are unknown; everything a new
 * namespace, a mount or a kernel subsystem with a long history of holes would need is on it. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "agent.h"

#if defined(__x86_64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000U
#elif defined(__aarch64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the seccomp filter knows x86_64 and aarch64"
#endif

#define FILTER_CAPACITY 256
#define NAMESPACE_FLAGS                                                                                       \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* Numbers that are newer than some C library headers; the same on every architecture. */
#define CALL_MOUNT_SETATTR 442
#define CALL_OPEN_TREE_ATTR 467

#define LOW_WORD(index) ((uint32_t)offsetof(struct seccomp_data, args[index]))

static struct sock_filter filter[FILTER_CAPACITY];
static unsigned short filter_length;
static bool filter_overflow;

static void emit(uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false) {
  if (filter_length >= FILTER_CAPACITY) {
    filter_overflow = true;
    return;
  }
  filter[filter_length++] = (struct sock_filter){.code = code, .k = value, .jt = if_true, .jf = if_false};
}

static void load(uint32_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
static void skip_unless(uint32_t value, uint8_t count) { emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count); }
static void answer(uint32_t action) { emit(BPF_RET | BPF_K, action, 0, 0); }
static void fail_with(int number) { answer(SECCOMP_RET_ERRNO | ((uint32_t)number & SECCOMP_RET_DATA)); }

static void deny(uint32_t call, int number) {
  skip_unless(call, 1);
  fail_with(number);
}

static void check_architecture(void) {
  load(offsetof(struct seccomp_data, arch));
  emit(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCHITECTURE, 1, 0);
  answer(SECCOMP_RET_KILL_PROCESS);
  load(offsetof(struct seccomp_data, nr));
#ifdef X32_BIT
  /* -1 is what a tracer writes to skip a call, and is answered ENOSYS by the kernel anyway. */
  emit(BPF_JMP | BPF_JEQ | BPF_K, UINT32_MAX, 2, 0);
  emit(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
  answer(SECCOMP_RET_KILL_PROCESS);
#endif
}

static void deny_calls(void) {
  static const uint16_t denied[] = {
      SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_mount,
      SYS_umount2, SYS_pivot_root, SYS_fsopen, SYS_fsmount, SYS_fsconfig, SYS_fspick, SYS_move_mount,
      SYS_open_tree, CALL_MOUNT_SETATTR, CALL_OPEN_TREE_ATTR, SYS_unshare, SYS_setns, SYS_kexec_load,
#ifdef SYS_kexec_file_load
      SYS_kexec_file_load,
#endif
      SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot, SYS_swapon, SYS_swapoff,
      SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_quotactl, SYS_acct, SYS_syslog, SYS_process_vm_readv,
      SYS_process_vm_writev, SYS_pidfd_getfd, SYS_kcmp, SYS_chroot, SYS_lookup_dcookie, SYS_nfsservctl,
      SYS_fanotify_init, SYS_settimeofday, SYS_clock_settime, SYS_vhangup,
#if defined(__x86_64__)
      SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl,
#endif
  };
  for (size_t index = 0; index < sizeof denied / sizeof denied[0]; index++) deny(denied[index], EPERM);
  deny(SYS_io_uring_setup, ENOSYS);
  deny(SYS_io_uring_enter, ENOSYS);
  deny(SYS_io_uring_register, ENOSYS);
  /* Its flags lie in memory a filter cannot see; C libraries fall back to clone. */
  deny(SYS_clone3, ENOSYS);
}

static void restrict_clone(void) {
  skip_unless(SYS_clone, 4);
  load(LOW_WORD(0));
  emit(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)NAMESPACE_FLAGS, 0, 1);
  fail_with(EPERM);
  answer(SECCOMP_RET_ALLOW);
}

static void restrict_ioctl(void) {
  /* Both push input into a terminal the caller does not own. */
  skip_unless(SYS_ioctl, 5);
  load(LOW_WORD(1));
  emit(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0);
  skip_unless(TIOCLINUX, 1);
  fail_with(EPERM);
  answer(SECCOMP_RET_ALLOW);
}

static void restrict_personality(void) {
  static const uint32_t allowed[] = {0, 0x0008, 0x20000, 0x20008, 0x40000, 0x40008, UINT32_MAX};
  uint8_t count = sizeof allowed / sizeof allowed[0];
  skip_unless(SYS_personality, (uint8_t)(count * 2 + 2));
  load(LOW_WORD(0));
  for (uint8_t index = 0; index < count; index++) {
    skip_unless(allowed[index], 1);
    answer(SECCOMP_RET_ALLOW);
  }
  fail_with(EPERM);
}

static void restrict_sockets(uint32_t call) {
  skip_unless(call, 12);
  load(LOW_WORD(0));
  skip_unless(AF_UNIX, 1);
  answer(SECCOMP_RET_ALLOW);
  skip_unless(AF_INET, 1);
  answer(SECCOMP_RET_ALLOW);
  skip_unless(AF_INET6, 1);
  answer(SECCOMP_RET_ALLOW);
  skip_unless(AF_NETLINK, 3);
  load(LOW_WORD(2));
  skip_unless(NETLINK_ROUTE, 1);
  answer(SECCOMP_RET_ALLOW);
  fail_with(EAFNOSUPPORT);
}

bool install_seccomp_filter(void) {
  filter_length = 0;
  check_architecture();
  deny_calls();
  restrict_clone();
  restrict_ioctl();
  restrict_personality();
  restrict_sockets(SYS_socket);
  restrict_sockets(SYS_socketpair);
  answer(SECCOMP_RET_ALLOW);
  if (filter_overflow) return false;
  struct sock_fprog program = {.len = filter_length, .filter = filter};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
