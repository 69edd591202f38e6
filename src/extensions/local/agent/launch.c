/* The launcher: reads requests from its standard input, one after the other, starts a sandbox for each and answers.
 * It runs outside, ends when its input closes, and no sandbox depends on its life. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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
  if (!fields_valid(payload)) return "the request's fields are broken";
  request->identifier = field_number(payload, FIELD_REQUEST, 0);
  request->ranged = field_number(payload, FIELD_IDENTITY, IDENTITY_SINGLE) == IDENTITY_RANGED;
  uint64_t base = field_number(payload, FIELD_ID_BASE, 0);
  if (request->ranged && (base < IDENTITY_COUNT || base > UINT32_MAX - IDENTITY_COUNT)) {
    return "the base of the user ids must leave the host's own ids alone";
  }
  request->id_base = (uint32_t)base;
  if (!field_string(payload, FIELD_DIRECTORY, request->directory, LAUNCH_PATH)) return "no valid directory";
  if (!field_string(payload, FIELD_BWRAP_PATH, request->bwrap, LAUNCH_PATH)) return "no valid path of bwrap";
  if (!field_find(payload, FIELD_BWRAP_ARGUMENTS, &value) || value.length == 0) return "no arguments for bwrap";
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

/* Forks twice: the sandbox belongs to init, so neither the launcher's nor the broker's end reaches it. */
static pid_t fork_twice(const struct launch_request *request, const struct launch_descriptors *descriptors,
                        const int *report, const int *start) {
  pid_t between = fork();
  if (between != 0) return between;
  close(report[0]);
  close(start[1]);
  pid_t process = fork();
  if (process == 0) launch_child(request, descriptors, report[1], start[0]);
  _exit(process < 0 ? 1 : 0);
}

static bool wait_for_between(pid_t between) {
  int status;
  while (waitpid(between, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Follows the new process until it has become bwrap. */
static bool follow_start(const struct launch_request *request, const struct launch_descriptors *descriptors,
                         int report_descriptor, int start_descriptor) {
  struct launch_report report;
  bool ended;
  if (!read_report(report_descriptor, &report, &ended)) {
    return answer_failure(request->identifier, ERROR_INTERNAL, "the new process did not report", 0);
  }
  if (report.kind == REPORT_FAILURE) {
    return answer_failure(request->identifier, error_for_errno(report.value), report.step, report.value);
  }
  pid_t process = report.value;
  const char *step = NULL;
  if (request->ranged && !launch_map_identities(process, request->id_base)) step = "map the user ids";
  if (step == NULL && !launch_write_pid_file(descriptors->directory, process)) step = "write the pid file";
  if (step == NULL && write(start_descriptor, "1", 1) != 1) step = "start the new process";
  if (step != NULL) {
    int number = errno;
    kill(process, SIGKILL);
    return answer_failure(request->identifier, error_for_errno(number), step, number);
  }
  if (read_report(report_descriptor, &report, &ended)) {
    return answer_failure(request->identifier, error_for_errno(report.value), report.step, report.value);
  }
  if (ended) return answer(request->identifier, FRAME_LAUNCHED, FIELD_PROCESS, (uint64_t)process, NULL);
  kill(process, SIGKILL);
  return answer_failure(request->identifier, ERROR_INTERNAL, "the new process did not start in time", 0);
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
  pid_t between = fork_twice(request, descriptors, report, start);
  int number = errno;
  close(report[1]);
  close(start[0]);
  bool answered;
  if (between < 0) {
    answered = answer_failure(request->identifier, ERROR_LIMIT, "fork", number);
  } else if (!wait_for_between(between)) {
    answered = answer_failure(request->identifier, ERROR_LIMIT, "fork", EAGAIN);
  } else {
    answered = follow_start(request, descriptors, report[0], start[1]);
  }
  close(report[0]);
  close(start[1]);
  return answered;
}

/* The launcher waits in the cgroups of the next sandbox, which is born there: to be moved into a cgroup costs a process
 * several milliseconds, and this way the launcher pays them while nobody waits. */
static bool park(struct bytes payload) {
  if (!fields_valid(payload)) return answer_failure(0, ERROR_INVALID, "the request's fields are broken", 0);
  uint64_t identifier = field_number(payload, FIELD_REQUEST, 0);
  if (launch_join_cgroups(payload)) return answer(identifier, FRAME_LAUNCHED, FIELD_PROCESS, (uint64_t)getpid(), NULL);
  return answer_failure(identifier, error_for_errno(errno), "join the cgroups", errno);
}

static bool handle(const struct frame *frame) {
  static struct launch_request request;
  memset(&request, 0, sizeof request);
  if (frame->type == FRAME_PARK) return park(frame->payload);
  if (frame->type != FRAME_LAUNCH) return answer_failure(0, ERROR_UNSUPPORTED, "unknown request", 0);
  const char *problem = read_request(&request, frame->payload);
  if (problem != NULL) return answer_failure(request.identifier, ERROR_INVALID, problem, 0);
  struct launch_descriptors descriptors;
  const char *step = NULL;
  bool answered;
  if (launch_open(&request, &descriptors, &step)) {
    answered = start_sandbox(&request, &descriptors);
  } else {
    answered = answer_failure(request.identifier, error_for_errno(errno), step, errno);
  }
  launch_close(&descriptors);
  return answered;
}

int launch_main(void) {
  struct connection input;
  struct frame frame;
  /* Requests carry tokens: nobody may read this process's memory. */
  prctl(PR_SET_DUMPABLE, 0);
  signal(SIGPIPE, SIG_IGN);
  umask(022);
  if (!connection_open(&input, STDIN_FILENO)) return 1;
  while (connection_wait(&input, &frame, 0)) {
    if (!handle(&frame)) return 1;
  }
  return errno == ECONNRESET ? 0 : 1;
}
