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

/* Forks twice: the sandbox belongs to init, so neither the launcher's nor the broker's end reaches it. */
static pid_t fork_between(const struct launch_request *request, const struct launch_descriptors *descriptors,
                          const int *report, const int *start) {
  pid_t between = fork();
  if (between != 0) return between;
  close(report[0]);
  close(start[1]);
  launch_child(request, descriptors, report[1], start[0]);
}

static void wait_for_end(pid_t between) {
  while (waitpid(between, NULL, 0) < 0 && errno == EINTR) continue;
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
                         pid_t between, int report_descriptor, int start_descriptor) {
  struct launch_report report = {0};
  pid_t process = 0;
  bool ready = false;
  bool ended = false;
  while (process == 0 || !ready) {
    if (!read_report(report_descriptor, &report, &ended) || report.kind == REPORT_FAILURE) {
      kill(process != 0 ? process : between, SIGKILL);
      return report_failure(request, &report, ended);
    }
    if (report.kind == REPORT_PROCESS) process = report.value;
    if (report.kind == REPORT_READY) ready = true;
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
  pid_t between = fork_between(request, descriptors, report, start);
  int number = errno;
  close(report[1]);
  close(start[0]);
  bool answered = between < 0 ? answer_failure(request->identifier, ERROR_LIMIT, "fork", number)
                              : follow_start(request, descriptors, between, report[0], start[1]);
  if (between > 0) wait_for_end(between);
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
