/* The launcher: reads requests from its standard input, one after the other, starts a sandbox for each and answers.
 * It runs outside, ends when its input closes, and no sandbox depends on its life. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"

#define START_MS 10000

static bool answer(uint64_t identifier, uint8_t type, uint8_t tag, uint64_t value, const char *text) {
  uint8_t data[1024];
  struct builder builder;
  builder_init(&builder, data, sizeof data);
  builder_begin(&builder, type);
  builder_number(&builder, FIELD_REQUEST, identifier);
  builder_number(&builder, tag, value);
  if (text != NULL) builder_bytes(&builder, FIELD_TEXT, text, strnlen(text, 800));
  builder_end(&builder);
  return write_all(STDOUT_FILENO, data, builder.length);
}

static bool answer_failure(uint64_t identifier, enum error_code code, const char *step, int number) {
  char text[512];
  if (number == 0) return answer(identifier, FRAME_LAUNCH_FAILED, FIELD_CODE, code, step);
  snprintf(text, sizeof text, "%.200s: %s", step, strerror(number));
  return answer(identifier, FRAME_LAUNCH_FAILED, FIELD_CODE, code, text);
}

/* NULL when the request is good. */
static const char *read_request(struct launch_request *request, struct bytes payload) {
  struct bytes value;
  request->payload = payload;
  request->user = geteuid();
  request->group = getegid();
  if (!fields_valid(payload)) return "the request's fields are broken";
  request->identifier = field_number(payload, FIELD_REQUEST, 0);
  request->ranged = field_number(payload, FIELD_IDENTITY, IDENTITY_SINGLE) == IDENTITY_RANGED;
  uint64_t base = field_number(payload, FIELD_ID_BASE, 0);
  if (request->ranged && (base < IDENTITY_COUNT || base > UINT32_MAX - IDENTITY_COUNT)) {
    return "the base of the user ids must leave the host's own ids alone";
  }
  request->id_base = (uint32_t)base;
  if (!field_string(payload, FIELD_DIRECTORY, request->directory, LAUNCH_PATH)) return "no valid directory";
  if (!field_find(payload, FIELD_BOX_STEP, &value)) return "no steps for the file system";
  if (!field_find(payload, FIELD_TOKEN, &value) || value.length != PROTOCOL_TOKEN_BYTES) return "no valid token";
  if (field_number(payload, FIELD_REMAINING_MS, 0) == 0) return "no deadline";
  if (field_number(payload, FIELD_CAP_MS, 0) == 0) return "no cap";
  return NULL;
}

static bool read_report(int descriptor, struct launch_report *report, bool *ended) {
  uint64_t deadline = now_ns() + START_MS * NANOSECONDS_PER_MILLISECOND;
  *ended = false;
  for (;;) {
    struct pollfd ready = {.fd = descriptor, .events = POLLIN};
    int count = poll(&ready, 1, milliseconds_until(deadline));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = ETIMEDOUT;
    if (count <= 0) return false;
    ssize_t length = read(descriptor, report, sizeof *report);
    if (length < 0 && errno == EINTR) continue;
    if (length == (ssize_t)sizeof *report) return true;
    *ended = length == 0;
    if (length > 0) errno = EPROTO;
    return false;
  }
}

static bool report_failure(const struct launch_request *request, const struct launch_report *report, bool ended) {
  if (report->kind == REPORT_FAILURE) {
    return answer_failure(request->identifier, error_for_errno(report->value), report->step, report->value);
  }
  const char *text = ended ? "the new process ended without a word" : "the new process did not report in time";
  return answer_failure(request->identifier, ERROR_INTERNAL, text, 0);
}

/* Gives the new process its user ids and its pid file, and lets it go on. NULL when done. */
static const char *let_go_on(const struct launch_request *request, const struct launch_descriptors *descriptors,
                             pid_t process, int start_descriptor) {
  if (request->ranged && !launch_map_identities(process, request->id_base)) return "map the user ids";
  if (!launch_write_pid_file(descriptors->directory, process)) return "write the pid file";
  return write(start_descriptor, "1", 1) == 1 ? NULL : "start the new process";
}

/* Follows the new process until it has become the agent. */
static bool follow_start(const struct launch_request *request, const struct launch_descriptors *descriptors,
                         pid_t process, int report_descriptor, int start_descriptor) {
  struct launch_report report = {0};
  bool ended = false;
  if (!read_report(report_descriptor, &report, &ended) || report.kind == REPORT_FAILURE) {
    kill(process, SIGKILL);
    return report_failure(request, &report, ended);
  }
  const char *step = let_go_on(request, descriptors, process, start_descriptor);
  if (step != NULL) {
    int number = errno;
    kill(process, SIGKILL);
    return answer_failure(request->identifier, error_for_errno(number), step, number);
  }
  bool reported = read_report(report_descriptor, &report, &ended);
  if (!reported && ended) return answer(request->identifier, FRAME_LAUNCHED, FIELD_PROCESS, (uint64_t)process, NULL);
  kill(process, SIGKILL);
  return report_failure(request, &report, ended);
}

/* The sandbox's first process is born in its namespaces. It becomes init's when the launcher ends. */
static pid_t clone_first(const struct launch_request *request, const struct launch_descriptors *descriptors,
                         const int *report, const int *start) {
  unsigned long namespaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  if (!request->ranged) namespaces |= CLONE_NEWUSER;
  pid_t process = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0);
  if (process != 0) return process;
  close(report[0]);
  close(start[1]);
  launch_child(request, descriptors, report[1], start[0]);
}

static bool start_sandbox(const struct launch_request *request, const struct launch_descriptors *descriptors) {
  int report[2];
  int start[2];
  if (pipe2(report, O_CLOEXEC) != 0) return answer_failure(request->identifier, ERROR_LIMIT, "open a pipe", errno);
  if (pipe2(start, O_CLOEXEC) != 0) {
    int number = errno;
    close(report[0]);
    close(report[1]);
    return answer_failure(request->identifier, ERROR_LIMIT, "open a pipe", number);
  }
  pid_t process = clone_first(request, descriptors, report, start);
  int number = errno;
  close(report[1]);
  close(start[0]);
  bool answered = process < 0
                      ? answer_failure(request->identifier, error_for_errno(number), "make the namespaces", number)
                      : follow_start(request, descriptors, process, report[0], start[1]);
  close(report[0]);
  close(start[1]);
  return answered;
}

static bool handle(const struct frame *frame) {
  static struct launch_request request;
  memset(&request, 0, sizeof request);
  if (frame->type != FRAME_LAUNCH) return answer_failure(0, ERROR_UNSUPPORTED, "unknown request", 0);
  const char *problem = read_request(&request, frame->payload);
  if (problem != NULL) return answer_failure(request.identifier, ERROR_INVALID, problem, 0);
  struct launch_descriptors descriptors;
  const char *step = NULL;
  bool answered;
  request.identities = request.ranged && launch_shares(request.payload) ? launch_open_identities(request.id_base) : -1;
  if (launch_open(&request, &descriptors, &step)) {
    answered = start_sandbox(&request, &descriptors);
  } else {
    answered = answer_failure(request.identifier, error_for_errno(errno), step, errno);
  }
  launch_close(&descriptors);
  if (request.identities >= 0) close(request.identities);
  return answered;
}

/* Takes the dead, so that nothing of them is left, and tells of each. */
static bool reap_children(int signal_descriptor) {
  struct signalfd_siginfo information;
  while (read(signal_descriptor, &information, sizeof information) > 0) continue;
  for (;;) {
    pid_t process = waitpid(-1, NULL, WNOHANG);
    if (process <= 0) return true;
    if (!answer(0, FRAME_ENDED, FIELD_PROCESS, (uint64_t)process, NULL)) return false;
  }
}

/* False at the end of the input and when nobody reads the answers. */
static bool serve(struct connection *input, int signal_descriptor) {
  struct frame frame;
  enum next_frame state;
  while ((state = connection_next(input, &frame)) == FRAME_COMPLETE) {
    if (!handle(&frame)) return false;
  }
  if (state == FRAME_BROKEN) return false;
  struct pollfd ready[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signal_descriptor, .events = POLLIN}};
  if (poll(ready, 2, -1) < 0) return errno == EINTR;
  if (ready[1].revents != 0 && !reap_children(signal_descriptor)) return false;
  return ready[0].revents == 0 || connection_fill(input) == 1;
}

/* What the broker was started with must not reach the sandboxes: ignored signals outlive an exec. */
static int take_signals(void) {
  sigset_t children;
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  if (sigprocmask(SIG_SETMASK, &children, NULL) != 0) return -1;
  return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

int launch_main(void) {
  struct connection input;
  /* Requests carry tokens: nobody may read this process's memory. */
  prctl(PR_SET_DUMPABLE, 0);
  umask(022);
  int signal_descriptor = take_signals();
  if (signal_descriptor < 0 || !connection_open(&input, STDIN_FILENO)) return 1;
  while (serve(&input, signal_descriptor)) continue;
  return 0;
}
