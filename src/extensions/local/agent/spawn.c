/* Starts one command: pipes or a terminal, a fresh session, no rights, no descriptors but 0, 1 and 2. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"

/* Bigger than the default 64 KiB: fewer switches between a chatty command and its reader. */
#define OUTPUT_PIPE_BYTES 262144
#define STATUS_DESCRIPTOR 3
/* Under memory pressure the kernel takes commands before pid 1 and before anything outside. */
#define OUT_OF_MEMORY_SCORE "500"

enum spawn_step { STEP_PREPARE = 1, STEP_IDENTITY, STEP_DIRECTORY, STEP_EXECUTE };

struct spawn_failure {
  int step;
  int number;
};

/* The ends the command gets. */
struct child_ends {
  int input;
  int output;
  int error;
};

static void close_all(struct execution *execution, struct child_ends *ends) {
  int descriptors[] = {ends->input, ends->output, ends->error, execution->input_descriptor,
                       execution->output_descriptor, execution->error_descriptor};
  for (size_t index = 0; index < sizeof descriptors / sizeof descriptors[0]; index++) {
    if (descriptors[index] >= 0) close(descriptors[index]);
  }
}

static bool open_output_pipe(int *ours, int *theirs) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  *ours = ends[0];
  *theirs = ends[1];
  fcntl(ends[0], F_SETPIPE_SZ, OUTPUT_PIPE_BYTES); /* a wish: a smaller pipe works too */
  return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

static bool open_pipes(struct execution *execution, struct child_ends *ends) {
  if (execution->input) {
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) != 0) return false;
    ends->input = pair[0];
    execution->input_descriptor = pair[1];
    if (fcntl(pair[1], F_SETFL, O_NONBLOCK) != 0) return false;
  } else {
    ends->input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (ends->input < 0) return false;
  }
  if (!open_output_pipe(&execution->output_descriptor, &ends->output)) return false;
  if (!execution->detach) return open_output_pipe(&execution->error_descriptor, &ends->error);
  /* The log holds both streams in the order they were written. */
  ends->error = fcntl(ends->output, F_DUPFD_CLOEXEC, 0);
  return ends->error >= 0;
}

static bool open_terminal(struct session *session, struct execution *execution, struct child_ends *ends) {
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0) return false;
  execution->output_descriptor = master;
  int unlock = 0;
  if (ioctl(master, TIOCSPTLCK, &unlock) != 0) return false;
  int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return false;
  ends->input = terminal;
  if (session->agent->ranged && !execution->as_root && fchown(terminal, USER_ID, USER_ID) != 0) return false;
  struct winsize size = {.ws_col = execution->columns, .ws_row = execution->rows};
  if (ioctl(terminal, TIOCSWINSZ, &size) != 0) return false;
  execution->input_descriptor = fcntl(master, F_DUPFD_CLOEXEC, 0);
  ends->output = fcntl(terminal, F_DUPFD_CLOEXEC, 0);
  ends->error = fcntl(terminal, F_DUPFD_CLOEXEC, 0);
  return execution->input_descriptor >= 0 && ends->output >= 0 && ends->error >= 0;
}

static void __attribute__((noreturn)) child_fail(enum spawn_step step) {
  struct spawn_failure failure = {.step = step, .number = errno};
  ssize_t ignored = write(STATUS_DESCRIPTOR, &failure, sizeof failure);
  (void)ignored;
  _exit(127);
}

static void close_from(unsigned first) {
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
  for (unsigned descriptor = first; descriptor < 4096; descriptor++) close((int)descriptor);
}

static bool arrange_descriptors(const struct child_ends *ends, int status) {
  /* Copies above everything first, so that no target is still needed as a source. */
  int copies[4] = {fcntl(ends->input, F_DUPFD, 10), fcntl(ends->output, F_DUPFD, 10),
                   fcntl(ends->error, F_DUPFD, 10), fcntl(status, F_DUPFD, 10)};
  for (int target = 0; target < 4; target++) {
    if (copies[target] < 0) return false;
    if (dup3(copies[target], target, target == STATUS_DESCRIPTOR ? O_CLOEXEC : 0) < 0) return false;
  }
  close_from(STATUS_DESCRIPTOR + 1);
  return true;
}

static void raise_memory_score(void) {
  /* The files of an undumpable process belong to nobody here. By now this process holds nothing secret. */
  prctl(PR_SET_DUMPABLE, 1);
  int descriptor = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  ssize_t ignored = write(descriptor, OUT_OF_MEMORY_SCORE, strlen(OUT_OF_MEMORY_SCORE));
  (void)ignored;
  close(descriptor);
}

/* Counted by the kernel for this user in this user namespace, so for this sandbox alone. */
static bool limit_processes(uint64_t limit) {
  struct rlimit processes = {.rlim_cur = limit, .rlim_max = limit};
  return limit == 0 || setrlimit(RLIMIT_NPROC, &processes) == 0;
}

/* The agent blocks signals and handles none, so that the mask is all a command could inherit. */
static void unblock_signals(void) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn)) child_run(struct session *session, const struct execution *execution,
                                                const struct child_ends *ends, int status, pid_t handler) {
  if (!arrange_descriptors(ends, status)) _exit(127);
  if (setsid() < 0) child_fail(STEP_PREPARE);
  if (execution->tty && ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) child_fail(STEP_PREPARE);
  munmap(session->agent->shared, sizeof *session->agent->shared);
  raise_memory_score();
  bool changed = execution->as_root ? become_limited_root() : become_user(session->agent);
  if (!changed || !limit_processes(session->agent->process_limit)) child_fail(STEP_IDENTITY);
  /* After the change of identity, which clears it. */
  if (!execution->detach) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != handler) _exit(127);
  }
  umask(022);
  if (chdir(execution->directory) != 0) child_fail(STEP_DIRECTORY);
  unblock_signals();
  environ = execution->environment;
  execvp(execution->arguments[0], execution->arguments);
  child_fail(STEP_EXECUTE);
}

static void report_failure(struct session *session, const struct execution *execution,
                           const struct spawn_failure *failure) {
  int descriptor = session->connection.descriptor;
  switch (failure->step) {
    case STEP_EXECUTE:
      send_errno(descriptor, failure->number, execution->arguments[0]);
      return;
    case STEP_DIRECTORY: {
      char what[320];
      snprintf(what, sizeof what, "working directory %.280s", execution->directory);
      send_errno(descriptor, failure->number, what);
      return;
    }
    default:
      send_error(descriptor, ERROR_INTERNAL, "the command could not be prepared");
  }
}

/* Waits for the exec: the pipe closes by itself when it succeeds. */
static bool await_exec(struct session *session, struct execution *execution, int status) {
  struct spawn_failure failure;
  ssize_t count;
  do {
    count = read(status, &failure, sizeof failure);
  } while (count < 0 && errno == EINTR);
  close(status);
  if (count == 0) return true;
  if (count != sizeof failure) failure = (struct spawn_failure){.step = STEP_PREPARE};
  reap_command(session, execution->process);
  report_failure(session, execution, &failure);
  return false;
}

bool spawn_command(struct session *session, struct execution *execution) {
  struct child_ends ends = {-1, -1, -1};
  int status[2];
  bool opened = execution->tty ? open_terminal(session, execution, &ends) : open_pipes(execution, &ends);
  if (!opened || pipe2(status, O_CLOEXEC) != 0) {
    send_errno(session->connection.descriptor, errno, "pipes or terminal");
    close_all(execution, &ends);
    return false;
  }
  pid_t handler = getpid();
  pid_t process = fork();
  if (process == 0) child_run(session, execution, &ends, status[1], handler);
  close(status[1]);
  if (process < 0) {
    send_error(session->connection.descriptor, ERROR_LIMIT, "no more processes can be started");
    close(status[0]);
    close_all(execution, &ends);
    return false;
  }
  session_set_command(session, process);
  execution->process = process;
  close(ends.input);
  close(ends.output);
  close(ends.error);
  if (!await_exec(session, execution, status[0])) return false;
  execution->process_descriptor = (int)syscall(SYS_pidfd_open, process, 0);
  if (execution->process_descriptor < 0) {
    send_errno(session->connection.descriptor, errno, "process descriptor");
    kill_command(session, process);
    reap_command(session, process);
    return false;
  }
  return true;
}
