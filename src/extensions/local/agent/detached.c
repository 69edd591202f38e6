/* A detached command: the client gets the process id at once; output goes to the sandbox's log up to its limit. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "agent.h"

#define COPY_BYTES 16384

static void append_to_log(const struct agent *agent, const uint8_t *data, size_t length) {
  /* All handlers count together: reserve first, then write. What is beyond the limit is dropped, but still read,
   * so that the command does not stop. */
  uint64_t before = __atomic_fetch_add(&agent->shared->log_bytes, length, __ATOMIC_SEQ_CST);
  if (before >= agent->log_limit) {
    __atomic_fetch_sub(&agent->shared->log_bytes, length, __ATOMIC_SEQ_CST);
    return;
  }
  uint64_t room = agent->log_limit - before;
  write_all(agent->log_descriptor, data, length < room ? length : (size_t)room);
}

static bool copy_output(const struct session *session, const struct execution *execution) {
  uint8_t data[COPY_BYTES];
  ssize_t count = read(execution->output_descriptor, data, sizeof data);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count > 0) append_to_log(session->agent, data, (size_t)count);
  return count > 0;
}

static void watch(struct session *session, const struct execution *execution) {
  bool open = true;
  bool running = true;
  while (open || running) {
    struct pollfd ready[2] = {{.fd = open ? execution->output_descriptor : -1, .events = POLLIN},
                              {.fd = running ? execution->process_descriptor : -1, .events = POLLIN}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return;
    if (ready[0].revents != 0) open = copy_output(session, execution);
    if (ready[1].revents != 0) {
      running = false;
      reap_command(session, execution->process);
    }
  }
}

void detached_run(struct session *session, struct execution *execution) {
  uint8_t data[32];
  struct builder answer;
  builder_init(&answer, data, sizeof data);
  builder_begin(&answer, FRAME_STARTED);
  builder_number(&answer, FIELD_PROCESS, (uint64_t)execution->process);
  builder_end(&answer);
  session_set_kind(session, SLOT_DETACHED);
  send_all(session->connection.descriptor, data, answer.length);
  close(session->connection.descriptor);
  watch(session, execution);
  _exit(0);
}
