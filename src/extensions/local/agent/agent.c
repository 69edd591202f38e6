/* Pid 1 inside the sandbox: accepts connections, forks one handler for each, collects the dead and ends
 * everything at the deadline. It never reads a byte that a client or a command wrote. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

/* Bounds one turn of the loop, so that neither a storm of exits nor of connections hides the deadline. */
#define REAP_BATCH 1024
#define ACCEPT_BATCH 16

static void complain(const char *text) {
  ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
  (void)ignored;
}

static bool protect_process(void) {
  /* Nobody inside may trace pid 1 or read its memory, environment or descriptors. */
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return false;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  prctl(PR_SET_NAME, "sandboxer-agent");
  /* One byte is the kernel's mark for "no dump, not even through a core pipe of the host". */
  struct rlimit no_core = {.rlim_cur = 1, .rlim_max = 1};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) return false;
  umask(022);
  return install_seccomp_filter();
}

static bool open_descriptors(struct agent *agent) {
  agent->listen_descriptor = DESCRIPTOR_LISTEN;
  agent->log_descriptor = DESCRIPTOR_LOG;
  if (fcntl(DESCRIPTOR_LISTEN, F_SETFD, FD_CLOEXEC) != 0) return false;
  if (fcntl(DESCRIPTOR_LOG, F_SETFD, FD_CLOEXEC) != 0) return false;
  if (fcntl(DESCRIPTOR_LISTEN, F_SETFL, O_NONBLOCK) != 0) return false;
  sigset_t every;
  sigfillset(&every);
  if (sigprocmask(SIG_SETMASK, &every, NULL) != 0) return false;
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  agent->signal_descriptor = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  agent->timer_descriptor = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
  agent->wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return agent->signal_descriptor >= 0 && agent->timer_descriptor >= 0 && agent->wake_descriptor >= 0;
}

static bool share_state(struct agent *agent) {
  void *memory = mmap(NULL, sizeof *agent->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  agent->shared = memory;
  agent->shared->started_ns = now_ns();
  agent->shared->last_activity_ns = agent->shared->started_ns;
  return true;
}

static bool arm_timer(const struct agent *agent) {
  uint64_t deadline = __atomic_load_n(&agent->shared->deadline_ns, __ATOMIC_RELAXED);
  struct itimerspec timer = {0};
  timer.it_value.tv_sec = (time_t)(deadline / 1000000000ULL);
  timer.it_value.tv_nsec = (long)(deadline % 1000000000ULL);
  return timerfd_settime(agent->timer_descriptor, TFD_TIMER_ABSTIME, &timer, NULL) == 0;
}

static bool is_over(const struct agent *agent) {
  if (__atomic_load_n(&agent->shared->shutdown_requested, __ATOMIC_RELAXED) != 0) return true;
  uint64_t now = now_ns();
  return now >= agent->shared->cap_ns || now >= __atomic_load_n(&agent->shared->deadline_ns, __ATOMIC_RELAXED);
}

static struct slot *find_slot(const struct agent *agent, pid_t handler) {
  for (uint32_t index = 0; index < agent->max_sessions; index++) {
    if (agent->shared->slots[index].handler == handler) return &agent->shared->slots[index];
  }
  return NULL;
}

static void free_slot(struct slot *slot) {
  /* A handler that died without clearing its command leaves a process group nobody watches any more. */
  pid_t command = slot->command;
  if (command > 1) kill(-command, SIGKILL);
  slot->command = 0;
  slot->kind = SLOT_IDLE;
  slot->handler = 0;
}

static void reap_children(const struct agent *agent) {
  struct signalfd_siginfo information;
  while (read(agent->signal_descriptor, &information, sizeof information) > 0) continue;
  for (int count = 0; count < REAP_BATCH; count++) {
    pid_t process = waitpid(-1, NULL, WNOHANG);
    if (process <= 0) return;
    struct slot *slot = find_slot(agent, process);
    if (slot != NULL) free_slot(slot);
  }
  /* More may wait: pid 1 sends itself the signal that brings it back here. */
  kill(getpid(), SIGCHLD);
}

static void refuse_connection(int descriptor, const char *text) {
  send_error(descriptor, ERROR_BUSY, text);
  close(descriptor);
}

static void accept_connection(struct agent *agent, int descriptor) {
  struct slot *slot = find_slot(agent, 0);
  if (slot == NULL) {
    refuse_connection(descriptor, "too many sessions at once");
    return;
  }
  /* Marks the slot before the fork, so that it cannot be handed out twice. */
  slot->kind = SLOT_CONTROL;
  slot->command = 0;
  pid_t handler = fork();
  if (handler == 0) session_run(agent, slot, descriptor);
  if (handler < 0) {
    slot->kind = SLOT_IDLE;
    refuse_connection(descriptor, "no process could be started");
    return;
  }
  slot->handler = handler;
  close(descriptor);
}

static void accept_connections(struct agent *agent) {
  for (int count = 0; count < ACCEPT_BATCH; count++) {
    int descriptor = accept4(agent->listen_descriptor, NULL, NULL, SOCK_CLOEXEC);
    if (descriptor < 0) return;
    accept_connection(agent, descriptor);
  }
}

static void serve(struct agent *agent) {
  struct pollfd ready[4] = {{.fd = agent->listen_descriptor, .events = POLLIN},
                            {.fd = agent->signal_descriptor, .events = POLLIN},
                            {.fd = agent->timer_descriptor, .events = POLLIN},
                            {.fd = agent->wake_descriptor, .events = POLLIN}};
  while (!is_over(agent)) {
    if (poll(ready, 4, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    uint64_t number;
    if (ready[3].revents != 0) {
      while (read(agent->wake_descriptor, &number, sizeof number) > 0) continue;
    }
    if ((ready[2].revents | ready[3].revents) != 0) {
      while (read(agent->timer_descriptor, &number, sizeof number) > 0) continue;
      if (!arm_timer(agent)) return;
    }
    if (ready[1].revents != 0) reap_children(agent);
    if (ready[0].revents != 0) accept_connections(agent);
  }
}

int agent_main(void) {
  struct agent agent = {0};
  if (!share_state(&agent) || !agent_read_config(&agent)) {
    complain("agent: no valid configuration on descriptor 4\n");
    return 1;
  }
  if (!open_descriptors(&agent) || !protect_process()) {
    complain("agent: cannot protect itself or open its descriptors\n");
    return 1;
  }
  if (!arm_timer(&agent)) {
    complain("agent: cannot set the deadline\n");
    return 1;
  }
  serve(&agent);
  /* The end of pid 1 makes the kernel kill every process of the sandbox. */
  return 0;
}
